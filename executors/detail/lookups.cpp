#include "executors/detail/service.hpp"

#include <algorithm>
#include <charconv>

/// Stages that read objects of the store by keys in their inputs (builtins with `keys`): the objects come before the
/// stage is launched, through the node's cache.
namespace squall::executors {

namespace {

namespace builtins = functions::builtins;

/// How old what the cache knows of an object may be.
duration max_age_of(const functions::variant_spec& spec) {
  const auto given = spec.parameters.find(std::string{builtins::max_age_parameter});
  std::int64_t milliseconds = builtins::default_max_age_ms;
  if (given != spec.parameters.end())
    std::from_chars(given->second.data(), given->second.data() + given->second.size(), milliseconds);
  return std::chrono::milliseconds{milliseconds};
}

std::optional<std::uint32_t> port_of(const functions::registered_function& function) {
  const auto& ports = function.spec.inputs;
  const auto found =
      std::find_if(ports.begin(), ports.end(), [](const auto& p) { return p.name == builtins::objects_port; });
  if (found == ports.end())
    return std::nullopt;
  return static_cast<std::uint32_t>(found - ports.begin());
}

} // namespace

bool node_role::needs_objects(const call_record& call, stage_index stage) {
  const auto* const variant = catalogue_.variant(call.context.plan.stages[stage].variant);
  return variant && variant->reads_objects && !call.flow.provided(stage) &&
         port_of(*call.flow.graph().stages[stage].function);
}

void node_role::look_up(call_record& call, const flow::ready_stage& ready) {
  const auto stage = ready.stage;
  const auto& variant = *catalogue_.variant(call.context.plan.stages[stage].variant);
  const auto& spec = variant.spec();
  lookup l{call.context.call, ready, *port_of(*call.flow.graph().stages[stage].function), {}, {}, 0};
  std::vector<std::string> all;
  for (const auto element : ready.elements) {
    auto keys = builtins::keys_of(*variant.reads_objects, spec.parameters, call.flow.inputs_of(stage, element));
    if (!keys.ok()) {
      call.flow.fail(stage, element, keys.error());
      continue;
    }
    l.first.push_back(all.size());
    std::move(keys->begin(), keys->end(), std::back_inserter(all));
  }
  if (l.first.size() < ready.elements.size())
    std::erase_if(l.ready.elements, [&](auto e) { return !call.flow.running(stage, e); });
  if (l.ready.elements.empty())
    return;
  if (!store_)
    return call.flow.abort(stage, {errc::unavailable, "there is no store yet to look keys up in", {}});
  const auto id = ++last_lookup_;
  l.objects.resize(all.size());
  l.missing = all.size() + 1; // one for this function: answers may come at once
  lookups_.emplace(id, std::move(l));
  const auto max_age = max_age_of(spec);
  for (std::size_t place = 0; place < all.size(); ++place)
    objects_.fetch(*store_, all[place], now(), max_age, [this, id, place](const result<shared_bytes>& object) {
      const round_guard r{*this};
      object_found(id, place, object);
    });
  lookup_part_done(id);
}

void node_role::object_found(std::uint64_t id, std::size_t place, const result<shared_bytes>& object) {
  const auto found = lookups_.find(id);
  if (found == lookups_.end())
    return; // an earlier object could not be read
  auto& l = found->second;
  if (object.ok()) {
    l.objects[place].data =
        functions::tensor{functions::datatype::uint8, {static_cast<std::int64_t>(object->size())}, *object};
  } else if (object.error().code != errc::not_found) {
    const auto gone = std::move(l);
    lookups_.erase(found);
    if (auto* const call = find_call(gone.call)) {
      call->flow.abort(gone.ready.stage,
                       {object.error().code, "an object was not read: " + object.error().message, {}});
      touched_.push_back(gone.call);
    }
    return;
  }
  lookup_part_done(id);
}

/// With the last part the stage is launched anew, and finds its objects.
void node_role::lookup_part_done(std::uint64_t id) {
  const auto found = lookups_.find(id);
  if (found == lookups_.end() || --found->second.missing > 0)
    return;
  auto l = std::move(found->second);
  lookups_.erase(found);
  auto* const call = find_call(l.call);
  if (!call || !call->flow.open_trace(l.ready.stage))
    return; // it ended, or the stage was cancelled
  keep(l.call, l.objects);
  l.first.push_back(l.objects.size());
  for (std::size_t i = 0; i < l.ready.elements.size(); ++i) {
    functions::value_list row{l.objects.begin() + static_cast<std::ptrdiff_t>(l.first[i]),
                              l.objects.begin() + static_cast<std::ptrdiff_t>(l.first[i + 1])};
    call->flow.provide(l.ready.stage, l.ready.elements[i], l.port, {std::move(row)});
  }
  call->put_off.push_back(std::move(l.ready));
  put_off_.push_back(l.call);
}

} // namespace squall::executors
