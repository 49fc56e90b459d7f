#include "functions/chain.hpp"
#include "functions/rewrite.hpp"
#include "tests/executors/random_dags.hpp"

#include <gtest/gtest.h>

namespace squall::executors {

namespace {

using namespace testing;

/// The made-up functions, each a builtin of its own name, and what rules made of them.
struct known_functions {
  ft::catalogue all;
  std::map<std::string, functions::function_spec> by_name;

  known_functions() {
    const auto made_up = make_catalogue();
    for (const auto* name : {"id", "add", "first", "split", "sum"}) {
      auto f = made_up.lookup()(name, 0)->spec;
      f.variants.front().target = name;
      add(std::move(f));
    }
  }
  void add(functions::function_spec f) {
    by_name[f.name] = f;
    all.add(std::move(f));
  }
};

result<std::vector<value>> run_any(const functions::function_spec& f, const std::vector<value>& inputs, int fails_at) {
  const auto& v = f.variants.front();
  if (v.target == "first-answer") {
    for (std::size_t at = 0; at < inputs.size(); at += f.outputs.size())
      if (!inputs[at].absent())
        return std::vector<value>{inputs.begin() + static_cast<std::ptrdiff_t>(at),
                                  inputs.begin() + static_cast<std::ptrdiff_t>(at + f.outputs.size())};
    return {errc::failed, "no answer"};
  }
  if (!v.target.starts_with("fused"))
    return run_function(v.target, inputs, fails_at);
  const auto steps = functions::chain_from_text(v.parameters.at("steps")).value();
  std::vector<std::vector<value>> made;
  const auto take = [&](const functions::chain_source& s) { return s.step ? made[*s.step][s.port] : inputs[s.port]; };
  for (const auto& step : steps.steps) {
    std::vector<value> given;
    for (const auto& source : step.inputs)
      given.push_back(source ? take(*source) : value{});
    SQUALL_ASSIGN(ran, run_function(step.builtin, given, fails_at));
    made.push_back(std::move(ran));
  }
  std::vector<value> out;
  for (const auto& source : steps.outputs)
    out.push_back(take(source));
  return out;
}

struct ran {
  bool failed = false;
  std::vector<value> outputs;
  std::size_t stages = 0;
  std::size_t cancelled = 0;
};

/// One call on one node, its work done in any order.
ran run(const functions::dag_spec& spec, const known_functions& known, const std::vector<value>& inputs,
        std::uint64_t seed, int fails_at) {
  const auto dag = functions::compile(spec, dag_id{1}, known.all.lookup());
  SQUALL_CHECK(dag.ok(), dag.error().message);
  const auto graph = make_flow_graph(*dag, [&](function_id id) {
    for (const auto& [name, f] : known.by_name)
      if (const auto* r = known.all.lookup()(name, 0); r->id == id)
        return std::make_shared<const functions::registered_function>(*r);
    return std::shared_ptr<const functions::registered_function>{};
  });
  const auto plan = plan_of(**graph);
  flow f{*graph, plan, node_id{1}, std::chrono::hours{2}};
  random_source random{seed};
  EXPECT_TRUE(f.start(inputs).ok());
  std::vector<std::pair<stage_index, std::uint32_t>> items;
  while (!f.failure() && !f.finished()) {
    for (const auto& r : f.take_ready())
      for (const auto e : r.elements)
        items.emplace_back(r.stage, e);
    for (const auto stage : f.take_cancelled())
      std::erase_if(items, [&](const auto& i) { return i.first == stage; });
    if (items.empty())
      break;
    std::swap(items[random.below(items.size())], items.back());
    const auto [stage, element] = items.back();
    items.pop_back();
    auto out = run_any((*graph)->stages[stage].function->spec, f.inputs_of(stage, element), fails_at);
    if (out.ok())
      f.complete(stage, element, *std::move(out));
    else
      f.fail(stage, element, out.error());
  }
  EXPECT_TRUE(f.failure() || f.finished());
  ran result{f.failure().has_value(), f.finished() ? f.outputs() : std::vector<value>{}, spec.stages.size(), 0};
  for (const auto& t : f.trace())
    result.cancelled += t.cancelled;
  return result;
}

std::optional<functions::builtin_facts> all_builtin(const functions::variant_spec& v) {
  return functions::builtin_facts{v.target != "first-answer", true};
}

} // namespace

TEST(RewriteProperty, RewrittenDagsGiveWhatTheyGave) {
  std::size_t fused = 0, cancelled = 0, failed = 0, compared = 0;
  for (std::uint64_t seed = 1; compared < 1500; ++seed) {
    auto spec = dag_maker{seed}.make();
    const known_functions known;
    if (!functions::compile(spec, dag_id{1}, known.all.lookup()).ok())
      continue;
    random_source random{seed};
    for (auto& s : spec.stages)
      s.compete = s.map.empty() && random.below(5) == 0 ? static_cast<std::uint32_t>(2 + random.below(2)) : 0;
    auto wanted = spec;
    wanted.optimize = {"fuse", "compete"};
    const auto rewritten = functions::rewrite(wanted, known.all.lookup(), all_builtin);
    ASSERT_TRUE(rewritten.ok()) << "seed " << seed << ": " << rewritten.error().message;
    known_functions more;
    for (const auto& f : rewritten->functions)
      more.add(f);
    const auto compiled = functions::compile(rewritten->spec, dag_id{1}, more.all.lookup());
    ASSERT_TRUE(compiled.ok()) << "seed " << seed << ": " << compiled.error().message;
    const auto n = [&] { return static_cast<float>(random.below(1000)); };
    std::vector<value> inputs{number(n()), number(n()), {numbers({n(), n(), n()})}};
    const int fails_at = seed % 3 == 0 ? 17 : 0;
    const auto before = run(spec, known, inputs, seed, fails_at);
    const auto after = run(rewritten->spec, more, inputs, seed + 1, fails_at);
    ASSERT_EQ(before.failed, after.failed) << "seed " << seed;
    ASSERT_EQ(before.outputs, after.outputs) << "seed " << seed;
    ++compared;
    fused += std::count_if(rewritten->functions.begin(), rewritten->functions.end(),
                           [](const auto& f) { return f.name.starts_with("fused."); });
    cancelled += after.cancelled;
    failed += before.failed;
  }
  EXPECT_GT(fused, 100U);
  EXPECT_GT(cancelled, 300U);
  EXPECT_GT(failed, 50U);
}

} // namespace squall::executors
