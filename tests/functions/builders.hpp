#pragma once

#include "functions/dag.hpp"

#include <deque>
#include <string>
#include <vector>

/// Short ways to write specs in tests.
namespace squall::functions::testing {

/// "$crop" or "fast.probs".
inline binding from(const std::string& text) {
  if (text.starts_with("$"))
    return {binding::source::dag_input, {}, text.substr(1), {}};
  const auto dot = text.find('.');
  return {binding::source::stage_output, text.substr(0, dot), text.substr(dot + 1), {}};
}

inline binding constant(value v) { return {binding::source::constant, {}, {}, std::move(v)}; }

inline stage_spec stage_of(std::string name, std::string function, std::vector<stage_input> inputs) {
  stage_spec s;
  s.name = std::move(name);
  s.function = std::move(function);
  s.inputs = std::move(inputs);
  return s;
}

inline predicate compare(const std::string& subject, predicate::op operation,
                         std::variant<double, std::string> operand) {
  return {operation, from(subject), std::move(operand), {}};
}

inline predicate present(const std::string& subject) { return {predicate::op::present, from(subject), {}, {}}; }

inline predicate combine(predicate::op operation, std::vector<predicate> children) {
  return {operation, {}, {}, std::move(children)};
}

/// A function with one variant "default".
inline function_spec function_of(std::string name, std::vector<port> inputs, std::vector<port> outputs) {
  function_spec f;
  f.name = std::move(name);
  f.inputs = std::move(inputs);
  f.outputs = std::move(outputs);
  variant_spec v;
  v.name = "default";
  v.target = "noop";
  f.variants = {v};
  return f;
}

/// A catalogue in memory.
class catalogue {
public:
  void add(function_spec spec) {
    registered_function f;
    f.id = function_id{++last_};
    for (std::size_t i = 0; i < spec.variants.size(); ++i)
      f.variants.push_back(variant_id{last_ * 100 + i});
    f.spec = std::move(spec);
    functions_.push_back(std::move(f));
  }

  [[nodiscard]] function_lookup lookup() const {
    return [this](std::string_view name, std::uint32_t version) {
      const registered_function* best = nullptr;
      for (const auto& f : functions_)
        if (f.spec.name == name && (version == 0 || f.spec.version == version) &&
            (!best || f.spec.version > best->spec.version))
          best = &f;
      return best;
    };
  }

private:
  std::uint64_t last_ = 0;
  std::deque<registered_function> functions_;
};

inline value floats(shape s, const std::vector<float>& numbers) {
  return {tensor_of(datatype::fp32, std::move(s), numbers)};
}

} // namespace squall::functions::testing
