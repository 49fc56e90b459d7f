#include "calls/binary.hpp"
#include "input.hpp"
#include "policy/node_queue.hpp"
#include "policy/scheduler.hpp"
#include "sim/replay.hpp"

/// Segments of an event log, replayed: any bytes, which are refused with a place or replayed; and logs in good form
/// (their records are sealed, which chance would not hit) that begin with a core without history and hold any facts.
namespace squall {
namespace {

void replay(std::span<const std::byte> segment) {
  sim::replayer replayer;
  replayer.observe([](time_point, const std::string&, const std::vector<std::string>&) {});
  (void)replayer.feed(segment);
}

template <class Event, class Core>
std::vector<std::byte> segment_of(fuzzing::input& in, calls::log_core core, const Core& fresh) {
  calls::log_encoder log;
  log.begin({core, {}, 5});
  if (!log.snapshot(from_ns(0), fresh.save()))
    fuzzing::broken("a core without history has too large a snapshot");
  const auto rest = in.rest();
  calls::binary_reader facts{std::as_bytes(std::span{rest.data(), rest.size()})};
  time_point at = from_ns(0);
  while (facts.ok() && facts.left() > 0) {
    at += duration{facts.byte()} * 1'000'000;
    Event fact;
    facts.read(fact);
    if (facts.ok())
      log.fact(at, 0, fact);
  }
  log.flush();
  return log.take();
}

void fuzz(fuzzing::input& in) {
  const auto mode = in.byte() % 3;
  if (mode == 0) {
    const auto rest = in.rest();
    return replay(std::as_bytes(std::span{rest.data(), rest.size()}));
  }
  if (mode == 1)
    return replay(segment_of<calls::placing::event>(in, calls::log_core::scheduler, policy::scheduler{{}, 1}));
  replay(segment_of<calls::queueing::event>(in, calls::log_core::node_queue, policy::node_queue{{}, 1}));
}

} // namespace
} // namespace squall

SQUALL_FUZZ_TARGET(squall::fuzz)
