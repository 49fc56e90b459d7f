#include "controller/durable.hpp"

#include "calls/binary.hpp"
#include "controller/detail/service.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

/// Calls that outlive the controller. They are in the store before they are offered to the scheduler, and so are their
/// results before their clients hear of them; a result is erased when its client has taken it. Who takes over runs
/// again what had not ended.
namespace squall::controller {

std::string durable_key(call_id call) { return durable_prefix + to_string(call); }

call_id durable_call(const std::string& key) {
  const std::string_view prefix{durable_prefix};
  std::uint64_t number = 0;
  const char* const end = key.data() + key.size();
  if (!key.starts_with(prefix))
    return {};
  const auto [rest, failure] = std::from_chars(key.data() + prefix.size(), end, number);
  return failure == std::errc{} && rest == end ? call_id{number} : call_id{};
}

functions::value owned(const functions::value& value) {
  if (const auto* tensor = value.as_tensor())
    return {functions::tensor{tensor->type, tensor->shape, shared_bytes::copy_of(tensor->data.text())}};
  functions::value out;
  if (const auto* list = value.as_list()) {
    functions::value_list& copies = out.data.emplace<functions::value_list>();
    copies.reserve(list->size());
    for (const functions::value& element : *list)
      copies.push_back(owned(element));
  }
  return out;
}

/// Writes the call down and offers it then.
void controller_service::keep_and_offer(running_call& call, const wire::call_request& request,
                                        const calls::placing::event& offer) {
  durable_record record;
  record.owner = call.owner;
  record.target = request.target;
  record.version = request.version;
  record.options = request.options;
  for (std::size_t i = 0; i < call.inputs.size(); ++i) {
    call.inputs[i] = owned(call.inputs[i]);
    if (!call.inputs[i].absent())
      record.inputs.push_back({call.dag->spec.inputs[i].name, call.inputs[i]});
  }
  call.durable = true;
  call.answer_to = {};
  call.client_host = 0;
  const call_id id = call.id;
  store_->put(
      durable_key(id), shared_bytes::take(calls::to_binary(record)), true, [this, id, offer](const result<>& stored) {
        running_call* kept = calls_.find(id);
        if (!kept) // withdrawn meanwhile
          return erase_durable(id);
        if (stored.ok())
          return step(offer);
        end_without_result(id, stored.error().code, "the call was not written down: " + stored.error().message,
                           stored.error().code == errc::unavailable ? std::chrono::milliseconds{500} : duration{0});
      });
}

/// The end of a durable call: its client hears of it when the store has it. One that was never admitted needs no trace.
void controller_service::end_durable(running_call& call, wire::call_result message) {
  if (!call.admitted) {
    erase_durable(call.known_as());
    call.durable = false;
    return send_result(call, std::move(message));
  }
  settle_promise(call, message.outcome);
  durable_record record;
  record.owner = call.owner;
  record.ended = true;
  record.outcome = message.outcome;
  for (wire::wire_value& output : message.outputs) {
    output.value = owned(output.value);
    record.outputs.push_back({output.name, output.value});
  }
  message.taken_wanted = true;
  const call_id id = message.call;
  kept_result& kept = keep_result(id, call.owner);
  kept.client = call.client;
  kept.request = call.request;
  end_of(call, std::move(message.outcome));
  message.outcome = record.outcome;
  store_->put(durable_key(id), shared_bytes::take(calls::to_binary(record)), true,
              [this, message = std::move(message)](const result<>& stored) {
                if (!stored.ok())
                  log_.error("controller", "the result of a durable call was not written down",
                             {{"call", to_string(message.call)}, {"error", stored.error().message}});
                // Whoever leads now has the call, too, and will answer.
                if (stored.ok() || stored.error().code != errc::permission_denied)
                  deliver_kept(message);
              });
}

controller_service::kept_result& controller_service::keep_result(call_id id, client_id owner) {
  if (kept_.size() >= max_durable_kept) {
    const auto oldest = std::min_element(kept_.begin(), kept_.end(),
                                         [](const auto& a, const auto& b) { return a.second.until < b.second.until; });
    erase_durable(oldest->first);
    kept_.erase(oldest);
  }
  kept_result& kept = kept_[id];
  kept.owner = owner;
  kept.until = post_->now() + durable_kept;
  return kept;
}

void controller_service::deliver_kept(const wire::call_result& message) {
  const auto kept = kept_.find(message.call);
  if (kept == kept_.end())
    return;
  kept->second.stored = true;
  if (!clients_.contains(kept->second.client))
    return; // it may ask again
  if (auto sent = post_->send(kept->second.client,
                              wire::encode(message, kept->second.request, {}, role_of(kept->second.client)));
      !sent)
    log_.warn("controller", "a result could not be delivered; it is kept",
              {{"call", to_string(message.call)}, {"error", sent.error().message}});
}

/// A client asks again for a call that has ended. False: it is not known here.
bool controller_service::answer_from_kept(const actors::incoming& from, call_id id) {
  const auto kept = kept_.find(id);
  const auto client = clients_.find(from.from);
  if (kept == kept_.end() || client == clients_.end() || client->second.id != kept->second.owner)
    return false;
  kept->second.client = from.from;
  kept->second.request = from.head.request;
  if (!kept->second.stored)
    return true; // it is on its way to the store, and then to the client
  store_->get(durable_key(id), [this, id](const result<shared_bytes>& bytes) {
    wire::call_result message;
    message.call = id;
    auto record = bytes ? calls::from_binary<durable_record>(bytes->span(), durable_key(id)) : bytes.error();
    if (!record) {
      message.outcome.code = record.error().code;
      message.outcome.message = "the result of the call cannot be read: " + record.error().message;
      return deliver_kept(message);
    }
    message.outcome = std::move(record->outcome);
    for (functions::named_value& output : record->outputs)
      message.outputs.push_back({std::move(output.name), std::move(output.value)});
    message.taken_wanted = true;
    deliver_kept(message);
  });
  return true;
}

void controller_service::forget_kept(actors::peer_id client, call_id id) {
  const auto kept = kept_.find(id);
  if (kept == kept_.end() || kept->second.client != client)
    return;
  kept_.erase(kept);
  erase_durable(id);
}

void controller_service::expire_kept() {
  for (auto kept = kept_.begin(); kept != kept_.end();) {
    if (kept->second.until > post_->now()) {
      ++kept;
      continue;
    }
    erase_durable(kept->first);
    kept = kept_.erase(kept);
  }
}

void controller_service::erase_durable(call_id id) {
  store_->erase(durable_key(id), [this, id](const result<>& erased) {
    if (!erased.ok())
      log_.warn("controller", "a durable call that is over is still in the store",
                {{"call", to_string(id)}, {"error", erased.error().message}});
  });
}

// -- taking over
// -----------------------------------------------------------------------------------------------------------------

/// After the catalogue: what the last controller had promised to keep.
void controller_service::recover_durable() {
  store_->list(durable_prefix, [this](result<std::vector<std::string>> keys) {
    if (!keys) {
      log_.warn("controller", "the store does not answer: trying again", {{"error", keys.error().message}});
      return read_catalogue_later();
    }
    recover_entries(std::move(keys).value());
  });
}

void controller_service::recover_entries(std::vector<std::string> keys) {
  if (keys.empty())
    return be_ready();
  const std::string key = keys.back();
  store_->get(key, [this, keys = std::move(keys)](const result<shared_bytes>& bytes) mutable {
    const std::string key = std::move(keys.back());
    keys.pop_back();
    if (!bytes && bytes.error().code == errc::unavailable)
      return read_catalogue_later();
    auto record = bytes ? calls::from_binary<durable_record>(bytes->span(), key) : bytes.error();
    if (record)
      recover(durable_call(key), std::move(record).value());
    else if (record.error().code != errc::not_found)
      log_.error("controller", "a durable call cannot be read", {{"key", key}, {"error", record.error().message}});
    recover_entries(std::move(keys));
  });
}

void controller_service::recover(call_id id, durable_record record) {
  if (!id || kept_.contains(id) || calls_.find_known_as(id))
    return;
  if (record.ended) {
    keep_result(id, record.owner).stored = true;
    return;
  }
  wire::call_request request;
  request.call = id;
  request.target = std::move(record.target);
  request.version = record.version;
  request.options = std::move(record.options);
  auto dag = dag_of(request);
  auto inputs = dag ? functions::bind_inputs(request.target, (*dag)->spec.inputs, std::move(record.inputs))
                    : result<std::vector<functions::value>>{dag.error()};
  running_call call;
  if (dag)
    call = bare_call(request, *dag);
  call.id = id;
  call.owner = record.owner;
  call.durable = call.admitted = true;
  if (!inputs)
    return end_unrecovered(id, record.owner, inputs.error());
  if (!call.repeatable) {
    // It ends with this when all nodes have said what they hold, and none goes on with it.
    keep_result(id, record.owner);
    unrecovered_.insert_or_assign(
        id, error{errc::unavailable,
                  "the controller was lost while the call ran: it may have run or not, and is not run again, as it "
                  "calls a function that is not declared repeatable",
                  {}});
    return;
  }
  call.inputs = std::move(inputs).value();
  for (const functions::value& input : call.inputs)
    call.bytes += input.byte_size();
  call.batch = widest_batch(*call.dag);
  call.setback = "the controller was lost while it ran";
  begin_anew(call);
  calls_.alias(call.origin, call.id);
  flow_.begin(call.owner, call.bytes);
  ++running_of_dag_[call.dag->id];
  log_.info("controller", "a durable call is run again", {{"call", to_string(id)}});
  waiting_for_node_.push_back(call.id);
  calls_.add(std::move(call));
}

void controller_service::end_unrecovered(call_id id, client_id owner, const error& why) {
  durable_record record;
  record.owner = owner;
  record.ended = true;
  record.outcome.code = why.code;
  record.outcome.message = why.message;
  keep_result(id, owner);
  store_->put(durable_key(id), shared_bytes::take(calls::to_binary(record)), true, [this, id](const result<>& stored) {
    const auto kept = kept_.find(id);
    if (kept == kept_.end())
      return;
    kept->second.stored = true;
    if (!stored.ok())
      log_.warn("controller", "the end of a durable call was not written down",
                {{"call", to_string(id)}, {"error", stored.error().message}});
  });
}

} // namespace squall::controller
