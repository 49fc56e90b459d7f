#include "policy/detail/efficient.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

namespace squall::policy::detail {

namespace {

constexpr std::int64_t infinite = std::numeric_limits<std::int64_t>::max();

struct keyed {
  std::uint64_t key; ///< the first columns
  std::int64_t next; ///< the one after them
  std::uint32_t index;
};

/// Rows whose leading columns fit into one word, which is the usual case.
bool sort_packed(const rows& all, std::vector<std::uint32_t>& order) {
  const std::size_t n = all.size();
  std::vector<keyed> keys(n);
  for (std::size_t i = 0; i < n; ++i) {
    const std::int64_t* r = all.row(i);
    if (all.width > 2 && ((r[0] | r[1]) >> 32) != 0)
      return false;
    const std::uint64_t key = all.width > 2 ? static_cast<std::uint64_t>(r[0]) << 32 | static_cast<std::uint64_t>(r[1])
                                            : static_cast<std::uint64_t>(r[0]);
    keys[i] = {key, all.width == 1 ? 0 : r[all.width == 2 ? 1 : 2], static_cast<std::uint32_t>(i)};
  }
  std::sort(keys.begin(), keys.end(), [&](const keyed& a, const keyed& b) {
    if (a.key != b.key)
      return a.key < b.key;
    if (a.next != b.next)
      return a.next < b.next;
    for (std::size_t c = 3; c < all.width; ++c)
      if (all.row(a.index)[c] != all.row(b.index)[c])
        return all.row(a.index)[c] < all.row(b.index)[c];
    return a.index < b.index;
  });
  for (std::size_t i = 0; i < n; ++i)
    order[i] = keys[i].index;
  return true;
}

std::vector<std::uint32_t> sorted_order(const rows& all) {
  std::vector<std::uint32_t> order(all.size());
  if (sort_packed(all, order))
    return order;
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const std::int64_t* x = all.row(a);
    const std::int64_t* y = all.row(b);
    for (std::size_t c = 0; c < all.width; ++c)
      if (x[c] != y[c])
        return x[c] < y[c];
    return a < b;
  });
  return order;
}

/// Least value of all places up to one, in logarithmic time (a Fenwick tree).
class prefix_least {
public:
  explicit prefix_least(std::size_t places) : tree_(places + 1, infinite) {}
  [[nodiscard]] std::int64_t up_to(std::size_t place) const {
    std::int64_t least = infinite;
    for (std::size_t i = place + 1; i > 0; i &= i - 1)
      least = std::min(least, tree_[i]);
    return least;
  }
  void lower(std::size_t place, std::int64_t value) {
    for (std::size_t i = place + 1; i < tree_.size() && tree_[i] > value; i += i & (0 - i))
      tree_[i] = value;
  }
  /// Only for all places that were lowered: in between the tree is wrong.
  void clear(std::size_t place) {
    for (std::size_t i = place + 1; i < tree_.size(); i += i & (0 - i))
      tree_[i] = infinite;
  }

private:
  std::vector<std::int64_t> tree_;
};

/// The places of a column's values among its distinct values.
std::vector<std::uint32_t> ranks(const rows& all, std::size_t column, std::size_t& distinct) {
  std::vector<std::int64_t> values(all.size());
  for (std::size_t i = 0; i < all.size(); ++i)
    values[i] = all.row(i)[column];
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const auto range = static_cast<std::uint64_t>(*high - *low);
  std::vector<std::uint32_t> out(all.size());
  if (range < 4 * all.size() + 64) { // as they lie
    const std::int64_t from = *low;
    distinct = static_cast<std::size_t>(range) + 1;
    for (std::size_t i = 0; i < all.size(); ++i)
      out[i] = static_cast<std::uint32_t>(values[i] - from);
    return out;
  }
  std::vector<std::int64_t> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  distinct = sorted.size();
  for (std::size_t i = 0; i < all.size(); ++i)
    out[i] = static_cast<std::uint32_t>(std::lower_bound(sorted.begin(), sorted.end(), values[i]) - sorted.begin());
  return out;
}

