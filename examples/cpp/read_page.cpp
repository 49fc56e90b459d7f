#include "client/values.hpp"
#include "examples/cpp/support.hpp"

#include <chrono>
#include <cstdio>

/// Reads a page: one call with a deadline; its outputs are a text, a list of lines and their places.
namespace squall::examples {

namespace {

using namespace std::chrono_literals;

int run(const std::string& spec, const std::string& dag, const std::string& picture) {
  const auto cluster = connect_or_exit();
  apply_or_exit(*cluster, spec);

  calls::call_options options;
  options.deadline = 60s; // the first call waits until the models are loaded
  const auto call = cluster->call(dag, {{"file", value_or_exit(client::file_value(picture))}}, options);
  const client::call_result& ended = call.get();
  value_or_exit(ended.status());

  const auto text = value_or_exit(functions::first_text(*ended.find("text")));
  std::printf("%.*s\n", static_cast<int>(text.size()), text.data());
  const auto* lines = ended.find("lines")->as_list();
  std::fprintf(stderr, "%zu lines in %.1f ms; call %s\n", lines ? lines->size() : 0,
               static_cast<double>(ended.outcome.elapsed.count()) / 1e6, to_string(ended.id).c_str());
  return 0;
}

} // namespace

} // namespace squall::examples

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: example-read-page SPEC DAG PICTURE\n");
    return 2;
  }
  return squall::examples::run(argv[1], argv[2], argv[3]);
}
