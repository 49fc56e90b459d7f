#include "policy/selection.hpp"

#include "base/check.hpp"
#include "base/random.hpp"
#include "policy/detail/selection_state.hpp"

#include <algorithm>
#include <array>
#include <tuple>

namespace squall::policy {

namespace {

constexpr std::array<std::string_view, 3> rule_names{"none", "pressure", "group-size"};
__extension__ using wide = __int128;

} // namespace

std::string_view to_string(rebalance_rule rule) { return rule_names.at(static_cast<std::size_t>(rule)); }

std::optional<rebalance_rule> enum_from_string(std::string_view name, std::type_identity<rebalance_rule>) {
  const auto* const at = std::find(rule_names.begin(), rule_names.end(), name);
  return at == rule_names.end() ? std::nullopt : std::optional{static_cast<rebalance_rule>(at - rule_names.begin())};
}

const std::vector<std::string>& selection_names() {
  static const std::vector<std::string> names{"balance", "exclusive", "mlfq", "rr", "srtf"};
  return names;
}

selection::selection(const selection_config& config) : state_(std::make_unique<state>()) {
  const auto& names = selection_names();
  SQUALL_CHECK(std::find(names.begin(), names.end(), config.policy) != names.end(), config.policy);
  state_->config = config;
}
selection::~selection() = default;

const selection_config& selection::config() const { return state_->config; }
std::size_t selection::waiting() const { return state_->waiting; }
std::uint64_t selection::draws_taken() const { return state_->draws; }
std::uint32_t selection::owned(group_index group) const { return state_->groups[group].owned; }

group_index selection::add_group(duration expected, std::uint64_t kinds) {
  state_->groups.push_back({.expected = expected, .kinds = kinds});
  if (!state_->chosen)
    state_->deal();
  return static_cast<group_index>(state_->groups.size() - 1);
}

void selection::set_kinds(group_index group, std::uint64_t kinds) {
  state_->groups[group].kinds = kinds;
  if (!state_->chosen)
    state_->deal();
}

void selection::set_expected(group_index group, duration expected) { state_->groups[group].expected = expected; }

executor_index selection::add_executor(std::uint64_t kind) {
  state& s = *state_;
  const auto index = static_cast<executor_index>(s.executors.size());
  s.executors.push_back({.kind = kind});
  s.row.push_back(index);
  if (!s.chosen)
    s.deal();
  else if (const group_index g = s.greatest_pressure(kind); g != no_group)
    s.pass(index, g);
  return index;
}

void selection::remove_executor(executor_index executor) {
  state::executor& e = state_->executors[executor];
  if (e.owner != no_group)
    --state_->groups[e.owner].owned;
  e = {.kind = e.kind, .alive = false, .free = false};
  std::erase(state_->row, executor);
}

void selection::enqueue(group_index group, std::uint64_t task, time_point now) {
  state::group& g = state_->groups[group];
  g.line.push_back({task, now});
  ++g.seen;
  ++state_->waiting;
}

bool selection::withdraw(group_index group, std::uint64_t task) {
  state::group& g = state_->groups[group];
  const auto begin = g.line.begin() + static_cast<std::ptrdiff_t>(g.first);
  const auto at = std::lower_bound(begin, g.line.end(), task,
                                   [](const state::waiting_task& w, std::uint64_t t) { return w.task < t; });
  if (at == g.line.end() || at->task != task)
    return false;
  g.line.erase(at);
  --state_->waiting;
  return true;
}

void selection::release(executor_index executor) {
  state::executor& e = state_->executors[executor];
  if (!e.alive || e.free) // what it ran is reported ended twice, or after it was lost and came back
    return;
  e.free = true;
  state_->row.push_back(executor);
}

std::optional<selection::choice> selection::next(const can_run& can) {
  state& s = *state_;
  if (s.waiting == 0 || s.row.empty())
    return std::nullopt;
  std::optional<choice> c;
  if (s.config.policy == "rr")
    c = s.next_rr(can);
  else if (s.config.policy == "mlfq")
    c = s.next_mlfq(can);
  else if (s.config.policy == "exclusive")
    c = s.next_exclusive(can);
  else if (s.config.policy == "srtf")
    c = s.next_by(can, [&](const state::group& g) {
      const wide waited = wide{s.config.aging_ppm} * to_ns(g.head().since);
      return std::tuple{wide{1'000'000} * g.expected.count() + waited, g.head().since, g.head().task};
    });
  else
    c = s.next_by(can, [](const state::group& g) { return g.head().task; });
  if (!c)
    return c;
  s.take_first(c->group);
  s.executors[c->executor].free = false;
  std::erase(s.row, c->executor);
  s.chosen = true;
  return c;
}

std::vector<std::uint64_t> selection::take(group_index group, std::size_t most) {
  std::vector<std::uint64_t> out;
  while (out.size() < most && !state_->groups[group].empty())
    out.push_back(state_->take_first(group));
  return out;
}

std::uint64_t selection::state::take_first(group_index index) {
  group& g = groups[index];
  const std::uint64_t task = g.head().task;
  if (++g.first * 2 > g.line.size()) { // the taken half goes; each task is moved once at most
    g.line.erase(g.line.begin(), g.line.begin() + static_cast<std::ptrdiff_t>(g.first));
    g.first = 0;
  }
  --waiting;
  return task;
}

// -- the strategies
// --------------------------------------------------------------------------------------------------------------------

std::optional<executor_index> selection::state::first_free(group_index g, const can_run& can, group_index owner) const {
  for (const executor_index e : row)
    if ((executors[e].kind & groups[g].kinds) != 0 && (owner == no_group || executors[e].owner == owner) && can(g, e))
      return e;
  return std::nullopt;
}

template <class Key>
std::optional<selection::choice> selection::state::next_by(const can_run& can, Key&& key) const {
  std::optional<choice> best;
  for (group_index g = 0; g < groups.size(); ++g) {
    if (groups[g].empty() || (best && !(key(groups[g]) < key(groups[best->group]))))
      continue;
    if (const auto e = first_free(g, can))
      best = {g, groups[g].head().task, *e};
  }
  return best;
}

std::optional<selection::choice> selection::state::next_rr(const can_run& can) {
  group_index oldest = no_group;
  for (group_index g = 0; g < groups.size(); ++g)
    if (!groups[g].empty() && (oldest == no_group || groups[g].head().task < groups[oldest].head().task))
      oldest = g;
  const auto count = static_cast<executor_index>(executors.size());
  for (executor_index i = 0; i < count; ++i) {
    const executor_index e = (turn + i) % count;
    if (!executors[e].alive || (executors[e].kind & groups[oldest].kinds) == 0)
      continue;
    if (!executors[e].free || !can(oldest, e))
      return std::nullopt;
    turn = e + 1;
    return choice{oldest, groups[oldest].head().task, e};
  }
  return std::nullopt;
}

std::uint64_t selection::state::draw(std::uint64_t bound) {
  const std::uint64_t i = draws++;
  if (i < config.draws.size())
    return config.draws[i] % bound;
  // One generator a draw: the state is a count.
  return random_source{config.seed * 0x9e3779b97f4a7c15ULL + i}.below(bound);
}

std::optional<selection::choice> selection::state::next_mlfq(const can_run& can) {
  std::vector<choice> buckets;
  for (group_index g = 0; g < groups.size(); ++g)
    if (!groups[g].empty())
      if (const auto e = first_free(g, can))
        buckets.push_back({g, groups[g].head().task, *e});
  if (buckets.empty())
    return std::nullopt;
  return buckets[draw(buckets.size())];
}

std::optional<selection::choice> selection::state::next_exclusive(const can_run& can) const {
  for (group_index g = 0; g < groups.size(); ++g)
    if (!groups[g].empty() && groups[g].owned > 0)
      if (const auto e = first_free(g, can, g))
        return choice{g, groups[g].head().task, *e};
  return std::nullopt;
}

// -- snapshots
// -------------------------------------------------------------------------------------------------------------------------

void selection::save(calls::binary_writer& out) const {
  const state& s = *state_;
  out.write(s.config);
  out.varint(s.groups.size());
  for (state::group g : s.groups) {
    g.line.erase(g.line.begin(), g.line.begin() + static_cast<std::ptrdiff_t>(g.first));
    out.write(g);
  }
  out.write(s.executors);
  out.write(s.row);
  out.write(s.draws);
  out.write(s.turn);
  out.write(s.given);
  out.write(s.chosen);
}

void selection::restore(calls::binary_reader& in) {
  state s;
  in.read(s.config);
  in.read(s.groups);
  in.read(s.executors);
  in.read(s.row);
  in.read(s.draws);
  in.read(s.turn);
  in.read(s.given);
  in.read(s.chosen);
  const auto& names = selection_names();
  if (in.ok() && std::find(names.begin(), names.end(), s.config.policy) == names.end())
    in.fail("names a policy that is none");
  if (in.ok() && s.config.rebalance > rebalance_rule::group_size)
    in.fail("names a rule that is none");
  for (const executor_index e : s.row)
    if (in.ok() && e >= s.executors.size())
      in.fail("names an executor that is none");
  for (const state::executor& e : s.executors)
    if (in.ok() && e.owner != no_group && e.owner >= s.groups.size())
      in.fail("names a group that is none");
  for (const state::group& g : s.groups)
    s.waiting += g.line.size();
  if (in.ok())
    *state_ = std::move(s);
}

} // namespace squall::policy
