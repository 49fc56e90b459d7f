// Calls of a no-op a second with 1000 of them outstanding, against as many messages in a plain ZeroMQ relay of the same
// hops: on all cores.
#include "bench/calls/caller.hpp"
#include "bench/calls/hops.hpp"
#include "bench/calls/no_ops.hpp"

using namespace squall;
using namespace squall::bench;

namespace {

constexpr std::size_t outstanding = 1'000;

double per_second(std::size_t count, std::int64_t began_ns) {
  return static_cast<double>(count) * 1e9 / static_cast<double>(now_ns() - began_ns);
}

} // namespace

int main(int argc, char** argv) {
  const settings s = parse(argc, argv);
  const running_cluster cluster{1, "fifo"};
  const auto reference = relay::through_scheduler(call_hops());
  const auto client = connect_with_no_ops(cluster);

  const std::size_t of_ours = s.size(20'000, 2'000);
  const std::size_t of_reference = s.size(60'000, 2'000);
  fnv1a work;
  check_no_op(*client, work);
  work.add(of_ours);
  work.add(of_reference);
  const auto ours = [&] {
    const auto began = now_ns();
    (void)or_fail(caller{*client, "noop"}.run(of_ours, outstanding));
    return per_second(of_ours, began);
  };
  const auto plain = [&] {
    const auto began = now_ns();
    reference->send_round(of_reference, outstanding);
    return per_second(of_reference, began);
  };
  (void)ours(); // warms up
  (void)plain();
  report(s, "call-pipelined", compare(s.size(45, 2), ours, plain), "calls/s", work);
}
