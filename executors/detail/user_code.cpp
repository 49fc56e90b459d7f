#include "base/hash.hpp"
#include "executors/detail/service.hpp"

#include <algorithm>
#include <array>

/// User code on this node: what its workers report, and what they ask for (docs/workers.md).
namespace squall::executors {

namespace {

/// Calls that functions make nest no deeper.
constexpr std::uint32_t max_depth = 16;
/// Keys of the system: code that others run, the catalogue, what was learned.
constexpr std::array<std::string_view, 4> own_keys{"squall/", "catalogue/", "models/", "profiles/"};

bool is_own_key(std::string_view key) {
  return std::ranges::any_of(own_keys, [key](std::string_view prefix) { return key.starts_with(prefix); });
}

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  fnv1a hash;
  hash.add(a);
  hash.add(b);
  return hash.value() | 1;
}

} // namespace

result<shared_bytes> node_role::make_user_memory(std::size_t size,
                                                 const std::function<result<>(std::span<std::byte>)>& fill) {
  return blocks_.make(size, fill);
}

/// Its first call will not have to wait for the store and the disk. What goes wrong is said by the load.
void node_role::prepare_code(const std::string& key) {
  if (!store_ || key.empty())
    return;
  store_->stat(key, [this, key, alive = alive_](const result<wire::store_entry>& entry) {
    if (!*alive || !entry.ok() || entry->size_bytes > max_prepared_bytes)
      return;
    models_->fetch(*store_, key, [this](const result<std::string>& path) {
      if (path.ok() && user_)
        user_->prepare_file(*path);
    });
  });
}

void node_role::load_user_code(variant_id variant, const loading& l) {
  if (!user_)
    return load_failed(variant, {errc::unsupported, "this node runs no user code", {}});
  const auto& parameters = l.request.spec.parameters;
  const auto required = parameters.find("requirements");
  if (l.request.spec.kind != functions::variant_kind::python || required == parameters.end())
    return start_user_code(variant, l);
  if (!packages_)
    return load_failed(variant,
                       {errc::unsupported, "this node has no Python to install its required packages with", {}});
  packages_->want(required->second, [this, variant, attempt = l.attempt](const result<>& made) {
    const round_guard r{*this};
    const auto found = loading_.find(variant);
    if (found == loading_.end() || found->second.attempt != attempt)
      return; // given up meanwhile
    if (!made.ok())
      return load_failed(variant, made.error());
    start_user_code(variant, found->second);
  });
}

void node_role::start_user_code(variant_id variant, const loading& l) {
  const auto* const known = catalogue_.variant(variant);
  const bool repeatable = known && known->function->spec.repeatable;
  if (const auto started = user_->load(l.request, repeatable); !started.ok())
    load_failed(variant, started.error());
}

void node_role::on_user_loaded(const wire::worker::loaded& message) { on_loaded(message); }

void node_role::on_user_done(wire::worker::done message) {
  const round_guard r{*this};
  waiting_.erase(message.batch);
  drop_nested([&](const nested_call& nested) { return nested.batch == message.batch; });
  on_done(std::move(message));
  blocks_.drop_unowned();
}

/// The entry stays, without its item: the others keep their places.
void node_role::on_user_item(batch_id batch, std::uint32_t item, wire::worker::item_result result, duration executed) {
  const round_guard r{*this};
  const auto found = running_.find(batch);
  if (found != running_.end() && item < found->second.entries.size() && found->second.entries[item].item) {
    const auto as_it_is = found->second;
    found->second.entries[item].item = {};
    item_ended(as_it_is.entries[item].item, std::move(result), as_it_is, executed);
    item_left_worker(as_it_is.entries[item].call);
  }
  blocks_.drop_unowned();
}

void node_role::on_user_pace(variant_id variant, std::uint32_t items) {
  const round_guard r{*this};
  const auto* const known = catalogue_.variant(variant);
  if (!known)
    return;
  const auto& spec = known->spec();
  feed(calls::queueing::variant_known{variant, spec.resource, items, spec.max_delay, spec.memory_bytes, true});
}

// -- lanes

/// A lane's place in the model host.
std::uint32_t node_role::slot_of(lane_id lane) const {
  const auto extra = extra_lane_slot_.find(lane);
  return extra == extra_lane_slot_.end() ? static_cast<std::uint32_t>(lane.value - 1) : extra->second;
}

/// What waits does not work: another lane takes its place for as long as it does, and goes when what it runs then has
/// ended.
void node_role::on_user_waiting(batch_id batch, bool waits) {
  const round_guard r{*this};
  if (waits) {
    waiting_.insert(batch);
    return open_extra_lane(batch);
  }
  waiting_.erase(batch);
  const auto extra = extra_lanes_.find(batch);
  if (extra == extra_lanes_.end())
    return;
  feed(calls::queueing::lane_retired{extra->second});
  extra_lane_slot_.erase(extra->second); // nothing more begins there
  extra_lanes_.erase(extra);
}

