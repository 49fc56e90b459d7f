#include "sim/replay.hpp"

#include "calls/json.hpp"
#include "policy/node_queue.hpp"
#include "policy/scheduler.hpp"

#include <algorithm>

namespace squall::sim {

struct replayer::state {
  replay_report report;
  std::unique_ptr<policy::scheduler> scheduler;
  std::unique_ptr<policy::node_queue> node_queue;
  observer each;

  template <class Event, class Core>
  result<> feed(std::span<const std::byte> segment, std::unique_ptr<Core>& core);
  template <class Event, class Core>
  void step(const calls::log_fact<Event>& fact, Core& core);
};

namespace {

bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

} // namespace

template <class Event, class Core>
void replayer::state::step(const calls::log_fact<Event>& fact, Core& core) {
  core.step(fact.at, fact.event);
  const auto commands = core.take_commands();
  ++report.facts;
  if (each) {
    std::vector<std::string> decided;
    for (const auto& c : commands)
      decided.push_back(calls::to_json(c));
    each(fact.at, calls::to_json(fact.event), decided);
  }
  if (calls::digest(commands) == fact.commands)
    return;
  replay_difference d;
  d.segment = report.segments - 1;
  d.offset = fact.offset;
  d.at = fact.at;
  d.fact = calls::to_json(fact.event);
  for (const auto& c : commands)
    d.commands.push_back(calls::to_json(c));
  report.difference = std::move(d);
}

template <class Event, class Core>
result<> replayer::state::feed(std::span<const std::byte> segment, std::unique_ptr<Core>& core) {
  SQUALL_ASSIGN(log, calls::log_decoder<Event>::open(segment));
  while (!report.difference) {
    SQUALL_ASSIGN(entry, log.next());
    if (!entry)
      break;
    if (const auto* snapshot = std::get_if<calls::log_snapshot>(&*entry)) {
      ++report.snapshots;
      if (core && same_bytes(core->save(), snapshot->saved))
        continue;
      report.gaps += core ? 1 : 0;
      SQUALL_ASSIGN(restored, Core::restore(snapshot->saved));
      core = std::move(restored);
      continue;
    }
    const auto& fact = std::get<calls::log_fact<Event>>(*entry);
    if (fact.at < core->now())
      return {errc::corrupt, "event log: at byte " + std::to_string(fact.offset) + " it goes back in time"};
    step(fact, *core);
  }
  report.truncated = log.truncated();
  return {};
}

replayer::replayer() : state_(std::make_unique<state>()) {}
replayer::~replayer() = default;

void replayer::observe(observer each) { state_->each = std::move(each); }

result<> replayer::feed(std::span<const std::byte> segment) {
  SQUALL_ASSIGN(records, calls::log_records::open(segment));
  const calls::log_header& header = records.header();
  replay_report& report = state_->report;
  if (report.segments == 0)
    report.header = header;
  else if (header.core != report.header.core || header.node != report.header.node)
    return {errc::invalid_argument, "event log: this segment is of another core than the one before it"};
  ++report.segments;
  if (header.core == calls::log_core::scheduler)
    return state_->feed<calls::placing::event>(segment, state_->scheduler);
  return state_->feed<calls::queueing::event>(segment, state_->node_queue);
}

const replay_report& replayer::report() const { return state_->report; }

} // namespace squall::sim
