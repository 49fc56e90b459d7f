#pragma once

#include "wire/zmq/detail/raw_socket.hpp"

#include <set>
#include <string>
#include <vector>

namespace squall::wire::detail {

/// Decides which CURVE clients may come in (ZeroMQ's ZAP protocol, RFC 27): those whose public key is in the list.
/// ZeroMQ asks at one address of the context, so a context has at most one gate. Must be open before the socket that it
/// guards binds.
class curve_gate {
public:
  [[nodiscard]] result<> open(zmq_context& context, const std::vector<std::string>& allowed);
  /// Answers what was asked since.
  void pump();
  [[nodiscard]] const raw_socket& socket() const { return socket_; }

private:
  raw_socket socket_;
  std::set<std::string> allowed_;
};

} // namespace squall::wire::detail
