#include "policy/reference/admission.hpp"

#include "base/random.hpp"
#include "policy/reference/fleet.hpp"

#include <algorithm>

namespace squall::policy::reference {

namespace {

struct admission_rules {
  bool sampled = false; ///< new instances are drawn from the front; else all on one node
  bool queueing = false;
  bool batching = false;
  std::uint64_t samples = 4;
};

/// An instance, there or to be made, for a call.
struct prospect {
  instance_id instance;     ///< zero: to be made
  std::uint32_t choice = 0; ///< among the DAG's
  std::vector<node_id> where;
  time_point end{}; ///< predicted
};

class admission final : public dispatch_policy {
public:
  admission(const dispatch_policy_setup& setup, const admission_rules& rules)
      : name_(setup.name), rules_(rules), fleet_(setup.last_id), seed_(setup.seed) {
    fleet_.batching = rules.batching;
  }

  [[nodiscard]] std::string_view name() const override { return name_; }

  void step(time_point now, const placing::event& fact, std::vector<placing::command>& out) override {
    now_ = now;
    std::visit([&](const auto& f) { on(f, out); }, fact);
  }

  [[nodiscard]] std::optional<time_point> next_deadline() const override {
    return fleet_.may_start() ? std::optional{now_} : std::nullopt;
  }

  void save(calls::binary_writer& out) const override {
    fleet_.save(out);
    out.write(draws_);
    out.write(now_);
  }
  void restore(calls::binary_reader& in) override {
    fleet_.restore(in);
    in.read(draws_);
    in.read(now_);
  }

private:
  template <class Fact>
  void on(const Fact& fact, std::vector<placing::command>&) {
    if constexpr (requires { fleet_.on(fact); })
      fleet_.on(fact);
  }
  void on(const placing::node_lost& fact, std::vector<placing::command>& out) { fleet_.on(fact, out); }
  void on(const placing::call_ended& fact, std::vector<placing::command>&) { fleet_.forget(fact.id, now_); }
  void on(const placing::cancel_requested& fact, std::vector<placing::command>& out) {
    if (fleet_.find_call(fact.id) == nullptr)
      return;
    fleet_.forget(fact.id, now_);
    out.emplace_back(placing::abandon{fact.id, errc::cancelled, "the client withdrew the call", {}});
  }
  void on(const placing::tick&, std::vector<placing::command>& out) { fleet_.dispatch(now_, out); }

  void on(const placing::call_arrived& fact, std::vector<placing::command>& out) {
    const fleet_dag* dag = fleet_.find_dag(fact.dag);
    if (dag == nullptr || dag->choices.empty()) {
      out.emplace_back(placing::refuse{fact.id, errc::unavailable, "a stage of the DAG has no variant", {}, {}});
      return;
    }
    const auto best = least_end(fact, *dag);
    std::optional<prospect> chosen;
    if (best && keeps(*best, fact, *dag))
      chosen = best;
    if (!chosen)
      chosen = rules_.sampled ? sampled(fact, *dag) : on_one_node(fact, *dag);
    if (!chosen && rules_.queueing)
      chosen = best ? best : first_that_fits(fact, *dag);
    if (!chosen) {
      out.emplace_back(placing::refuse{
          fact.id, errc::overloaded, "no instance would end in time and within its cost", duration{0}, {}});
      return;
    }
    const placing::micro_cost cost = dag->choices[chosen->choice].cost;
    if (!chosen->instance)
      chosen->instance = fleet_.make(fact.dag, chosen->choice, chosen->where, now_, out);
    fleet_.enter(fact);
    fleet_.bind(fact.id, chosen->instance, now_);
    out.emplace_back(placing::admit{fact.id, {}, chosen->end - now_, true, cost});
  }

  [[nodiscard]] bool keeps(const prospect& p, const placing::call_arrived& fact, const fleet_dag& dag) const {
    return p.end <= fact.deadline && dag.choices[p.choice].cost <= fact.max_cost;
  }

  /// Of the instances that are there, within the cost SLO where there is one; ties: the oldest.
  [[nodiscard]] std::optional<prospect> least_end(const placing::call_arrived& fact, const fleet_dag& dag) const {
    std::optional<prospect> best;
    for (const instance_id id : fleet_.instances_of(fact.dag)) {
      const fleet_instance& instance = fleet_.at(id);
      if (dag.choices[instance.choice].cost > fact.max_cost)
        continue;
      const time_point end = fleet_.predict(dag, instance, now_);
      if (!best || end < best->end)
        best = prospect{id, instance.choice, {}, end};
    }
    return best;
  }

