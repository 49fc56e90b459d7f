#pragma once

#include "base/log.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "gateway/serving_port.hpp"

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace squall::gateway {

struct http_options {
  std::string address = "127.0.0.1:8000"; ///< "[::1]:8000" too; port 0 takes any
  bool beyond_loopback = false; ///< HTTP has neither keys nor passwords: other addresses are refused unless this says
                                ///< that a proxy guards them
  std::size_t max_connections = 256; ///< the next one is told 503 and closed
  std::size_t max_header_bytes = 16 << 10;
  std::size_t max_body_bytes = 64 << 20;
  std::size_t max_bodies_bytes = 256 << 20;    ///< of all requests that are being served; beyond it 503
  std::size_t max_responses_bytes = 512 << 20; ///< of all responses that clients have not read; one beyond it is 503
  duration idle_timeout = std::chrono::seconds{60};     ///< until the next request's header is here
  duration transfer_timeout = std::chrono::seconds{60}; ///< of a body, and of a response
  unsigned workers = 2;                                 ///< threads that read and make JSON
  std::string software = "squall";                      ///< name and version
};

/// Serves the Open Inference Protocol and metrics over HTTP/1.1 (docs/http.md), with keep-alive. One thread does the
/// input and output of all connections; each connection has one request at a time.
class http_server {
public:
  /// Listens at once. Errors: invalid_argument (the address), permission_denied (beyond loopback), unavailable (the
  /// port is taken). `port` must outlive it, and so must `log`.
  [[nodiscard]] static result<std::unique_ptr<http_server>> start(const http_options& options, serving_port& port,
                                                                  logger& log);

  /// Stops listening and closes the connections; those whose call runs are closed when it ends, without an answer.
  virtual ~http_server() = default;

  /// With the real port.
  [[nodiscard]] virtual const std::string& address() const = 0;
};

} // namespace squall::gateway
