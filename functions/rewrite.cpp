#include "functions/rewrite.hpp"

#include "functions/detail/rewriting.hpp"
#include "functions/detail/text.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace squall::functions {

using detail::quoted;

namespace {

void rename_sources(predicate& p, const std::function<void(binding&)>& rename) {
  rename(p.subject);
  for (auto& child : p.children)
    rename_sources(child, rename);
}

error invalid(const dag_spec& spec, const std::string& what) {
  return {errc::invalid_argument, "DAG " + quoted(spec.name) + ": " + what, {}};
}

// -- compete

/// The join that hands the first answer on. It has the name of the stage that it stands for, so nothing else changes.
struct competition {
  stage_spec join;
  function_spec function;
};

competition join_of(const dag_spec& spec, const stage_spec& s, const function_spec& of,
                    const std::vector<std::string>& replicas) {
  competition out;
  out.join.name = s.name;
  out.join.function = out.function.name = detail::generated_name("first", spec.name, s.name);
  out.join.version = out.function.version = spec.version;
  out.join.join = {join_rule::kind::count, 1, duration{0}, !s.may_fail};
  for (std::size_t r = 0; r < replicas.size(); ++r)
    for (const auto& p : of.outputs) {
      auto in = p;
      in.name = "r" + std::to_string(r + 1) + "." + p.name;
      in.optional = true;
      out.join.inputs.push_back({in.name, {binding::source::stage_output, replicas[r], p.name, {}}});
      out.function.inputs.push_back(std::move(in));
    }
  out.function.outputs = of.outputs;
  variant_spec v;
  v.name = "default";
  v.target = "first-answer";
  v.parameters["outputs"] = std::to_string(of.outputs.size());
  out.function.variants.push_back(std::move(v));
  return out;
}

result<> compete(rewritten_dag& d, const function_lookup& lookup) {
  std::vector<stage_spec> stages;
  for (const auto& s : d.spec.stages) {
    if (s.compete < 2) {
      stages.push_back(s);
      continue;
    }
    const auto& function = lookup(s.function, s.version)->spec; // compile() has found it
    if (!function.state.empty())
      return invalid(d.spec, "stage " + quoted(s.name) + " cannot compete: function " + quoted(s.function) +
                                 " has state, which only one replica may change; remove compete");
    if (!s.map.empty()) // the failure of an element would not fail its replica
      return invalid(d.spec, "stage " + quoted(s.name) +
                                 " cannot compete: it is a map, whose elements run side by side as "
                                 "they are; remove compete");
    if (s.compete * function.outputs.size() > max_ports)
      return invalid(d.spec, "stage " + quoted(s.name) + ": " + std::to_string(s.compete) + " replicas of " +
                                 std::to_string(function.outputs.size()) + " outputs pass the limit of " +
                                 std::to_string(max_ports) + " ports; use fewer replicas");
    std::vector<std::string> replicas;
    for (std::uint32_t r = 1; r <= s.compete; ++r) {
      auto replica = s;
      replica.name = detail::free_name(d.spec, s.name + "--" + std::to_string(r));
      replica.compete = 0;
      replica.may_fail = true;
      replicas.push_back(replica.name);
      stages.push_back(std::move(replica));
    }
    auto c = join_of(d.spec, s, function, replicas);
    stages.push_back(std::move(c.join));
    d.functions.push_back(std::move(c.function));
  }
  d.spec.stages = std::move(stages);
  return {};
}

// -- fuse

/// Puts the fused stages in the place of their first members, and points those who read members at the new outputs.
void replace_groups(rewritten_dag& d, std::vector<detail::fused_group> groups) {
  std::map<std::pair<std::string, std::string>, std::pair<std::string, std::string>> moved;
  std::set<std::string> members;
  std::map<std::string, stage_spec> by_head;
  for (auto& g : groups) {
    members.insert(g.members.begin(), g.members.end());
    for (const auto& [old, port] : g.renamed)
      moved[old] = {g.stage.name, port};
    by_head[g.members.front()] = std::move(g.stage);
    d.functions.push_back(std::move(g.function));
  }
  const auto rename = [&](binding& b) {
    const auto to = moved.find({b.stage, b.port});
    if (b.from == binding::source::stage_output && to != moved.end())
      std::tie(b.stage, b.port) = to->second;
  };
  std::vector<stage_spec> stages;
  for (auto& s : d.spec.stages) {
    const auto head = by_head.find(s.name);
    if (head == by_head.end() && members.contains(s.name))
      continue;
    stages.push_back(std::move(head == by_head.end() ? s : head->second));
    for (auto& input : stages.back().inputs)
      rename(input.source);
    if (stages.back().when)
      rename_sources(*stages.back().when, rename);
  }
  for (auto& output : d.spec.outputs)
    rename(output.source);
  d.spec.stages = std::move(stages);
}

bool asks_for(const dag_spec& spec, std::string_view rule) {
  return std::find(spec.optimize.begin(), spec.optimize.end(), rule) != spec.optimize.end();
}

} // namespace

namespace detail {

std::string generated_name(std::string_view rule, const std::string& dag, const std::string& stage) {
  constexpr std::size_t kept = 50; // of each; what is cut off still counts, by a hash
  const auto all = std::string{rule} + "." + dag + "." + stage;
  if (all.size() <= max_name_length)
    return all;
  std::uint64_t hash = 14695981039346656037ULL; // FNV-1a
  for (const char c : all)
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return std::string{rule} + "." + dag.substr(0, kept) + "." + stage.substr(0, kept) + "." +
         std::to_string(hash % 1'000'000'000);
}

std::string free_name(const dag_spec& spec, const std::string& wanted) {
  const auto base = wanted.substr(0, max_name_length - 8);
  auto name = base;
  const auto taken = [&](const stage_spec& s) { return s.name == name; };
  for (int i = 2; std::any_of(spec.stages.begin(), spec.stages.end(), taken); ++i)
    name = base + "-" + std::to_string(i);
  return name;
}

} // namespace detail

const std::vector<std::string_view>& rewrite_rules() {
  static const std::vector<std::string_view> names{"compete", "fuse", "locality"};
  return names;
}

result<rewritten_dag> rewrite(const dag_spec& spec, const function_lookup& lookup, const builtin_lookup& builtins) {
  for (const auto& rule : spec.optimize)
    if (std::find(rewrite_rules().begin(), rewrite_rules().end(), rule) == rewrite_rules().end())
      return invalid(spec, detail::unknown_name("rule", rule, rewrite_rules()));
  for (const auto& s : spec.stages)
    if (s.compete > max_competitors)
      return invalid(spec, "stage " + quoted(s.name) + ": compete is " + std::to_string(s.compete) + "; at most " +
                               std::to_string(max_competitors) + " replicas compete");
  SQUALL_ASSIGN(compiled, compile(spec, dag_id{1}, lookup));
  rewritten_dag out{spec, {}};
  // Fusing comes first: it reads the DAG that was compiled. Stages that compete are not fused.
  if (asks_for(spec, "fuse")) {
    SQUALL_ASSIGN(groups, detail::find_groups(*compiled, lookup, builtins, asks_for(spec, "compete")));
    replace_groups(out, std::move(groups));
  }
  if (asks_for(spec, "compete"))
    SQUALL_TRY(compete(out, lookup));
  return out;
}

} // namespace squall::functions
