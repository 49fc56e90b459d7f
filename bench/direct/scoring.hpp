#pragma once

#include "base/result.hpp"

#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

/// What the pictures and files say, and how much of it was read.
namespace squall::bench {

/// [x0, y0, x1, y1] in pixels of the picture.
using box = std::array<double, 4>;

struct text_line {
  std::string text;
  bench::box box{};
};

/// One entry of truth.json.
struct truth_item {
  std::filesystem::path file;
  std::string text;             ///< of a line, or the label of a file
  std::vector<text_line> lines; ///< of a page
};

/// Reads `folder`/truth.json: lines [{"file", "text"}], pages [{"file", "lines": [{"text", "box"}]}] or files [{"file",
/// "label"}]; further keys are ignored. The error names the entry.
[[nodiscard]] result<std::vector<truth_item>> read_truth(const std::filesystem::path& folder);

/// Least number of characters to insert, delete and replace (Levenshtein), in code points of UTF-8.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);
/// Code points of UTF-8.
[[nodiscard]] std::size_t length(std::string_view text);

/// Sums over items.
struct score {
  std::size_t units = 0;      ///< lines, or files
  std::size_t exact = 0;      ///< read without any error; case and spaces count
  std::size_t edits = 0;      ///< edit distance to the truth
  std::size_t characters = 0; ///< of the truth

  void add_text(std::string_view truth, std::string_view read);
  /// A line of the truth is found when the centre of its box lies in a box that was found, each of which counts for one
  /// line only. A line that is not found is wholly wrong; what was found beyond the truth is not counted.
  void add_page(const std::vector<text_line>& truth, const std::vector<text_line>& read);

  [[nodiscard]] double accuracy() const {
    return units == 0 ? 0 : static_cast<double>(exact) / static_cast<double>(units);
  }
  /// Character errors per character.
  [[nodiscard]] double cer() const {
    return characters == 0 ? 0 : static_cast<double>(edits) / static_cast<double>(characters);
  }
};

} // namespace squall::bench
