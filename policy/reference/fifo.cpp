#include "policy/reference/fifo.hpp"

#include "policy/reference/fleet.hpp"

#include <algorithm>
#include <deque>
#include <tuple>

namespace squall::policy::reference {

namespace {

class fifo final : public dispatch_policy {
public:
  explicit fifo(const dispatch_policy_setup& setup) : fleet_(setup.last_id) {}

  [[nodiscard]] std::string_view name() const override { return "fifo"; }

  void step(time_point now, const placing::event& fact, std::vector<placing::command>& out) override {
    now_ = now;
    std::visit([&](const auto& f) { on(f, out); }, fact);
  }

  [[nodiscard]] std::optional<time_point> next_deadline() const override {
    const bool may_bind = !queue_.empty() && tried_ != fleet_.changes();
    return may_bind || fleet_.may_start() ? std::optional{now_} : std::nullopt;
  }

  void save(calls::binary_writer& out) const override {
    fleet_.save(out);
    out.write(std::vector<call_id>(queue_.begin(), queue_.end()));
    out.write(tried_);
    out.write(now_);
  }
  void restore(calls::binary_reader& in) override {
    fleet_.restore(in);
    std::vector<call_id> queue;
    in.read(queue);
    queue_.assign(queue.begin(), queue.end());
    in.read(tried_);
    in.read(now_);
  }

private:
  template <class Fact>
  void on(const Fact& fact, std::vector<placing::command>&) {
    if constexpr (requires { fleet_.on(fact); })
      fleet_.on(fact);
  }
  void on(const placing::node_lost& fact, std::vector<placing::command>& out) { fleet_.on(fact, out); }
  void on(const placing::call_ended& fact, std::vector<placing::command>&) { forget(fact.id); }
  void on(const placing::cancel_requested& fact, std::vector<placing::command>& out) {
    if (fleet_.find_call(fact.id) == nullptr)
      return;
    forget(fact.id);
    out.emplace_back(placing::abandon{fact.id, errc::cancelled, "the client withdrew the call", {}});
  }
  void forget(call_id id) {
    const fleet_call* call = fleet_.find_call(id);
    if (call != nullptr && !call->instance) // withdrawn, or none of its stages runs
      std::erase(queue_, id);
    fleet_.forget(id, now_);
  }
  void on(const placing::call_arrived& fact, std::vector<placing::command>& out) {
    const fleet_dag* dag = fleet_.find_dag(fact.dag);
    if (dag == nullptr || dag->choices.empty()) {
      out.emplace_back(placing::refuse{fact.id, errc::unavailable, "a stage of the DAG has no variant", {}, {}});
      return;
    }
    fleet_.enter(fact);
    queue_.push_back(fact.id);
    if (queue_.size() == 1)
      tried_ = untried;
    out.emplace_back(placing::admit{fact.id, {}, duration{0}, true, 0});
  }
  void on(const placing::tick&, std::vector<placing::command>& out) {
    while (!queue_.empty() && tried_ != fleet_.changes()) {
      if (!give_instance(queue_.front(), out) && !give_up(queue_.front(), out))
        break;
      queue_.pop_front();
      tried_ = untried;
    }
    fleet_.dispatch(now_, out);
  }

  /// A call that found no place though nothing is in its way would wait for ever, and all others behind it.
  bool give_up(call_id id, std::vector<placing::command>& out) {
    if (fleet_.nodes().empty() || fleet_.calls() > queue_.size())
      return false;
    fleet_.forget(id, now_);
    out.emplace_back(placing::abandon{id, errc::too_large, "no node has the memory for a stage of the DAG", {}});
    return true;
  }

  bool give_instance(call_id id, std::vector<placing::command>& out) {
    const dag_id dag_name = fleet_.find_call(id)->fact.dag;
    const fleet_dag& dag = *fleet_.find_dag(dag_name);
    const auto idle = idle_instance(dag_name);
    if (idle) {
      fleet_.bind(id, *idle, now_);
      return true;
    }
    const auto room = fleet_.room();
    for (std::uint32_t c = 0; c < dag.choices.size(); ++c) {
      const auto where = fleet_.place(dag, dag.choices[c], room);
      if (where.empty())
        continue;
      fleet_.bind(id, fleet_.make(dag_name, c, where, now_, out), now_);
      return true;
    }
    tried_ = fleet_.changes();
    return false;
  }

  [[nodiscard]] std::optional<instance_id> idle_instance(dag_id dag) const {
    const fleet_dag& d = *fleet_.find_dag(dag);
    std::optional<instance_id> best;
    const auto key = [&](instance_id id) {
      const fleet_instance& i = fleet_.at(id);
      return std::tuple{d.choices[i.choice].latency, i.last_used, id};
    };
    for (const instance_id id : fleet_.instances_of(dag))
      if (fleet_.at(id).requests == 0 && (!best || key(id) < key(*best)))
        best = id;
    return best;
  }

  static constexpr std::uint64_t untried = ~std::uint64_t{0};

  fleet fleet_;
  std::deque<call_id> queue_;
  std::uint64_t tried_ = untried; ///< the changes of the fleet when the first in the queue found no place
  time_point now_{};
};

} // namespace

result<std::unique_ptr<dispatch_policy>> make_fifo(const dispatch_policy_setup& setup) {
  option_reader options{setup};
  SQUALL_TRY(options.finish());
  return std::unique_ptr<dispatch_policy>{std::make_unique<fifo>(setup)};
}

} // namespace squall::policy::reference
