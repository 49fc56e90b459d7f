#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace squall::cluster {

/// The verbs that start, stop and look after processes: up, down, node, keys, logs, replay, doctor, and the hidden
/// `serve`, which the launcher runs where the program was replaced. Each sets `status` (0 ok, 1 failed) from its
/// callback. `arguments` is the whole command line, to start this program again.
void add_cluster_verbs(CLI::App& app, const std::vector<std::string>& arguments, int& status);

} // namespace squall::cluster
