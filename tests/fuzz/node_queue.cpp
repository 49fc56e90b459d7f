#include "policy/node_queue.hpp"

#include "input.hpp"
#include "sim/checks.hpp"

#include <map>
#include <set>

/// A byte string as the facts of a node's life: work that comes and is withdrawn, batches that end, loads that end or
/// fail, a model host that dies. The checks of `sim` say what the queue must never do.
namespace squall {
namespace {

namespace queueing = calls::queueing;
using functions::resource_type;

class world {
public:
  explicit world(fuzzing::input& in) : in_(in), queue_(make(in)) {
    for (std::uint64_t v = 1; v <= 4; ++v)
      step(queueing::variant_known{variant_id{v}, v == 4 ? resource_type::gpu : resource_type::cpu,
                                   static_cast<std::uint32_t>(v), std::chrono::milliseconds{v % 2 * 3}, 40 * v,
                                   v != 1});
    for (std::uint64_t l = 1; l <= 3; ++l)
      step(queueing::lane_opened{lane_id{l}, l == 3 ? resource_type::gpu : resource_type::cpu});
  }

  void run() {
    while (!in_.empty())
      act(in_.below(20));
    finish();
  }

private:
  static constexpr std::uint64_t memory_bytes = 200;

  static std::unique_ptr<policy::node_queue> make(fuzzing::input& in) {
    policy::node_queue_config config;
    config.max_queued = 60;
    config.max_queued_per_variant = 40;
    config.memory_bytes = memory_bytes;
    config.load_backoff = std::chrono::milliseconds{in.below(3)};
    return std::make_unique<policy::node_queue>(config, 7);
  }

  void act(std::uint32_t what) {
    switch (what) {
      case 0:
      case 1:
        return wait(in_.pause());
      case 2:
      case 3:
        return tick();
      case 4:
      case 5:
      case 6:
      case 7:
        return arrive();
      case 8:
      case 9:
      case 10:
        return end_batch(in_.byte());
      case 11:
      case 12:
        return end_load(in_.byte());
      case 13:
        return step(queueing::call_withdrawn{call_id{1 + in_.below(6)}});
      case 14:
        return lose_host(in_.below(2) == 0 ? resource_type::cpu : resource_type::gpu);
      case 15:
        return step(queueing::preload_wanted{variant_id{1 + in_.below(4)}});
      case 16:
        return replica();
      case 17:
        return order();
      case 18:
        return snapshot();
      default:
        return end_replica_load();
    }
  }

  /// A driver ticks when it is time to, whatever else happens.
  void wait(duration d) {
    const auto until = now_ + d;
    for (auto due = queue_->next_deadline(); due && *due <= until; due = queue_->next_deadline()) {
      now_ = std::max(now_, *due);
      step(queueing::tick{});
      if (const auto next = queue_->next_deadline(); next && *next <= now_ && ++stuck_ > 100)
        fuzzing::broken("a tick at the deadline leaves the deadline where it is");
    }
    stuck_ = 0;
    now_ = until;
  }
  void tick() {
    if (const auto due = queue_->next_deadline(); due && *due != never)
      wait(std::max(*due - now_, duration{0}));
    else
      step(queueing::tick{});
  }
  void arrive() {
    const auto asks = in_.byte();
    queueing::arrived fact;
    fact.id = item_id{++last_item_};
    fact.call = call_id{1 + in_.below(6)};
    fact.variant = variant_id{1 + in_.below(4)};
    fact.stage = asks % 3;
    fact.priority = asks / 3 % 3;
    fact.lone = asks > 200;
    fact.client = client_id{asks / 9 % 3U};
    fact.latest_start = asks % 2 == 0 ? never : now_ + in_.pause();
    step(fact);
  }
  void end_batch(std::uint8_t which) {
    if (running_.empty())
      return;
    auto at = running_.begin();
    std::advance(at, which % running_.size());
    const auto id = at->first;
    running_.erase(at);
    step(queueing::batch_ended{id, which > 230 ? errc::failed : errc::ok, in_.pause()});
  }
  void end_load(std::uint8_t which) {
    if (loading_.empty())
      return;
    auto at = loading_.begin();
    std::advance(at, which % loading_.size());
    const auto id = *at;
    loading_.erase(at);
    if (which > 200)
      step(queueing::load_failed{id, errc::failed, "no"});
    else
      step(queueing::loaded{id, 40 * id.value});
  }
  void lose_host(resource_type resource) {
    for (std::uint64_t l = 1; l <= 3; ++l)
      if ((l == 3) == (resource == resource_type::gpu)) {
        std::erase_if(running_, [&](const auto& b) { return b.second == lane_id{l}; });
        step(queueing::lane_closed{lane_id{l}});
      }
    std::erase_if(loading_, [&](variant_id v) { return (v.value == 4) == (resource == resource_type::gpu); });
    step(queueing::residents_lost{resource});
    for (std::uint64_t l = 1; l <= 3; ++l)
      if ((l == 3) == (resource == resource_type::gpu))
        step(queueing::lane_opened{lane_id{l}, resource});
  }
  void replica() {
    const replica_id id{1 + in_.below(6)};
    if (wanted_.erase(id) > 0)
      return step(queueing::replica_unwanted{id});
    // Ids are not used twice.
    const replica_id fresh{id.value + 8 * ++last_replica_};
    wanted_.insert(fresh);
    step(queueing::replica_wanted{fresh, variant_id{1 + in_.below(4)}});
  }
  void end_replica_load() {
    if (loading_replicas_.empty())
      return;
    const auto id = *loading_replicas_.begin();
    loading_replicas_.erase(loading_replicas_.begin());
    step(queueing::replica_loaded{id, in_.below(5) == 0 ? errc::failed : errc::ok});
  }
  void order() {
    if (wanted_.empty())
      return;
    auto at = wanted_.begin();
    std::advance(at, in_.byte() % wanted_.size());
    queueing::ordered fact{batch_id{++last_order_}, *at, {}, in_.below(2) == 0 ? never : now_ + in_.pause()};
    for (auto n = 1 + in_.below(3); n > 0; --n)
      fact.items.push_back({item_id{++last_item_}, call_id{1 + in_.below(6)}});
    step(fact);
  }
  void snapshot() {
    auto restored = policy::node_queue::restore(queue_->save());
    if (!restored.ok())
      fuzzing::broken("a snapshot cannot be restored: " + restored.error().message);
    if ((*restored)->hash() != queue_->hash())
      fuzzing::broken("a snapshot is not the whole state");
    queue_ = std::move(*restored);
  }

