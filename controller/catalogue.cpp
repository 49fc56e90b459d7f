#include "controller/catalogue.hpp"

#include "base/hash.hpp"
#include "base/mix.hpp"
#include "base/nearest.hpp"
#include "calls/binary.hpp"
#include "functions/builtin/builtin.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>

namespace squall::controller {

namespace {

constexpr std::uint32_t any_version = 0;

/// The entry of a name and version in a map keyed by both; version 0 finds the latest.
template <class Map>
auto find_version(Map& map, std::string_view name, std::uint32_t version) {
  if (version != any_version)
    return map.find(std::pair{name, version});
  auto it = map.upper_bound(std::pair{name, std::numeric_limits<std::uint32_t>::max()});
  if (it == map.begin())
    return map.end();
  --it;
  return it->first.first == name ? it : map.end();
}

std::string label(std::string_view name, std::uint32_t version) {
  return "'" + std::string{name} + "' version " + std::to_string(version);
}

/// A DAG names its functions with their versions.
bool uses(const callable& dag, const functions::function_spec& function) {
  return std::any_of(dag.spec.stages.begin(), dag.spec.stages.end(), [&](const functions::stage_spec& s) {
    return s.function == function.name && s.version == function.version;
  });
}

/// What the rules ask about builtins. Those that only rules use, and those that read the store, stay by themselves.
std::optional<functions::builtin_facts> facts_of(const functions::variant_spec& variant) {
  const auto* const b =
      variant.kind == functions::variant_kind::builtin ? functions::builtins::find(variant.target) : nullptr;
  if (!b)
    return std::nullopt;
  functions::builtin_facts facts;
  facts.light = b->light && !b->foreign_bytes;
  facts.fusible = !b->keys && !b->hands_on && !b->name.starts_with("fused");
  if (const auto resources = functions::builtins::resources_of(*b, variant.parameters); resources.ok())
    for (const auto& r : *resources)
      facts.resources.push_back(r.parameter);
  return facts;
}

calls::placing::function_removed removal_of(const functions::registered_function& function) {
  return {function.id, function.variants};
}

/// Numbers that every reader of JSON keeps whole.
constexpr std::uint64_t id_mask = (std::uint64_t{1} << 52) - 1;

std::uint64_t mixed(std::uint64_t content, std::uint64_t with) {
  return std::max<std::uint64_t>(mixed_bits(content + with * 0x9e3779b97f4a7c15ULL) & id_mask, 1);
}

std::uint64_t id_of(const std::vector<std::byte>& content, std::uint64_t kind) {
  fnv1a hash;
  hash.add(content);
  return mixed(hash.value(), kind + 1);
}

} // namespace

/// Its id follows from the spec, from the functions that it is bound to, and from what it is made for.
result<std::shared_ptr<const functions::dag>> catalogue::compiled_dag(const functions::dag_spec& spec,
                                                                      std::uint64_t kind) const {
  std::uint64_t id = id_of(calls::to_binary(spec), kind);
  for (const functions::stage_spec& stage : spec.stages)
    if (const auto* function = find_function(stage.function, stage.version))
      id = mixed(id, function->id.value);
  return functions::compile(spec, dag_id{id}, lookup());
}

std::shared_ptr<const functions::dag> catalogue::find_dag(dag_id id) const {
  for (const auto* entries : {&dags_, &function_dags_})
    for (const auto& [at, entry] : *entries)
      if (entry.dag && entry.dag->id == id)
        return entry.dag;
  for (const auto& [parts, sequel] : sequels_)
    if (sequel.dag->id == id)
      return sequel.dag;
  return nullptr;
}

functions::function_lookup catalogue::lookup() const {
  return [this](std::string_view name, std::uint32_t version) { return find_function(name, version); };
}

const functions::registered_function* catalogue::find_function(std::string_view name, std::uint32_t version) const {
  const auto it = find_version(functions_, name, version);
  return it == functions_.end() ? nullptr : &it->second;
}

const functions::registered_function* catalogue::find_function(function_id id) const {
  const auto it = functions_by_id_.find(id);
  return it == functions_by_id_.end() ? nullptr : it->second;
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

result<> catalogue::check_not_generated(const key& function) const {
  for (const auto& [dag, functions] : generated_)
    if (std::find(functions.begin(), functions.end(), function) != functions.end())
      return {errc::invalid_argument, "function " + label(function.first, function.second) + " belongs to DAG " +
                                          label(dag.first, dag.second) +
                                          ", whose rules made it; choose another name, or change the DAG"};
  return {};
}

result<functions::function_spec> catalogue::check(functions::function_spec given, bool replace) const {
  SQUALL_ASSIGN(spec, functions::builtins::complete(std::move(given)));
  SQUALL_TRY(functions::validate(spec));
  SQUALL_TRY(check_not_generated({spec.name, spec.version}));
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
    if (!uses(entry, it->second.spec))
      continue;
    if (auto fits = rewritten(entry.spec, with_replacement); !fits)
      return error{errc::invalid_argument,
                   "function " + label(spec.name, spec.version) + " cannot be replaced so: " + fits.error().message,
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

result<functions::rewritten_dag> catalogue::rewritten(const functions::dag_spec& spec,
                                                      const functions::function_lookup& lookup) {
  SQUALL_ASSIGN(out, functions::rewrite(spec, lookup, facts_of));
  std::map<std::string, functions::registered_function, std::less<>> made;
  for (const auto& f : out.functions) {
    SQUALL_TRY(functions::validate(f));
    auto& entry = made[f.name];
    entry = {function_id{}, f, std::vector<variant_id>(f.variants.size())};
  }
  const auto with_made = [&](std::string_view name, std::uint32_t version) {
    const auto found = made.find(name);
    return found != made.end() && found->second.spec.version == version ? &found->second : lookup(name, version);
  };
  SQUALL_TRY(functions::compile(out.spec, dag_id{1}, with_made));
  return out;
}

result<functions::dag_spec> catalogue::check(functions::dag_spec spec, bool replace) const {
  SQUALL_ASSIGN(pinned, pin_versions(std::move(spec)));
  SQUALL_ASSIGN(after, rewritten(pinned, lookup()));
  const key at{pinned.name, pinned.version};
  const auto own = generated_.find(at);
  for (const auto& f : after.functions) {
    const key made{f.name, f.version};
    const bool known =
        own != generated_.end() && std::find(own->second.begin(), own->second.end(), made) != own->second.end();
    if (!known && functions_.contains(made))
      return error{errc::already_exists,
                   "the rules of DAG " + label(pinned.name, pinned.version) + " make a function " +
                       label(f.name, f.version) + ", but there is one; rename that, or a stage",
                   {}};
  }
  const auto it = dags_.find(at);
  if (it != dags_.end() && !(it->second.spec == pinned) && !replace)
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
  const calls::placing::function_removed replaced =
      old == functions_.end() ? calls::placing::function_removed{} : removal_of(old->second);
  const functions::registered_function& function = add(std::move(checked));
  change.functions_added.push_back(&function);
  if (replaced.id) {
    change.functions_removed.push_back(replaced);
    for (auto& [name, entry] : dags_)
      if (uses(entry, function.spec))
        SQUALL_TRY(bind(entry, change));
  }
  callable& single = function_dags_[at];
  if (single.dag)
    change.dags_removed.push_back(single.dag->id);
  SQUALL_ASSIGN(compiled, compiled_dag(functions::dag_of_function(function.spec), 1));
  single = {std::move(compiled), true, {}};
  single.spec = single.dag->spec;
  change.dags_added.push_back(single.dag);
  drop_sequels(change);
  return change;
}

/// In the place of what has this name and version, under ids of its own.
functions::registered_function& catalogue::add(functions::function_spec spec) {
  auto& entry = functions_[{spec.name, spec.version}];
  functions_by_id_.erase(entry.id);
  const std::uint64_t content = id_of(calls::to_binary(spec), 0);
  entry = {function_id{content}, std::move(spec), {}};
  for (std::size_t i = 0; i < entry.spec.variants.size(); ++i)
    entry.variants.push_back(variant_id{mixed(content, i + 1)});
  functions_by_id_[entry.id] = &entry;
  return entry;
}

void catalogue::erase(by_version<functions::registered_function>::iterator it, catalogue_change& change) {
  change.functions_removed.push_back(removal_of(it->second));
  functions_by_id_.erase(it->second.id);
  functions_.erase(it);
}

/// Makes the DAG of an entry anew, with the functions of its rules.
result<> catalogue::bind(callable& entry, catalogue_change& change) {
  const key at{entry.spec.name, entry.spec.version};
  SQUALL_ASSIGN(after, rewritten(entry.spec, lookup()));
  drop_generated(at, change);
  for (auto& f : after.functions) {
    generated_[at].emplace_back(f.name, f.version);
    change.functions_added.push_back(&add(std::move(f)));
  }
  SQUALL_ASSIGN(compiled, compiled_dag(after.spec, 2));
  if (entry.dag)
    change.dags_removed.push_back(entry.dag->id);
  entry.dag = std::move(compiled);
  change.dags_added.push_back(entry.dag);
  return {};
}

void catalogue::drop_generated(const key& dag, catalogue_change& change) {
  const auto generated = generated_.extract(dag);
  if (generated.empty())
    return;
  for (const key& at : generated.mapped())
    erase(functions_.find(at), change);
}

result<catalogue_change> catalogue::apply(functions::dag_spec spec, bool replace) {
  SQUALL_ASSIGN(checked, check(std::move(spec), replace));
  catalogue_change change;
  const key at{checked.name, checked.version};
  const auto old = dags_.find(at);
  if (old != dags_.end() && old->second.spec == checked)
    return change;
  callable& entry = dags_[at];
  entry.spec = std::move(checked);
  SQUALL_TRY(bind(entry, change));
  drop_sequels(change);
  return change;
}

void catalogue::erase_function(by_version<functions::registered_function>::iterator it, catalogue_change& change) {
  if (const auto single = function_dags_.find(it->first); single != function_dags_.end()) {
    change.dags_removed.push_back(single->second.dag->id);
    function_dags_.erase(single);
  }
  erase(it, change);
}

result<catalogue_change> catalogue::remove_function(std::string_view name, std::uint32_t version) {
  std::vector<key> doomed;
  for (const auto& [at, function] : functions_) {
    if (at.first != name || (version != any_version && at.second != version))
      continue;
    SQUALL_TRY(check_not_generated(at));
    for (const auto& [dag_name, entry] : dags_)
      if (uses(entry, function.spec))
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
  drop_sequels(change);
  return change;
}

result<catalogue_change> catalogue::remove_dag(std::string_view name, std::uint32_t version) {
  catalogue_change change;
  for (auto it = dags_.begin(); it != dags_.end();) {
    if (it->first.first == name && (version == any_version || it->first.second == version)) {
      change.dags_removed.push_back(it->second.dag->id);
      drop_generated(it->first, change);
      it = dags_.erase(it);
    } else {
      ++it;
    }
  }
  if (change.dags_removed.empty())
    return error{errc::not_found,
                 "there is no DAG '" + std::string{name} + "'" + (version ? " version " + std::to_string(version) : ""),
                 {}};
  drop_sequels(change);
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
    info.best_effort = s.join.best_effort() ? s.join.count : 0;
    if (s.join.rule == functions::join_rule::kind::all)
      for (const functions::resolved_input& input : s.inputs)
        if (input.bound && input.required && input.source.from == functions::binding::source::stage_output)
          info.needs.push_back(input.source.stage);
    std::sort(info.needs.begin(), info.needs.end());
    info.needs.erase(std::unique(info.needs.begin(), info.needs.end()), info.needs.end());
  }
  return fact;
}

std::string with_stage_names(std::string text, const functions::dag& dag) {
  constexpr std::string_view mark = "stage #";
  for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) {
    std::size_t number = 0;
    const char* digits = text.data() + at + mark.size();
    const auto [end, code] = std::from_chars(digits, text.data() + text.size(), number);
    if (code == std::errc{} && number < dag.stages.size())
      text.replace(at, static_cast<std::size_t>(end - text.data()) - at, "stage '" + dag.stages[number].name + "'");
  }
  return text;
}

} // namespace squall::controller
