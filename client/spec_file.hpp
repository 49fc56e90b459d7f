#pragma once

#include "base/result.hpp"
#include "functions/spec.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// Spec files: what `squall apply -f` reads. The reference of the format is docs/specs.md.
namespace squall::client {

/// A file that must be in the store before the spec that mentions it is registered.
struct upload {
  std::string key; ///< "models/<XXH3-128 of the bytes, hex>-<the file's name>": the same bytes have the same key
  std::filesystem::path file;
  std::uint64_t size_bytes = 0;

  friend bool operator==(const upload&, const upload&) = default;
};

/// One document of a spec file. Where the spec names a file, it holds the key of the upload.
struct spec_document {
  std::variant<functions::function_spec, functions::dag_spec> spec;
  std::vector<upload> uploads; ///< each key once
  std::string where;           ///< "dag.yaml:12:1"

  [[nodiscard]] const std::string& name() const;
  [[nodiscard]] bool is_function() const { return spec.index() == 0; }
};

/// Reads every document of a file (YAML, or JSON). Files that specs mention are looked up relative to its folder, and
/// read to name them. The first error ends the reading; it says file, line, column and key path. Names and limits are
/// checked; whether the functions of a DAG exist and its edges fit is for the cluster to say.
[[nodiscard]] result<std::vector<spec_document>> load_spec_file(const std::filesystem::path& path);

/// The same of a text. `name` stands for the file in messages; `folder` is what relative paths start from.
[[nodiscard]] result<std::vector<spec_document>> parse_specs(std::string_view text, std::string_view name,
                                                             const std::filesystem::path& folder);

/// The upload of one file: its key comes from its bytes. Errors: not_found, too_large.
[[nodiscard]] result<upload> make_upload(const std::filesystem::path& file);

} // namespace squall::client
