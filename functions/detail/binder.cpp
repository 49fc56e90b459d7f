#include "functions/detail/binder.hpp"

#include "functions/detail/text.hpp"

#include <algorithm>
#include <set>

namespace squall::functions::detail {

namespace {

error invalid(std::string message) { return {errc::invalid_argument, std::move(message)}; }

std::optional<std::uint32_t> index_of(const std::vector<port>& ports, std::string_view name) {
  for (std::uint32_t i = 0; i < ports.size(); ++i)
    if (ports[i].name == name)
      return i;
  return std::nullopt;
}

bool shapes_meet(const shape& a, const shape& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](auto x, auto y) { return x == y || x == -1 || y == -1; });
}

bool is_state_input(const function_spec& f, std::string_view name) {
  return std::any_of(f.state.begin(), f.state.end(), [&](const state_spec& s) { return s.input == name; });
}

bool is_mapped(const stage_spec& s, std::string_view name) {
  return std::find(s.map.begin(), s.map.end(), name) != s.map.end();
}

/// The inputs that a stage can bind: all but state.
std::vector<std::string_view> bindable_inputs(const function_spec& f) {
  std::vector<std::string_view> names;
  for (const auto& p : f.inputs)
    if (!is_state_input(f, p.name))
      names.push_back(p.name);
  return names;
}

} // namespace

std::string describe(const edge_type& t) {
  std::string out = t.depth > 0 ? "a list of " : "";
  for (int i = 1; i < t.depth; ++i)
    out += "lists of ";
  return out + std::string{to_string(t.type)} + " " + to_string(t.shape);
}

result<std::vector<const registered_function*>> find_functions(const dag_spec& spec, const function_lookup& lookup) {
  std::vector<const registered_function*> found;
  for (const auto& s : spec.stages) {
    const auto* function = lookup(s.function, s.version);
    if (!function) {
      std::string message = "DAG " + quoted(spec.name) + ", stage " + quoted(s.name) + ": ";
      const auto* latest = s.version == 0 ? nullptr : lookup(s.function, 0);
      if (latest)
        message += "function " + quoted(s.function) + " has no version " + std::to_string(s.version) +
                   "; the latest is " + std::to_string(latest->spec.version);
      else
        message += "there is no function " + quoted(s.function) + "; register it first";
      return {errc::not_found, std::move(message)};
    }
    found.push_back(function);
  }
  return found;
}

binder::binder(const dag_spec& spec, const std::vector<const registered_function*>& functions)
    : spec_(spec), functions_(functions) {
  for (std::size_t i = 0; i < spec.stages.size(); ++i)
    stage_at_.emplace(spec.stages[i].name, i);
}

std::string binder::at(std::size_t index) const {
  return "DAG " + quoted(spec_.name) + ", stage " + quoted(spec_.stages[index].name);
}

result<stage> binder::bind_stage(std::size_t index) const {
  const auto& s = spec_.stages[index];
  const auto& function = *functions_[index];
  stage out;
  out.name = s.name;
  out.function = function.id;
  out.output_count = static_cast<std::uint32_t>(function.spec.outputs.size());
  out.map = !s.map.empty();
  out.width_max = out.map && s.width_max == 0 ? static_cast<std::uint32_t>(max_map_width) : s.width_max;
  out.join = s.join;
  out.may_fail = s.may_fail;
  SQUALL_ASSIGN(variants, bind_variants(index));
  out.variants = std::move(variants);
  SQUALL_TRY(bind_inputs_of(index, out));
  SQUALL_TRY(check_bound(index, out));
  if (s.when) {
    SQUALL_ASSIGN(when, bind_predicate(at(index) + ", when", out.map, *s.when));
    out.when = std::move(when);
  }
  return out;
}

result<std::vector<variant_id>> binder::bind_variants(std::size_t index) const {
  const auto& function = *functions_[index];
  const auto& pinned = spec_.stages[index].variant;
  SQUALL_CHECK(function.variants.size() == function.spec.variants.size(), function.spec.name);
  if (pinned.empty())
    return function.variants;
  for (std::size_t i = 0; i < function.variants.size(); ++i)
    if (function.spec.variants[i].name == pinned)
      return std::vector{function.variants[i]};
  return {errc::not_found, at(index) + ": function " + quoted(function.spec.name) + ": " +
                               unknown_name("variant", pinned, names_of(function.spec.variants))};
}

