#include "client/strict_yaml.hpp"

#include "client/nearest.hpp"
#include "client/units.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

namespace squall::client {

namespace {

constexpr std::string_view text_tag = "tag:yaml.org,2002:str";

std::string place(std::string_view file, std::uint32_t line, std::uint32_t column) {
  return fmt::format("{}:{}:{}", file, line, column);
}

/// Copies yaml-cpp's graph into our tree, within the limits.
class importer {
public:
  explicit importer(std::string_view file) : file_(file) {}

  /// `near` stands in for the position of nodes that have none (an empty value).
  result<yaml_node> import(const YAML::Node& from, const yaml_node& near, std::size_t depth) {
    yaml_node node;
    node.line = from.Mark().is_null() ? near.line : static_cast<std::uint32_t>(from.Mark().line) + 1;
    node.column = from.Mark().is_null() ? near.column : static_cast<std::uint32_t>(from.Mark().column) + 1;
    if (depth > max_yaml_depth)
      return fail(node, fmt::format("nested deeper than {} levels", max_yaml_depth));
    if (++nodes_ > max_yaml_nodes)
      return fail(node, fmt::format("more than {} nodes, with aliases expanded", max_yaml_nodes));
    if (const std::string& tag = from.Tag(); !tag.empty() && tag != "?" && tag != "!" && tag != text_tag)
      return fail(node, fmt::format("the tag {} is not supported", tag));
    if (from.IsScalar())
      import_scalar(from, node);
    else if (from.IsSequence())
      SQUALL_TRY(import_list(from, node, depth));
    else if (from.IsMap())
      SQUALL_TRY(import_mapping(from, node, depth));
    return node;
  }

private:
  squall::error fail(const yaml_node& at, std::string why) const {
    return {errc::invalid_argument, place(file_, at.line, at.column) + ": " + std::move(why), {}};
  }

  static void import_scalar(const YAML::Node& from, yaml_node& node) {
    node.type = yaml_node::kind::scalar;
    node.text = from.Scalar();
    node.quoted = from.Tag() != "?";
    const bool null = node.text.empty() || node.text == "~" || node.text == "null";
    if (null && !node.quoted)
      node.type = yaml_node::kind::null;
  }

  result<> import_list(const YAML::Node& from, yaml_node& node, std::size_t depth) {
    node.type = yaml_node::kind::list;
    for (const auto& item : from) {
      SQUALL_ASSIGN(child, import(item, node, depth + 1));
      node.children.push_back(std::move(child));
    }
    return {};
  }

  result<> import_mapping(const YAML::Node& from, yaml_node& node, std::size_t depth) {
    node.type = yaml_node::kind::mapping;
    if (from.size() > max_yaml_keys)
      return fail(node, fmt::format("{} keys, a mapping may have {}", from.size(), max_yaml_keys));
    for (const auto& entry : from) {
      SQUALL_ASSIGN(key, import(entry.first, node, depth + 1));
      if (key.type != yaml_node::kind::scalar)
        return fail(key, "a key must be text");
      if (std::ranges::find(node.keys, key.text) != node.keys.end())
        return fail(key, fmt::format("the key '{}' is here twice", key.text));
      SQUALL_ASSIGN(child, import(entry.second, key, depth + 1));
      node.keys.push_back(std::move(key.text));
      node.children.push_back(std::move(child));
    }
    return {};
  }

