#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace squall::functions {

/// Where a step of a chain, or the chain, takes a value from: its own inputs, or an earlier step's output.
struct chain_source {
  std::optional<std::uint32_t> step; ///< none: the chain's input `port`
  std::uint32_t port = 0;
  friend bool operator==(const chain_source&, const chain_source&) = default;
};

/// A builtin in a chain.
struct chain_step {
  std::string stage; ///< its name in the DAG that it was fused out of; errors name it
  std::string builtin;
  std::map<std::string, std::string>
      parameters; ///< "@labels" = "r0": its parameter `labels` is resource 0 of the chain
  std::vector<std::optional<chain_source>> inputs; ///< one per port; none: absent
  friend bool operator==(const chain_step&, const chain_step&) = default;
};

/// Builtins that run one after the other as one function, handing values on in memory: what the builtins `fused` and
/// `fused-light` run, and the rule `fuse` makes (functions/rewrite.hpp).
struct chain {
  std::vector<chain_step> steps;
  std::vector<chain_source> outputs;
  friend bool operator==(const chain&, const chain&) = default;
};

/// Resources that a chain can have: its parameters r0, r1 and so on.
inline constexpr std::size_t max_chain_resources = 8;
inline constexpr std::size_t max_chain_steps = 64;

/// One line a step: stage, builtin, inputs and parameters, separated by tabs; the last line has the outputs. Inputs are
/// "$0" (the chain's), "1.0" (an output of a step), or "-".
[[nodiscard]] std::string to_text(const chain& c);
/// Errors name the line. Steps only read what comes before them.
[[nodiscard]] result<chain> chain_from_text(std::string_view text);

} // namespace squall::functions
