#include "functions/builtin/detail/support.hpp"
#include "functions/chain.hpp"
#include "functions/detail/text.hpp"

#include <algorithm>

/// Builtins that rewrite rules put into DAGs (functions/rewrite.hpp): a chain that runs as one, and the first of
/// several answers.
namespace squall::functions::builtins::detail {

using functions::detail::names_of;
using functions::detail::quoted;
using functions::detail::unknown_name;

namespace {

// -- chains

struct linked_step {
  chain_step spec;
  std::unique_ptr<instance> run;
};

class chain_instance final : public instance {
public:
  chain_instance(std::vector<linked_step> steps, std::vector<chain_source> outputs)
      : steps_(std::move(steps)), outputs_(std::move(outputs)), last_reader_(steps_.size()) {
    for (std::size_t i = 0; i < steps_.size(); ++i)
      for (const auto& source : steps_[i].spec.inputs)
        if (source && source->step)
          last_reader_[*source->step] = i;
    for (const auto& source : outputs_)
      if (source.step)
        last_reader_[*source.step] = steps_.size();
  }

  detail::outputs run(std::span<const value> inputs, const run_context& context) override {
    const stop_check go_on{context};
    std::vector<std::vector<value>> made;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const auto& step = steps_[i];
      SQUALL_TRY(go_on());
      std::vector<value> given;
      for (const auto& source : step.spec.inputs) {
        SQUALL_ASSIGN(v, take(source, inputs, made));
        given.push_back(std::move(v));
      }
      run_context rest = context;
      if (context.time_left)
        rest.time_left = *context.time_left - go_on.elapsed();
      auto ran = step.run->run(given, rest);
      if (!ran.ok())
        return error{ran.error().code, "step " + quoted(step.spec.stage) + ": " + ran.error().message,
                     ran.error().retry_after};
      made.push_back(std::move(*ran));
      // What nobody reads any more goes at once: the next step gets its memory, which is mapped already.
      for (std::size_t k = 0; k < i; ++k)
        if (last_reader_[k] == i)
          made[k].clear();
    }
    std::vector<value> out;
    for (const auto& source : outputs_) {
      SQUALL_ASSIGN(v, take(source, inputs, made));
      out.push_back(std::move(v));
    }
    return out;
  }

private:
  static result<value> take(const std::optional<chain_source>& source, std::span<const value> inputs,
                            const std::vector<std::vector<value>>& made) {
    if (!source)
      return value{};
    const auto& row = source->step ? std::span<const value>{made[*source->step]} : inputs;
    if (source->port >= row.size())
      return invalid("a chain reads value " + std::to_string(source->port) + " of " + std::to_string(row.size()));
    return row[source->port];
  }

  std::vector<linked_step> steps_;
  std::vector<chain_source> outputs_;
  std::vector<std::size_t> last_reader_; ///< of each step's values; steps_.size(): the outputs
};

result<std::unique_ptr<instance>> link(const chain_step& step, const settings& s) {
  const auto* const b = find(step.builtin);
  if (!b || b->name == "fused" || b->name == "fused-light")
    return {errc::invalid_argument, unknown_name("builtin", step.builtin, names_of(all()))};
  parameter_map parameters;
  resource_map resources;
  for (const auto& [name, text] : step.parameters) {
    if (!name.starts_with('@')) {
      parameters[name] = text;
      continue;
    }
    if (text.size() != 2 || text[0] != 'r' || text[1] < '0' || text[1] >= static_cast<char>('0' + max_chain_resources))
      return invalid("there is no resource " + quoted(text));
    parameters[name.substr(1)] = text;
    resources[name.substr(1)] = s.resource(text);
  }
  return make_instance(*b, parameters, resources);
}

std::string resource_name(std::size_t index) { return "r" + std::to_string(index); }

result<std::unique_ptr<instance>> make_chain(const settings& s) {
  SQUALL_ASSIGN(plan, chain_from_text(s.text("steps")));
  std::vector<linked_step> steps;
  for (auto& step : plan.steps) {
    auto run = link(step, s);
    if (!run.ok())
      return error{run.error().code, "step " + quoted(step.stage) + ": " + run.error().message, {}};
    steps.push_back({std::move(step), std::move(*run)});
  }
  return std::unique_ptr<instance>{std::make_unique<chain_instance>(std::move(steps), std::move(plan.outputs))};
}

builtin chain_builtin(std::string_view name, std::string_view summary, bool light) {
  static const std::vector<std::string> resource_names = [] {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < max_chain_resources; ++i)
      names.push_back(resource_name(i));
    return names;
  }();
  builtin b{.name = name,
            .summary = summary,
            .inputs = {},
            .outputs = {},
            .parameters = {},
            .ports = signature::free,
            .light = light,
            .make = make_chain};
  b.parameters.push_back({"steps", parameter_kind::text, std::nullopt, "the chain, as functions/chain.hpp writes it"});
  for (const auto& resource : resource_names)
    b.parameters.push_back({resource, parameter_kind::resource, inline_prefix, "a resource of its steps"});
  return b;
}

// -- competition

result<std::unique_ptr<instance>> make_first_answer(const settings& s) {
  const auto width = static_cast<std::size_t>(s.integer("outputs"));
  return instance_of([width](std::span<const value> inputs, const run_context&) -> outputs {
    for (std::size_t at = 0; at + width <= inputs.size(); at += width) {
      const auto row = inputs.subspan(at, width);
      if (std::any_of(row.begin(), row.end(), [](const value& v) { return !v.absent(); }))
        return std::vector<value>{row.begin(), row.end()};
    }
    return error{errc::failed, "no competitor gave an answer", {}};
  });
}

} // namespace

std::vector<builtin> composite_builtins() {
  return {
      chain_builtin("fused", "builtins that run one after the other as one; made by the rule fuse", false),
      chain_builtin("fused-light", "as fused, of light builtins only", true),
      {.name = "first-answer",
       .summary = "the outputs of the first competitor that is present; made by the rule compete",
       .inputs = {},
       .outputs = {},
       .parameters = {{.name = "outputs",
                       .kind = parameter_kind::integer,
                       .fallback = std::nullopt,
                       .summary = "how many each competitor has",
                       .least = 1,
                       .most = static_cast<double>(max_ports)}},
       .ports = signature::free,
       .light = true,
       .hands_on = true,
       .make = make_first_answer},
  };
}

} // namespace squall::functions::builtins::detail
