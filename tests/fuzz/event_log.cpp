#include "input.hpp"

#include "sim/replay.hpp"

/// Any bytes as a segment of an event log, replayed: refused with a place, or replayed, never a crash.
namespace squall {
namespace {

void fuzz(fuzzing::input& in) {
  sim::replayer replayer;
  replayer.observe([](time_point, const std::string&, const std::vector<std::string>&) {});
  const auto rest = in.rest();
  (void)replayer.feed(std::as_bytes(std::span{rest.data(), rest.size()}));
}

} // namespace
} // namespace squall

SQUALL_FUZZ_TARGET(squall::fuzz)