/// Removes dominated rows of four or more columns by halving: what the better half of a column dominates in the worse
/// half is found with that column left out.
class halving {
public:
  halving(const rows& all, const std::vector<std::uint32_t>& order) : all_(all), dominated_(all.size(), 0) {
    if (all.size() > small) {
      std::size_t distinct = 0;
      second_ = ranks(all, all.width - 2, distinct);
      seen_ = prefix_least{distinct};
    }
    within(order, 0, order.size(), 0);
  }
  [[nodiscard]] bool dominated(std::uint32_t i) const { return dominated_[i] != 0; }

private:
  static constexpr std::size_t small = 96;

  /// Whether a is as good as b in the columns from `column` on.
  [[nodiscard]] bool as_good(std::uint32_t a, std::uint32_t b, std::size_t column) const {
    return as_good(all_.row(a), all_.row(b), column);
  }
  [[nodiscard]] bool as_good(const std::int64_t* x, const std::int64_t* y, std::size_t column) const {
    const std::size_t last = all_.width - 1;
    if (x[last] > y[last]) // mostly: what comes first in order is faster and dearer
      return false;
    for (std::size_t c = column; c < last; ++c)
      if (x[c] > y[c])
        return false;
    return true;
  }

  /// Rows [from, to) of `work`, ascending; those before stand first, so a later one never dominates an earlier one.
  void within(const std::vector<std::uint32_t>& work, std::size_t from, std::size_t to, std::size_t column) {
    if (to - from <= small) {
      std::array<const std::int64_t*, small> kept;
      std::size_t count = 0;
      for (std::size_t i = from; i < to; ++i) {
        const std::int64_t* const row = all_.row(work[i]);
        std::size_t k = count; // the nearest first: they are the most alike
        while (k > 0 && !as_good(kept[k - 1], row, column + 1))
          --k;
        if (k > 0)
          dominated_[work[i]] = 1;
        else
          kept[count++] = row;
      }
      return;
    }
    const std::size_t middle = (from + to) / 2;
    within(work, from, middle, column);
    std::vector<std::uint32_t> better;
    std::vector<std::uint32_t> worse;
    within(work, middle, to, column);
    for (std::size_t i = from; i < to; ++i)
      if (dominated_[work[i]] == 0)
        (i < middle ? better : worse).push_back(work[i]);
    across(better, worse, column + 1);
  }

  /// Marks those of `worse` that one of `better` dominates; in the columns before `column` all of them are.
  void across(std::vector<std::uint32_t>& better, std::vector<std::uint32_t>& worse, std::size_t column) {
    if (better.empty() || worse.empty())
      return;
    if (better.size() * worse.size() <= small * small) {
      for (const std::uint32_t w : worse)
        for (std::size_t j = 0; j < better.size() && dominated_[w] == 0; ++j)
          if (as_good(better[j], w, column))
            dominated_[w] = 1;
      return;
    }
    if (column + 3 == all_.width)
      return sweep(better, worse, column);
    if (column + 2 == all_.width)
      return sweep_two(better, worse, column);
    halve(better, worse, column);
  }

  void halve(std::vector<std::uint32_t>& better, std::vector<std::uint32_t>& worse, std::size_t column) {
    std::vector<std::int64_t> values;
    for (const std::uint32_t i : better)
      values.push_back(all_.row(i)[column]);
    for (const std::uint32_t i : worse)
      values.push_back(all_.row(i)[column]);
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    std::int64_t pivot = *middle;
    if (pivot == *std::min_element(values.begin(), values.end())) {
      // The low side would be empty: split above the least value instead.
      std::int64_t next = infinite;
      for (const std::int64_t v : values)
        if (v > pivot)
          next = std::min(next, v);
      if (next == infinite)
        return across(better, worse, column + 1); // all equal
      pivot = next;
    }
    const auto split = [&](const std::vector<std::uint32_t>& from, std::vector<std::uint32_t>& low,
                           std::vector<std::uint32_t>& high) {
      for (const std::uint32_t i : from)
        (all_.row(i)[column] < pivot ? low : high).push_back(i);
    };
    std::vector<std::uint32_t> better_low;
    std::vector<std::uint32_t> better_high;
    std::vector<std::uint32_t> worse_low;
    std::vector<std::uint32_t> worse_high;
    split(better, better_low, better_high);
    split(worse, worse_low, worse_high);
    across(better_low, worse_low, column);
    across(better_high, worse_high, column);
    std::erase_if(worse_high, [&](std::uint32_t i) { return dominated_[i] != 0; });
    across(better_low, worse_high, column + 1);
  }

