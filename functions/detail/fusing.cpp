#include "functions/chain.hpp"
#include "functions/detail/rewriting.hpp"

#include <algorithm>
#include <set>

namespace squall::functions::detail {

namespace {

using stage_set = std::set<stage_index>;

class fuser {
public:
  fuser(const dag& d, const function_lookup& lookup, const builtin_lookup& builtins, bool competing)
      : dag_(d), group_of_(d.stages.size(), none), ancestors_(d.stages.size()), sure_(d.stages.size()) {
    for (stage_index i = 0; i < d.stages.size(); ++i) {
      const auto& spec = spec_of(i);
      functions_.push_back(&lookup(spec.function, spec.version)->spec); // compile() has found it
      facts_.push_back(facts_of(spec, builtins, competing));
      for (const auto p : d.stages[i].producers) {
        ancestors_[i].insert(p);
        ancestors_[i].insert(ancestors_[p].begin(), ancestors_[p].end());
      }
      sure_[i] = is_sure(i);
    }
  }

  std::vector<fused_group> groups() {
    for (stage_index i = 0; i < dag_.stages.size(); ++i)
      if (facts_[i])
        place(i);
    std::vector<fused_group> out;
    for (const auto& members : groups_)
      if (members.size() > 1)
        out.push_back(build(members));
    return out;
  }

private:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  [[nodiscard]] const stage_spec& spec_of(stage_index i) const {
    const auto& stages = dag_.spec.stages;
    return *std::find_if(stages.begin(), stages.end(), [&](const auto& s) { return s.name == dag_.stages[i].name; });
  }

  [[nodiscard]] std::optional<builtin_facts> facts_of(const stage_spec& s, const builtin_lookup& builtins,
                                                      bool competing) const {
    const auto& f = *functions_.back();
    if (f.variants.size() != 1 || !f.state.empty() || s.may_fail || (competing && s.compete > 1))
      return std::nullopt;
    auto facts = builtins(f.variants.front());
    return facts && facts->fusible ? facts : std::nullopt;
  }

  // -- what is sure to be there

  [[nodiscard]] bool sure(const resolved_source& source) const {
    switch (source.from) {
      case binding::source::constant:
        return true;
      case binding::source::dag_input:
        return !dag_.spec.inputs[source.port].optional;
      case binding::source::stage_output:
        break;
    }
    return sure_[source.stage];
  }

  [[nodiscard]] bool is_sure(stage_index i) const {
    const auto& s = dag_.stages[i];
    return !s.when && !s.may_fail && s.join.rule == join_rule::kind::all &&
           std::all_of(s.inputs.begin(), s.inputs.end(),
                       [&](const auto& input) { return !input.bound || !input.required || sure(input.source); });
  }

  // -- who runs with whom

  void place(stage_index i) {
    const auto group = group_before(i);
    if (group == none) {
      group_of_[i] = groups_.size();
      groups_.push_back({i});
    } else {
      group_of_[i] = group;
      groups_[group].push_back(i);
    }
  }

  /// The group whose last stage this one can follow.
  [[nodiscard]] std::size_t group_before(stage_index i) const {
    const auto& s = dag_.stages[i];
    if (s.when || s.join.rule != join_rule::kind::all)
      return none;
    for (const auto p : s.producers) {
      const auto group = group_of_[p];
      if (group != none && groups_[group].back() == p && groups_[group].size() < max_chain_steps &&
          follows(i, groups_[group]))
        return group;
    }
    return none;
  }

  [[nodiscard]] bool follows(stage_index i, const std::vector<stage_index>& group) const {
    const auto& s = dag_.stages[i];
    const auto& head = dag_.stages[group.front()];
    const auto& last = dag_.stages[group.back()];
    const auto others = [&](stage_index c) { return c != i && c != dag_.exit(); };
    if (s.map != head.map || (s.map && s.width_max < head.width_max) ||
        std::any_of(last.consumers.begin(), last.consumers.end(), others))
      return false;
    bool needs_last = false;
    for (const auto& input : s.inputs) {
      if (!input.bound)
        continue;
      const bool inner = input.source.from == binding::source::stage_output && input.source.stage == group.back();
      if (inner && s.map != input.mapped)
        return false;
      needs_last |= inner && input.required;
      if (!inner && !fits_outside(input, group, head))
        return false;
    }
    return needs_last && resources_of(group, i) <= max_chain_resources && ports_of(group, i) <= max_ports;
  }

  /// What does not come from the group is there before its first stage starts, and does not change whether it runs.
  [[nodiscard]] bool fits_outside(const resolved_input& input, const std::vector<stage_index>& group,
                                  const stage& head) const {
    if (input.mapped || (input.required && !sure(input.source)))
      return false;
    if (input.source.from != binding::source::stage_output)
      return true;
    return head.join.rule == join_rule::kind::all && ancestors_[group.front()].contains(input.source.stage);
  }

