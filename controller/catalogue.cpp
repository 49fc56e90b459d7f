#include "controller/catalogue.hpp"

#include "base/nearest.hpp"
#include "functions/builtin/builtin.hpp"

#include <algorithm>
#include <limits>
#include <set>

namespace squall::controller {

namespace {

constexpr std::uint32_t any_version = 0;

/// The entry of a name and version in a map keyed by both; version 0 finds the latest.
template <class Map>
auto find_version(Map& map, std::string_view name, std::uint32_t version) {
  if (version != any_version)
    return map.find({std::string{name}, version});
  auto it = map.upper_bound({std::string{name}, std::numeric_limits<std::uint32_t>::max()});
  if (it == map.begin())
    return map.end();
  --it;
  return it->first.first == name ? it : map.end();
}

std::string label(std::string_view name, std::uint32_t version) {
  return "'" + std::string{name} + "' version " + std::to_string(version);
}

bool uses(const functions::dag& dag, function_id function) {
  return std::any_of(dag.stages.begin(), dag.stages.end(),
                     [&](const functions::stage& s) { return s.function == function; });
}

} // namespace

functions::function_lookup catalogue::lookup() const {
  return [this](std::string_view name, std::uint32_t version) { return find_function(name, version); };
}

const functions::registered_function* catalogue::find_function(std::string_view name, std::uint32_t version) const {
  const auto it = find_version(functions_, name, version);
  return it == functions_.end() ? nullptr : &it->second;
}

const functions::registered_function* catalogue::find_function(function_id id) const {
  for (const auto& [key, function] : functions_)
    if (function.id == id)
      return &function;
  return nullptr;
}

const callable* catalogue::find_callable(std::string_view name, std::uint32_t version) const {
  if (const auto it = find_version(dags_, name, version); it != dags_.end())
    return &it->second;
  const auto it = find_version(function_dags_, name, version);
  return it == function_dags_.end() ? nullptr : &it->second;
}

std::vector<const functions::registered_function*> catalogue::functions() const {
  std::vector<const functions::registered_function*> out;
  for (const auto& [key, function] : functions_)
    out.push_back(&function);
  return out;
}

std::vector<const callable*> catalogue::callables() const {
  std::vector<const callable*> out;
  for (const auto& [key, entry] : dags_)
    out.push_back(&entry);
  for (const auto& [key, entry] : function_dags_)
    out.push_back(&entry);
  return out;
}

std::string catalogue::nearest(std::string_view name) const {
  std::vector<std::string_view> names;
  for (const callable* c : callables())
    names.push_back(c->dag->spec.name);
  return std::string{squall::nearest(name, names)};
}

result<functions::function_spec> catalogue::check(functions::function_spec given, bool replace) const {
  SQUALL_ASSIGN(spec, functions::builtins::complete(std::move(given)));
  SQUALL_TRY(functions::validate(spec));
  const auto it = functions_.find({spec.name, spec.version});
  if (it == functions_.end() || it->second.spec == spec)
    return spec;
  if (!replace)
    return error{errc::already_exists,
                 "function " + label(spec.name, spec.version) +
                     " exists with another spec; give it another version, or replace it",
                 {}};
  // The DAGs that use it must still fit.
  functions::registered_function replaced{it->second.id, spec, {}};
  replaced.variants.resize(spec.variants.size());
  const auto with_replacement = [&](std::string_view name, std::uint32_t version) {
    const auto* found = find_function(name, version);
    return found == &it->second ? &replaced : found;
  };
  for (const auto& [key, entry] : dags_) {
    if (!uses(*entry.dag, it->second.id))
      continue;
    if (auto compiled = functions::compile(entry.dag->spec, entry.dag->id, with_replacement); !compiled)
      return error{errc::invalid_argument,
                   "function " + label(spec.name, spec.version) + " cannot be replaced so: " + compiled.error().message,
                   {}};
  }
  return spec;
}

result<functions::dag_spec> catalogue::pin_versions(functions::dag_spec spec) const {
  for (functions::stage_spec& stage : spec.stages) {
    if (stage.version != any_version)
      continue;
    if (const auto* function = find_function(stage.function, any_version))
      stage.version = function->spec.version;
  }
  return spec;
}

result<functions::dag_spec> catalogue::check(functions::dag_spec spec, bool replace) const {
  SQUALL_ASSIGN(pinned, pin_versions(std::move(spec)));
  SQUALL_TRY(functions::compile(pinned, dag_id{1}, lookup()));
  const auto it = dags_.find({pinned.name, pinned.version});
  if (it != dags_.end() && !(it->second.dag->spec == pinned) && !replace)
    return error{errc::already_exists,
                 "DAG " + label(pinned.name, pinned.version) +
                     " exists with another spec; give it another version, or replace it",
                 {}};
  return pinned;
}

result<catalogue_change> catalogue::apply(functions::function_spec spec, bool replace) {
  SQUALL_ASSIGN(checked, check(std::move(spec), replace));
  catalogue_change change;
  const key at{checked.name, checked.version};
  const auto old = functions_.find(at);
  if (old != functions_.end() && old->second.spec == checked)
    return change;
  const function_id old_id = old == functions_.end() ? function_id{} : old->second.id;
  functions::registered_function fresh{function_id{++last_function_}, std::move(checked), {}};
  for (std::size_t i = 0; i < fresh.spec.variants.size(); ++i)
    fresh.variants.push_back(variant_id{++last_variant_});
  functions_[at] = std::move(fresh);
  const functions::registered_function& function = functions_[at];
  change.functions_added.push_back(&function);
  if (old_id) {
    change.functions_removed.push_back(old_id);
    for (auto& [name, entry] : dags_) {
      if (!uses(*entry.dag, old_id))
        continue;
      change.dags_removed.push_back(entry.dag->id);
      SQUALL_ASSIGN(again, functions::compile(entry.dag->spec, dag_id{++last_dag_}, lookup()));
      entry.dag = std::move(again);
      change.dags_added.push_back(entry.dag);
    }
  }
  callable& single = function_dags_[at];
  if (single.dag)
    change.dags_removed.push_back(single.dag->id);
  SQUALL_ASSIGN(compiled, functions::compile(functions::dag_of_function(function.spec), dag_id{++last_dag_}, lookup()));
  single = {std::move(compiled), true};
  change.dags_added.push_back(single.dag);
  return change;
}

result<catalogue_change> catalogue::apply(functions::dag_spec spec, bool replace) {
  SQUALL_ASSIGN(checked, check(std::move(spec), replace));
  catalogue_change change;
  const key at{checked.name, checked.version};
  const auto old = dags_.find(at);
  if (old != dags_.end() && old->second.dag->spec == checked)
    return change;
  SQUALL_ASSIGN(compiled, functions::compile(checked, dag_id{++last_dag_}, lookup()));
  if (old != dags_.end())
    change.dags_removed.push_back(old->second.dag->id);
  dags_[at] = {std::move(compiled), false};
  change.dags_added.push_back(dags_[at].dag);
  return change;
}

void catalogue::erase_function(std::map<key, functions::registered_function>::iterator it, catalogue_change& change) {
  change.functions_removed.push_back(it->second.id);
  if (const auto single = function_dags_.find(it->first); single != function_dags_.end()) {
    change.dags_removed.push_back(single->second.dag->id);
    function_dags_.erase(single);
  }
  functions_.erase(it);
}

result<catalogue_change> catalogue::remove_function(std::string_view name, std::uint32_t version) {
  std::vector<key> doomed;
  for (const auto& [at, function] : functions_) {
    if (at.first != name || (version != any_version && at.second != version))
      continue;
    for (const auto& [dag_name, entry] : dags_)
      if (uses(*entry.dag, function.id))
        return error{errc::invalid_argument,
                     "function " + label(name, at.second) + " is used by DAG " +
                         label(dag_name.first, dag_name.second) + "; delete that first",
                     {}};
    doomed.push_back(at);
  }
  if (doomed.empty())
    return error{
        errc::not_found,
        "there is no function '" + std::string{name} + "'" + (version ? " version " + std::to_string(version) : ""),
        {}};
  catalogue_change change;
  for (const key& at : doomed)
    erase_function(functions_.find(at), change);
  return change;
}

result<catalogue_change> catalogue::remove_dag(std::string_view name, std::uint32_t version) {
  catalogue_change change;
  for (auto it = dags_.begin(); it != dags_.end();) {
    if (it->first.first == name && (version == any_version || it->first.second == version)) {
      change.dags_removed.push_back(it->second.dag->id);
      it = dags_.erase(it);
    } else {
      ++it;
    }
  }
  if (change.dags_removed.empty())
    return error{errc::not_found,
                 "there is no DAG '" + std::string{name} + "'" + (version ? " version " + std::to_string(version) : ""),
                 {}};
  return change;
}

calls::placing::function_registered fact_of(const functions::registered_function& function) {
  calls::placing::function_registered fact{function.id, !function.spec.state.empty(), {}};
  for (std::size_t i = 0; i < function.spec.variants.size(); ++i) {
    const functions::variant_spec& v = function.spec.variants[i];
    calls::placing::variant_info& info = fact.variants.emplace_back();
    info.id = function.variants[i];
    info.resource = v.resource;
    info.max_batch = v.max_batch;
    info.memory_bytes = v.memory_bytes;
  }
  return fact;
}

calls::placing::dag_registered fact_of(const functions::dag& dag) {
  calls::placing::dag_registered fact{dag.id, {}};
  for (const functions::stage& s : dag.stages) {
    calls::placing::stage_info& info = fact.stages.emplace_back();
    info.function = s.function;
    info.variants = s.variants;
    info.producers = s.producers;
    info.map = s.map;
    info.width_max = s.map ? s.width_max : 1;
    info.conditional = s.when.has_value();
  }
  return fact;
}

} // namespace squall::controller
