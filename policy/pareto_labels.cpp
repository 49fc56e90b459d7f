#include "policy/detail/pareto_state.hpp"

#include <algorithm>
#include <limits>
#include <map>

namespace squall::policy::detail {

namespace {

using node = module_graph::node;
constexpr std::int64_t unreachable = std::numeric_limits<std::int64_t>::min() / 4;

/// Placed nodes whose successors left are the same: only the latest end among them matters. The end of the DAG counts
/// as a successor of its last nodes.
struct group {
  std::vector<std::uint32_t> members; ///< ascending
  std::vector<std::uint32_t> left;    ///< successors not yet placed, ascending
};

class placer {
public:
  placer(const module_graph& graph, const pareto_config& config, pareto_front::recovery& recovery)
      : g_(graph),
        config_(config),
        budget_(config.epsilon_ppm),
        recovery_(recovery),
        end_(static_cast<std::uint32_t>(graph.nodes.size())),
        placed_(graph.nodes.size(), false) {
    least_latency_.resize(end_);
    for (std::uint32_t i = 0; i < end_; ++i)
      if (!g_.nodes[i].gone) {
        todo_.push_back(i);
        out_.lost = std::max(out_.lost, g_.nodes[i].lost);
        const rows& points = g_.nodes[i].points;
        least_latency_[i] = points.row(0)[0];
        for (std::size_t p = 1; p < points.size(); ++p)
          least_latency_[i] = std::min(least_latency_[i], points.row(p)[0]);
      }
    sort_topologically();
    labels_.width = g_.nodes[todo_.front()].points.width - 1; // cost and uses, no times yet
    labels_.data.assign(labels_.width, 0);
  }

  placed_labels run() {
    while (!todo_.empty())
      place(next());
    // One group is left: what waits for nothing but the end.
    out_.points = std::move(labels_);
    return std::move(out_);
  }

private:
  [[nodiscard]] std::vector<std::uint32_t> successors(std::uint32_t i) const {
    return g_.nodes[i].after.empty() ? std::vector<std::uint32_t>{end_} : g_.nodes[i].after;
  }

  /// Merged nodes keep the index of their first, so indices alone are no order.
  void sort_topologically() {
    std::vector<std::uint32_t> order;
    std::vector<std::size_t> waits(end_, 0);
    std::vector<std::uint32_t> ready;
    for (const std::uint32_t i : todo_) {
      waits[i] = g_.nodes[i].before.size();
      if (waits[i] == 0)
        ready.push_back(i);
    }
    for (std::size_t k = 0; k < ready.size(); ++k) {
      order.push_back(ready[k]);
      for (const std::uint32_t a : g_.nodes[ready[k]].after)
        if (--waits[a] == 0)
          ready.push_back(a);
    }
    todo_ = std::move(order);
  }

  /// The groups after `i` was placed; `came` tells for each the old groups in it (of `groups_.size()`: the new node).
  std::vector<group> groups_after(std::uint32_t i, std::vector<std::vector<std::size_t>>* came) const {
    std::map<std::vector<std::uint32_t>, std::vector<std::size_t>> by_left;
    for (std::size_t k = 0; k < groups_.size(); ++k) {
      std::vector<std::uint32_t> left = groups_[k].left;
      std::erase(left, i);
      if (!left.empty())
        by_left[left].push_back(k);
    }
    by_left[successors(i)].push_back(groups_.size());
    std::vector<group> out;
    for (const auto& [left, from] : by_left) {
      group g{{}, left};
      for (const std::size_t k : from) {
        if (k == groups_.size())
          g.members.push_back(i);
        else
          g.members.insert(g.members.end(), groups_[k].members.begin(), groups_[k].members.end());
      }
      out.push_back(std::move(g));
      if (came != nullptr)
        came->push_back(from);
    }
    return out;
  }

  /// Of the nodes that may be placed the one that leaves the fewest groups; the first of equals.
  [[nodiscard]] std::uint32_t next() const {
    std::uint32_t best = end_;
    std::size_t fewest = 0;
    for (const std::uint32_t i : todo_) {
      const auto& before = g_.nodes[i].before;
      if (!std::all_of(before.begin(), before.end(), [&](std::uint32_t b) { return placed_[b]; }))
        continue;
      const std::size_t groups = groups_after(i, nullptr).size();
      if (best == end_ || groups < fewest) {
        best = i;
        fewest = groups;
      }
    }
    return best;
  }

  void place(std::uint32_t i) {
    std::vector<std::vector<std::size_t>> came;
    std::vector<group> groups = groups_after(i, &came);
    rows next = expand(i, groups, came);
    groups_ = std::move(groups);
    placed_[i] = true;
    std::erase(todo_, i);
    raise_to_what_is_waited_for(next);
    keep(i, std::move(next));
  }

