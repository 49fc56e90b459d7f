// A native function that calls another, against a plain call of that other: p50 of one call at a time, all processes on
// one core.
#include "bench/native/calls.hpp"

using namespace squall;
using namespace squall::bench;

int main(int argc, char** argv) {
  const settings s = parse(argc, argv);
  pin_to_one_core();
  const running_cluster cluster{1, "fifo"};
  fnv1a work;
  const auto client = connect_with_native(cluster, work);
  const std::size_t count = s.size(1'000, 20);
  work.add(count);
  const auto c = compare(
      s.size(9, 2), [&] { return calls_p50_us(*client, "calling", count); },
      [&] { return calls_p50_us(*client, "passing", count); });
  report(s, "nested", c, "us", work);
}
