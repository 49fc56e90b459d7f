#include "policy/detail/complete_plans.hpp"
#include "policy/detail/pareto_state.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace squall::policy::detail {

namespace {

using node = module_graph::node;
constexpr std::size_t few_labels = 128;
constexpr std::int64_t unreachable = std::numeric_limits<std::int64_t>::min() / 4;

/// A few numbers: a call of memmove would take longer.
void copy_row(const std::int64_t* from, std::size_t width, std::int64_t* to) {
  for (std::size_t c = 0; c < width; ++c)
    to[c] = from[c];
}

/// Placed nodes whose successors left are the same: only the latest end among them matters. The end of the DAG counts
/// as a successor of its last nodes.
struct group {
  std::vector<std::uint32_t> left; ///< successors not yet placed, ascending
};

class placer {
public:
  placer(const module_graph& graph, const pareto_config& config, pareto_front::recovery& recovery)
      : g_(graph),
        config_(config),
        budget_(config.epsilon_ppm),
        recovery_(recovery),
        end_(static_cast<std::uint32_t>(graph.nodes.size())),
        after_(graph.nodes.size()),
        waits_(graph.nodes.size()) {
    least_latency_.resize(end_);
    for (std::uint32_t i = 0; i < end_; ++i)
      if (!g_.nodes[i].gone) {
        todo_.push_back(i);
        after_[i] = successors(i);
        waits_[i] = g_.nodes[i].before.size();
        out_.lost = std::max(out_.lost, g_.nodes[i].lost);
        const rows& points = g_.nodes[i].points;
        least_latency_[i] = points.row(0)[0];
        for (std::size_t p = 1; p < points.size(); ++p)
          least_latency_[i] = std::min(least_latency_[i], points.row(p)[0]);
      }
    completions_ = completions(g_);
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
    std::vector<std::size_t> waits = waits_;
    std::vector<std::uint32_t> ready;
    for (const std::uint32_t i : todo_)
      if (waits[i] == 0)
        ready.push_back(i);
    for (std::size_t k = 0; k < ready.size(); ++k) {
      order.push_back(ready[k]);
      for (const std::uint32_t a : g_.nodes[ready[k]].after)
        if (--waits[a] == 0)
          ready.push_back(a);
    }
    todo_ = std::move(order);
  }

  /// The groups after `i` was placed; `came` tells for each the old groups in it (of `groups_.size()`: the new node).
  [[nodiscard]] std::vector<group> groups_after(std::uint32_t i, std::vector<std::vector<std::size_t>>& came) const {
    std::vector<std::pair<std::vector<std::uint32_t>, std::size_t>> lefts; // few: a map's nodes would cost more
    lefts.reserve(groups_.size() + 1);
    for (std::size_t k = 0; k < groups_.size(); ++k) {
      std::vector<std::uint32_t> left = groups_[k].left;
      std::erase(left, i);
      if (!left.empty())
        lefts.emplace_back(std::move(left), k);
    }
    lefts.emplace_back(after_[i], groups_.size());
    std::sort(lefts.begin(), lefts.end());
    std::vector<group> out;
    for (auto& [left, from] : lefts)
      if (out.empty() || out.back().left != left) {
        out.push_back({std::move(left)});
        came.push_back({from});
      } else {
        came.back().push_back(from);
      }
    return out;
  }

  /// Whether two groups have the same successors left, `i` not counted.
  static bool same_without(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b, std::uint32_t i) {
    auto x = a.begin();
    auto y = b.begin();
    for (;; ++x, ++y) {
      if (x != a.end() && *x == i)
        ++x;
      if (y != b.end() && *y == i)
        ++y;
      if (x == a.end() || y == b.end())
        return x == a.end() && y == b.end();
      if (*x != *y)
        return false;
    }
  }

  /// How many groups there are after `i` was placed.
  [[nodiscard]] std::size_t count_groups_after(std::uint32_t i) const {
    const auto& mine = after_[i];
    std::size_t count = 1;
    for (std::size_t k = 0; k < groups_.size(); ++k) {
      const auto& left = groups_[k].left;
      bool is_new = !(left.size() == 1 && left[0] == i) && !same_without(left, mine, i);
      for (std::size_t other = 0; other < k && is_new; ++other)
        is_new = !same_without(left, groups_[other].left, i);
      count += is_new ? 1 : 0;
    }
    return count;
  }

