#include "cluster/http_face.hpp"

#include "gateway/cluster_port.hpp"
#include "gateway/http_server.hpp"

#include <utility>

namespace squall::cluster {

namespace {

class gateway_face final : public http_face {
public:
  gateway_face(std::unique_ptr<gateway::serving_port> port, std::unique_ptr<gateway::http_server> server)
      : port_(std::move(port)), server_(std::move(server)) {}

  [[nodiscard]] const std::string& address() const override { return server_->address(); }

private:
  std::unique_ptr<gateway::serving_port> port_; // outlives the server
  std::unique_ptr<gateway::http_server> server_;
};

} // namespace

result<std::unique_ptr<http_face>> http_face::open(const std::string& address, const std::string& controller_endpoint,
                                                   const actors::curve_keys& keys, logger& log) {
  client::options options;
  options.endpoint = controller_endpoint;
  options.keys = {keys.server_public, keys.client_public, keys.client_secret};
  options.software = "squall http";
  auto port = gateway::make_cluster_port(options, log);
  gateway::http_options http;
  http.address = address;
  SQUALL_ASSIGN(server, gateway::http_server::start(http, *port, log));
  return std::unique_ptr<http_face>{std::make_unique<gateway_face>(std::move(port), std::move(server))};
}

} // namespace squall::cluster