  /// All loads succeed and all batches end: then no item may be left.
  void finish() {
    for (std::uint64_t call = 1; call <= 6; ++call)
      step(queueing::call_withdrawn{call_id{call}});
    for (int round = 0; round < 1000 && (!running_.empty() || !loading_.empty()); ++round) {
      end_batch(0);
      end_load(0);
      tick();
    }
    if (!replicas_)
      check_.end(now_);
    fail_if_broken();
    if (queue_->queued() != 0)
      fuzzing::broken("items are left");
  }

  void step(const queueing::event& fact) {
    queue_->step(now_, fact);
    const auto commands = queue_->take_commands();
    for (const auto& command : commands)
      std::visit([this](const auto& c) { follow(c); }, command);
    if (std::holds_alternative<queueing::replica_wanted>(fact) || std::holds_alternative<queueing::ordered>(fact))
      replicas_ = true;
    if (replicas_) // they share lanes and memory with what the checks know of
      return;
    check_.step(now_, fact, commands);
    fail_if_broken();
  }
  void follow(const queueing::run& c) { running_[c.id] = c.lane; }
  void follow(const queueing::run_order& c) {
    if (!wanted_.contains(c.replica))
      fuzzing::broken("a batch runs on a replica that is not wanted");
    running_[c.id] = c.lane;
  }
  void follow(const queueing::load& c) { loading_.insert(c.variant); }
  void follow(const queueing::load_replica& c) { loading_replicas_.insert(c.replica); }
  void follow(const queueing::evict_replica& c) { loading_replicas_.erase(c.replica); }
  void follow(const queueing::replica_failed& c) {
    wanted_.erase(c.replica);
    loading_replicas_.erase(c.replica);
  }
  template <class Other>
  void follow(const Other&) {}

  void fail_if_broken() const {
    if (broken_.count() > 0)
      fuzzing::broken(broken_.texts().front());
  }

  fuzzing::input& in_;
  time_point now_ = from_ns(1);
  std::unique_ptr<policy::node_queue> queue_;
  sim::violations broken_;
  sim::queue_check check_{memory_bytes, broken_};
  std::map<batch_id, lane_id> running_;
  std::set<variant_id> loading_;
  std::set<replica_id> wanted_;
  std::set<replica_id> loading_replicas_;
  bool replicas_ = false;
  int stuck_ = 0;
  std::uint64_t last_item_ = 0;
  std::uint64_t last_replica_ = 0;
  std::uint64_t last_order_ = 0;
};

void fuzz(fuzzing::input& in) { world{in}.run(); }

} // namespace
} // namespace squall

SQUALL_FUZZ_TARGET(squall::fuzz)