  [[nodiscard]] std::size_t resources_of(const std::vector<stage_index>& group, stage_index next) const {
    std::size_t count = facts_[next]->resources.size();
    for (const auto m : group)
      count += facts_[m]->resources.size();
    return count;
  }

  [[nodiscard]] std::size_t ports_of(const std::vector<stage_index>& group, stage_index next) const {
    std::size_t in = dag_.stages[next].inputs.size(), out = dag_.stages[next].output_count;
    for (const auto m : group) {
      in += dag_.stages[m].inputs.size();
      out += dag_.stages[m].output_count;
    }
    return std::max(in, out);
  }

  // -- the stage that runs a group

  [[nodiscard]] bool read_by_exit(stage_index i, std::uint32_t port) const {
    return std::any_of(dag_.outputs.begin(), dag_.outputs.end(), [&](const auto& o) {
      return o.from == binding::source::stage_output && o.stage == i && o.port == port;
    });
  }

  fused_group build(const std::vector<stage_index>& members) const {
    fused_group g;
    chain steps;
    const auto& head = spec_of(members.front());
    g.stage = head;
    g.stage.name = free_name(dag_.spec, head.name + "--" + dag_.stages[members.back()].name);
    g.stage.inputs.clear();
    g.stage.map.clear();
    g.stage.variant.clear();
    g.stage.compete = 0;
    g.function.name = g.stage.function = generated_name("fused", dag_.spec.name, g.stage.name);
    g.function.version = g.stage.version = dag_.spec.version;
    variant_spec v;
    v.name = "default";
    bool light = true;
    for (std::uint32_t step = 0; step < members.size(); ++step) {
      g.members.push_back(dag_.stages[members[step]].name);
      light &= facts_[members[step]]->light;
      steps.steps.push_back(add_step(members, step, g, v));
    }
    for (std::uint32_t step = 0; step < members.size(); ++step)
      add_outputs(members, step, g, steps);
    v.target = light ? "fused-light" : "fused";
    v.parameters["steps"] = to_text(steps);
    g.function.variants.push_back(std::move(v));
    return g;
  }

  chain_step add_step(const std::vector<stage_index>& members, std::uint32_t step, fused_group& g,
                      variant_spec& v) const {
    const auto index = members[step];
    const auto& function = *functions_[index];
    const auto& variant = function.variants.front();
    const auto& spec = spec_of(index);
    chain_step out{spec.name, variant.target, variant.parameters, {}};
    for (const auto& resource : facts_[index]->resources) {
      const auto slot = "r" + std::to_string(v.parameters.size());
      v.parameters[slot] = out.parameters[resource];
      out.parameters.erase(resource);
      out.parameters["@" + resource] = slot;
    }
    for (std::size_t i = 0; i < function.inputs.size(); ++i) {
      const auto& input = dag_.stages[index].inputs[i];
      auto& source = out.inputs.emplace_back();
      if (!input.bound)
        continue;
      const auto inner =
          step > 0 && input.source.from == binding::source::stage_output && input.source.stage == members[step - 1];
      if (inner) {
        source = chain_source{step - 1, input.source.port};
        continue;
      }
      source = chain_source{std::nullopt, static_cast<std::uint32_t>(g.function.inputs.size())};
      auto port = function.inputs[i];
      port.name = "i" + std::to_string(g.function.inputs.size());
      const auto given = std::find_if(spec.inputs.begin(), spec.inputs.end(),
                                      [&](const stage_input& s) { return s.port == function.inputs[i].name; });
      g.stage.inputs.push_back({port.name, given->source});
      if (input.mapped)
        g.stage.map.push_back(port.name);
      g.function.inputs.push_back(std::move(port));
    }
    return out;
  }

  /// The last stage gives all that it has, the others what the DAG gives out.
  void add_outputs(const std::vector<stage_index>& members, std::uint32_t step, fused_group& g, chain& steps) const {
    const auto index = members[step];
    const bool last = step + 1 == members.size();
    for (std::uint32_t o = 0; o < dag_.stages[index].output_count; ++o) {
      if (!last && !read_by_exit(index, o))
        continue;
      auto port = functions_[index]->outputs[o];
      const auto old = port.name;
      port.name = "o" + std::to_string(g.function.outputs.size());
      g.renamed[{dag_.stages[index].name, old}] = port.name;
      g.function.outputs.push_back(std::move(port));
      steps.outputs.push_back({step, o});
    }
  }

  const dag& dag_;
  std::vector<const function_spec*> functions_;
  std::vector<std::optional<builtin_facts>> facts_; ///< of stages that may be fused
  std::vector<std::vector<stage_index>> groups_;
  std::vector<std::size_t> group_of_;
  std::vector<stage_set> ancestors_;
  std::vector<bool> sure_;
};

} // namespace

result<std::vector<fused_group>> find_groups(const dag& d, const function_lookup& lookup,
                                             const builtin_lookup& builtins, bool competing) {
  return fuser{d, lookup, builtins, competing}.groups();
}

} // namespace squall::functions::detail
