#pragma once

#include "bench/direct/scoring.hpp"
#include "bench/direct/toolbox.hpp"

#include <string>
#include <vector>

namespace squall::bench {

/// What came of an item.
struct reading {
  std::string text;             ///< of a line, or the label of a file
  std::vector<text_line> lines; ///< of a page
  std::uint32_t skipped = 0;    ///< stages of the served DAG that a cascade does not run
};

struct pipeline_options {
  std::string precision = "f32";
  std::string trusted; ///< content of the parameter `trusted` of file-magic; empty: a list of our own
};

/// A pipeline, or one model alone in its place: the same stages as examples/ serves, as plain calls one after another.
class pipeline {
public:
  virtual ~pipeline() = default;
  /// Loads and warms what it needs.
  [[nodiscard]] virtual result<> prepare(toolbox& tools) = 0;
  /// `data` is the content of the item's file.
  [[nodiscard]] virtual result<reading> run(item_run& run, const functions::value& data) const = 0;
};

/// A row to measure: `name` is "direct" for the pipeline, else the model that stands alone in its place.
struct row {
  std::string name;
  std::string precision;
  std::unique_ptr<bench::pipeline> pipeline;
};

/// The rows of document-reader, read-line, read-line-vote or file-type; an error names these.
[[nodiscard]] result<std::vector<row>> rows_of(const std::string& pipeline_name, const pipeline_options& options);

} // namespace squall::bench
