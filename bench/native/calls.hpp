#pragma once

#include "bench/calls/no_ops.hpp"

/// What the benchmarks of native functions share.
namespace squall::bench {

/// A client of a cluster that knows "noop" (builtin), "passing" (native, gives its input back) and "calling" (native,
/// calls "passing"), each warm.
[[nodiscard]] std::unique_ptr<client::cluster> connect_with_native(const running_cluster& cluster, fnv1a& work);

/// A native function of that name, not loaded anywhere.
void register_native(client::cluster& cluster, const std::string& name, const std::string& what);

/// One call with 8 KiB, more than what a node runs in its own thread; microseconds. Fails unless they come back.
double call_us(client::cluster& cluster, const std::string& target);
/// The p50 of `count` of them.
double calls_p50_us(client::cluster& cluster, const std::string& target, std::size_t count);

} // namespace squall::bench
