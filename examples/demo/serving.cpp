#include "examples/demo/serving.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

namespace squall::demo {

namespace {

/// The key of an upload names its content, so one that is there need not be sent again.
result<> store(client::cluster& cluster, const client::upload& upload) {
  if (const auto there = cluster.kv().stat(upload.key); there && there->size_bytes == upload.size_bytes)
    return {};
  std::ifstream file{upload.file, std::ios::binary};
  std::string content{std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
  if (!file)
    return {errc::not_found, upload.file.string() + " cannot be read"};
  return cluster.kv().put(upload.key, shared_bytes::take(std::move(content)));
}

bool is_model(const functions::function_spec& spec) {
  return std::any_of(spec.variants.begin(), spec.variants.end(),
                     [](const functions::variant_spec& v) { return v.kind == functions::variant_kind::onnx; });
}

} // namespace

result<> apply(client::cluster& cluster, const std::filesystem::path& spec_file, catalogue& known) {
  SQUALL_ASSIGN(documents, client::load_spec_file(spec_file));
  for (const auto& document : documents) {
    for (const auto& upload : document.uploads)
      SQUALL_TRY(store(cluster, upload));
    if (const auto* function = std::get_if<functions::function_spec>(&document.spec)) {
      SQUALL_TRY(cluster.register_function(*function));
      if (is_model(*function))
        known.models.insert(function->name);
    } else {
      const auto& dag = std::get<functions::dag_spec>(document.spec);
      SQUALL_TRY(cluster.register_dag(dag));
      known.dags[dag.name] = dag;
    }
  }
  return {};
}

} // namespace squall::demo
