#pragma once

#include "base/ids.hpp"
#include "base/time.hpp"
#include "wire/arena.hpp"

#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

namespace squall::executors {

/// Which blocks of shared memory this node holds for which call: its own, and those of its worker process
/// (docs/data-plane.md). Frees them together.
class block_ledger {
public:
  /// `own` may be null on a host without usable shared memory: then values stay where they are.
  block_ledger(std::shared_ptr<wire::arena> own, std::shared_ptr<wire::arena_map> known)
      : own_(std::move(own)), known_(std::move(known)) {}

  /// The arena of the worker that runs now; 0 = none. Blocks of the one before are forgotten: they went with it.
  void set_worker_arena(std::uint64_t id);

  /// The value with its large tensors in an arena; what had to be moved there is held for the call.
  [[nodiscard]] functions::value keep(call_id call, functions::value v);

  /// Holds for the call what a value has in the worker's arena, or in blocks of make().
  void adopt(call_id call, const functions::value& v);

  /// Immutable bytes for a value that is not a call's yet: adopt() it, or it goes with drop_unowned(). In the arena
  /// when they are large and it has room.
  [[nodiscard]] result<shared_bytes> make(std::size_t size, const std::function<result<>(std::span<std::byte>)>& fill);
  void drop_unowned();

  /// Gives blocks of a value that nobody wants back to the worker.
  void discard(const functions::value& v);

  [[nodiscard]] bool holds(call_id call) const { return held_.contains(call); }
  /// Some tensor of it lies in shared memory; in the worker's.
  [[nodiscard]] bool shared(const functions::value& v) const;
  [[nodiscard]] bool in_worker(const functions::value& v) const;

  void release(call_id call);
  void release_all();
  /// A call that will not be heard of again by itself: its blocks go at `at` if nobody releases them before.
  void expire_at(call_id call, time_point at);
  void release_expired(time_point now);

  /// Blocks of the worker that can be given back, since the last call.
  [[nodiscard]] std::vector<wire::arena_ref> take_released() { return std::exchange(released_, {}); }

  [[nodiscard]] std::size_t calls() const { return held_.size(); }
  [[nodiscard]] const wire::arena* own() const { return own_.get(); }
  [[nodiscard]] wire::arena_map& known() const { return *known_; }

private:
  struct holding {
    std::vector<wire::arena_ref> own;
    std::vector<wire::arena_ref> worker; ///< ascending; each once, however many values show it
    time_point expires = never;
  };

  void give_back(const holding& h);
  template <class Visit>
  void for_each_worker_block(const functions::value& v, const Visit& visit) const;

  std::shared_ptr<wire::arena> own_;
  std::shared_ptr<wire::arena_map> known_;
  std::uint64_t worker_arena_ = 0;
  std::unordered_map<call_id, holding> held_;
  std::vector<wire::arena_ref> released_;
  std::vector<wire::arena_ref> unowned_;
};

} // namespace squall::executors