result<> binder::bind_inputs_of(std::size_t index, stage& out) const {
  const auto& s = spec_.stages[index];
  const auto& function = functions_[index]->spec;
  for (const auto& p : function.inputs)
    out.inputs.push_back({{}, is_mapped(s, p.name), !p.optional && !is_state_input(function, p.name), false});
  for (const auto& input : s.inputs) {
    const auto position = index_of(function.inputs, input.port);
    if (!position)
      return invalid(at(index) + ": function " + quoted(function.name) + ": " +
                     unknown_name("input", input.port, bindable_inputs(function)));
    if (is_state_input(function, input.port))
      return invalid(at(index) + ": input " + quoted(input.port) +
                     " is state that the sequence fills; remove its binding");
    auto& slot = out.inputs[*position];
    if (slot.bound)
      return invalid(at(index) + ": input " + quoted(input.port) + " is bound twice; remove one binding");
    SQUALL_ASSIGN(source, resolve_for(at(index) + ", input " + quoted(input.port), input.source,
                                      function.inputs[*position], slot.mapped));
    slot.source = std::move(source);
    slot.bound = true;
  }
  return {};
}

result<> binder::check_bound(std::size_t index, const stage& out) const {
  const auto& s = spec_.stages[index];
  const auto& function = functions_[index]->spec;
  const auto bindable = bindable_inputs(function);
  if (!bindable.empty() && s.inputs.empty())
    return invalid(at(index) + " is unreachable: none of its inputs is bound; bind " + join_names(bindable));
  for (std::size_t i = 0; i < out.inputs.size(); ++i)
    if (out.inputs[i].required && !out.inputs[i].bound)
      return invalid(at(index) + ": input " + quoted(function.inputs[i].name) + " (" + describe(function.inputs[i]) +
                     ") of function " + quoted(function.name) + " is not bound");
  std::set<std::string_view> seen;
  for (const auto& name : s.map) {
    const auto position = index_of(function.inputs, name);
    if (!position || !out.inputs[*position].bound)
      return invalid(at(index) + ": map: " + unknown_name("bound input", name, [&] {
                       std::vector<std::string_view> bound;
                       for (const auto& input : s.inputs)
                         bound.push_back(input.port);
                       return bound;
                     }()));
    if (!seen.insert(name).second)
      return invalid(at(index) + ": map names " + quoted(name) + " twice; remove one");
  }
  if (out.map && !function.state.empty())
    return invalid(at(index) + ": function " + quoted(function.name) +
                   " keeps state, so its elements cannot run side by side; remove `map`");
  return {};
}

result<binder::typed_source> binder::resolve(const std::string& where, const binding& b) const {
  if (b.from == binding::source::dag_input) {
    const auto position = index_of(spec_.inputs, b.port);
    if (!position)
      return invalid(where + ": DAG " + quoted(spec_.name) + ": " +
                     unknown_name("input", b.port, names_of(spec_.inputs)));
    const auto& p = spec_.inputs[*position];
    return typed_source{{binding::source::dag_input, 0, *position, {}}, {p.type, p.shape, p.list ? 1 : 0}};
  }
  if (b.from != binding::source::stage_output)
    return invalid(where + ": source number " + std::to_string(static_cast<int>(b.from)) + " is unknown here");
  const auto found = stage_at_.find(b.stage);
  if (found == stage_at_.end())
    return invalid(where + ": " + unknown_name("stage", b.stage, names_of(spec_.stages)));
  const auto& function = functions_[found->second]->spec;
  const auto position = index_of(function.outputs, b.port);
  if (!position)
    return invalid(where + ": stage " + quoted(b.stage) + " (function " + quoted(function.name) +
                   "): " + unknown_name("output", b.port, names_of(function.outputs)));
  const auto& p = function.outputs[*position];
  const int depth = (p.list ? 1 : 0) + (spec_.stages[found->second].map.empty() ? 0 : 1);
  return typed_source{{binding::source::stage_output, static_cast<stage_index>(found->second), *position, {}},
                      {p.type, p.shape, depth}};
}

