#include "calls/binary.hpp"
#include "controller/detail/service.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace squall::controller {

namespace {

const std::string function_prefix = "catalogue/function/";
const std::string dag_prefix = "catalogue/dag/";

std::string store_key(const functions::function_spec& spec) {
  return function_prefix + spec.name + "/" + std::to_string(spec.version);
}
std::string store_key(const functions::dag_spec& spec) {
  return dag_prefix + spec.name + "/" + std::to_string(spec.version);
}

template <class Spec>
shared_bytes stored_form(const Spec& spec) {
  return shared_bytes::take(calls::to_binary(spec));
}

} // namespace

// -- reading the catalogue at the start
// ----------------------------------------------------------------------------------

void controller_service::load_catalogue() {
  // "catalogue/dag/..." sorts before "catalogue/function/...", but DAGs need their functions first: two listings.
  store_->list(function_prefix, [this](result<std::vector<std::string>> functions) {
    if (!functions) {
      log_.warn("controller", "the store does not answer: trying again", {{"error", functions.error().message}});
      return read_catalogue_later();
    }
    store_->list(dag_prefix,
                 [this, keys = std::move(functions).value()](result<std::vector<std::string>> dags) mutable {
                   if (!dags)
                     return read_catalogue_later();
                   keys.insert(keys.end(), dags->begin(), dags->end());
                   load_entries(std::move(keys));
                 });
  });
}

/// Not at once: an answer may come before the question returns, when nothing can be sent.
void controller_service::read_catalogue_later() {
  retry_catalogue_ = post_->now() + std::chrono::milliseconds{500};
  arm();
}

void controller_service::load_entries(std::vector<std::string> keys) {
  if (keys.empty())
    return recover_durable();
  // One after the other, in order: a DAG may be bound to any function before it.
  const std::string key = keys.front();
  store_->get(key, [this, keys = std::move(keys)](result<shared_bytes> bytes) mutable {
    if (bytes)
      restore_entry(keys.front(), *bytes);
    else if (bytes.error().code != errc::not_found)
      log_.error("controller", "a catalogue entry cannot be read",
                 {{"key", keys.front()}, {"error", bytes.error().message}});
    keys.erase(keys.begin());
    load_entries(std::move(keys));
  });
}

void controller_service::be_ready() {
  ready_ = true;
  if (options_.follows)
    begin_gathering();
  else
    for (const auto& [id, why] : std::exchange(unrecovered_, {}))
      end_unrecovered(id, kept_[id].owner, why);
  log_.info("controller", "ready", {{"functions", std::to_string(catalogue_.functions().size())}});
  arm();
}

void controller_service::restore_entry(const std::string& key, const shared_bytes& bytes) {
  const auto restore = [&](auto decoded) {
    if (!decoded)
      return log_.error("controller", "a catalogue entry is damaged",
                        {{"key", key}, {"error", decoded.error().message}});
    if (auto change = catalogue_.apply(std::move(decoded).value(), true))
      publish(*change);
    else
      log_.error("controller", "a catalogue entry no longer fits", {{"key", key}, {"error", change.error().message}});
  };
  if (key.starts_with(function_prefix))
    restore(calls::from_binary<functions::function_spec>(bytes.span(), key));
  else
    restore(calls::from_binary<functions::dag_spec>(bytes.span(), key));
}

// -- changes
// ---------------------------------------------------------------------------------------------------------------

template <class Spec>
void controller_service::apply_stored(const actors::incoming& from, Spec spec, bool replace, const std::string& key) {
  if (!ready_)
    return answer(from, errc::unavailable, "the controller is still reading its catalogue", {},
                  std::chrono::milliseconds{200});
  // Checked twice: before it is stored, so that nothing wrong is kept, and when it takes effect, for another change may
  // have come between.
  auto checked = catalogue_.check(spec, replace);
  if (!checked)
    return answer(from, checked.error().code, checked.error().message);
  const actors::incoming to{from.from, from.head, {}};
  shared_bytes bytes = stored_form(*checked);
  store_->put(key, std::move(bytes), true,
              [this, to, replace, spec = std::move(checked).value()](result<> stored) mutable {
                if (!stored)
                  return answer(to, stored.error().code, "the store did not take it: " + stored.error().message);
                const std::string what = "'" + spec.name + "' version " + std::to_string(spec.version);
                auto change = catalogue_.apply(std::move(spec), replace);
                if (!change)
                  return answer(to, change.error().code, change.error().message);
                publish(*change);
                answer(to, errc::ok, what + (change->empty() ? " is unchanged" : " is registered"));
              });
}

