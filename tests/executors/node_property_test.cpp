#include "tests/executors/node_world.hpp"
#include "tests/executors/random_dags.hpp"

/// Random DAGs on random nodes, many calls at once, in random order, with and without faults.
namespace squall::executors {
namespace {

using namespace testing;

class NodeProperty : public NodeTest {
protected:
  static constexpr std::size_t nodes = 3;

  void prepare(std::uint64_t first_seed, std::size_t count) {
    for (auto seed = first_seed; made_.size() < count; ++seed) {
      auto spec = dag_maker{seed}.make();
      spec.name = "d" + std::to_string(seed);
      if (try_graph(spec).ok())
        made_.push_back(add_dag(spec));
    }
    for (std::size_t i = 0; i < nodes; ++i)
      add_machine();
    join_all();
  }

  wire::call_context scattered(std::uint64_t call, dag_id dag) {
    auto context = context_of(call, dag);
    for (auto& stage : context.plan.stages) {
      stage.home = node_id{1 + random_.below(nodes)};
      // A spread on a stage that is no map has no meaning, and must do no harm.
      if (random_.below(2) == 0)
        stage.spread = {stage.home, node_id{1 + random_.below(nodes)}, node_id{1 + random_.below(nodes)}};
    }
    context.plan.exit = node_id{1 + random_.below(nodes)};
    return context;
  }

  void begin(const wire::call_context& context) {
    for (std::size_t i = 0; i < nodes; ++i)
      start(i, context, {number(5), number(610), value{numbers({1, 400, 6, 299})}});
  }

  /// Something happens somewhere.
  void stir() {
    const auto at = random_.below(nodes);
    if (random_.below(2) == 0)
      deliver();
    else if (worker(at).up)
      worker(at).step();
  }

  random_source random_{17};
  std::vector<dag_id> made_;
};

TEST_F(NodeProperty, OneNodeOrThreeGiveTheSameOutputs) {
  prepare(1, 120);
  std::uint64_t call = 0;
  for (const auto dag : made_) {
    begin(context_of(++call, dag));
    begin(scattered(++call, dag));
    for (int i = 0; i < 5; ++i)
      stir();
  }
  settle();
  for (std::size_t i = 0; i < made_.size(); ++i) {
    const auto alone = finished(2 * i + 1);
    const auto spread = finished(2 * i + 2);
    ASSERT_TRUE(alone && spread) << "DAG " << dags_[made_[i]].name << ", alone " << alone.has_value();
    ASSERT_EQ(alone->outcome.code, spread->outcome.code) << alone->outcome.message << " " << spread->outcome.message;
    ASSERT_EQ(alone->outputs, spread->outputs) << "DAG " << i;
    ASSERT_EQ(alone->outcome.trace.size(), spread->outcome.trace.size());
  }
  expect_memory_free();
}

TEST_F(NodeProperty, EveryCallEndsWhateverHappens) {
  prepare(1000, 60);
  std::uint64_t call = 0;
  for (int round = 0; round < 8; ++round) {
    const auto first = call + 1;
    for (const auto dag : made_) {
      auto context = scattered(++call, dag);
      context.remaining = std::chrono::milliseconds{20 + random_.below(200)};
      begin(context);
      stir();
      if (random_.below(10) == 0)
        for (std::size_t i = 0; i < nodes; ++i)
          give(i, wire::drop_call{call_id{call - random_.below(10)}});
      if (random_.below(15) == 0)
        pass(std::chrono::milliseconds{random_.below(30)});
      if (random_.below(25) == 0) {
        auto& w = worker(random_.below(nodes));
        if (w.up)
          w.die();
        else
          w.become_ready();
      }
    }
    for (std::size_t i = 0; i < nodes; ++i)
      if (!worker(i).up)
        worker(i).become_ready();
    settle();
    pass(std::chrono::milliseconds{500});
    settle();
    // What the controller does: it tells the others of an end.
    for (const auto& f : finished_)
      for (std::size_t i = 0; i < nodes; ++i)
        if (f.outcome.code != errc::ok)
          give(i, wire::drop_call{f.call});
    for (auto ended = first; ended <= call; ++ended)
      while (auto f = finished(ended))
        release(*std::move(f));
    expect_memory_free();
  }
}

} // namespace
} // namespace squall::executors
