#include "functions/spec.hpp"

#include "functions/detail/text.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <span>

namespace squall::functions {

using detail::join_names;
using detail::names_of;
using detail::quoted;
using detail::unknown_name;

namespace {

template <class Enum>
struct word {
  Enum what;
  std::string_view name;
};

constexpr word<variant_kind> variant_kinds[] = {{variant_kind::builtin, "builtin"},
                                                {variant_kind::native, "native"},
                                                {variant_kind::python, "python"},
                                                {variant_kind::onnx, "onnx"},
                                                {variant_kind::kernels, "kernels"}};
constexpr word<resource_type> resource_types[] = {{resource_type::cpu, "cpu"}, {resource_type::gpu, "gpu"}};
constexpr word<predicate::op> predicate_ops[] = {
    {predicate::op::below, "below"},       {predicate::op::above, "above"}, {predicate::op::at_most, "at_most"},
    {predicate::op::at_least, "at_least"}, {predicate::op::equal, "equal"}, {predicate::op::not_equal, "not_equal"},
    {predicate::op::present, "present"},   {predicate::op::all, "all"},     {predicate::op::any, "any"},
    {predicate::op::negate, "not"}};

template <class Enum, std::size_t N>
std::string_view word_of(const word<Enum> (&words)[N], Enum what) {
  const auto* found = std::find_if(words, words + N, [&](const auto& w) { return w.what == what; });
  return found == words + N ? "unknown" : found->name;
}

template <class Enum, std::size_t N>
std::optional<Enum> word_from(const word<Enum> (&words)[N], std::string_view name) {
  const auto* found = std::find_if(words, words + N, [&](const auto& w) { return w.name == name; });
  return found == words + N ? std::nullopt : std::optional{found->what};
}

error invalid(std::string message) { return {errc::invalid_argument, std::move(message)}; }

result<> check_name(std::string_view where, std::string_view noun, std::string_view name) {
  if (is_name(name))
    return {};
  return invalid(std::string{where} + ": " + quoted(name) + " cannot name a " + std::string{noun} + ": use 1 to " +
                 std::to_string(max_name_length) +
                 " letters, digits, '_', '-' and '.', beginning with a letter, a digit or '_'");
}

result<> check_limit(std::string_view where, std::string_view noun, std::size_t count, std::size_t limit) {
  if (count <= limit)
    return {};
  return {errc::too_large, std::string{where} + " has " + std::to_string(count) + " " + std::string{noun} +
                               "; the limit is " + std::to_string(limit)};
}

/// Names of `things` are well formed and each occurs once.
template <class Container>
result<> check_names(std::string_view where, std::string_view noun, const Container& things) {
  std::set<std::string_view> seen;
  for (const auto& thing : things) {
    SQUALL_TRY(check_name(where, noun, thing.name));
    if (!seen.insert(thing.name).second)
      return invalid(std::string{where} + " has two " + std::string{noun} + "s named " + quoted(thing.name) +
                     "; rename one");
  }
  return {};
}

result<> check_port(const std::string& where, std::string_view noun, const port& p) {
  const std::string what = where + ", " + std::string{noun} + " " + quoted(p.name);
  if (to_string(p.type) == "unknown datatype")
    return invalid(what + ": datatype number " + std::to_string(static_cast<int>(p.type)) + " is unknown");
  SQUALL_TRY(check_limit(what, "dimensions", p.shape.size(), max_rank));
  for (const auto extent : p.shape)
    if (extent < -1)
      return invalid(what + ": shape " + to_string(p.shape) + " has the extent " + std::to_string(extent) +
                     "; use -1 for a free dimension, else 0 or more");
  if (p.optional && noun == "output")
    return invalid(what + " is optional; only inputs can be");
  return {};
}

result<> check_ports(const std::string& where, std::string_view noun, const std::vector<port>& ports) {
  SQUALL_TRY(check_limit(where, std::string{noun} + "s", ports.size(), max_ports));
  SQUALL_TRY(check_names(where, noun, ports));
  for (const auto& p : ports)
    SQUALL_TRY(check_port(where, noun, p));
  return {};
}

result<> check_variant(const std::string& function, const variant_spec& v) {
  const std::string where = function + ", variant " + quoted(v.name);
  if (word_of(variant_kinds, v.kind) == "unknown")
    return invalid(where + ": kind number " + std::to_string(static_cast<int>(v.kind)) + " is unknown");
  if (word_of(resource_types, v.resource) == "unknown")
    return invalid(where + ": resource number " + std::to_string(static_cast<int>(v.resource)) + " is unknown");
  if (v.kind == variant_kind::builtin && v.resource != resource_type::cpu)
    return invalid(where + ": builtin functions run on cpu; remove `resource: gpu`");
  if (v.target.empty())
    return invalid(where + ": target is empty; name the builtin function, or the key of the model or of the code");
  if (v.max_batch < 1 || v.max_batch > max_batch_limit)
    return invalid(where + ": max_batch is " + std::to_string(v.max_batch) + "; use 1 to " +
                   std::to_string(max_batch_limit));
  if (v.max_delay < duration{0})
    return invalid(where + ": max_delay is negative");
  if (v.threads < 1 || v.threads > max_threads)
    return invalid(where + ": threads is " + std::to_string(v.threads) + "; use 1 to " + std::to_string(max_threads));
  return {};
}

const port* find_port(const std::vector<port>& ports, std::string_view name) {
  const auto found = std::find_if(ports.begin(), ports.end(), [&](const port& p) { return p.name == name; });
  return found == ports.end() ? nullptr : &*found;
}

result<> check_state(const std::string& where, const function_spec& spec) {
  std::set<std::string_view> inputs, outputs;
  for (const auto& s : spec.state) {
    const auto* in = find_port(spec.inputs, s.input);
    const auto* out = find_port(spec.outputs, s.output);
    if (!in)
      return invalid(where + ", state: " + unknown_name("input", s.input, names_of(spec.inputs)));
    if (!out)
      return invalid(where + ", state: " + unknown_name("output", s.output, names_of(spec.outputs)));
    if (!inputs.insert(s.input).second || !outputs.insert(s.output).second)
      return invalid(where + ", state: " + quoted(s.output) + " -> " + quoted(s.input) + " uses a port twice");
    if (in->type != out->type || in->shape != out->shape || in->list || out->list)
      return invalid(where + ", state: output " + quoted(s.output) + " is " + describe(*out) + ", but input " +
                     quoted(s.input) + " is " + describe(*in) + "; they must be the same tensor");
  }
  return {};
}

/// The form of a condition. `terms` counts down over the whole condition, which also bounds the recursion.
result<> check_predicate(const std::string& where, const predicate& p, std::size_t& terms) {
  using op = predicate::op;
  if (terms-- == 0)
    return {errc::too_large, where + ", when: has more than " + std::to_string(max_when_terms) + " terms"};
  const auto name = to_string(p.operation);
  if (name == "unknown")
    return invalid(where + ", when: operation number " + std::to_string(static_cast<int>(p.operation)) + " is unknown");
  const bool connective = p.operation == op::all || p.operation == op::any || p.operation == op::negate;
  if (!connective && !p.children.empty())
    return invalid(where + ", when: '" + std::string{name} + "' takes a value, not conditions");
  if (p.operation == op::negate && p.children.size() != 1)
    return invalid(where + ", when: 'not' takes one condition, got " + std::to_string(p.children.size()));
  if (p.operation == op::any && p.children.empty())
    return invalid(where +
                   ", when: 'any' of no conditions never holds, so the stage is unreachable; give it a condition");
  if (!connective && p.subject.from == binding::source::constant)
    return invalid(where + ", when: '" + std::string{name} +
                   "' tests a constant; name a stage's output or an input of the DAG");
  if (const auto* number = std::get_if<double>(&p.operand); number && !connective && !std::isfinite(*number))
    return invalid(where + ", when: '" + std::string{name} + "' compares with a number that is not finite");
  const bool ordered =
      p.operation != op::equal && p.operation != op::not_equal && p.operation != op::present && !connective;
  if (ordered && std::holds_alternative<std::string>(p.operand))
    return invalid(where + ", when: '" + std::string{name} + "' compares with a number, got the text " +
                   quoted(std::get<std::string>(p.operand)));
  for (const auto& child : p.children)
    SQUALL_TRY(check_predicate(where, child, terms));
  return {};
}

result<> check_stage(const std::string& dag, const stage_spec& s) {
  const std::string where = dag + ", stage " + quoted(s.name);
  if (s.name.find('.') != std::string::npos)
    return invalid(where + ": the name of a stage has no '.', which separates it from its output");
  SQUALL_TRY(check_limit(where, "inputs", s.inputs.size(), max_ports));
  SQUALL_TRY(check_limit(where, "mapped inputs", s.map.size(), max_ports));
  for (const auto& input : s.inputs)
    if (input.source.constant.byte_size() > max_constant_bytes)
      return {errc::too_large, where + ", input " + quoted(input.port) + ": a constant of " +
                                   std::to_string(input.source.constant.byte_size()) + " bytes; the limit is " +
                                   std::to_string(max_constant_bytes) + ", pass it as an input of the DAG"};
  if (s.width_max > max_map_width)
    return {errc::too_large, where + ": width_max is " + std::to_string(s.width_max) + "; the limit is " +
                                 std::to_string(max_map_width)};
  if (s.width_max != 0 && s.map.empty())
    return invalid(where + ": width_max is for a map; name the mapped inputs in `map`, or remove it");
  if (s.join.rule < join_rule::kind::all || s.join.rule > join_rule::kind::count)
    return invalid(where + ": join rule number " + std::to_string(static_cast<int>(s.join.rule)) + " is unknown");
  if (s.join.wait < duration{0})
    return invalid(where + ": the join's wait is negative");
  if (s.when) {
    auto terms = max_when_terms;
    SQUALL_TRY(check_predicate(where, *s.when, terms));
  }
  return {};
}

} // namespace

std::string_view to_string(variant_kind kind) { return word_of(variant_kinds, kind); }
std::optional<variant_kind> variant_kind_from_string(std::string_view name) { return word_from(variant_kinds, name); }
std::string_view to_string(resource_type resource) { return word_of(resource_types, resource); }
std::optional<resource_type> resource_type_from_string(std::string_view name) {
  return word_from(resource_types, name);
}
std::string_view to_string(predicate::op operation) { return word_of(predicate_ops, operation); }
std::optional<predicate::op> predicate_op_from_string(std::string_view name) { return word_from(predicate_ops, name); }

std::string to_string(const binding& b) {
  switch (b.from) {
    case binding::source::dag_input:
      return "$" + b.port;
    case binding::source::stage_output:
      return b.stage + "." + b.port;
    case binding::source::constant:
      return "constant";
  }
  return "unknown source";
}

bool is_name(std::string_view name) {
  const auto word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !name.empty() && name.size() <= max_name_length && word(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return word(c) || c == '-' || c == '.'; });
}

