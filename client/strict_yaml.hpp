#pragma once

#include "base/result.hpp"
#include "base/time.hpp"

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// YAML read strictly. JSON is read as the subset of YAML that it is.
///
/// Every error says file, line, column and the path of keys: "dag.yaml:9:5: spec.stages[1].when: expected a mapping,
/// not a list". Unknown and repeated keys are errors, and so are tags, keys that are not text, and nodes beyond the
/// limits below (aliases are expanded, so that a file that multiplies itself through them is refused).
namespace squall::client {

inline constexpr std::size_t max_yaml_bytes = 16u << 20;
inline constexpr std::size_t max_yaml_nodes = 1'000'000;
inline constexpr std::size_t max_yaml_depth = 64;
inline constexpr std::size_t max_yaml_keys = 10'000; ///< of one mapping

/// One node as it was written.
struct yaml_node {
  enum class kind : std::uint8_t { null, scalar, list, mapping };
  kind type = kind::null;
  std::string text;       ///< of a scalar
  bool quoted = false;    ///< a scalar in quotes or a block: text, whatever it looks like
  std::uint32_t line = 0; ///< from 1
  std::uint32_t column = 0;
  std::vector<std::string> keys;   ///< of a mapping, in the order of the file
  std::vector<yaml_node> children; ///< of a list, or of a mapping parallel to `keys`
};

class yaml_mapping;

/// A node with the path that leads to it: what readers of specs work with. Cheap to copy; keeps its file alive.
class yaml_view {
public:
  /// The documents of a text. `name` is the file's name in messages. Errors: invalid_argument (not YAML, or beyond a
  /// limit).
  [[nodiscard]] static result<std::vector<yaml_view>> parse(std::string_view text, std::string_view name);
  /// The same of a file; not_found when it cannot be opened.
  [[nodiscard]] static result<std::vector<yaml_view>> load(const std::string& path);

  [[nodiscard]] const yaml_node& node() const { return *node_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// "dag.yaml:9:5".
  [[nodiscard]] std::string where() const;
  /// An invalid_argument error here: "WHERE: PATH: why".
  [[nodiscard]] squall::error fail(std::string_view why) const;
  /// "expected WANTED, not what is here".
  [[nodiscard]] squall::error expected(std::string_view wanted) const;

  [[nodiscard]] bool is_null() const { return node_->type == yaml_node::kind::null; }
  [[nodiscard]] bool is_scalar() const { return node_->type == yaml_node::kind::scalar; }
  [[nodiscard]] bool is_list() const { return node_->type == yaml_node::kind::list; }
  [[nodiscard]] bool is_mapping() const { return node_->type == yaml_node::kind::mapping; }

  /// Any scalar as it was written.
  [[nodiscard]] result<std::string> text() const;
  /// One of the given words.
  [[nodiscard]] result<std::string> word(std::string_view noun, std::initializer_list<std::string_view> words) const;
  [[nodiscard]] result<std::int64_t> integer(std::int64_t least, std::int64_t most) const;
  [[nodiscard]] result<double> number() const;
  /// true or false; the other words of YAML 1.1 (yes, on, ...) are text.
  [[nodiscard]] result<bool> boolean() const;
  [[nodiscard]] result<squall::duration> duration() const;
  [[nodiscard]] result<std::uint64_t> size_bytes() const;

  /// What an unquoted scalar is, without an error when it is something else.
  [[nodiscard]] std::optional<std::int64_t> maybe_integer() const;
  [[nodiscard]] std::optional<double> maybe_number() const;
  [[nodiscard]] std::optional<bool> maybe_boolean() const;

  [[nodiscard]] result<std::vector<yaml_view>> items() const;
  /// A list, or a single scalar as a list of one.
  [[nodiscard]] result<std::vector<yaml_view>> items_or_one() const;
  /// The entries of a mapping whose keys are names that the user chose.
  [[nodiscard]] result<std::vector<std::pair<std::string, yaml_view>>> entries() const;
  /// A mapping that may have these keys and no others. (The keys must be literals.)
  [[nodiscard]] result<yaml_mapping> mapping(std::initializer_list<std::string_view> known) const;

private:
  friend class yaml_mapping;
  yaml_view(std::shared_ptr<const std::string> file, std::shared_ptr<const yaml_node> node, std::string path)
      : file_(std::move(file)), node_(std::move(node)), path_(std::move(path)) {}
  [[nodiscard]] yaml_view item(std::size_t index) const;
  [[nodiscard]] yaml_view entry(std::size_t index) const;

  std::shared_ptr<const std::string> file_;
  std::shared_ptr<const yaml_node> node_;
  std::string path_;
};

/// The entries of a mapping whose keys were checked.
class yaml_mapping {
public:
  /// The value of a key; none when it is missing or null.
  [[nodiscard]] std::optional<yaml_view> find(std::string_view key) const;
  /// The value of a key that must be there.
  [[nodiscard]] result<yaml_view> require(std::string_view key) const;
  [[nodiscard]] const yaml_view& view() const { return view_; }

private:
  friend class yaml_view;
  explicit yaml_mapping(yaml_view view) : view_(std::move(view)) {}

  yaml_view view_;
};

} // namespace squall::client
