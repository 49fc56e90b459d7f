#pragma once

#include "calls/call.hpp"
#include "client/cli/render.hpp"
#include "client/cli/session.hpp"

#include <string>
#include <vector>

namespace squall::client::cli {

/// What a caller asks to be promised, as flags of `call` and `bench`.
struct promise_flags {
  std::string deadline;
  std::string max_cost;
  std::string assurance;
  std::string prefer;

  void add_to(CLI::App& verb);
  [[nodiscard]] result<> apply_to(calls::call_options& options) const;
};

/// What a table of promises shows.
[[nodiscard]] std::vector<column> promise_columns();

} // namespace squall::client::cli
