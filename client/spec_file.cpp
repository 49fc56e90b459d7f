#include "client/spec_file.hpp"

#include "client/spec/readers.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <array>
#include <fstream>
#include <limits>
#include <memory>

namespace squall::client {

namespace {

constexpr std::uint64_t max_upload_bytes = 256ull << 20;

struct hash_deleter {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

result<spec_document> read_document(const yaml_view& at, const std::filesystem::path& folder) {
  SQUALL_ASSIGN(document, at.mapping({"apiVersion", "kind", "metadata", "spec"}));
  SQUALL_ASSIGN(api_version, document.require("apiVersion"));
  SQUALL_ASSIGN(api_word, api_version.word("apiVersion", {"squall/v1"}));
  SQUALL_ASSIGN(kind_view, document.require("kind"));
  SQUALL_ASSIGN(kind, kind_view.word("kind", {"Function", "Dag", "Cluster"}));
  if (kind == "Cluster")
    return kind_view.fail("a Cluster is not applied to a cluster: start it with `squall up -f FILE`");
  SQUALL_ASSIGN(metadata_view, document.require("metadata"));
  SQUALL_ASSIGN(metadata, metadata_view.mapping({"name", "version"}));
  SQUALL_ASSIGN(name_view, metadata.require("name"));
  SQUALL_ASSIGN(name, spec::read_name(name_view, kind == "Dag" ? "DAG" : "function"));
  std::uint32_t version = 1;
  if (const auto given = metadata.find("version")) {
    SQUALL_ASSIGN(number, given->integer(1, std::numeric_limits<std::uint32_t>::max()));
    version = static_cast<std::uint32_t>(number);
  }
  SQUALL_ASSIGN(spec_view, document.require("spec"));
  spec_document out;
  out.where = at.where();
  if (kind == "Function") {
    SQUALL_ASSIGN(function, spec::read_function(spec_view, std::move(name), version, folder, out.uploads));
    if (const auto valid = functions::validate(function); !valid.ok())
      return spec_view.fail(valid.error().message);
    out.spec = std::move(function);
  } else {
    SQUALL_ASSIGN(dag, spec::read_dag(spec_view, std::move(name), version));
    if (const auto valid = functions::validate(dag); !valid.ok())
      return spec_view.fail(valid.error().message);
    out.spec = std::move(dag);
  }
  return out;
}

result<std::vector<spec_document>> read_documents(const std::vector<yaml_view>& views,
                                                  const std::filesystem::path& folder) {
  std::vector<spec_document> documents;
  for (const yaml_view& view : views) {
    SQUALL_ASSIGN(document, read_document(view, folder));
    documents.push_back(std::move(document));
  }
  return documents;
}

} // namespace

const std::string& spec_document::name() const {
  return std::visit([](const auto& s) -> const std::string& { return s.name; }, spec);
}

result<std::vector<spec_document>> load_spec_file(const std::filesystem::path& path) {
  SQUALL_ASSIGN(views, yaml_view::load(path.string()));
  if (views.empty())
    return {errc::invalid_argument, path.string() + ": no document in it; expected kind: Function or kind: Dag"};
  return read_documents(views, path.parent_path());
}

result<std::vector<spec_document>> parse_specs(std::string_view text, std::string_view name,
                                               const std::filesystem::path& folder) {
  SQUALL_ASSIGN(views, yaml_view::parse(text, name));
  return read_documents(views, folder);
}

result<upload> make_upload(const std::filesystem::path& file) {
  std::error_code failure;
  if (!std::filesystem::is_regular_file(file, failure))
    return {errc::not_found, fmt::format("no file {}", file.string())};
  std::ifstream in{file, std::ios::binary};
  if (!in)
    return {errc::not_found, fmt::format("{} cannot be opened", file.string())};
  const std::unique_ptr<XXH3_state_t, hash_deleter> hash{XXH3_createState()};
  XXH3_128bits_reset(hash.get());
  upload out{.key = {}, .file = file, .size_bytes = 0};
  std::vector<char> block(1u << 20);
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())), in.gcount() > 0) {
    XXH3_128bits_update(hash.get(), block.data(), static_cast<std::size_t>(in.gcount()));
    out.size_bytes += static_cast<std::uint64_t>(in.gcount());
  }
  if (in.bad())
    return {errc::not_found, fmt::format("{} cannot be read", file.string())};
  if (out.size_bytes > max_upload_bytes)
    return {errc::too_large, fmt::format("{} has {} bytes, a value of the store may have {}", file.string(),
                                         out.size_bytes, max_upload_bytes)};
  const XXH128_hash_t digest = XXH3_128bits_digest(hash.get());
  out.key = fmt::format("models/{:016x}{:016x}-{}", digest.high64, digest.low64, file.filename().string());
  return out;
}

} // namespace squall::client
