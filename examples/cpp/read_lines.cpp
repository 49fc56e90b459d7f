#include "client/values.hpp"
#include "examples/cpp/support.hpp"

#include <algorithm>
#include <cstdio>

/// Reads pictures of lines with a DAG of a spec file: all calls at once, results in the order of the arguments.
namespace squall::examples {

namespace {

int run(const std::string& spec, const std::string& dag, const std::vector<std::string>& pictures) {
  const auto cluster = connect_or_exit();
  apply_or_exit(*cluster, spec);

  std::vector<client::call_handle> calls;
  for (const std::string& picture : pictures)
    calls.push_back(cluster->call(dag, {{"file", value_or_exit(client::file_value(picture))}}));

  int failures = 0;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const client::call_result& ended = calls[i].get();
    if (!ended.ok()) {
      std::printf("%s: %s\n", pictures[i].c_str(), ended.outcome.message.c_str());
      ++failures;
      continue;
    }
    const auto skipped = std::ranges::count_if(ended.outcome.trace, &calls::stage_trace::skipped);
    const auto text = value_or_exit(functions::first_text(*ended.find("text")));
    std::printf("%s: %.*s  (%.1f ms, %td stages skipped)\n", pictures[i].c_str(), static_cast<int>(text.size()),
                text.data(), static_cast<double>(ended.outcome.elapsed.count()) / 1e6, skipped);
  }
  return failures == 0 ? 0 : 1;
}

} // namespace

} // namespace squall::examples

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: example-read-lines SPEC DAG PICTURE...\n");
    return 2;
  }
  return squall::examples::run(argv[1], argv[2], {argv + 3, argv + argc});
}
