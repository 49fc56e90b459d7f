#include "base/hash.hpp"
#include "policy/detail/pareto_state.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

namespace squall::policy::detail {

namespace {

constexpr std::uint32_t none = pareto_front::recovery::none;
constexpr std::int64_t infinite = std::numeric_limits<std::int64_t>::max();
using node = module_graph::node;

/// Rows under construction, each with the points that it came from unless those follow.
struct made {
  rows points;
  std::vector<std::uint32_t> left;
  std::vector<std::uint32_t> right;

  void keep(const std::vector<std::uint32_t>& which) {
    made out;
    out.points.width = points.width;
    for (const std::uint32_t i : which) {
      out.points.data.insert(out.points.data.end(), points.row(i), points.row(i) + points.width);
      if (left.empty())
        continue;
      out.left.push_back(left[i]);
      out.right.push_back(right[i]);
    }
    *this = std::move(out);
  }
};

// -- dependencies that others imply
// -----------------------------------------------------------------------------------------------------------

/// The dependencies without those that follow from others.
std::vector<std::vector<std::uint32_t>> without_implied(const std::vector<std::vector<std::uint32_t>>& deps) {
  const std::size_t n = deps.size();
  const std::size_t words = (n + 63) / 64;
  std::vector<std::uint64_t> above(n * words, 0); // per stage, all that it waits for, directly or not
  std::vector<std::vector<std::uint32_t>> out(n);
  for (std::size_t s = 0; s < n; ++s) {
    std::vector<std::uint32_t> order = deps[s];
    std::sort(order.begin(), order.end(), std::greater<>{});
    std::uint64_t* const mine = above.data() + s * words;
    for (const std::uint32_t d : order) {
      if ((mine[d / 64] >> (d % 64) & 1) != 0)
        continue;
      out[s].push_back(d);
      const std::uint64_t* const its = above.data() + d * words;
      for (std::size_t w = 0; w <= d / 64; ++w)
        mine[w] |= its[w];
      mine[d / 64] |= std::uint64_t{1} << (d % 64);
    }
    std::reverse(out[s].begin(), out[s].end());
  }
  return out;
}

// -- fronts of two
// ---------------------------------------------------------------------------------------------------------------------

/// Two rising lists as one without what is dominated; `latency` and `cost` are added to the second.
void merge_shifted(const rows& a, const rows& b, std::int64_t latency, std::int64_t cost, rows& out) {
  out.width = 2;
  out.data.resize(2 * (a.size() + b.size()));
  std::int64_t* to = out.data.data();
  const std::int64_t* x = a.data.data();
  const std::int64_t* y = b.data.data();
  const std::int64_t* const x_end = x + a.data.size();
  const std::int64_t* const y_end = y + b.data.size();
  std::int64_t least = infinite;
  const auto add = [&](std::int64_t l, std::int64_t c) {
    if (c >= least)
      return;
    to[0] = l;
    to[1] = least = c;
    to += 2;
  };
  while (x != x_end && y != y_end) {
    const std::int64_t l = y[0] + latency;
    const std::int64_t c = y[1] + cost;
    if (x[0] < l || (x[0] == l && x[1] <= c)) {
      add(x[0], x[1]);
      x += 2;
    } else {
      add(l, c);
      y += 2;
    }
  }
  for (; x != x_end; x += 2)
    add(x[0], x[1]);
  for (; y != y_end; y += 2)
    add(y[0] + latency, y[1] + cost);
  out.data.resize(static_cast<std::size_t>(to - out.data.data()));
}

/// All sums where the second list is short: one merge for each of its points.
rows series_with_few(const rows& many, const rows& few) {
  rows sum{2, {}};
  rows next{2, {}};
  for (std::uint32_t r = 0; r < few.size(); ++r) {
    merge_shifted(sum, many, few.row(r)[0], few.row(r)[1], next);
    std::swap(sum, next);
  }
  return sum;
}

/// All sums where the latencies lie densely: the least cost for each latency.
rows series_dense(const rows& a, const rows& b, std::size_t range) {
  const std::int64_t from = a.row(0)[0] + b.row(0)[0];
  std::vector<std::int64_t> least(range, infinite);
  for (std::size_t j = 0; j < b.size(); ++j) {
    std::int64_t* const to = least.data() + (b.row(j)[0] - b.row(0)[0]) - a.row(0)[0];
    const std::int64_t cost = b.row(j)[1];
    for (const std::int64_t* x = a.data.data(); x != a.data.data() + a.data.size(); x += 2)
      to[x[0]] = std::min(to[x[0]], x[1] + cost);
  }
  rows out{2, {}};
  std::int64_t best = infinite;
  for (std::size_t at = 0; at < range; ++at)
    if (least[at] < best) {
      best = least[at];
      out.data.push_back(from + static_cast<std::int64_t>(at));
      out.data.push_back(best);
    }
  return out;
}

/// All pairs, whatever the columns: latencies added (series) or the later one (side by side), all else added.
made all_pairs(const rows& a, const rows& b, bool series) {
  made out;
  out.points.width = a.width;
  for (std::uint32_t i = 0; i < a.size(); ++i)
    for (std::uint32_t j = 0; j < b.size(); ++j) {
      const std::int64_t* x = a.row(i);
      const std::int64_t* y = b.row(j);
      out.points.data.push_back(series ? x[0] + y[0] : std::max(x[0], y[0]));
      out.points.data.push_back(x[1] + y[1]);
      out.left.push_back(i);
      out.right.push_back(j);
      for (std::size_t c = 2; c < a.width; ++c)
        out.points.data.push_back(x[c] + y[c]);
    }
  out.keep(efficient(out.points));
  return out;
}

made in_series(const rows& a, const rows& b) {
  if (a.width > 2)
    return all_pairs(a, b, true);
  if (b.size() <= 4)
    return {series_with_few(a, b), {}, {}};
  const auto range = static_cast<std::uint64_t>(a.row(a.size() - 1)[0] - a.row(0)[0]) +
                     static_cast<std::uint64_t>(b.row(b.size() - 1)[0] - b.row(0)[0]) + 1;
  if (range <= 4 * a.size() * b.size())
    return {series_dense(a, b, range), {}, {}};
  return all_pairs(a, b, true);
}

/// For each latency that one of them has, the cheapest point of each that is no later.
made side_by_side(const rows& a, const rows& b) {
  if (a.width > 2)
    return all_pairs(a, b, false);
  made out;
  out.points.width = 2;
  std::size_t i = 0;
  std::size_t j = 0;
  // The later first point: before it nothing can be had.
  const std::int64_t first = std::max(a.row(0)[0], b.row(0)[0]);
  while (i + 1 < a.size() && a.row(i + 1)[0] <= first)
    ++i;
  while (j + 1 < b.size() && b.row(j + 1)[0] <= first)
    ++j;
  for (std::int64_t latency = first;;) {
    out.points.data.push_back(latency);
    out.points.data.push_back(a.row(i)[1] + b.row(j)[1]);
    const std::int64_t next_a = i + 1 < a.size() ? a.row(i + 1)[0] : infinite;
    const std::int64_t next_b = j + 1 < b.size() ? b.row(j + 1)[0] : infinite;
    latency = std::min(next_a, next_b);
    if (latency == infinite)
      return out;
    i += next_a == latency ? 1 : 0;
    j += next_b == latency ? 1 : 0;
  }
}

// -- making one of many
// ----------------------------------------------------------------------------------------------------------------

class reducer {
public:
  reducer(module_graph& graph, const pareto_config& config, pareto_front::recovery& recovery)
      : g_(graph), config_(config), budget_(config.epsilon_ppm), recovery_(recovery) {}