void node_role::open_extra_lane(batch_id batch) {
  const auto running = running_.find(batch);
  if (running == running_.end() || extra_lanes_.contains(batch) || !worker_ready_)
    return; // without a model host no lane takes anything; this one opens with the others
  const lane_id extra{options_.lanes + ++last_extra_lane_};
  extra_lanes_[batch] = extra;
  extra_lane_slot_[extra] = running->second.slot;
  feed(calls::queueing::lane_opened{extra, functions::resource_type::cpu});
}

/// Of what runs, what ends with the model host: all but user code in workers of its own. The scheduler's batches are
/// not spared: their replicas are lost to it.
std::map<batch_id, running_batch> node_role::take_lost_batches() {
  std::map<batch_id, running_batch> lost;
  for (auto it = running_.begin(); it != running_.end();) {
    const bool own_worker = in_user_worker(it->second.variant);
    if (own_worker && !it->second.order) {
      ++it;
      continue;
    }
    if (own_worker)
      user_->cancel(it->first);
    lost.insert(running_.extract(it++));
  }
  return lost;
}

/// Nothing begins before the model host is there again. Lanes whose batch goes on are gone with it.
void node_role::close_lanes() {
  std::set<lane_id> busy;
  for (const auto& [id, batch] : running_)
    busy.insert(batch.lane);
  const auto close = [&](lane_id lane) {
    if (busy.contains(lane))
      feed(calls::queueing::lane_retired{lane});
    else
      feed(calls::queueing::lane_closed{lane});
  };
  for (std::uint32_t lane = 1; lane <= options_.lanes; ++lane) {
    close(lane_id{lane});
    if (busy.contains(lane_id{lane}))
      kept_lanes_.insert(lane_id{lane});
  }
  for (const auto& [batch, lane] : extra_lanes_)
    close(lane);
  extra_lanes_.clear();
  extra_lane_slot_.clear();
}

/// Its batch, which outlived the model host, has ended.
void node_role::reopen(lane_id lane) {
  if (kept_lanes_.erase(lane) > 0 && worker_ready_)
    feed(calls::queueing::lane_opened{lane, functions::resource_type::cpu});
}

// -- partial results

void node_role::on_user_partial(batch_id batch, std::uint32_t item, std::vector<functions::value> outputs) {
  const round_guard r{*this};
  const auto call = call_of(batch, item);
  if (call.ok() && call->context.stream) {
    const auto& entry = running_.at(batch).entries[item];
    adopt(entry.call, outputs);
    wire::stage_partial message;
    message.call = entry.call;
    message.stage = items_.at(entry.item).stage;
    message.element = call->element;
    message.index = call->partials[{message.stage, message.element}]++;
    message.outputs = std::move(outputs);
    message.holds = blocks_.holds(entry.call);
    membership_.tell_controller(
        wire::encode(message, request_id{}, {membership_.controller_on_this_host() ? &blocks_.known() : nullptr}),
        "a partial result was not sent");
  }
  blocks_.drop_unowned();
}

/// The call behind an item of a running batch, if somebody still waits for it.
result<node_role::item_call> node_role::call_of(batch_id batch, std::uint32_t item) {
  const auto found = running_.find(batch);
  if (found == running_.end() || item >= found->second.entries.size() ||
      !items_.contains(found->second.entries[item].item))
    return {errc::cancelled, "the call that it works for has ended"};
  const auto& work = items_.at(found->second.entries[item].item);
  if (auto* const share = work.share)
    return item_call{share->context, share->deadline, share->partials, share->elements[work.element]};
  auto* const call = find_call(work.call);
  SQUALL_CHECK(call, work.call.value); // items end with their call
  return item_call{call->context, call->deadline, call->partials, work.element};
}

// -- calls from functions

void node_role::on_user_call(const worker_question& from, wire::worker::call message) {
  const round_guard r{*this};
  const auto refuse = [&](const error& why) {
    wire::worker::returned answer;
    answer.code = why.code;
    answer.message = why.message;
    // Not from inside the worker's own message.
    post_->later([this, from, answer, alive = alive_] {
      if (*alive && user_)
        user_->returned(from, answer);
    });
  };
  const auto above = call_of(message.batch, message.item);
  if (!above.ok())
    return refuse(above.error());
  const auto& context = above->context;
  if (context.depth >= max_depth)
    return refuse(
        {errc::invalid_argument, "calls from functions nest at most " + std::to_string(max_depth) + " deep", {}});
  wire::call_request request;
  request.call = call_id{mixed(parts_.instance, ++last_nested_)};
  request.target = std::move(message.target);
  request.version = message.version;
  request.inputs = std::move(message.inputs);
  request.options.priority = context.priority;
  request.options.depth = context.depth + 1;
  const auto left = above->deadline == never ? duration{0} : std::max<duration>(above->deadline - now(), duration{1});
  request.options.deadline = message.deadline > duration{0} && left > duration{0} ? std::min(message.deadline, left)
                                                                                  : std::max(message.deadline, left);
  for (auto& input : request.inputs)
    blocks_.adopt(context.call, input.value);
  blocks_.drop_unowned();
  const wire::encode_options places{membership_.controller_on_this_host() ? &blocks_.known() : nullptr};
  const auto sent = membership_.send_to_controller(wire::encode(request, request_id{3}, places));
  if (!sent.ok() && !membership_.holds()) // else the next controller is asked
    return refuse(sent.error());
  nested_call nested{from, message.batch, std::move(request), sent.ok(), never, now() + nested_patience};
  const auto id = nested.request.call;
  nested_.insert_or_assign(id, std::move(nested));
}

