// A warm no-op of 8 KiB in a sandboxed worker process, against the same builtin in the model host: p50 of one call at a
// time, all processes on one core.
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
      s.size(9, 2), [&] { return calls_p50_us(*client, "passing", count); },
      [&] { return calls_p50_us(*client, "noop", count); });
  report(s, "native-call", c, "us", work);
}
