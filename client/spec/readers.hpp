#pragma once

#include "client/spec_file.hpp"
#include "client/strict_yaml.hpp"
#include "functions/spec.hpp"

#include <filesystem>
#include <string>
#include <vector>

/// The parts of the reader of spec files; each turns one piece of YAML into one struct of functions/spec.hpp.
namespace squall::client::spec {

/// A name by the rules of functions::is_name. `noun` is for the message.
[[nodiscard]] result<std::string> read_name(const yaml_view& at, std::string_view noun);
/// Checks a name that is a key of a mapping, whose value is `at`.
[[nodiscard]] result<> check_key_name(const yaml_view& at, std::string_view name, std::string_view noun);

/// "name" or "name@3".
struct versioned_name {
  std::string name;
  std::uint32_t version = 0; ///< 0: none given
};
[[nodiscard]] result<versioned_name> read_versioned_name(const yaml_view& at, std::string_view noun);

/// `{crop: {datatype: FP32, shape: [1, 3, 48, -1]}}`.
[[nodiscard]] result<std::vector<functions::port>> read_ports(const yaml_view& at, std::string_view noun);

/// "$input" or "stage.output".
[[nodiscard]] result<functions::binding> read_reference(const yaml_view& at);
/// A reference, a bare number or boolean, or {const: ...}.
[[nodiscard]] result<functions::binding> read_source(const yaml_view& at);
/// What stands behind `const:`: text, a number, a boolean, nested lists of them (a tensor), or {datatype, shape, data}.
[[nodiscard]] result<functions::value> read_constant(const yaml_view& at);

[[nodiscard]] result<functions::predicate> read_when(const yaml_view& at);

/// The `spec` of a document. `name` and `version` come from its metadata.
[[nodiscard]] result<functions::function_spec> read_function(const yaml_view& at, std::string name,
                                                             std::uint32_t version, const std::filesystem::path& folder,
                                                             std::vector<upload>& uploads);
[[nodiscard]] result<functions::dag_spec> read_dag(const yaml_view& at, std::string name, std::uint32_t version);

} // namespace squall::client::spec
