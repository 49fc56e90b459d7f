#pragma once

#include "bench/direct/pipelines.hpp"
#include "bench/direct/scoring.hpp"
#include "bench/direct/toolbox.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace squall::bench {

/// Something to read, and its file's content.
struct work_item {
  truth_item truth;
  functions::value data;
};

/// The first `limit` entries of FOLDER/truth.json (0: all).
[[nodiscard]] result<std::vector<work_item>> read_items(const std::filesystem::path& folder, std::size_t limit);

/// What one pass over the items gave, in their order.
struct pass_result {
  std::vector<reading> readings;
  std::vector<double> latencies_ms;
  std::vector<std::map<std::string, duration>> model_times;
  double seconds = 0;
};

/// Every item on every lane, so that each has met all shapes: the first run of a new shape takes an inference runtime
/// several times as long.
[[nodiscard]] result<> warm_up(const pipeline& what, const toolbox& tools, const std::vector<work_item>& items);

/// Every item once; each thread takes whole items, the next one that nobody has. `tools` must have a lane for each
/// thread.
[[nodiscard]] result<pass_result> run_pass(const pipeline& what, const toolbox& tools,
                                           const std::vector<work_item>& items, std::uint32_t threads);

} // namespace squall::bench