  std::string_view file_;
  std::size_t nodes_ = 0;
};

/// Reads the documents without keeping them. yaml-cpp does not step over a token that cannot begin a node, such as a
/// closing bracket: it finds an empty document there, and the next at the same place, without end.
class document_check final : public YAML::EventHandler {
public:
  void OnDocumentStart(const YAML::Mark& at) override {
    if (at.pos == last_)
      throw YAML::ParserException{at, "nothing can begin with this"};
    last_ = at.pos;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}

private:
  int last_ = -1;
};

void check_documents(const std::string& text) {
  std::istringstream stream{text};
  YAML::Parser parser{stream};
  document_check check;
  while (parser.HandleNextDocument(check)) {
  }
}

/// The only function that meets yaml-cpp's exceptions.
result<std::vector<yaml_node>> import_all(std::string_view text, std::string_view file) {
  if (text.size() > max_yaml_bytes)
    return {errc::invalid_argument,
            fmt::format("{}: {} bytes, a file of specs may have {}", file, text.size(), max_yaml_bytes)};
  if (text.find('\0') != std::string_view::npos)
    return {errc::invalid_argument, fmt::format("{}: not a text file", file)};
  try {
    importer in{file};
    std::vector<yaml_node> documents;
    yaml_node start;
    start.line = start.column = 1;
    const std::string copy{text};
    check_documents(copy);
    for (const YAML::Node& document : YAML::LoadAll(copy)) {
      SQUALL_ASSIGN(root, in.import(document, start, 0));
      if (root.type != yaml_node::kind::null)
        documents.push_back(std::move(root));
    }
    return documents;
  } catch (const YAML::Exception& e) {
    const auto at = e.mark.is_null() ? YAML::Mark{} : e.mark;
    return {errc::invalid_argument,
            fmt::format("{}: {}",
                        place(file, static_cast<std::uint32_t>(at.line) + 1, static_cast<std::uint32_t>(at.column) + 1),
                        e.msg)};
  }
}

std::string describe(const yaml_node& node) {
  switch (node.type) {
    case yaml_node::kind::null:
      return "nothing";
    case yaml_node::kind::list:
      return "a list";
    case yaml_node::kind::mapping:
      return "a mapping";
    case yaml_node::kind::scalar:
      break;
  }
  const std::string shown = node.text.size() > 60 ? node.text.substr(0, 60) + "..." : node.text;
  return node.quoted ? fmt::format("the text \"{}\"", shown) : fmt::format("'{}'", shown);
}

template <class T>
std::optional<T> whole(const std::string& text) {
  T number{};
  const char* end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, number);
  if (failure != std::errc{} || rest != end)
    return {};
  return number;
}

} // namespace

result<std::vector<yaml_view>> yaml_view::parse(std::string_view text, std::string_view name) {
  SQUALL_ASSIGN(documents, import_all(text, name));
  const auto file = std::make_shared<const std::string>(name);
  std::vector<yaml_view> views;
  for (yaml_node& document : documents)
    views.push_back(yaml_view{file, std::make_shared<const yaml_node>(std::move(document)), {}});
  return views;
}

result<std::vector<yaml_view>> yaml_view::load(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  if (!in)
    return {errc::not_found, fmt::format("{}: cannot be opened: {}", path, std::strerror(errno))};
  std::string text(max_yaml_bytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad())
    return {errc::not_found, fmt::format("{}: cannot be read", path)};
  text.resize(static_cast<std::size_t>(in.gcount()));
  return parse(text, path);
}

std::string yaml_view::where() const { return place(*file_, node_->line, node_->column); }

squall::error yaml_view::fail(std::string_view why) const {
  const std::string path = path_.empty() ? std::string{} : path_ + ": ";
  return {errc::invalid_argument, fmt::format("{}: {}{}", where(), path, why), {}};
}

squall::error yaml_view::expected(std::string_view wanted) const {
  return fail(fmt::format("expected {}, not {}", wanted, describe(*node_)));
}

yaml_view yaml_view::item(std::size_t index) const {
  return {file_, {node_, &node_->children[index]}, fmt::format("{}[{}]", path_, index)};
}

yaml_view yaml_view::entry(std::size_t index) const {
  const std::string& key = node_->keys[index];
  return {file_, {node_, &node_->children[index]}, path_.empty() ? key : path_ + "." + key};
}

result<std::string> yaml_view::text() const {
  if (!is_scalar())
    return expected("text");
  return node_->text;
}