  void by_column(std::vector<std::uint32_t>& indices, std::size_t column) const {
    std::sort(indices.begin(), indices.end(), [&](std::uint32_t a, std::uint32_t b) {
      const std::int64_t x = all_.row(a)[column];
      const std::int64_t y = all_.row(b)[column];
      return x != y ? x < y : a < b;
    });
  }

  /// Three columns left: along the first, the least of the third up to each value of the second.
  void sweep(std::vector<std::uint32_t>& better, std::vector<std::uint32_t>& worse, std::size_t column) {
    by_column(better, column);
    by_column(worse, column);
    std::size_t seen = 0;
    for (const std::uint32_t w : worse) {
      for (; seen < better.size() && all_.row(better[seen])[column] <= all_.row(w)[column]; ++seen)
        seen_.lower(second_[better[seen]], all_.row(better[seen])[column + 2]);
      if (seen_.up_to(second_[w]) <= all_.row(w)[column + 2])
        dominated_[w] = 1;
    }
    for (std::size_t i = 0; i < seen; ++i)
      seen_.clear(second_[better[i]]);
  }

  void sweep_two(std::vector<std::uint32_t>& better, std::vector<std::uint32_t>& worse, std::size_t column) {
    by_column(better, column);
    by_column(worse, column);
    std::size_t seen = 0;
    std::int64_t least = infinite;
    for (const std::uint32_t w : worse) {
      for (; seen < better.size() && all_.row(better[seen])[column] <= all_.row(w)[column]; ++seen)
        least = std::min(least, all_.row(better[seen])[column + 1]);
      if (least <= all_.row(w)[column + 1])
        dominated_[w] = 1;
    }
  }

  const rows& all_;
  std::vector<char> dominated_;
  std::vector<std::uint32_t> second_; ///< ranks of the last column but one
  prefix_least seen_{0};              ///< empty between uses
};

std::vector<std::uint32_t> efficient_of_two(const rows& all, const std::vector<std::uint32_t>& order) {
  std::vector<std::uint32_t> out;
  std::int64_t least = infinite;
  for (const std::uint32_t i : order)
    if (all.row(i)[1] < least) {
      least = all.row(i)[1];
      out.push_back(i);
    }
  return out;
}

std::vector<std::uint32_t> efficient_of_three(const rows& all, const std::vector<std::uint32_t>& order) {
  std::size_t distinct = 0;
  const std::vector<std::uint32_t> second = ranks(all, 1, distinct);
  prefix_least seen{distinct};
  std::vector<std::uint32_t> out;
  for (const std::uint32_t i : order) {
    const std::int64_t third = all.row(i)[2];
    if (seen.up_to(second[i]) <= third)
      continue;
    seen.lower(second[i], third);
    out.push_back(i);
  }
  return out;
}

} // namespace

std::vector<std::uint32_t> efficient(const rows& all) {
  if (all.size() == 0)
    return {};
  const std::vector<std::uint32_t> order = sorted_order(all);
  if (all.width == 1)
    return {order.front()};
  if (all.width == 2)
    return efficient_of_two(all, order);
  if (all.width == 3)
    return efficient_of_three(all, order);
  const halving marked{all, order};
  std::vector<std::uint32_t> out;
  for (const std::uint32_t i : order)
    if (!marked.dominated(i))
      out.push_back(i);
  return out;
}

} // namespace squall::policy::detail