  /// Of the nodes that may be placed the one that leaves the fewest groups; the first of equals.
  [[nodiscard]] std::uint32_t next() const {
    std::uint32_t best = end_;
    std::size_t fewest = 0;
    for (const std::uint32_t i : todo_) {
      if (waits_[i] > 0)
        continue;
      const std::size_t groups = count_groups_after(i);
      if (best == end_ || groups < fewest) {
        best = i;
        fewest = groups;
      }
    }
    return best;
  }

  void place(std::uint32_t i) {
    std::vector<std::vector<std::size_t>> came;
    std::vector<group> groups = groups_after(i, came);
    expand(i, groups, came);
    groups_ = std::move(groups);
    std::erase(todo_, i);
    for (const std::uint32_t a : g_.nodes[i].after)
      --waits_[a];
    raise_to_what_is_waited_for(expanded_);
    keep(i, expanded_);
  }

  /// Every label with every point of the node: times of the groups, cost, uses.
  void expand(std::uint32_t i, const std::vector<group>& groups, const std::vector<std::vector<std::size_t>>& came) {
    const rows& points = g_.nodes[i].points;
    const std::size_t sums = points.width - 1;
    const std::size_t old_times = groups_.size();
    std::vector<std::size_t> waits_for;
    for (std::size_t k = 0; k < old_times; ++k)
      if (std::binary_search(groups_[k].left.begin(), groups_[k].left.end(), i))
        waits_for.push_back(k);
    expanded_.width = groups.size() + sums;
    expanded_.data.resize(labels_.size() * points.size() * expanded_.width);
    std::int64_t* to = expanded_.data.data();
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
  }

  /// A group's time may be as late as what all its successors wait for anyhow, without a change to any end: then labels
  /// that differ in nothing that matters are equal.
  void raise_to_what_is_waited_for(rows& labels) {
    std::vector<std::uint32_t> waiting; // successors of any group
    for (const group& g : groups_)
      for (const std::uint32_t s : g.left)
        waiting.push_back(s);
    std::sort(waiting.begin(), waiting.end());
    waiting.erase(std::unique(waiting.begin(), waiting.end()), waiting.end());
    const std::size_t times = groups_.size();
    if (times < 2)
      return;
    std::vector<std::int64_t> distance(waiting.size() * times); // for each of `waiting`, from each group to its start
    for (std::size_t k = 0; k < times; ++k)
      put_least_distances(groups_[k], waiting, distance.data() + k, times);
    std::vector<std::pair<std::size_t, std::size_t>> left; // group, place of a successor in `waiting`
    for (std::size_t k = 0; k < times; ++k)
      for (const std::uint32_t s : groups_[k].left)
        left.emplace_back(
            k, static_cast<std::size_t>(std::lower_bound(waiting.begin(), waiting.end(), s) - waiting.begin()));
    std::vector<std::int64_t> start(waiting.size());
    for (std::size_t l = 0; l < labels.size(); ++l) {
      std::int64_t* row = labels.row(l);
      const std::int64_t* to = distance.data();
      for (std::int64_t& s : start) {
        std::int64_t latest = 0;
        for (std::size_t k = 0; k < times; ++k)
          latest = std::max(latest, row[k] + *to++);
        s = latest;
      }
      std::fill(row, row + times, std::numeric_limits<std::int64_t>::max());
      for (const auto& [k, s] : left)
        row[k] = std::min(row[k], start[s]);
    }
  }

  /// The least time from a group's end to the start of each node, over what is not placed; so many places apart.
  void put_least_distances(const group& g, const std::vector<std::uint32_t>& waiting, std::int64_t* out,
                           std::size_t apart) {
    find_starts(g, least_latency_);
    for (std::size_t s = 0; s < waiting.size(); ++s)
      out[s * apart] = starts_[waiting[s]];
  }

  /// When each node that is not placed starts, and the DAG ends, if the group ends at 0 and nodes take so long.
  void find_starts(const group& g, const std::vector<std::int64_t>& latency) {
    starts_.assign(end_ + 1, unreachable);
    for (const std::uint32_t s : g.left)
      starts_[s] = 0;
    for (const std::uint32_t i : todo_) {
      if (starts_[i] == unreachable)
        continue;
      const std::int64_t end = starts_[i] + latency[i];
      for (const std::uint32_t a : after_[i])
        starts_[a] = std::max(starts_[a], end);
    }
  }

