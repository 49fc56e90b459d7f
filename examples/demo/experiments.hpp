#pragma once

#include "base/result.hpp"
#include "bench/direct/scoring.hpp"
#include "examples/demo/passes.hpp"

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace squall::demo {

enum class material { pages, lines, files };

/// A pipeline of examples/ on one kind of data.
struct experiment {
  std::string pipeline; ///< as the table names it
  std::string precision;
  std::string dag;
  std::string spec_file; ///< below examples/
  demo::material material;
};

/// All of them, in the table's order.
[[nodiscard]] std::span<const experiment> experiments();

/// Something to read, and what it says.
struct sample {
  bench::truth_item truth;
  call_inputs inputs; ///< the file's content, under the name that every pipeline gives it
};

/// The first `limit` entries of FOLDER/truth.json (0: all).
[[nodiscard]] result<std::vector<sample>> read_samples(const std::filesystem::path& folder, std::size_t limit);

/// How much of the samples the answers read. Fails when an answer lacks the outputs that its pipeline should have.
[[nodiscard]] result<bench::score> judge(const experiment& what, const std::vector<sample>& samples,
                                         const pass& answers);

} // namespace squall::demo
