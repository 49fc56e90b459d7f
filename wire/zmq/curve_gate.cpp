#include "wire/zmq/detail/curve_gate.hpp"

#include <array>
#include <sstream>

namespace squall::wire::detail {

result<access_list> read_access_list(const std::vector<std::string>& lines) {
  access_list out;
  for (const auto& line : lines) {
    std::istringstream words{line};
    std::string key;
    std::string role;
    words >> key >> role;
    if (!is_key(key))
      return {errc::invalid_argument, "'" + key + "' in the list of allowed keys is not 40 characters of Z85"};
    const auto may = role == "user"                    ? access::user
                     : role == "node"                  ? access::node
                     : role.empty() || role == "admin" ? access::admin
                                                       : access::nobody;
    if (may == access::nobody)
      return {errc::invalid_argument,
              "'" + role + "' in the list of allowed keys is no role; roles are user, node and admin"};
    out[key] = may;
  }
  return out;
}

access curve_gate::access_of(const std::string& key) const {
  const auto known = allowed_.find(key);
  return known == allowed_.end() ? access::nobody : known->second;
}

result<> curve_gate::open(zmq_context& context, access_list allowed) {
  const std::string address = "inproc://zeromq.zap.01";
  allowed_ = std::move(allowed);
  socket_ = raw_socket{context, ZMQ_REP};
  if (!socket_ || !socket_.set(ZMQ_LINGER, 0) || zmq_bind(socket_.get(), address.c_str()) != 0)
    return zmq_failure("cannot check keys at", address);
  return {};
}

void curve_gate::pump() {
  // version, request, domain, address, routing id, mechanism, credentials...
  constexpr std::size_t mechanism = 5;
  constexpr std::size_t key = 6;
  constexpr std::size_t key_bytes = 32;
  for (;;) {
    std::vector<std::string> parts;
    raw_message part;
    if (!socket_.receive(part))
      return;
    parts.emplace_back(part.text());
    while (part.more() && socket_.receive(part))
      parts.emplace_back(part.text());

    std::string name;
    if (parts.size() > key && parts[mechanism] == "CURVE" && parts[key].size() == key_bytes) {
      std::array<char, 41> text{};
      zmq_z85_encode(text.data(), reinterpret_cast<const std::uint8_t*>(parts[key].data()), key_bytes);
      name = text.data();
    }
    const bool welcome = allowed_.contains(name);
    const std::array<std::string, 6> answer{"1.0",
                                            parts.size() > 1 ? parts[1] : "",
                                            welcome ? "200" : "400",
                                            welcome ? "OK" : "this key is not in the list",
                                            welcome ? name : "",
                                            ""};
    for (std::size_t i = 0; i < answer.size(); ++i)
      zmq_send(socket_.get(), answer[i].data(), answer[i].size(),
               (i + 1 < answer.size() ? ZMQ_SNDMORE : 0) | ZMQ_DONTWAIT);
  }
}

} // namespace squall::wire::detail