  // -- bounds; of labels without uses only

  /// Per group the time from its end to the DAG's; at the end that of what waits for no group, from the start on.
  [[nodiscard]] std::vector<std::int64_t> times_to_end(const std::vector<std::int64_t>& latency) {
    std::vector<std::int64_t> out;
    for (const group& g : groups_) {
      find_starts(g, latency);
      out.push_back(starts_[end_]);
    }
    starts_.assign(end_ + 1, 0);
    for (const std::uint32_t i : todo_)
      for (const std::uint32_t a : after_[i])
        starts_[a] = std::max(starts_[a], starts_[i] + latency[i]);
    out.push_back(starts_[end_]);
    return out;
  }

  [[nodiscard]] static std::int64_t latest(const std::int64_t* times, const std::vector<std::int64_t>& more) {
    std::int64_t out = more.back();
    for (std::size_t k = 0; k + 1 < more.size(); ++k)
      out = std::max(out, times[k] + more[k]);
    return out;
  }

  /// Drops labels that, with the least latency and the least cost for all that is not placed, are beaten by a plan that
  /// is known. `origin` gets the places of those that stay.
  void drop_hopeless(rows& labels, std::vector<std::uint32_t>& origin) {
    const std::vector<std::int64_t> to_end = times_to_end(least_latency_);
    const std::int64_t cost = completions_.back().cost_left;
    std::size_t stay = 0;
    origin.reserve(labels.size());
    for (std::size_t l = 0; l < labels.size(); ++l) {
      const std::int64_t* row = labels.row(l);
      if (known_.beats(latest(row, to_end), row[groups_.size()] + cost))
        continue;
      copy_row(row, labels.width, labels.row(stay++));
      origin.push_back(static_cast<std::uint32_t>(l));
    }
    labels.data.resize(stay * labels.width);
  }

  /// Completes some labels in some ways, for the labels to come to be measured with. Few labels are not worth it.
  void complete_labels() {
    if (labels_.size() < few_labels)
      return;
    const std::size_t stride = labels_.size() / few_labels;
    for (const completion& c : completions_) {
      const std::vector<std::int64_t> to_end = times_to_end(c.latency);
      for (std::size_t l = 0; l < labels_.size(); l += stride)
        known_.add(latest(labels_.row(l), to_end), labels_.row(l)[groups_.size()] + c.cost_left);
    }
  }

  void keep(std::uint32_t i, rows& next) {
    const std::size_t points = g_.nodes[i].points.size();
    std::vector<std::uint32_t> origin;
    for (completion& c : completions_)
      c.cost_left -= c.cost[i];
    const bool without_uses = next.width == groups_.size() + 1;
    const bool bounded = without_uses && !known_.empty();
    if (bounded)
      drop_hopeless(next, origin);
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
    round.before.reserve(stay.size());
    round.point.reserve(stay.size());
    labels_.data.resize(stay.size() * next.width);
    std::int64_t* to = labels_.data.data();
    for (const std::uint32_t r : stay) {
      copy_row(next.row(r), next.width, to);
      to += next.width;
      const std::uint32_t made = bounded ? origin[r] : r;
      round.before.push_back(static_cast<std::uint32_t>(made / points));
      round.point.push_back(static_cast<std::uint32_t>(made % points));
    }
    if (without_uses)
      complete_labels();
    recovery_.rounds.push_back(std::move(round));
  }

  const module_graph& g_;
  const pareto_config& config_;
  loss_budget budget_;
  pareto_front::recovery& recovery_;
  std::uint32_t end_;
  std::vector<std::vector<std::uint32_t>> after_; ///< successors; the end is one
  std::vector<std::size_t> waits_;                ///< per node, those before it that are not placed
  std::vector<std::int64_t> least_latency_;
  std::vector<std::int64_t> starts_; ///< scratch
  std::vector<completion> completions_;
  complete_plans known_;
  std::vector<std::uint32_t> todo_; ///< not placed, in topological order
  std::vector<group> groups_;
  rows labels_;   ///< times of the groups, then cost and uses
  rows expanded_; ///< the labels of the next round, before those go that others beat
  placed_labels out_;
};

} // namespace

placed_labels place(const module_graph& graph, const pareto_config& config, pareto_front::recovery& recovery) {
  return placer{graph, config, recovery}.run();
}

} // namespace squall::policy::detail
