#pragma once

#include "executors/cpu/inference.hpp"

#include <map>
#include <optional>
#include <set>

namespace squall::executors::cpu::detail {

enum class precision { f32, bf16 };

/// The shapes of one warm-up run, in the order of the input ports.
using warm_run = std::vector<functions::shape>;

/// The parameters of a variant (inference.hpp), checked.
struct model_parameters {
  cpu::detail::precision precision = precision::f32;
  std::map<std::string, std::string> renames; ///< port to the model's name
  std::set<std::string> argmax;               ///< names of reduced outputs
  /// Batch axis of each port; none = not joined.
  std::vector<std::optional<std::size_t>> input_axes;
  std::vector<std::optional<std::size_t>> output_axes;
  std::vector<warm_run> warm; ///< at least one
  bool warm_is_guess = false; ///< the shapes hold extents that nobody declared, so that a failure says nothing
};

[[nodiscard]] result<model_parameters> read_parameters(const model_request& request);

/// The model's name for a port, or for an output that is reduced.
[[nodiscard]] const std::string& model_name(const model_parameters& parameters, const std::string& name);

} // namespace squall::executors::cpu::detail
