#pragma once

#include "base/result.hpp"
#include "base/time.hpp"
#include "client/cluster.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace squall::bench {

/// Calls something of a running cluster again and again with the input of no_op_input(). Every call after the first
/// ones is made from the client's own thread when another ended, so that no further thread has to wake up: the
/// reference's client has but one thread, too.
class caller {
public:
  caller(client::cluster& cluster, std::string target) : cluster_(cluster), target_(std::move(target)) {}

  /// Makes `count` calls with `outstanding` of them on their way; gives how long each took. Fails as the first call
  /// that fails.
  [[nodiscard]] result<std::vector<duration>> run(std::size_t count, std::size_t outstanding);

private:
  client::cluster& cluster_;
  std::string target_;
};

} // namespace squall::bench
