#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>

/// The text language of transcripts: facts in, commands out.
///
///     # a comment; blank lines and comments stay where they are
///     core scheduler policy=fifo max_calls=2
///     @0ms node_joined id=1 lanes=[{id=1}]
///     @5ms call_arrived id=7 dag=1 deadline=30ms
///       > admit id=7 plan={stages=[{variant=1 home=1}] exit=1}
///       until 230ms
///
/// A line with `@` steps the core with a fact; below it stand the commands that came out, and `until` with the core's
/// next deadline where that changed ("until nothing" when there is none any more). Fields that have their default value
/// are left out. Values: numbers, durations (ns us ms s), words, "text", [lists], {structs}. `save` on a line of its
/// own goes on with a core restored from a snapshot.
namespace squall::policy {

/// Runs the facts of a transcript and writes it anew, with the commands that came out. The error names the line that
/// does not parse.
[[nodiscard]] result<std::string> run_transcript(std::string_view text);

/// The first place where two texts differ, with some lines around it; empty when they are equal.
[[nodiscard]] std::string first_difference(std::string_view expected, std::string_view actual);

} // namespace squall::policy
