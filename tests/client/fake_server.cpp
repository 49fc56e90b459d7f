#include "tests/client/fake_server.hpp"

#include <chrono>

#include <poll.h>

namespace squall::client::testing {

using namespace std::chrono_literals;

namespace {

wire::peers peers_of(const std::vector<std::string>& endpoints) {
  wire::peers out;
  for (const std::string& endpoint : endpoints)
    out.nodes.push_back({node_id{out.nodes.size() + 1}, "n" + std::to_string(out.nodes.size() + 1), endpoint, 0});
  return out;
}

} // namespace

fake_server::fake_server(std::string endpoint, std::uint64_t epoch, call_hook calls)
    : on_call(std::move(calls)), pong_epoch(epoch) {
  welcome.cluster = "fake";
  welcome.software = "squall 9.9 fake";
  welcome.epoch = epoch;
  welcome.host = wire::host_key();
  context_ = wire::zmq_context::create().value();
  // A port that was just given back may still be taken for a moment.
  for (int attempt = 0; !socket_; ++attempt) {
    auto bound =
        wire::server_socket::bind(*context_, {.endpoint = endpoint, .linger = 100ms, .keys = {}, .allowed = {}});
    if (bound.ok())
      socket_ = std::move(bound).value();
    else
      SQUALL_CHECK(attempt < 100, bound.error().message);
    std::this_thread::sleep_for(socket_ ? 0ms : 20ms);
  }
  endpoint_ = socket_->endpoint();
  thread_ = std::thread{[this] { run(); }};
}

fake_server::~fake_server() { stop(); }

void fake_server::stop() {
  stopping_ = true;
  if (thread_.joinable())
    thread_.join();
  socket_.reset();
  context_.reset();
}

void fake_server::run() {
  std::vector<int> fds;
  socket_->fds(fds);
  std::vector<pollfd> polled;
  for (const int fd : fds)
    polled.push_back({fd, POLLIN, 0});
  wire::arrival arrival;
  while (!stopping_) {
    while (socket_->receive(arrival))
      if (!mute)
        on_message(arrival.from, arrival.message);
    socket_->pump();
    (void)socket_->take_departed();
    if (each_round && first_)
      each_round(*this, first_);
    socket_->flush();
    if (socket_->idle())
      ::poll(polled.data(), polled.size(), 20);
  }
}

void fake_server::on_message(wire::route from, const wire::frames& message) {
  const auto head = wire::peek(message.header.span());
  if (!head.ok())
    return;
  if (head->type >= wire::message_type::store_put)
    return on_store(from, *head, message);
  const std::lock_guard lock{mutex_};
  on_request(from, *head, message);
  changed_.notify_all();
}

void fake_server::on_request(wire::route from, const wire::envelope_head& head, const wire::frames& message) {
  using type = wire::message_type;
  const auto decode = [&]<class M>(M) { return wire::decode<M>(message, arenas_.get()).value(); };
  wire::reply ok;
  switch (head.type) {
    case type::hello:
      if (!first_)
        first_ = from;
      record_.hellos.push_back(decode(wire::hello{}));
      if (refuse_hello)
        return send(from, wire::reply{errc::unsupported, "versions 7 to 9 are spoken here, yours are 1 to 1", {}, {}},
                    head.request);
      send(from, welcome, head.request);
      if (!nodes.empty())
        send(from, peers_of(nodes), request_id{});
      return;
    case type::ping:
      return send(from, wire::pong{pong_epoch}, head.request);
    case type::call_request: {
      const auto call = decode(wire::call_request{});
      if (on_call)
        return on_call(*this, from, call);
      return answer(from, call, call.inputs);
    }
    case type::cancel_request:
      record_.cancelled.insert(decode(wire::cancel_request{}).call.value);
      return;
    case type::result_taken:
      for (const call_id call : decode(wire::result_taken{}).calls)
        record_.taken.insert(call.value);
      return;
    case type::apply_function:
      record_.functions.push_back(decode(wire::apply_function{}).spec);
      return send(from, on_apply_function ? on_apply_function(decode(wire::apply_function{})) : ok, head.request);
    case type::apply_dag:
      record_.dags.push_back(decode(wire::apply_dag{}).spec);
      return send(from, on_apply_dag ? on_apply_dag(decode(wire::apply_dag{})) : ok, head.request);
    case type::remove:
      record_.removed.push_back(decode(wire::remove{}));
      return send(from, ok, head.request);
    case type::query:
      return send(from, on_query ? on_query(decode(wire::query{})) : wire::reply{errc::ok, {}, {}, "[]"}, head.request);
    case type::set_policy:
      record_.policy = decode(wire::set_policy{}).name;
      return send(from, ok, head.request);
    case type::shutdown:
      record_.shut_down = true;
      return send(from, ok, head.request);
    default:
      return send(from, wire::reply{errc::invalid_argument, "not for me", {}, {}}, head.request);
  }
}

void fake_server::answer(wire::route to, const wire::call_request& call, std::vector<wire::wire_value> outputs) {
  wire::call_result result;
  result.call = call.call;
  result.outputs = std::move(outputs);
  send(to, result, request_id{call.call.value});
}

void fake_server::on_store(wire::route from, const wire::envelope_head& head, const wire::frames& message) {
  const std::lock_guard lock{mutex_};
  using type = wire::message_type;
  wire::store_reply reply;
  if (head.type == type::store_put)
    reply = store_put(wire::decode<wire::store_put>(message, arenas_.get()).value());
  else if (head.type == type::store_get)
    reply = store_get(wire::decode<wire::store_get>(message, nullptr).value());
  else if (head.type == type::store_list)
    reply = store_list(wire::decode<wire::store_list>(message, nullptr).value());
  else if (record_.values.erase(wire::decode<wire::store_delete>(message, nullptr).value().key) == 0)
    reply = {errc::not_found, "no such key", {}, {}, {}, false};
  changed_.notify_all();
  send(from, reply, head.request);
}

wire::store_reply fake_server::store_put(const wire::store_put& put) {
  ++record_.store_pieces;
  std::string& value = put.upload == 0 ? record_.values[put.key] : uploads_[put.upload];
  if (put.offset == 0)
    value.clear();
  if (value.size() != put.offset)
    return {errc::invalid_argument, "a piece is missing", {}, {}, {}, false};
  value += put.piece.as_tensor()->data.text();
  if (value.size() == put.total_bytes) {
    if (put.upload != 0)
      record_.values[put.key] = std::move(value);
    ++versions_[put.key];
  }
  return {};
}

wire::store_reply fake_server::store_get(const wire::store_get& get) const {
  const auto found = record_.values.find(get.key);
  if (found == record_.values.end())
    return {errc::not_found, "no key '" + get.key + "'", {}, {}, {}, false};
  const std::string part = found->second.substr(std::min(get.offset, found->second.size()), get.length);
  const auto version = versions_.find(get.key);
  wire::store_reply reply;
  reply.entries = {{get.key, found->second.size(), version == versions_.end() ? 1 : version->second}};
  reply.piece = {functions::tensor{
      functions::datatype::uint8, {static_cast<std::int64_t>(part.size())}, shared_bytes::copy_of(part)}};
  return reply;
}

wire::store_reply fake_server::store_list(const wire::store_list& list) const {
  wire::store_reply reply;
  for (const auto& [key, value] : record_.values) {
    if (!key.starts_with(list.prefix) || key <= list.after)
      continue;
    reply.more = reply.entries.size() == list.limit;
    if (reply.more)
      break;
    reply.entries.push_back({key, value.size(), 1});
  }
  return reply;
}

fake_server::seen fake_server::record() const {
  const std::lock_guard lock{mutex_};
  return record_;
}

bool fake_server::wait_until(const std::function<bool(const seen&)>& condition) const {
  std::unique_lock lock{mutex_};
  return changed_.wait_for(lock, 5s, [&] { return condition(record_); });
}

void fake_server::put_value(const std::string& key, std::string value) {
  const std::lock_guard lock{mutex_};
  record_.values[key] = std::move(value);
  ++versions_[key];
}

} // namespace squall::client::testing
