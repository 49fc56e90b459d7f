#include "examples/demo/experiments.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

namespace squall::demo {

namespace {

using bench::text_line;

/// The smallest upright box around four corners.
bench::box around(std::span<const float> quad) {
  const auto [x0, x1] = std::minmax({quad[0], quad[2], quad[4], quad[6]});
  const auto [y0, y1] = std::minmax({quad[1], quad[3], quad[5], quad[7]});
  return {x0, y0, x1, y1};
}

result<std::string> text_of(const client::call_result& answer, std::string_view output) {
  const auto* value = answer.find(output);
  if (!value)
    return {errc::internal, "the answer has no output '" + std::string{output} + "'"};
  SQUALL_ASSIGN(text, functions::first_text(*value));
  return std::string{text};
}

/// The lines of a page, each with its text and where it is. A page without text has neither.
result<std::vector<text_line>> lines_of(const client::call_result& answer) {
  const auto* texts = answer.find("lines");
  const auto* quads = answer.find("quads");
  if (!texts || !quads || !quads->as_tensor())
    return {errc::internal, "the answer has no outputs 'lines' and 'quads'"};
  const auto corners = functions::elements_of<float>(*quads->as_tensor());
  const std::size_t count = texts->as_list() ? texts->as_list()->size() : 0;
  if (corners.size() != 8 * count)
    return {errc::internal,
            "the answer has " + std::to_string(count) + " lines and " + std::to_string(corners.size() / 8) + " quads"};
  std::vector<text_line> lines;
  for (std::size_t i = 0; i < count; ++i) {
    SQUALL_ASSIGN(text, functions::first_text((*texts->as_list())[i]));
    lines.push_back({std::string{text}, around(corners.subspan(8 * i, 8))});
  }
  return lines;
}

} // namespace

std::span<const experiment> experiments() {
  static const std::vector<experiment> all = {
      {"document-reader", "bf16", "document-reader-bf16", "document-reader.yaml", material::pages},
      {"read-line", "f32", "read-line", "read-line.yaml", material::lines},
      {"read-line", "bf16", "read-line-bf16", "read-line.yaml", material::lines},
      {"read-line-vote", "bf16", "read-line-vote-bf16", "read-line-vote.yaml", material::lines},
      {"file-type", "bf16+f32", "file-type", "file-type.yaml", material::files},
  };
  return all;
}

result<std::vector<sample>> read_samples(const std::filesystem::path& folder, std::size_t limit) {
  SQUALL_ASSIGN(truth, bench::read_truth(folder));
  if (limit > 0 && limit < truth.size())
    truth.resize(limit);
  std::vector<sample> samples;
  for (auto& item : truth) {
    std::ifstream file{item.file, std::ios::binary};
    const std::string content{std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
    if (!file)
      return {errc::not_found, item.file.string() + " cannot be read"};
    samples.push_back({std::move(item), {{"file", functions::scalar_value(std::string_view{content})}}});
  }
  return samples;
}

result<bench::score> judge(const experiment& what, const std::vector<sample>& samples, const pass& answers) {
  bench::score score;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto& truth = samples[i].truth;
    const auto& answer = answers.answers[i].result;
    if (what.material == material::pages) {
      SQUALL_ASSIGN(lines, lines_of(answer));
      score.add_page(truth.lines, lines);
    } else {
      SQUALL_ASSIGN(text, text_of(answer, what.material == material::lines ? "text" : "label"));
      score.add_text(truth.text, text);
    }
  }
  return score;
}

} // namespace squall::demo
