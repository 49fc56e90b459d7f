#include "base/mix.hpp"
#include "client/detail/engine.hpp"

#include <fmt/format.h>

#include <charconv>

/// What the threads of users do: everything that can be done before the engine's thread has to take over.
namespace squall::client::detail {

namespace {

using namespace std::chrono_literals;

/// Splits "name@2".
result<> set_target(wire::call_request& request, std::string_view name) {
  const std::size_t mark = name.find('@');
  request.target = name.substr(0, mark);
  if (mark == std::string_view::npos)
    return {};
  const char* end = name.data() + name.size();
  const auto [rest, failure] = std::from_chars(name.data() + mark + 1, end, request.version);
  if (failure != std::errc{} || rest != end || request.version == 0)
    return {errc::invalid_argument,
            fmt::format("'{}' is not a name with a version such as {}@2", name.substr(0, 140), request.target)};
  return {};
}

/// Whether something in it is large enough for shared memory.
bool has_large_tensor(const functions::value& value) {
  if (const auto* tensor = value.as_tensor())
    return tensor->data.size() >= wire::share_threshold_bytes;
  if (const auto* list = value.as_list())
    for (const functions::value& element : *list)
      if (has_large_tensor(element))
        return true;
  return false;
}

} // namespace

std::uint64_t engine::fresh_id() {
  // A permutation of a counter that began at random (splitmix64): as unique as the counter, as hard to hit as chance.
  for (;;) {
    const std::uint64_t z = mixed_bits(next_id_.fetch_add(0x9e3779b97f4a7c15ULL, std::memory_order_relaxed));
    // Small numbers are the links' own requests.
    if (z > 0xffff)
      return z;
  }
}

void engine::call(const std::shared_ptr<pending_call>& call, std::string_view name,
                  std::vector<functions::named_value> inputs, const calls::call_options& options) {
  call->id = options.ticket ? options.redeems : call_id{fresh_id()};
  call->deadline = options.deadline;
  if (outstanding_.fetch_add(1, std::memory_order_relaxed) >= options_.max_outstanding)
    return fail_call(*call,
                     {errc::overloaded,
                      fmt::format("{} calls are outstanding, this client's limit", options_.max_outstanding), 1ms});
  if (options.deadline < 0ns)
    return fail_call(*call, {errc::invalid_argument, "the deadline is negative", {}});
  wire::call_request request;
  request.call = call->id;
  request.options = options;
  if (auto target = set_target(request, name); !target.ok())
    return fail_call(*call, target.error());
  for (functions::named_value& input : inputs)
    call->inputs.push_back({std::move(input.name), std::move(input.value)});
  if (auto shared = share_inputs(*call); !shared.ok())
    return fail_call(*call, shared.error());
  request.inputs = std::move(call->inputs);
  call->message =
      wire::encode(request, request_id{call->id.value}, {.local = same_host_.load() ? arenas_.get() : nullptr});
  call->inputs = std::move(request.inputs);
  call->request = std::move(request);
  if (stopped_.load())
    return fail_call(*call, {errc::cancelled, "the client was closed", {}});
  queue_->push(start_call{call});
}

void engine::cancel(call_id call) { queue_->push(cancel_call{call}); }

result<> engine::share_inputs(pending_call& call) {
  const bool same_host = same_host_.load();
  for (wire::wire_value& input : call.inputs) {
    if (!has_large_tensor(input.value))
      continue;
    if (input.value.byte_size() > wire::max_value_bytes)
      return {errc::too_large, fmt::format("the input '{}' has {} bytes; a value may have {}", input.name,
                                           input.value.byte_size(), wire::max_value_bytes)};
    if (wire::arena* arena = same_host ? own_arena() : nullptr)
      input.value = wire::share(input.value, *arena, *arenas_, call.blocks);
  }
  return {};
}

wire::arena* engine::own_arena() {
  std::call_once(arena_made_, [this] {
    auto made = wire::arena::create(options_.arena_bytes);
    if (!made.ok())
      return; // values then travel inline
    arena_ = std::move(made).value();
    arenas_->add(arena_);
  });
  return arena_.get();
}

std::shared_ptr<pending_request> engine::begin_encoded(request_id id, wire::role to, wire::frames message) {
  auto request = std::make_shared<pending_request>();
  request->id = id;
  request->to = to;
  request->message = std::move(message);
  request->give_up = clock::now() + options_.timeout;
  if (stopped_.load())
    request->finish(error{errc::cancelled, "the client was closed", {}});
  else
    queue_->push(start_request{request});
  return request;
}

error engine::unexpected(const answer& got) {
  if (got.head.type != wire::message_type::reply)
    return {errc::corrupt,
            fmt::format("the server answered with a message of type {}", static_cast<int>(got.head.type)),
            {}};
  auto reply = wire::decode<wire::reply>(got.message, nullptr);
  if (!reply.ok())
    return reply.error();
  if (reply->code == errc::ok)
    return {errc::corrupt, "the server answered with a bare ok where more was asked for", {}};
  return {reply->code, reply->message, reply->retry_after};
}

result<> engine::wait_until_ready() {
  std::unique_lock lock{mutex_};
  readiness_.wait_for(lock, options_.timeout,
                      [this] { return ready_ || (trouble_ && trouble_->code != errc::unavailable); });
  if (ready_)
    return {};
  const errc code = trouble_ ? trouble_->code : errc::unavailable;
  const std::string why = trouble_ ? trouble_->message : fmt::format("no answer within {} ms", options_.timeout / 1ms);
  return {code, fmt::format("cannot connect to {}: {}", options_.endpoint, why)};
}

cluster_info engine::info() const {
  const std::lock_guard lock{mutex_};
  return info_;
}

} // namespace squall::client::detail
