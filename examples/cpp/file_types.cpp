#include "client/values.hpp"
#include "examples/cpp/support.hpp"

#include <cstdio>
#include <latch>
#include <mutex>

/// Tells the types of files: a callback per call, lines in the order in which results come.
namespace squall::examples {

namespace {

int run(const std::string& spec, const std::string& dag, const std::vector<std::string>& files) {
  const auto cluster = connect_or_exit();
  apply_or_exit(*cluster, spec);

  std::latch done{static_cast<std::ptrdiff_t>(files.size())};
  std::mutex output;
  for (const std::string& file : files) {
    cluster->call_async(dag, {{"file", value_or_exit(client::file_value(file))}}, {},
                        [&](const client::call_result& ended) {
                          {
                            const std::lock_guard lock{output};
                            const auto* label = ended.find("label");
                            const auto text = label ? functions::first_text(*label)
                                                    : result<std::string_view>{errc::not_found, ended.outcome.message};
                            const std::string shown{text.ok() ? *text : std::string_view{text.error().message}};
                            std::printf("%s: %s\n", file.c_str(), shown.c_str());
                          }
                          done.count_down();
                        });
  }
  done.wait();
  return 0;
}

} // namespace

} // namespace squall::examples

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: example-file-types SPEC DAG FILE...\n");
    return 2;
  }
  return squall::examples::run(argv[1], argv[2], {argv + 3, argv + argc});
}