void controller_service::on_apply(const actors::incoming& from, functions::function_spec spec, bool replace) {
  const std::string key = store_key(spec);
  apply_stored(from, std::move(spec), replace, key);
}

void controller_service::on_apply(const actors::incoming& from, functions::dag_spec spec, bool replace) {
  const std::string key = store_key(spec);
  apply_stored(from, std::move(spec), replace, key);
}

void controller_service::on_remove(const actors::incoming& from, const wire::remove& message) {
  const bool function = message.kind == "function";
  if (!function && message.kind != "dag")
    return answer(from, errc::invalid_argument, "cannot delete a '" + message.kind + "': delete a function or a dag");
  // Which versions, for their keys, before they are gone.
  std::vector<std::string> keys;
  if (function) {
    for (const functions::registered_function* f : catalogue_.functions())
      if (f->spec.name == message.name && (!message.version || f->spec.version == message.version))
        keys.push_back(store_key(f->spec));
  } else {
    for (const callable* c : catalogue_.callables())
      if (!c->of_function && c->dag->spec.name == message.name &&
          (!message.version || c->dag->spec.version == message.version))
        keys.push_back(store_key(c->dag->spec));
  }
  auto change = function ? catalogue_.remove_function(message.name, message.version)
                         : catalogue_.remove_dag(message.name, message.version);
  if (!change)
    return answer(from, change.error().code, change.error().message);
  publish(*change);
  const actors::incoming to{from.from, from.head, {}};
  auto open = std::make_shared<std::size_t>(keys.size());
  for (std::string& key : keys)
    store_->erase(std::move(key), [this, to, open, name = message.name](result<> erased) {
      if (!erased)
        log_.error("controller", "a deleted entry is still in the store",
                   {{"name", name}, {"error", erased.error().message}});
      if (--*open == 0)
        answer(to, errc::ok, "'" + name + "' is deleted");
    });
}

void controller_service::publish(const catalogue_change& change) {
  for (const functions::registered_function* f : change.functions_added) {
    send_to_nodes(wire::define_function{*f});
    step(described(*f));
    recall_profiles(*f);
  }
  for (const auto& dag : change.dags_added) {
    send_to_nodes(wire::define_dag{{dag->id, dag->spec}});
    step(fact_of(*dag));
  }
  // What is applied again, or made again by a rule, has its old id again.
  for (const dag_id id : change.dags_removed)
    if (!catalogue_.find_dag(id))
      removed_dags_.insert(id);
  for (const calls::placing::function_removed& f : change.functions_removed)
    if (!catalogue_.find_function(f.id))
      removed_functions_.insert_or_assign(f.id, f);
  for (const auto& dag : change.dags_added)
    removed_dags_.erase(dag->id);
  for (const functions::registered_function* f : change.functions_added)
    removed_functions_.erase(f->id);
  forget_unused();
}

/// The scheduler and the nodes forget what no call uses any more, also none that the scheduler has yet to hear of.
/// Functions go when no removed DAG is left that could use them.
void controller_service::forget_unused() {
  std::vector<dag_id> unused;
  std::copy_if(removed_dags_.begin(), removed_dags_.end(), std::back_inserter(unused),
               [this](dag_id id) { return !running_of_dag_.contains(id); });
  for (const dag_id id : unused) {
    removed_dags_.erase(id);
    step(calls::placing::dag_removed{id});
    send_to_nodes(wire::forget_dag{id});
  }
  if (!removed_dags_.empty())
    return;
  for (const auto& [id, fact] : std::exchange(removed_functions_, {})) {
    step(fact);
    for (const variant_id v : fact.variants)
      profiles_.forget(v);
    send_to_nodes(wire::forget_function{id});
  }
}

} // namespace squall::controller