  /// Every label with every point of the node: times of the groups, cost, uses.
  [[nodiscard]] rows expand(std::uint32_t i, const std::vector<group>& groups,
                            const std::vector<std::vector<std::size_t>>& came) const {
    const rows& points = g_.nodes[i].points;
    const std::size_t sums = points.width - 1;
    const std::size_t old_times = groups_.size();
    std::vector<std::size_t> waits_for;
    for (std::size_t k = 0; k < old_times; ++k)
      if (std::binary_search(groups_[k].left.begin(), groups_[k].left.end(), i))
        waits_for.push_back(k);
    rows out{groups.size() + sums, {}};
    out.data.resize(labels_.size() * points.size() * out.width);
    std::int64_t* to = out.data.data();
    for (std::size_t l = 0; l < labels_.size(); ++l) {
      const std::int64_t* from = labels_.row(l);
      std::int64_t start = 0;
      for (const std::size_t k : waits_for)
        start = std::max(start, from[k]);
      for (std::size_t p = 0; p < points.size(); ++p) {
        const std::int64_t* point = points.row(p);
        for (const auto& parts : came) {
          std::int64_t time = 0;
          for (const std::size_t k : parts)
            time = std::max(time, k == old_times ? start + point[0] : from[k]);
          *to++ = time;
        }
        for (std::size_t c = 0; c < sums; ++c)
          *to++ = from[old_times + c] + point[1 + c];
      }
    }
    return out;
  }

  /// A group's time may be as late as what all its successors wait for anyhow, without a change to any end: then labels
  /// that differ in nothing that matters are equal.
  void raise_to_what_is_waited_for(rows& labels) const {
    std::vector<std::uint32_t> waiting; // successors of any group
    for (const group& g : groups_)
      for (const std::uint32_t s : g.left)
        waiting.push_back(s);
    std::sort(waiting.begin(), waiting.end());
    waiting.erase(std::unique(waiting.begin(), waiting.end()), waiting.end());
    const std::size_t times = groups_.size();
    if (times < 2)
      return;
    std::vector<std::vector<std::int64_t>> distance; // per group, to the start of each of `waiting`
    for (const group& g : groups_)
      distance.push_back(least_distances(g, waiting));
    std::vector<std::vector<std::size_t>> left(times); // as places in `waiting`
    for (std::size_t k = 0; k < times; ++k)
      for (const std::uint32_t s : groups_[k].left)
        left[k].push_back(
            static_cast<std::size_t>(std::lower_bound(waiting.begin(), waiting.end(), s) - waiting.begin()));
    std::vector<std::int64_t> start(waiting.size());
    for (std::size_t l = 0; l < labels.size(); ++l) {
      std::int64_t* row = labels.row(l);
      for (std::size_t s = 0; s < waiting.size(); ++s) {
        start[s] = 0;
        for (std::size_t k = 0; k < times; ++k)
          start[s] = std::max(start[s], row[k] + distance[k][s]);
      }
      for (std::size_t k = 0; k < times; ++k) {
        std::int64_t least = start[left[k].front()];
        for (const std::size_t s : left[k])
          least = std::min(least, start[s]);
        row[k] = least;
      }
    }
  }

  /// The least time from a group's end to the start of each node, over what is not placed.
  [[nodiscard]] std::vector<std::int64_t> least_distances(const group& g,
                                                          const std::vector<std::uint32_t>& waiting) const {
    std::vector<std::int64_t> start(end_ + 1, unreachable);
    for (const std::uint32_t s : g.left)
      start[s] = 0;
    for (const std::uint32_t i : todo_) {
      if (start[i] == unreachable)
        continue;
      const std::int64_t end = start[i] + least_latency_[i];
      for (const std::uint32_t a : successors(i))
        start[a] = std::max(start[a], end);
    }
    std::vector<std::int64_t> out;
    for (const std::uint32_t s : waiting)
      out.push_back(start[s]);
    return out;
  }

  void keep(std::uint32_t i, rows next) {
    const std::size_t points = g_.nodes[i].points.size();
    std::vector<std::uint32_t> stay = efficient(next);
    out_.most_labels = std::max(out_.most_labels, stay.size());
    labels_.width = next.width;
    if (stay.size() > config_.label_limit && !budget_.none()) {
      const double factor = budget_.next(out_.lost);
      rows few{next.width, {}};
      for (const std::uint32_t r : stay)
        few.data.insert(few.data.end(), next.row(r), next.row(r) + next.width);
      std::vector<std::uint32_t> thin = thinned(few, groups_.size(), factor);
      for (std::uint32_t& r : thin)
        r = stay[r];
      stay = std::move(thin);
      out_.lost *= factor;
    }
    pareto_front::recovery::round round;
    round.module = g_.nodes[i].module;
    labels_.data.clear();
    for (const std::uint32_t r : stay) {
      labels_.data.insert(labels_.data.end(), next.row(r), next.row(r) + next.width);
      round.before.push_back(static_cast<std::uint32_t>(r / points));
      round.point.push_back(static_cast<std::uint32_t>(r % points));
    }
    recovery_.rounds.push_back(std::move(round));
  }

  const module_graph& g_;
  const pareto_config& config_;
  loss_budget budget_;
  pareto_front::recovery& recovery_;
  std::uint32_t end_;
  std::vector<bool> placed_;
  std::vector<std::int64_t> least_latency_;
  std::vector<std::uint32_t> todo_; ///< not placed, in topological order
  std::vector<group> groups_;
  rows labels_; ///< times of the groups, then cost and uses
  placed_labels out_;
};

} // namespace

placed_labels place(const module_graph& graph, const pareto_config& config, pareto_front::recovery& recovery) {
  return placer{graph, config, recovery}.run();
}

} // namespace squall::policy::detail