  void run() {
    while (join_parallel() + join_series() > 0) {
    }
  }

private:
  /// Nodes with the same neighbours become one. Gives how many went.
  std::size_t join_parallel() {
    std::map<std::pair<std::vector<std::uint32_t>, std::vector<std::uint32_t>>, std::vector<std::uint32_t>> groups;
    std::map<std::uint64_t, std::uint32_t> seen; // hashes first: most nodes have no equal
    std::vector<std::uint64_t> hashes(g_.nodes.size(), 0);
    for (std::uint32_t i = 0; i < g_.nodes.size(); ++i)
      if (!g_.nodes[i].gone) {
        hashes[i] = hash_of(g_.nodes[i]);
        ++seen[hashes[i]];
      }
    for (std::uint32_t i = 0; i < g_.nodes.size(); ++i)
      if (!g_.nodes[i].gone && seen[hashes[i]] > 1)
        groups[{g_.nodes[i].before, g_.nodes[i].after}].push_back(i);
    std::size_t went = 0;
    for (auto& [neighbours, group] : groups) {
      for (std::size_t k = 1; k < group.size(); ++k) {
        node& gone = g_.nodes[group[k]];
        join(g_.nodes[group[0]], gone, false);
        for (const std::uint32_t b : gone.before)
          erase(g_.nodes[b].after, group[k]);
        for (const std::uint32_t a : gone.after)
          erase(g_.nodes[a].before, group[k]);
        ++went;
      }
    }
    return went;
  }

  /// Chains become one node, the greatest fronts first, so that the many small ones meet one front only.
  std::size_t join_series() {
    std::size_t went = 0;
    for (std::uint32_t i = 0; i < g_.nodes.size(); ++i) {
      if (g_.nodes[i].gone || follows_alone(i))
        continue;
      std::vector<std::uint32_t> chain{i};
      while (g_.nodes[chain.back()].after.size() == 1 && follows_alone(g_.nodes[chain.back()].after[0]))
        chain.push_back(g_.nodes[chain.back()].after[0]);
      if (chain.size() == 1)
        continue;
      const std::uint32_t last = chain.back();
      const std::vector<std::uint32_t> before = g_.nodes[i].before;
      const std::vector<std::uint32_t> after = g_.nodes[last].after;
      for (const std::uint32_t a : after)
        replace(g_.nodes[a].before, last, i);
      std::sort(chain.begin(), chain.end(), [&](std::uint32_t a, std::uint32_t b) {
        const std::size_t x = g_.nodes[a].points.size();
        const std::size_t y = g_.nodes[b].points.size();
        return x != y ? x > y : a < b;
      });
      node sum = std::move(g_.nodes[chain[0]]);
      for (std::size_t k = 1; k < chain.size(); ++k)
        join(sum, g_.nodes[chain[k]], true);
      sum.before = before;
      sum.after = after;
      for (const std::uint32_t c : chain)
        g_.nodes[c].gone = true;
      sum.gone = false;
      g_.nodes[i] = std::move(sum);
      went += chain.size() - 1;
    }
    return went;
  }

