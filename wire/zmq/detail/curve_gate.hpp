#pragma once

#include "wire/message_types.hpp"
#include "wire/zmq/detail/raw_socket.hpp"

#include <map>
#include <string>
#include <vector>

namespace squall::wire::detail {

/// Who may do what, by public key.
using access_list = std::map<std::string, access>;

/// Reads lines of server_options::allowed. Fails as invalid_argument, naming the line.
[[nodiscard]] result<access_list> read_access_list(const std::vector<std::string>& lines);

/// Decides which CURVE clients may come in (ZeroMQ's ZAP protocol, RFC 27): those whose public key is in the list. The
/// key is then the user id of each message. ZeroMQ asks at one address of the context, so a context has at most one
/// gate. Must be open before the socket that it guards binds.
class curve_gate {
public:
  [[nodiscard]] result<> open(zmq_context& context, access_list allowed);
  void set_allowed(access_list allowed) { allowed_ = std::move(allowed); }
  /// Answers what was asked since.
  void pump();
  [[nodiscard]] const raw_socket& socket() const { return socket_; }
  /// What the holder of a key may do now.
  [[nodiscard]] access access_of(const std::string& key) const;

private:
  raw_socket socket_;
  access_list allowed_;
};

} // namespace squall::wire::detail
