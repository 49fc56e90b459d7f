#include "policy/placement_policy.hpp"

#include <algorithm>
#include <array>
#include <tuple>

namespace squall::policy {

namespace {

/// The candidate with the least key, or the one near the values if its load is not worse by the cost of moving them.
template <class Key>
std::size_t least(const placement_request& request, std::span<const node_candidate> candidates, Key&& key) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < candidates.size(); ++i)
    if (key(candidates[i]) < key(candidates[best]))
      best = i;
  if (request.near && candidates[*request.near].load < candidates[best].load + request.move_cost)
    return *request.near;
  return best;
}

class fifo final : public placement_policy {
public:
  std::string_view name() const override { return "fifo"; }
  std::size_t choose(const placement_request& request, std::span<const node_candidate> candidates) override {
    return least(request, candidates, [](const node_candidate& c) { return std::tuple{c.load, c.node}; });
  }
  void save(calls::binary_writer&) const override {}
  void restore(calls::binary_reader&) override {}
};

class balance final : public placement_policy {
public:
  std::string_view name() const override { return "balance"; }
  std::size_t choose(const placement_request& request, std::span<const node_candidate> candidates) override {
    return least(request, candidates, [](const node_candidate& c) {
      return std::tuple{c.load, !c.resident, c.idle ? c.freed : 0, c.node};
    });
  }
  void save(calls::binary_writer&) const override {}
  void restore(calls::binary_reader&) override {}
};

class rr final : public placement_policy {
public:
  std::string_view name() const override { return "rr"; }
  std::size_t choose(const placement_request&, std::span<const node_candidate> candidates) override {
    return placed_++ % candidates.size();
  }
  void save(calls::binary_writer& out) const override { out.write(placed_); }
  void restore(calls::binary_reader& in) override { in.read(placed_); }

private:
  std::uint64_t placed_ = 0;
};

struct known_policy {
  std::string_view name;
  std::unique_ptr<placement_policy> (*make)(std::uint64_t seed);
};

template <class Policy>
std::unique_ptr<placement_policy> make(std::uint64_t) {
  return std::make_unique<Policy>();
}

constexpr std::array<known_policy, 3> table{{{"balance", make<balance>}, {"fifo", make<fifo>}, {"rr", make<rr>}}};

} // namespace

std::unique_ptr<placement_policy> make_placement_policy(std::string_view name, std::uint64_t seed) {
  const auto* const found =
      std::find_if(table.begin(), table.end(), [&](const known_policy& p) { return p.name == name; });
  return found == table.end() ? nullptr : found->make(seed);
}

std::vector<std::string> placement_policy_names() {
  std::vector<std::string> out;
  for (const known_policy& p : table)
    out.emplace_back(p.name);
  return out;
}

} // namespace squall::policy