  /// Whether the node has one node before it, which has no other after it.
  [[nodiscard]] bool follows_alone(std::uint32_t i) const {
    const node& n = g_.nodes[i];
    return n.before.size() == 1 && g_.nodes[n.before[0]].after.size() == 1;
  }

  /// The front of both in `into`; `other` goes.
  void join(node& into, node& other, bool series) {
    const bool swapped = series && into.points.size() < other.points.size();
    const rows& a = swapped ? other.points : into.points;
    const rows& b = swapped ? into.points : other.points;
    made out = series ? in_series(a, b) : side_by_side(a, b);
    into.lost = std::max(into.lost, other.lost);
    g_.most_points = std::max(g_.most_points, out.points.size());
    if (out.points.size() > config_.label_limit && !budget_.none()) {
      const double factor = budget_.next(into.lost);
      out.keep(thinned(out.points, 1, factor));
      into.lost *= factor;
    }
    const std::uint32_t first = swapped ? other.module : into.module;
    const std::uint32_t second = swapped ? into.module : other.module;
    recovery_.modules[into.module].points = std::move(into.points);
    recovery_.modules[other.module].points = std::move(other.points);
    const auto module = static_cast<std::uint32_t>(recovery_.modules.size());
    recovery_.modules.push_back({none, first, second, series, {}, std::move(out.left), std::move(out.right)});
    into.module = module;
    into.points = std::move(out.points);
    other.gone = true;
  }

  static std::uint64_t hash_of(const node& n) {
    fnv1a h;
    for (const std::uint32_t b : n.before)
      h.add(std::uint64_t{b});
    h.add(~std::uint64_t{0});
    for (const std::uint32_t a : n.after)
      h.add(std::uint64_t{a});
    return h.value();
  }

  static void erase(std::vector<std::uint32_t>& from, std::uint32_t what) {
    from.erase(std::lower_bound(from.begin(), from.end(), what));
  }
  static void replace(std::vector<std::uint32_t>& in, std::uint32_t what, std::uint32_t by) {
    erase(in, what);
    in.insert(std::lower_bound(in.begin(), in.end(), by), by);
  }

  module_graph& g_;
  const pareto_config& config_;
  loss_budget budget_;
  pareto_front::recovery& recovery_;
};

} // namespace

std::vector<std::uint32_t> thinned(const rows& all, std::size_t times, double factor) {
  std::vector<std::int64_t> steps; // a time belongs to the last step that is not above it
  std::int64_t most = 0;
  for (std::size_t i = 0; i < all.size(); ++i)
    most = std::max(most, *std::max_element(all.row(i), all.row(i) + times));
  for (std::int64_t step = 0; step <= most;) {
    steps.push_back(step);
    step = std::max(step + 1,
                    static_cast<std::int64_t>(static_cast<double>(step) * factor) + (step < 1'000'000'000 ? 1 : 0));
  }
  rows coarse = all;
  for (std::size_t i = 0; i < all.size(); ++i)
    for (std::size_t t = 0; t < times; ++t)
      coarse.row(i)[t] = std::upper_bound(steps.begin(), steps.end(), coarse.row(i)[t]) - steps.begin();
  return efficient(coarse);
}

module_graph make_graph(const pareto_problem& problem, pareto_front::recovery& recovery) {
  module_graph g;
  const auto deps = without_implied(problem.deps);
  g.nodes.resize(deps.size());
  for (std::uint32_t s = 0; s < deps.size(); ++s) {
    node& n = g.nodes[s];
    n.before = deps[s];
    for (const std::uint32_t d : deps[s])
      g.nodes[d].after.push_back(s);
    rows all{2 + problem.options[s][0].use.size(), {}};
    for (const plan_option& o : problem.options[s]) {
      all.data.push_back(o.latency);
      all.data.push_back(o.cost);
      all.data.insert(all.data.end(), o.use.begin(), o.use.end());
    }
    n.points.width = all.width;
    pareto_front::recovery::module m;
    m.stage = s;
    m.left = efficient(all);
    for (const std::uint32_t i : m.left)
      n.points.data.insert(n.points.data.end(), all.row(i), all.row(i) + all.width);
    n.module = static_cast<std::uint32_t>(recovery.modules.size());
    recovery.modules.push_back(std::move(m));
  }
  return g;
}

void reduce(module_graph& graph, const pareto_config& config, pareto_front::recovery& recovery) {
  reducer{graph, config, recovery}.run();
}

} // namespace squall::policy::detail
