// A warm no-op through controller and executor processes, against a plain ZeroMQ relay of the same hops with the same
// bytes: p50 of one call at a time, all processes on one core.
#include "bench/calls/hops.hpp"
#include "bench/calls/no_ops.hpp"

using namespace squall;
using namespace squall::bench;

int main(int argc, char** argv) {
  const settings s = parse(argc, argv);
  pin_to_one_core();
  const running_cluster cluster{1, "fifo"};
  const auto reference = relay::through_scheduler(call_hops());
  const auto client = connect_with_no_ops(cluster);

  const std::size_t count = s.size(2'000, 50);
  fnv1a work;
  check_no_op(*client, work);
  work.add(count);
  (void)call_p50_us(*client, "noop", count); // warms up
  (void)relay_p50_us(*reference, count);
  const auto c = compare(
      s.size(9, 2), [&] { return call_p50_us(*client, "noop", count); },
      [&] { return relay_p50_us(*reference, count); });
  report(s, "call", c, "us", work);
}
