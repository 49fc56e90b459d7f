#pragma once

#include "actors/role.hpp"
#include "base/ids.hpp"
#include "base/time.hpp"
#include "calls/placing.hpp"
#include "calls/recent_calls.hpp"
#include "controller/latest.hpp"
#include "functions/dag.hpp"
#include "wire/messages.hpp"

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
  std::uint32_t depth = 0; ///< of calls that functions made
  bool stream = false;     ///< what stages give out before they end goes to the client
  calls::sequence sequence;
  time_point arrived;
  time_point deadline = never;
  std::vector<functions::value> inputs;                       ///< until it is admitted
  std::vector<node_id> nodes;                                 ///< of its plan, ascending, each once
  bool dispatched = false;                                    ///< batch by batch
  node_id home;                                               ///< of a dispatched call
  std::map<stage_index, std::vector<std::uint32_t>> elements; ///< of ready maps of a dispatched call: those that run
  calls::promise promise;                                     ///< as asked for; kept only if the policy promises

  // For another attempt, should a node be lost.
  struct slos {
    calls::micro_cost max_cost = calls::no_cost_limit;
    std::uint32_t assurance_ppm = 0;
    calls::preference preference = calls::preference::cheapest;
  };
  slos wanted;
  client_id owner;
  std::uint64_t bytes = 0;   ///< of its inputs
  std::uint32_t batch = 1;   ///< the most items of one of its stages that may run together
  bool inside = false;       ///< it went through the turnstile
  bool in_line = false;      ///< it waits for its turn (turnstile.hpp); the scheduler does not know it yet
  bool promised = false;     ///< by one of the attempts
  bool repeatable = false;   ///< then `inputs` are kept to the end
  bool durable = false;      ///< in the store until its client has its result (durable.hpp)
  bool admitted = false;     ///< by one of the attempts
  bool adopted = false;      ///< from a controller that is no more (recovery.cpp)
  bool parts_shared = false; ///< its client reads partial results where they are
  bool asked = true;         ///< its client is known; of an adopted one: it has asked again
  std::uint32_t attempts = 1;
  call_id origin;                    ///< of a later attempt: the id that the client gave the call
  std::string setback;               ///< why the last attempt came to nothing
  calls::placing::decision decision; ///< how the last one was admitted or refused

  [[nodiscard]] call_id known_as() const { return origin ? origin : id; }
};

/// What is remembered of a call that ended.
struct call_record {
  call_id id;
  std::shared_ptr<const functions::dag> dag;
  calls::outcome outcome;
  time_point ended;
  calls::placing::decision decision;
};

/// Running calls by id (and by the one that the client gave them, if they are later attempts), and the last ended ones.
/// Bounded: the scheduler bounds the running ones, `records_kept` the ended.
class call_table {
public:
  explicit call_table(std::size_t records_kept) : records_(records_kept) {}

  /// False if a call of that id runs.
  bool add(running_call call) {
    const call_id id = call.id;
    if (!call.origin && aliases_.contains(id))
      return false;
    return running_.try_emplace(id, std::move(call)).second;
  }
  /// By the id of its present attempt: as nodes and the scheduler know it.
  [[nodiscard]] running_call* find(call_id id) {
    const auto it = running_.find(id);
    return it == running_.end() ? nullptr : &it->second;
  }
  /// By the id that its client gave it.
  [[nodiscard]] running_call* find_known_as(call_id id) {
    const auto alias = aliases_.find(id);
    return find(alias == aliases_.end() ? id : alias->second);
  }
  /// Takes a call out, to be added again under another id.
  [[nodiscard]] std::optional<running_call> take(call_id id) {
    const auto it = running_.find(id);
    if (it == running_.end())
      return {};
    std::optional<running_call> out{std::move(it->second)};
    running_.erase(it);
    return out;
  }
  void alias(call_id origin, call_id attempt) { aliases_[origin] = attempt; }
  void forget_alias(call_id origin) { aliases_.erase(origin); }

  /// Moves a call to the records.
  void end(call_id id, calls::outcome outcome, time_point now) {
    const auto it = running_.find(id);
    if (it == running_.end())
      return;
    records_.push(
        {it->second.known_as(), std::move(it->second.dag), std::move(outcome), now, std::move(it->second.decision)});
    if (it->second.admitted)
      ended_.add(it->second.known_as());
    if (it->second.origin)
      aliases_.erase(it->second.origin);
    running_.erase(it);
  }

  /// Whether the last calls that ended after they were admitted had that id of its client's: nodes remember it, too.
  [[nodiscard]] bool ended_lately(call_id id) { return ended_.contains(id); }

  /// The last one of that id. People ask for it, so it is searched for rather than indexed: calls pay nothing.
  [[nodiscard]] const call_record* record(call_id id) const {
    return records_.find([id](const call_record& r) { return r.id == id; });
  }
  [[nodiscard]] const latest<call_record>& records() const { return records_; }
  [[nodiscard]] const std::unordered_map<call_id, running_call>& running() const { return running_; }

private:
  std::unordered_map<call_id, running_call> running_;
  std::unordered_map<call_id, call_id> aliases_;
  latest<call_record> records_;
  calls::recent_calls ended_{65'536};
};

} // namespace squall::controller
