#pragma once

#include "base/result.hpp"

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace squall::cluster {

/// The command line as main() got it; set once there.

/// Prints "squall: MESSAGE (code)" on stderr; returns 1, the exit status of a failure.
int print_error(const error& e);

void add_up_verbs(CLI::App& app, const std::vector<std::string>& arguments, int& status);
void add_tool_verbs(CLI::App& app, int& status); ///< logs, replay, doctor

} // namespace squall::cluster
