#pragma once

#include "base/random.hpp"
#include "tests/executors/flow_bench.hpp"

namespace squall::executors::testing {

using functions::join_rule;
using functions::predicate;
using functions::stage_spec;

/// DAGs of every rule, by seed. Some are not valid: the caller asks for the next.
class dag_maker {
public:
  explicit dag_maker(std::uint64_t seed) : random_(seed) {}

  functions::dag_spec make() {
    scalars_ = {"$i", "$j"};
    lists_ = {"$k"};
    functions::dag_spec spec = dag_of({port_of("i"), port_of("j"), port_of("k", false, true)}, {}, {});
    const auto count = 2 + random_.below(14);
    for (std::uint64_t i = 0; i < count; ++i)
      spec.stages.push_back(make_stage("s" + std::to_string(i)));
    for (std::size_t i = 0; i < scalars_.size(); i += 1 + random_.below(2))
      spec.outputs.push_back({"o" + std::to_string(i), ft::from(scalars_[scalars_.size() - 1 - i])});
    spec.outputs.push_back({"l", ft::from(lists_.back())});
    for (const auto* all : {"$i", "$j", "$k"})
      spec.outputs.push_back({std::string{"in_"} + (all + 1), ft::from(all)});
    return spec;
  }

private:
  bool chance(std::uint64_t percent) { return random_.below(100) < percent; }
  const std::string& pick(const std::vector<std::string>& from) { return from[random_.below(from.size())]; }

  stage_spec make_stage(const std::string& name) {
    static const std::vector<std::string> functions{"id", "add", "first", "first", "split", "sum"};
    stage_spec s = ft::stage_of(name, pick(functions), {});
    bool map = s.function != "split" && s.function != "sum" && chance(40);
    if (s.function == "sum")
      s.inputs.push_back({"xs", ft::from(pick(lists_))});
    else
      bind(s, map);
    if (s.function == "first" && chance(70))
      s.join = {chance(50) ? join_rule::kind::any : join_rule::kind::count,
                static_cast<std::uint32_t>(1 + random_.below(2)), std::chrono::hours{1}};
    if (chance(35))
      s.when = make_condition(map);
    s.may_fail = chance(30);
    auto& row = map || s.function == "split" ? lists_ : scalars_;
    row.push_back(name + (s.function == "split" ? ".xs" : ".x"));
    return s;
  }

  void bind(stage_spec& s, bool& map) {
    static const std::map<std::string, std::vector<std::string>> ports{
        {"id", {"a"}}, {"split", {"a"}}, {"add", {"a", "b"}}, {"first", {"a", "b", "c"}}};
    const auto list = pick(lists_); // lists of one source have one width
    for (const auto& port : ports.at(s.function)) {
      const bool mapped = map && (port == "a" || chance(30));
      if (mapped)
        s.map.push_back(port);
      s.inputs.push_back({port, ft::from(mapped ? list : pick(scalars_))});
    }
  }

  predicate make_condition(bool map) {
    const auto subject = map && chance(60) ? pick(lists_) : pick(scalars_);
    auto p = chance(20) ? ft::present(subject)
                        : ft::compare(subject, chance(50) ? predicate::op::above : predicate::op::below, 300.0);
    return chance(25) ? ft::combine(predicate::op::negate, {p}) : p;
  }

  random_source random_;
  std::vector<std::string> scalars_;
  std::vector<std::string> lists_;
};

} // namespace squall::executors::testing
