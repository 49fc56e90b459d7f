#include "wire/access.hpp"

namespace squall::wire {

access needed_for(message_type type) {
  switch (type) {
    case message_type::hello:
    case message_type::welcome:
    case message_type::ping:
    case message_type::pong:
    case message_type::reply:
    case message_type::call_request:
    case message_type::call_result:
    case message_type::call_partial:
    case message_type::cancel_request:
    case message_type::result_taken:
    case message_type::query:
    case message_type::store_put:
    case message_type::store_get:
    case message_type::store_delete:
    case message_type::store_list:
    case message_type::store_reply:
      return access::user;
    case message_type::apply_function:
    case message_type::apply_dag:
    case message_type::remove:
    case message_type::set_policy:
    case message_type::shutdown:
    case message_type::drain:
      return access::admin;
    default:
      break;
  }
  const bool of_nodes = type >= message_type::node_hello && type < message_type::store_put;
  return of_nodes ? access::node : access::admin;
}

std::string_view to_string(access role) {
  switch (role) {
    case access::user:
      return "user";
    case access::node:
      return "node";
    case access::admin:
      return "admin";
    default:
      return "nobody";
  }
}

} // namespace squall::wire