std::string describe(const port& p) {
  return (p.list ? "a list of " : "") + std::string{to_string(p.type)} + " " + to_string(p.shape);
}

result<> validate(const function_spec& spec) {
  SQUALL_TRY(check_name("function", "function", spec.name));
  const std::string where = "function " + quoted(spec.name);
  if (spec.version == 0)
    return invalid(where + ": version is 0; versions begin at 1");
  SQUALL_TRY(check_ports(where, "input", spec.inputs));
  SQUALL_TRY(check_ports(where, "output", spec.outputs));
  if (spec.variants.empty())
    return invalid(where + " has no variants; give at least one");
  SQUALL_TRY(check_limit(where, "variants", spec.variants.size(), max_variants));
  SQUALL_TRY(check_names(where, "variant", spec.variants));
  for (const auto& v : spec.variants)
    SQUALL_TRY(check_variant(where, v));
  return check_state(where, spec);
}

result<> validate(const dag_spec& spec) {
  SQUALL_TRY(check_name("DAG", "DAG", spec.name));
  const std::string where = "DAG " + quoted(spec.name);
  // First of all, so that a DAG far beyond the limit costs nothing.
  SQUALL_TRY(check_limit(where, "stages", spec.stages.size(), max_stages));
  if (spec.version == 0)
    return invalid(where + ": version is 0; versions begin at 1");
  if (spec.stages.empty())
    return invalid(where + " has no stages; give at least one");
  SQUALL_TRY(check_ports(where, "input", spec.inputs));
  SQUALL_TRY(check_limit(where, "outputs", spec.outputs.size(), max_ports));
  SQUALL_TRY(check_names(where, "output", spec.outputs));
  SQUALL_TRY(check_names(where, "stage", spec.stages));
  for (const auto& s : spec.stages)
    SQUALL_TRY(check_stage(where, s));
  return {};
}

} // namespace squall::functions
