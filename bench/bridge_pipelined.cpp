// Messages a second through the bridge and a role that runs inline, against a plain ZeroMQ ROUTER that echoes: 64
// bytes, 1000 outstanding, on all cores. Many short rounds in turns, so that changes of the machine's speed meet both.
#include "bench/echo_bridge.hpp"
#include "bench/support.hpp"

using namespace squall;
using namespace squall::bench;

int main(int argc, char** argv) {
  const settings s = parse(argc, argv);
  const child_process ours{[](const auto& tell) { serve_bridge(std::make_unique<echo_role>(), tell); }};
  const child_process reference{[](const auto& tell) { serve_plain_echo(false, tell); }};
  plain_client to_ours{ours.endpoint()};
  plain_client to_reference{reference.endpoint()};

  const shared_bytes message = header_of_size(64);
  const std::size_t count = s.size(100'000, 2'000);
  fnv1a work;
  const auto per_second = [&](plain_client& client) { return pipelined_rate(client, message, count, 1'000, work); };
  const auto c = compare(
      s.size(99, 2), [&] { return per_second(to_ours); }, [&] { return per_second(to_reference); });
  report(s, "bridge-pipelined", c, "messages/s", work);
}