result<resolved_source> binder::resolve_for(const std::string& where, const binding& b, const port& p,
                                            bool mapped) const {
  if (b.from == binding::source::constant) {
    if (mapped)
      return invalid(where +
                     " is a constant and cannot be mapped; remove it from `map`: it is given whole to every element");
    auto fitted = fit_constant(b.constant, p);
    if (fitted.absent())
      return invalid(where + ": the constant has no value; give one, or leave the input out if it is optional");
    SQUALL_TRY(check_value(where + ": the constant", p, fitted));
    return resolved_source{binding::source::constant, 0, 0, std::move(fitted)};
  }
  SQUALL_ASSIGN(found, resolve(where, b));
  const edge_type wanted{p.type, p.shape, (p.list ? 1 : 0) + (mapped ? 1 : 0)};
  const auto& given = found.type;
  if (wanted.type == given.type && wanted.depth == given.depth && shapes_meet(wanted.shape, given.shape))
    return std::move(found.source);
  const auto what = where + ": " + quoted(to_string(b)) + " gives " + describe(given);
  if (wanted.depth == given.depth)
    return invalid(what + ", but the input takes " + describe(wanted));
  if (mapped)
    return invalid(what + ", which the map cannot take apart into " + describe(p) +
                   (given.depth == wanted.depth - 1 ? "; remove it from `map`" : ""));
  return invalid(what + ", but the input takes " + describe(wanted) +
                 (given.depth == wanted.depth + 1 ? "; name it in `map` to run once per element" : ""));
}

result<resolved_predicate> binder::bind_predicate(const std::string& where, bool in_map, const predicate& p) const {
  using op = predicate::op;
  resolved_predicate out{p.operation, {}, p.operand, {}};
  if (p.operation == op::all || p.operation == op::any || p.operation == op::negate) {
    for (const auto& child : p.children) {
      SQUALL_ASSIGN(bound, bind_predicate(where, in_map, child));
      out.children.push_back(std::move(bound));
    }
    return out;
  }
  SQUALL_ASSIGN(found, resolve(where, p.subject));
  out.subject = found.source;
  if (p.operation == op::present)
    return out;
  const auto what = where + ": " + quoted(to_string(p.subject)) + " is " + describe(found.type);
  if (found.type.depth > (in_map ? 1 : 0))
    return invalid(what + ", which cannot be compared; " +
                   (in_map ? "test a tensor or a list of tensors" : "test a tensor, or map the stage over the list"));
  const bool text = std::holds_alternative<std::string>(p.operand);
  if (text != (found.type.type == datatype::bytes))
    return invalid(what + ", but '" + std::string{to_string(p.operation)} + "' compares with a " +
                   (text ? "text" : "number"));
  return out;
}

result<std::vector<resolved_source>> binder::bind_outputs() const {
  std::vector<resolved_source> outputs;
  for (const auto& output : spec_.outputs) {
    const auto where = "DAG " + quoted(spec_.name) + ", output " + quoted(output.name);
    if (output.source.from == binding::source::constant)
      return invalid(where + " is a constant; name a stage's output or an input of the DAG");
    SQUALL_ASSIGN(found, resolve(where, output.source));
    outputs.push_back(std::move(found.source));
  }
  return outputs;
}

namespace {

void mark_read(const resolved_source& source, std::vector<bool>& read) {
  if (source.from == binding::source::dag_input)
    read[source.port] = true;
}

void mark_read(const resolved_predicate& p, std::vector<bool>& read) {
  if (p.children.empty() && p.operation != predicate::op::all)
    mark_read(p.subject, read);
  for (const auto& child : p.children)
    mark_read(child, read);
}

} // namespace

result<> binder::check_all_inputs_read(const std::vector<stage>& stages,
                                       const std::vector<resolved_source>& outputs) const {
  std::vector<bool> read(spec_.inputs.size());
  for (const auto& s : stages) {
    for (const auto& input : s.inputs)
      if (input.bound)
        mark_read(input.source, read);
    if (s.when)
      mark_read(*s.when, read);
  }
  for (const auto& output : outputs)
    mark_read(output, read);
  for (std::size_t i = 0; i < read.size(); ++i)
    if (!read[i] && !spec_.inputs[i].optional)
      return invalid("DAG " + quoted(spec_.name) + ": input " + quoted(spec_.inputs[i].name) +
                     " is read by no stage; bind it, remove it, or mark it optional");
  return {};
}

} // namespace squall::functions::detail
