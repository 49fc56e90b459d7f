#include "wire/zmq/detail/curve_gate.hpp"

#include <array>

namespace squall::wire::detail {

result<> curve_gate::open(zmq_context& context, const std::vector<std::string>& allowed) {
  const std::string address = "inproc://zeromq.zap.01";
  allowed_.insert(allowed.begin(), allowed.end());
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
