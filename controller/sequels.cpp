#include "controller/catalogue.hpp"
#include "functions/builtin/builtin.hpp"

#include <algorithm>
#include <charconv>

/// What the catalogue makes of several DAGs for one call, and what it says of a call's inputs.
namespace squall::controller {

namespace {

struct named_version {
  std::string_view name;
  std::uint32_t version = 0;
};

/// "name" or "name@2".
result<named_version> parse_target(std::string_view text) {
  const auto mark = text.find('@');
  named_version out{text.substr(0, mark), 0};
  if (mark == std::string_view::npos)
    return out;
  const auto* const end = text.data() + text.size();
  const auto [rest, problem] = std::from_chars(text.data() + mark + 1, end, out.version);
  if (problem != std::errc{} || rest != end || out.version == 0)
    return {errc::invalid_argument,
            "'" + std::string{text} +
                "' names no DAG that continues; write a name, or a name with a version such as name@2"};
  return out;
}

std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL; // FNV-1a
  for (const char c : text)
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash | 1;
}

} // namespace

result<std::shared_ptr<const functions::dag>> catalogue::find_sequel(const callable& target,
                                                                     const std::vector<std::string>& then,
                                                                     catalogue_change& change) {
  if (then.size() > functions::max_then)
    return {errc::invalid_argument, std::to_string(then.size()) + " DAGs are to continue the call; at most " +
                                        std::to_string(functions::max_then)};
  std::vector<const callable*> parts{&target};
  std::vector<dag_id> ids{target.dag->id};
  for (const auto& text : then) {
    SQUALL_ASSIGN(named, parse_target(text));
    const auto* const next = find_callable(named.name, named.version);
    if (!next) {
      const auto near = nearest(named.name);
      return {errc::not_found, "there is no DAG or function '" + std::string{text} + "' to continue with" +
                                   (near.empty() ? "" : "; did you mean '" + near + "'?")};
    }
    parts.push_back(next);
    ids.push_back(next->dag->id);
  }
  if (const auto known = sequels_.find(ids); known != sequels_.end())
    return known->second.dag;
  const auto spec_of = [this](function_id id) {
    const auto* const function = find_function(id);
    return function ? &function->spec : nullptr;
  };
  auto whole = target.dag;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto& last = *parts[i - 1]->dag;
    std::vector<functions::port> outputs;
    for (std::size_t o = 0; o < last.outputs.size(); ++o)
      outputs.push_back(functions::output_port(last, o, spec_of));
    SQUALL_ASSIGN(spec, functions::sequel(whole->spec, last.spec.name, outputs, parts[i]->dag->spec));
    SQUALL_ASSIGN(compiled, compiled_dag(spec, 3));
    whole = std::move(compiled);
  }
  if (sequels_.size() >= max_sequels) {
    const auto oldest = std::min_element(sequels_.begin(), sequels_.end(), [](const auto& a, const auto& b) {
      return a.second.number < b.second.number;
    });
    change.dags_removed.push_back(oldest->second.dag->id);
    sequels_.erase(oldest);
  }
  sequels_[std::move(ids)] = {whole, ++last_sequel_};
  change.dags_added.push_back(whole);
  return whole;
}

/// Those that are made of a DAG that is no more.
void catalogue::drop_sequels(catalogue_change& change) {
  const auto removed = change.dags_removed;
  std::erase_if(sequels_, [&](const auto& entry) {
    const bool gone = std::any_of(entry.first.begin(), entry.first.end(), [&](dag_id part) {
      return std::find(removed.begin(), removed.end(), part) != removed.end();
    });
    if (gone)
      change.dags_removed.push_back(entry.second.dag->id);
    return gone;
  });
}

std::vector<std::shared_ptr<const functions::dag>> catalogue::sequels() const {
  std::vector<std::shared_ptr<const functions::dag>> out;
  for (const auto& [parts, sequel] : sequels_)
    out.push_back(sequel.dag);
  return out;
}

/// The least of the keys' hashes: calls that share most keys agree most of the time.
std::uint64_t catalogue::affinity(const functions::dag& dag, const std::vector<functions::value>& inputs) const {
  const auto& rules = dag.spec.optimize;
  if (std::find(rules.begin(), rules.end(), "locality") == rules.end())
    return 0;
  std::uint64_t least = 0;
  for (const auto& stage : dag.stages) {
    const auto* const function = find_function(stage.function);
    if (!function || function->spec.variants.size() != 1 ||
        function->spec.variants.front().kind != functions::variant_kind::builtin)
      continue;
    const auto& variant = function->spec.variants.front();
    const auto* const b = functions::builtins::find(variant.target);
    if (!b || !b->keys)
      continue;
    std::vector<functions::value> given(stage.inputs.size());
    bool known = true;
    for (std::size_t i = 0; i < given.size(); ++i) {
      const auto& source = stage.inputs[i].source;
      if (!stage.inputs[i].bound)
        continue;
      known &= source.from == functions::binding::source::dag_input && inputs[source.port].as_tensor() != nullptr;
      if (known)
        given[i] = inputs[source.port];
    }
    const auto keys = known ? functions::builtins::keys_of(*b, variant.parameters, given)
                            : result<std::vector<std::string>>{std::vector<std::string>{}};
    if (keys.ok())
      for (const auto& key : *keys)
        least = least == 0 ? hash_of(key) : std::min(least, hash_of(key));
  }
  return least;
}

} // namespace squall::controller
