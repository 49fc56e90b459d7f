#include "bench/direct/scoring.hpp"

#include "calls/json.hpp"

#include <algorithm>
#include <fstream>
#include <numeric>
#include <optional>

namespace squall::bench {

namespace {

/// Code points; a byte that is no UTF-8 counts as one.
std::u32string code_points(std::string_view text) {
  std::u32string points;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t size = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    char32_t point = 0;
    for (const char c : text.substr(i, size))
      point = point << 8 | static_cast<unsigned char>(c); // as good as the code point for comparing
    points.push_back(point);
    i += size;
  }
  return points;
}

std::optional<std::string> text_at(const calls::json_node& node, std::string_view name) {
  const auto found = node.find(name);
  const auto text = found ? found->as_string() : std::nullopt;
  return text ? std::optional<std::string>(*text) : std::nullopt;
}

std::optional<text_line> read_line(const calls::json_node& node) {
  const auto text = text_at(node, "text");
  const auto corners = node.find("box");
  if (!text || !corners || corners->size() != 4)
    return std::nullopt;
  text_line line{*text, {}};
  for (std::size_t i = 0; i < 4; ++i) {
    const auto number = corners->element(i).as_double();
    if (!number)
      return std::nullopt;
    line.box[i] = *number;
  }
  return line;
}

std::optional<truth_item> read_item(const calls::json_node& node, const std::filesystem::path& folder) {
  const auto file = text_at(node, "file");
  if (!file)
    return std::nullopt;
  truth_item item{folder / *file, {}, {}};
  const auto lines = node.find("lines");
  if (!lines) {
    const auto text = text_at(node, "text");
    const auto label = text_at(node, "label");
    if (!text && !label)
      return std::nullopt;
    item.text = text ? *text : *label;
    return item;
  }
  for (std::size_t i = 0; i < lines->size(); ++i) {
    auto line = read_line(lines->element(i));
    if (!line)
      return std::nullopt;
    item.lines.push_back(std::move(*line));
  }
  return item;
}

bool centre_inside(const box& inner, const box& outer) {
  const double x = (inner[0] + inner[2]) / 2;
  const double y = (inner[1] + inner[3]) / 2;
  return x >= outer[0] && x <= outer[2] && y >= outer[1] && y <= outer[3];
}

} // namespace

result<std::vector<truth_item>> read_truth(const std::filesystem::path& folder) {
  const auto path = folder / "truth.json";
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file)
    return {errc::not_found, path.string() + " cannot be read"};
  SQUALL_ASSIGN(document, calls::json_document::parse(text));
  const auto root = document.root();
  std::vector<truth_item> items;
  for (std::size_t i = 0; i < root.size() && root.type() == calls::json_node::kind::array; ++i) {
    auto item = read_item(root.element(i), folder);
    if (!item)
      return {errc::invalid_argument,
              path.string() + ": entry " + std::to_string(i) +
                  " has no file with a text, a label, or lines of text and box [x0, y0, x1, y1]"};
    items.push_back(std::move(*item));
  }
  if (items.empty())
    return {errc::invalid_argument, path.string() + " is no list of pictures or files"};
  return items;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  const auto x = code_points(a);
  const auto y = code_points(b);
  std::vector<std::size_t> row(y.size() + 1); // of the table of distances between beginnings
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= x.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= y.size(); ++j) {
      const auto replaced = diagonal + (x[i - 1] == y[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::size_t length(std::string_view text) { return code_points(text).size(); }

void score::add_text(std::string_view truth, std::string_view read) {
  ++units;
  exact += truth == read ? 1 : 0;
  edits += edit_distance(truth, read);
  characters += length(truth);
}

void score::add_page(const std::vector<text_line>& truth, const std::vector<text_line>& read) {
  std::vector<bool> taken(read.size(), false);
  for (const auto& line : truth) {
    std::string_view text;
    for (std::size_t i = 0; i < read.size(); ++i) {
      if (taken[i] || !centre_inside(line.box, read[i].box))
        continue;
      taken[i] = true;
      text = read[i].text;
      break;
    }
    add_text(line.text, text);
  }
}

} // namespace squall::bench
