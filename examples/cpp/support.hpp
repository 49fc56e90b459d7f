#pragma once

#include "client/cluster.hpp"

#include <memory>
#include <string>

namespace squall::examples {

/// The cluster that $SQUALL_CLUSTER names, else the one on this host; ends the program with a message when there is
/// none.
[[nodiscard]] std::unique_ptr<client::cluster> connect_or_exit();

/// Registers everything in a spec file; ends the program with a message when that fails.
void apply_or_exit(client::cluster& cluster, const std::string& spec_file);

/// Prints the error and ends the program with status 1.
[[noreturn]] void exit_with(const error& e);

/// The value, or the end of the program.
template <class T>
T value_or_exit(result<T> r) {
  if (!r.ok())
    exit_with(r.error());
  return std::move(r).value();
}

} // namespace squall::examples
