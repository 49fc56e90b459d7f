// An echo through the bridge and a role that runs inline, against a plain ZeroMQ ROUTER that echoes: p50 of 64 bytes on
// one core.
#include "bench/echo_bridge.hpp"
#include "bench/support.hpp"

using namespace squall;
using namespace squall::bench;

int main(int argc, char** argv) {
  const settings s = parse(argc, argv);
  pin_to_one_core();
  const child_process ours{[](const auto& tell) { serve_bridge(std::make_unique<echo_role>(), tell); }};
  const child_process reference{[](const auto& tell) { serve_plain_echo(false, tell); }};
  plain_client to_ours{ours.endpoint()};
  plain_client to_reference{reference.endpoint()};

  const shared_bytes message = header_of_size(64);
  const std::size_t count = s.size(5'000, 50);
  fnv1a work;
  const auto p50_us = [&](plain_client& client) { return round_trip_p50(client, message, count, work) * 1e-3; };
  const auto c = compare(
      s.size(9, 2), [&] { return p50_us(to_ours); }, [&] { return p50_us(to_reference); });
  report(s, "bridge", c, "us", work);
}
