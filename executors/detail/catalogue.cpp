#include "executors/detail/catalogue.hpp"

#include <algorithm>

namespace squall::executors {

namespace {

using functions::registered_function;
namespace builtins = functions::builtins;

std::unique_ptr<node_variant> make_variant(std::shared_ptr<const registered_function> function, std::size_t index) {
  auto v = std::make_unique<node_variant>();
  v->id = function->variants[index];
  v->function = std::move(function);
  v->index = index;
  const auto& spec = v->spec();
  if (spec.kind != functions::variant_kind::builtin)
    return v;
  const auto* const builtin = builtins::find(spec.target);
  if (!builtin)
    return v; // the load says so
  if (auto resources = builtins::resources_of(*builtin, spec.parameters); resources.ok())
    v->resources = std::move(*resources);
  v->reads_objects = builtin->keys ? builtin : nullptr;
  v->hands_on = builtin->hands_on;
  v->may_be_light = builtin->light && !builtin->foreign_bytes && v->function->spec.state.empty();
  if (!v->may_be_light || !v->resources.empty())
    return v; // one with files becomes light when they are here
  if (auto made = builtins::make_instance(*builtin, spec.parameters, {}); made.ok())
    v->light = std::move(*made);
  return v;
}

bool same(const registered_function& a, const registered_function& b) {
  return a.id == b.id && a.variants == b.variants && a.spec == b.spec;
}

} // namespace

std::vector<const node_variant*> catalogue::define(const registered_function& function) {
  // DAGs that come from now on mean this one; what is bound to the one before keeps it until it has ended.
  const auto before = std::find_if(functions_.begin(), functions_.end(), [&](const auto& entry) {
    return entry.first != function.id && entry.second->spec.name == function.spec.name &&
           entry.second->spec.version == function.spec.version;
  });
  if (before != functions_.end())
    forget(before->first);
  auto& known = functions_[function.id];
  if (known && same(*known, function))
    return {};
  if (known)
    forgotten_.push_back(known);
  known = std::make_shared<const registered_function>(function);
  std::vector<const node_variant*> fresh;
  for (std::size_t i = 0; i < function.variants.size() && i < function.spec.variants.size(); ++i) {
    auto& slot = variants_[function.variants[i]];
    slot = make_variant(known, i);
    fresh.push_back(slot.get());
  }
  return fresh;
}

result<> catalogue::define(dag_id id, const functions::dag_spec& spec) {
  const auto lookup = [this](std::string_view name, std::uint32_t version) {
    const registered_function* best = nullptr;
    for (const auto& [known_id, f] : functions_)
      if (f->spec.name == name && (version == 0 || f->spec.version == version) &&
          (!best || f->spec.version > best->spec.version))
        best = f.get();
    return best;
  };
  SQUALL_ASSIGN(dag, functions::compile(spec, id, lookup));
  SQUALL_ASSIGN(graph, make_flow_graph(dag, [this](function_id f) { return function(f); }));
  graphs_[id] = std::move(graph);
  return {};
}

void catalogue::forget(function_id function) {
  const auto found = functions_.find(function);
  if (found == functions_.end())
    return;
  forgotten_.push_back(std::move(found->second));
  functions_.erase(found);
}

void catalogue::keep_only(const std::vector<registered_function>& functions) {
  graphs_.clear();
  std::vector<function_id> gone;
  for (const auto& [id, known] : functions_) {
    const auto stays = [&, &k = *known](const registered_function& f) { return same(f, k); };
    if (std::none_of(functions.begin(), functions.end(), stays))
      gone.push_back(id);
  }
  for (const auto id : gone)
    forget(id);
}

std::shared_ptr<const flow_graph> catalogue::graph(dag_id id) const {
  const auto found = graphs_.find(id);
  return found == graphs_.end() ? nullptr : found->second;
}

node_variant* catalogue::variant(variant_id id) {
  const auto found = variants_.find(id);
  return found == variants_.end() ? nullptr : found->second.get();
}

std::shared_ptr<const registered_function> catalogue::function(function_id id) const {
  const auto found = functions_.find(id);
  return found == functions_.end() ? nullptr : found->second;
}

std::vector<variant_id> catalogue::take_unused() {
  std::vector<variant_id> unused;
  std::erase_if(forgotten_, [&](const std::shared_ptr<const registered_function>& f) {
    std::vector<variant_id> own; // an id may have gone to another function meanwhile
    for (const auto id : f->variants)
      if (const auto* v = variant(id); v && v->function == f)
        own.push_back(id);
    if (static_cast<std::size_t>(f.use_count()) > 1 + own.size())
      return false;
    for (const auto id : own)
      variants_.erase(id);
    unused.insert(unused.end(), own.begin(), own.end());
    return true;
  });
  return unused;
}

} // namespace squall::executors
