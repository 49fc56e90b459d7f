#pragma once

#include <string>

namespace squall::cluster {

/// Replays an event log (a folder, or one segment) and prints what came out; returns 0 when every command was the same,
/// 1 otherwise. `print`: every fact and what was decided on it, too, as JSON lines {"at_ns", "fact", "commands"}.
int replay_log(const std::string& path, bool print);

} // namespace squall::cluster
