#pragma once

#include "base/bytes.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace squall::functions::builtins {

/// Parameters as a spec has them: name to text.
using parameter_map = std::map<std::string, std::string>;
/// Content of the parameters that are resources, by the parameter's name.
using resource_map = std::map<std::string, shared_bytes>;

enum class parameter_kind : std::uint8_t {
  integer,
  number,
  numbers, ///< three numbers with commas, one per channel
  choice,  ///< one of `choices`
  text,
  resource, ///< the key of an object in the store, or "inline:" and the content itself
};

/// A documented parameter of a builtin.
struct parameter {
  std::string_view name;
  parameter_kind kind = parameter_kind::text;
  std::optional<std::string_view> fallback; ///< none: the parameter must be given
  std::string_view summary;
  double least = std::numeric_limits<double>::lowest(); ///< bounds of integers and numbers, inclusive
  double most = std::numeric_limits<double>::max();
  std::vector<std::string_view> choices{};
};

/// Before the content of a resource that is written in the spec itself.
inline constexpr std::string_view inline_prefix = "inline:";

/// Parameters that were checked against their declarations, read by type. Asking for one that was not declared aborts.
class settings {
public:
  /// Errors name the parameter: unknown, missing, not a number, out of its bounds, not among the choices. `resources`
  /// null: contents are not looked at, which is how a spec is checked before anything is loaded; resource() is then
  /// empty.
  [[nodiscard]] static result<settings> read(const std::vector<parameter>& declared, const parameter_map& given,
                                             const resource_map* resources);

  [[nodiscard]] std::int64_t integer(std::string_view name) const;
  [[nodiscard]] double number(std::string_view name) const;
  [[nodiscard]] const std::vector<double>& numbers(std::string_view name) const;
  [[nodiscard]] const std::string& text(std::string_view name) const; ///< of `text` and `choice`
  [[nodiscard]] const shared_bytes& resource(std::string_view name) const;

private:
  using setting = std::variant<std::int64_t, double, std::vector<double>, std::string, shared_bytes>;

  static result<setting> parse(const parameter& p, const std::string& given, const resource_map* resources);
  template <class T>
  const T& get(std::string_view name) const;

  std::map<std::string, setting, std::less<>> settings_;
};

} // namespace squall::functions::builtins
