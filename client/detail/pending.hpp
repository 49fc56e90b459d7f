#pragma once

#include "client/call.hpp"
#include "wire/arena.hpp"
#include "wire/codec.hpp"
#include "wire/messages.hpp"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

/// What waits for an answer.
namespace squall::client::detail {

using clock = std::chrono::steady_clock;

/// A call between its request and its end. The engine's thread owns everything but `id` once it was handed over.
class pending_call {
public:
  virtual ~pending_call() = default;
  /// Once, at the end.
  virtual void finish(call_result result) = 0;

  call_id id;
  duration deadline{0};                 ///< zero: the cluster's default
  wire::frames message;                 ///< until it is sent
  std::vector<wire::wire_value> inputs; ///< kept while others may read them by reference
  std::vector<wire::arena_ref> blocks;  ///< of our arena, given back at the end
  clock::time_point give_up = clock::time_point::max();
  bool cancelled = false;

  partial_callback on_partial; ///< may be empty
  /// By stage and element, the index of the partial result that comes next: a call that was sent again begins anew.
  std::map<std::pair<std::string, std::uint32_t>, std::uint32_t> next_partial;

  // For sending it again.
  wire::call_request request; ///< without the inputs
  bool sent = false;          ///< on whatever connection
  bool doubtful = false;      ///< on one that broke: it may have run, whatever a later controller says
  clock::time_point again_at = clock::time_point::max();
  std::optional<clock::time_point> first_refused; ///< for now
};

/// A call whose end is waited for through a call_handle.
class call_state final : public pending_call {
public:
  void finish(call_result result) override;
  [[nodiscard]] const call_result& wait();
  [[nodiscard]] bool wait_for(duration patience);
  void on_done(std::function<void(const call_result&)> callback);

private:
  std::mutex mutex_;
  std::condition_variable ended_;
  std::size_t waiting_ = 0; ///< nobody is notified when nobody waits: a notify is a system call
  std::optional<call_result> result_;
  std::function<void(const call_result&)> callback_;
};

/// A call whose end is a callback.
class callback_call final : public pending_call {
public:
  explicit callback_call(std::function<void(call_result)> done) : done_(std::move(done)) {}
  void finish(call_result result) override { done_(std::move(result)); }

private:
  std::function<void(call_result)> done_;
};

/// An answer with its head read, still encoded.
struct answer {
  wire::envelope_head head;
  wire::frames message;
};

/// A request other than a call. Some thread waits for it.
class pending_request {
public:
  void finish(result<answer> end);
  [[nodiscard]] result<answer> wait();

  request_id id;
  wire::role to = wire::role::controller;
  wire::frames message; ///< until it is sent
  clock::time_point give_up;

private:
  std::mutex mutex_;
  std::condition_variable ended_;
  std::optional<result<answer>> end_;
};

} // namespace squall::client::detail