result<std::string> yaml_view::word(std::string_view noun, std::initializer_list<std::string_view> words) const {
  SQUALL_ASSIGN(given, text());
  const std::vector<std::string_view> known{words};
  if (std::ranges::find(known, given) == known.end())
    return fail(unknown_name(noun, given, known));
  return given;
}

std::optional<std::int64_t> yaml_view::maybe_integer() const {
  if (!is_scalar() || node_->quoted)
    return {};
  return whole<std::int64_t>(node_->text);
}

std::optional<double> yaml_view::maybe_number() const {
  if (!is_scalar() || node_->quoted)
    return {};
  const auto number = whole<double>(node_->text);
  // from_chars also reads "inf" and "nan", which are words here.
  if (!number || !std::isfinite(*number))
    return {};
  return number;
}

std::optional<bool> yaml_view::maybe_boolean() const {
  if (!is_scalar() || node_->quoted || (node_->text != "true" && node_->text != "false"))
    return {};
  return node_->text == "true";
}

result<std::int64_t> yaml_view::integer(std::int64_t least, std::int64_t most) const {
  const auto number = maybe_integer();
  if (!number || *number < least || *number > most)
    return expected(fmt::format("a whole number from {} to {}", least, most));
  return *number;
}

result<double> yaml_view::number() const {
  const auto number = maybe_number();
  if (!number)
    return expected("a number");
  return *number;
}

result<bool> yaml_view::boolean() const {
  const auto flag = maybe_boolean();
  if (!flag)
    return expected("true or false");
  return *flag;
}

result<squall::duration> yaml_view::duration() const {
  auto parsed = is_scalar() ? parse_duration(node_->text) : expected("a duration such as 40ms");
  if (!parsed.ok() && is_scalar())
    return fail(parsed.error().message);
  return parsed;
}

result<std::uint64_t> yaml_view::size_bytes() const {
  auto parsed = is_scalar() ? parse_size(node_->text) : expected("a size such as 512MiB");
  if (!parsed.ok() && is_scalar())
    return fail(parsed.error().message);
  return parsed;
}

result<std::vector<yaml_view>> yaml_view::items() const {
  if (!is_list())
    return expected("a list");
  std::vector<yaml_view> views;
  views.reserve(node_->children.size());
  for (std::size_t i = 0; i < node_->children.size(); ++i)
    views.push_back(item(i));
  return views;
}

result<std::vector<yaml_view>> yaml_view::items_or_one() const {
  if (is_scalar())
    return std::vector<yaml_view>{*this};
  return items();
}

result<std::vector<std::pair<std::string, yaml_view>>> yaml_view::entries() const {
  if (!is_mapping())
    return expected("a mapping");
  std::vector<std::pair<std::string, yaml_view>> views;
  views.reserve(node_->children.size());
  for (std::size_t i = 0; i < node_->children.size(); ++i)
    views.emplace_back(node_->keys[i], entry(i));
  return views;
}

result<yaml_mapping> yaml_view::mapping(std::initializer_list<std::string_view> known) const {
  if (!is_mapping())
    return expected("a mapping");
  const std::vector<std::string_view> names{known};
  for (std::size_t i = 0; i < node_->keys.size(); ++i)
    if (std::ranges::find(names, node_->keys[i]) == names.end())
      return entry(i).fail(unknown_name("key", node_->keys[i], names));
  return yaml_mapping{*this};
}

std::optional<yaml_view> yaml_mapping::find(std::string_view key) const {
  const auto& keys = view_.node().keys;
  const auto at = std::ranges::find(keys, key);
  if (at == keys.end())
    return {};
  yaml_view value = view_.entry(static_cast<std::size_t>(at - keys.begin()));
  if (value.is_null())
    return {};
  return value;
}

result<yaml_view> yaml_mapping::require(std::string_view key) const {
  auto value = find(key);
  if (!value)
    return view_.fail(fmt::format("the key '{}' is missing", key));
  return std::move(*value);
}

} // namespace squall::client
