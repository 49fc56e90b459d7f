#pragma once

#include "base/result.hpp"
#include "bench/calls/relay.hpp"
#include "bench/running_cluster.hpp"
#include "bench/support.hpp"
#include "client/cluster.hpp"

#include <memory>
#include <string>

namespace squall::bench {

/// Ends the program with status 1.
[[noreturn]] void fail(const error& e);

template <class T>
T or_fail(result<T> r) {
  if (!r)
    fail(r.error());
  return std::move(r).value();
}

/// A client of a cluster that knows the functions "noop" and "sleep" (1 ms, in the model host), and the DAG "chain3":
/// three no-ops, each reading from the one before.
[[nodiscard]] std::unique_ptr<client::cluster> connect_with_no_ops(const running_cluster& cluster);

/// Fails unless the three stages of "chain3" run on three nodes, and adds what one call of it gives to `work`.
void check_chain(client::cluster& cluster, fnv1a& work);
/// The same for "noop".
void check_no_op(client::cluster& cluster, fnv1a& work);

/// The p50 of `count` calls of `target`, one at a time, in microseconds.
[[nodiscard]] double call_p50_us(client::cluster& cluster, const std::string& target, std::size_t count);
/// The same of messages sent round a relay.
[[nodiscard]] double relay_p50_us(relay& reference, std::size_t count);

} // namespace squall::bench