  [[nodiscard]] std::optional<prospect> tried(const fleet_dag& dag, std::uint32_t choice,
                                              const std::vector<std::uint64_t>& room) const {
    prospect p{{}, choice, fleet_.place(dag, dag.choices[choice], room), {}};
    if (p.where.empty())
      return std::nullopt;
    p.end = fleet_.predict(dag, choice, p.where, now_);
    return p;
  }

  [[nodiscard]] std::optional<prospect> on_one_node(const placing::call_arrived& fact, const fleet_dag& dag) const {
    const auto room = fleet_.room();
    for (const std::size_t type : {std::size_t{1}, std::size_t{0}}) {
      const auto choice = fleet_.choice_of_one_type(dag, type);
      if (!choice)
        continue;
      // Only the node with most room has any.
      std::size_t most = room.size();
      for (std::size_t n = 0; n < room.size(); ++n)
        if (fleet_.nodes()[n].lanes[type] > 0 && (most == room.size() || room[n] > room[most]))
          most = n;
      std::vector<std::uint64_t> only(room.size(), 0);
      if (most < room.size())
        only[most] = room[most];
      if (auto p = tried(dag, *choice, only); p && keeps(*p, fact, dag))
        return p;
    }
    return std::nullopt;
  }

  [[nodiscard]] std::optional<prospect> sampled(const placing::call_arrived& fact, const fleet_dag& dag) {
    std::vector<std::uint32_t> within;
    for (const std::uint32_t c : dag.front)
      if (now_ + dag.choices[c].latency <= fact.deadline && dag.choices[c].cost <= fact.max_cost)
        within.push_back(c);
    const auto room = fleet_.room();
    std::vector<prospect> valid;
    for (std::uint64_t i = 0; i < rules_.samples && !within.empty(); ++i) {
      const std::size_t drawn = draw(within.size());
      auto p = tried(dag, within[drawn], room);
      within.erase(within.begin() + static_cast<std::ptrdiff_t>(drawn));
      if (p && keeps(*p, fact, dag))
        valid.push_back(std::move(*p));
    }
    if (valid.empty())
      return std::nullopt;
    return valid[draw(valid.size())];
  }

  /// For a DAG without an instance, when calls queue in any case.
  [[nodiscard]] std::optional<prospect> first_that_fits(const placing::call_arrived& fact, const fleet_dag& dag) const {
    const auto room = fleet_.room();
    for (std::uint32_t c = 0; c < dag.choices.size(); ++c)
      if (auto p = tried(dag, c, room); p && dag.choices[c].cost <= fact.max_cost)
        return p;
    return std::nullopt;
  }

  /// Each draw has numbers of its own, so that how many there were is all there is to keep.
  [[nodiscard]] std::size_t draw(std::size_t bound) {
    random_source random{seed_ + 0x9e3779b97f4a7c15ULL * ++draws_};
    return static_cast<std::size_t>(random.below(bound));
  }

  std::string name_;
  admission_rules rules_;
  fleet fleet_;
  std::uint64_t seed_;
  std::uint64_t draws_ = 0;
  time_point now_{};
};

} // namespace

result<std::unique_ptr<dispatch_policy>> make_clockwork_naive(const dispatch_policy_setup& setup) {
  option_reader options{setup};
  admission_rules rules;
  rules.queueing = options.flag("queueing", false);
  rules.batching = options.flag("batching", false);
  SQUALL_TRY(options.finish());
  return std::unique_ptr<dispatch_policy>{std::make_unique<admission>(setup, rules)};
}

result<std::unique_ptr<dispatch_policy>> make_thesis(const dispatch_policy_setup& setup) {
  option_reader options{setup};
  admission_rules rules;
  rules.sampled = true;
  rules.queueing = options.flag("queueing", false);
  rules.batching = options.flag("batching", true);
  rules.samples = options.number("samples", 4, 1000);
  SQUALL_TRY(options.finish());
  return std::unique_ptr<dispatch_policy>{std::make_unique<admission>(setup, rules)};
}

} // namespace squall::policy::reference
