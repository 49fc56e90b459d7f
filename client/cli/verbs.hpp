#pragma once

#include <CLI/CLI.hpp>

#include <cstdio>

/// The verbs of the command line that are clients of a cluster. docs/cli.md is their reference.
namespace squall::client::cli {

/// What the verbs need of their program.
struct verb_context {
  int& status; ///< set by the verb that ran: 0 ok, 1 failed
  std::FILE* out = stdout;
  std::FILE* err = stderr;
  std::FILE* in = stdin;
};

/// Registers apply, get, describe, delete, call, kv, policy, bench and version; the options that all of them share (--cluster, --keys, --output,
/// --timeout); and error messages that name what was probably meant. `app` should fall through, so that shared options may stand anywhere.
/// The context must outlive the parsing.
void add_client_verbs(CLI::App& app, verb_context& context);

} // namespace squall::client::cli
