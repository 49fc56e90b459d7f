#pragma once

#include "bench/calls/no_ops.hpp"

#include <functional>
#include <map>

/// What the benchmarks of native functions share.
namespace squall::bench {

/// A client of a cluster that knows "noop" (builtin), "passing" (native, gives its input back) and "calling" (native,
/// calls "passing"), each warm.
[[nodiscard]] std::unique_ptr<client::cluster> connect_with_native(const running_cluster& cluster, fnv1a& work);

/// A function of that name whose code is `file`, not loaded anywhere.
void register_code(client::cluster& cluster, const std::string& name, functions::variant_kind kind,
                   const std::string& file, const std::map<std::string, std::string>& parameters);
/// The same with the library of functions.cpp.
void register_native(client::cluster& cluster, const std::string& name, const std::string& what);

/// One call with 8 KiB, more than what a node runs in its own thread; microseconds. Fails unless they come back.
double call_us(client::cluster& cluster, const std::string& target);
/// The same with another value.
double call_us(client::cluster& cluster, const std::string& target, const functions::value& x);
/// First calls of fresh functions: `count` with a pause before each, for which the node has a process to spare,
/// reported as `name`; and `count` one right after the other, reported as `name`-burst. `fork_us` is the reference of
/// both.
void report_first_calls(const settings& s, const std::string& name, client::cluster& cluster,
                        const std::function<void(const std::string&)>& registered, std::size_t count, double fork_us,
                        fnv1a& work);
/// The p50 of `count` of them.
double calls_p50_us(client::cluster& cluster, const std::string& target, std::size_t count);
double calls_p50_us(client::cluster& cluster, const std::string& target, std::size_t count, const functions::value& x);

} // namespace squall::bench
