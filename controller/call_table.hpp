#pragma once

#include "actors/role.hpp"
#include "base/ids.hpp"
#include "base/time.hpp"
#include "calls/call.hpp"
#include "functions/dag.hpp"
#include "wire/messages.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace squall::controller {

/// A call that was offered to the scheduler and has not ended.
struct running_call {
  call_id id;
  actors::peer_id client;
  request_id request;
  std::uint64_t client_host = 0;
  client_id answer_to; ///< whom the exit node may answer; zero: the controller does
  std::shared_ptr<const functions::dag> dag;
  std::uint32_t priority = 0;
  calls::sequence sequence;
  time_point arrived;
  time_point deadline = never;
  std::vector<functions::value> inputs;                       ///< until it is admitted
  std::vector<node_id> nodes;                                 ///< of its plan, ascending, each once
  bool dispatched = false;                                    ///< batch by batch
  node_id home;                                               ///< of a dispatched call
  std::map<stage_index, std::vector<std::uint32_t>> elements; ///< of ready maps of a dispatched call: those that run
  calls::promise promise;                                     ///< as asked for; kept only if the policy promises
};

/// What is remembered of a call that ended.
struct call_record {
  call_id id;
  std::shared_ptr<const functions::dag> dag;
  calls::outcome outcome;
  time_point ended;
};

/// Running calls by id, and the last ended ones. Bounded: the scheduler bounds the running ones, `records_kept` the
/// ended.
class call_table {
public:
  explicit call_table(std::size_t records_kept) : records_kept_(records_kept) {}

  /// False if a call of that id runs.
  bool add(running_call call) {
    const call_id id = call.id;
    return running_.try_emplace(id, std::move(call)).second;
  }
  [[nodiscard]] running_call* find(call_id id) {
    const auto it = running_.find(id);
    return it == running_.end() ? nullptr : &it->second;
  }

  /// Moves a call to the records.
  void end(call_id id, calls::outcome outcome, time_point now) {
    const auto it = running_.find(id);
    if (it == running_.end())
      return;
    if (records_.size() >= records_kept_ && !records_.empty())
      records_.pop_front();
    records_.push_back({id, std::move(it->second.dag), std::move(outcome), now});
    running_.erase(it);
  }

  /// The last one of that id. People ask for it, so it is searched for rather than indexed: calls pay nothing.
  [[nodiscard]] const call_record* record(call_id id) const {
    const auto it = std::find_if(records_.rbegin(), records_.rend(), [id](const call_record& r) { return r.id == id; });
    return it == records_.rend() ? nullptr : &*it;
  }
  [[nodiscard]] const std::deque<call_record>& records() const { return records_; } ///< oldest first
  [[nodiscard]] const std::unordered_map<call_id, running_call>& running() const { return running_; }

private:
  std::size_t records_kept_;
  std::unordered_map<call_id, running_call> running_;
  std::deque<call_record> records_;
};

} // namespace squall::controller
