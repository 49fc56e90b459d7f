// A client in C++: registers a pipeline from its YAML file, and reads lines of text with it.
//
//   squall up -d
//   example-client tcp://127.0.0.1:7700 examples/read-line.yaml read-line line.png...      (the address is what `squall up` prints)

#include "client/cluster.hpp"
#include "client/spec_file.hpp"

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using namespace squall;

std::string read_file(const std::string& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
}

/// Stores the models that the file mentions, then registers its functions and DAGs. All of it may be there already.
result<> apply(client::cluster& cluster, const std::string& path) {
  SQUALL_ASSIGN(documents, client::load_spec_file(path));
  for (const auto& document : documents) {
    for (const auto& upload : document.uploads)
      SQUALL_TRY(cluster.kv().put(upload.key, shared_bytes::take(read_file(upload.file))));
    if (const auto* function = std::get_if<functions::function_spec>(&document.spec))
      SQUALL_TRY(cluster.register_function(*function));
    else
      SQUALL_TRY(cluster.register_dag(std::get<functions::dag_spec>(document.spec)));
  }
  return {};
}

result<> read_lines(const std::string& endpoint, const std::string& spec_file, const std::string& dag, const std::vector<std::string>& pictures) {
  client::options options;
  options.endpoint = endpoint;
  SQUALL_ASSIGN(cluster, client::cluster::connect(options));
  SQUALL_TRY(apply(*cluster, spec_file));

  // All calls are on their way before the first answer is waited for.
  std::vector<client::call_handle> calls;
  for (const auto& picture : pictures)
    calls.push_back(cluster->call(dag, {{"file", functions::scalar_value(std::string_view{read_file(picture)})}}));
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const client::call_result& answer = calls[i].get();
    SQUALL_TRY(answer.status());
    const auto* output = answer.find("text");
    if (!output)
      return {errc::not_found, "'" + dag + "' has no output 'text'"};
    SQUALL_ASSIGN(text, functions::first_text(*output));
    std::printf("%s: %s\n", pictures[i].c_str(), std::string{text}.c_str());
  }
  return {};
}

} // namespace

int main(int count, char** words) {
  if (count < 5) {
    std::fprintf(stderr, "usage: %s ENDPOINT SPEC.yaml DAG PICTURE...\n", words[0]);
    return 2;
  }
  if (const auto read = read_lines(words[1], words[2], words[3], {words + 4, words + count}); !read) {
    std::fprintf(stderr, "%s\n", read.error().message.c_str());
    return 1;
  }
  return 0;
}
