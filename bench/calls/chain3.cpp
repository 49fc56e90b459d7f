// A DAG of three no-op stages on three executor processes, against a plain ZeroMQ chain of three that hand over
// directly and whose last one answers the client: p50 of one call at a time, all processes on one core.
#include "bench/calls/hops.hpp"
#include "bench/calls/no_ops.hpp"

using namespace squall;
using namespace squall::bench;

int main(int argc, char** argv) {
  const settings s = parse(argc, argv);
  pin_to_one_core();
  const running_cluster cluster{3, "rr"};
  const auto reference = relay::chain(chain_hops());
  const auto client = connect_with_no_ops(cluster);

  const std::size_t count = s.size(2'000, 50);
  fnv1a work;
  check_chain(*client, work);
  work.add(count);
  (void)call_p50_us(*client, "chain3", count); // warms up
  (void)relay_p50_us(*reference, count);
  const auto c = compare(
      s.size(9, 2), [&] { return call_p50_us(*client, "chain3", count); },
      [&] { return relay_p50_us(*reference, count); });
  report(s, "chain3", c, "us", work);
}