void node_role::on_call_result(const wire::call_result& message) {
  if (will_ask_again(message))
    return;
  wire::worker::returned answer;
  answer.code = message.outcome.code;
  answer.message = message.outcome.message;
  answer.outputs = message.outputs;
  answer_nested(message.call, std::move(answer));
  if (!message.taken_wanted)
    return;
  wire::result_taken taken;
  taken.calls.push_back(message.call); // the worker has its own copy
  membership_.tell_controller(wire::encode(taken, request_id{}), "a result was not acknowledged");
}

void node_role::answer_nested(call_id call, wire::worker::returned message) {
  const auto found = nested_.find(call);
  if (found == nested_.end())
    return; // whoever asked has ended
  const auto from = found->second.from;
  nested_.erase(found);
  if (user_)
    user_->returned(from, message);
}

/// A batch or a worker has ended: what it called and did not wait for is not wanted any more.
template <class Unwanted>
void node_role::drop_nested(const Unwanted& unwanted) {
  for (auto it = nested_.begin(); it != nested_.end();) {
    if (!unwanted(it->second)) {
      ++it;
      continue;
    }
    wire::cancel_request cancel;
    cancel.call = it->first;
    (void)membership_.send_to_controller(wire::encode(cancel, request_id{}));
    it = nested_.erase(it);
  }
}

// -- state

void node_role::on_user_state(const worker_question& from, wire::worker::state_request message) {
  const round_guard r{*this};
  const auto answer = [this, from, alive = alive_](const error* why, shared_bytes bytes) {
    wire::worker::state_reply reply;
    if (why != nullptr) {
      reply.code = why->code;
      reply.message = why->message;
    } else if (!bytes.empty()) {
      const auto size = static_cast<std::int64_t>(bytes.size());
      reply.value = {functions::tensor{functions::datatype::uint8, {size}, std::move(bytes)}};
    }
    // The store may answer from inside the question, and the worker must not be answered from inside its message.
    post_->later([this, from, reply, alive] {
      if (*alive && user_)
        user_->state_reply(from, reply);
    });
  };
  const auto* const given = message.value.as_tensor();
  const error no_store{errc::unavailable, "there is no store yet", {}};
  const error not_allowed{errc::permission_denied, "key '" + message.key + "' belongs to the system", {}};
  const error unknown{errc::unsupported, "the store does not know the operation '" + message.operation + "'", {}};
  if (!store_)
    answer(&no_store, {});
  else if (message.operation != "list" && is_own_key(message.key))
    answer(&not_allowed, {});
  else if (message.operation == "get")
    store_->get(message.key, [answer](result<shared_bytes> got) {
      got.ok() ? answer(nullptr, *std::move(got)) : answer(&got.error(), {});
    });
  else if (message.operation == "put")
    store_->put(
        message.key, given == nullptr ? shared_bytes{} : shared_bytes::copy_of(given->data.data(), given->data.size()),
        message.durable, [answer](const result<>& put) { put.ok() ? answer(nullptr, {}) : answer(&put.error(), {}); });
  else if (message.operation == "delete")
    store_->erase(message.key, [answer](const result<>& erased) {
      erased.ok() ? answer(nullptr, {}) : answer(&erased.error(), {});
    });
  else if (message.operation == "list")
    list_user_keys(from, message.key);
  else
    answer(&unknown, {});
  blocks_.drop_unowned();
}

/// The keys with a prefix, but for the system's.
void node_role::list_user_keys(const worker_question& from, const std::string& prefix) {
  store_->list(prefix, [this, from, alive = alive_](const result<std::vector<std::string>>& keys) {
    wire::worker::state_reply reply;
    if (!keys.ok()) {
      reply.code = keys.error().code;
      reply.message = keys.error().message;
    } else {
      std::vector<std::string_view> shown;
      for (const std::string& key : *keys)
        if (!is_own_key(key))
          shown.push_back(key);
      reply.value = {functions::bytes_tensor(shown)};
    }
    post_->later([this, from, reply, alive] {
      if (*alive && user_)
        user_->state_reply(from, reply);
    });
  });
}

void node_role::on_user_gone(std::uint64_t worker) {
  const round_guard r{*this};
  drop_nested([worker](const nested_call& nested) { return nested.from.worker == worker; });
}

} // namespace squall::executors
