#include "examples/cpp/support.hpp"

#include "client/apply.hpp"
#include "client/discovery.hpp"
#include "client/spec_file.hpp"

#include <cstdio>
#include <cstdlib>

namespace squall::examples {

std::unique_ptr<client::cluster> connect_or_exit() {
  const char* where = std::getenv("SQUALL_CLUSTER");
  auto options = value_or_exit(client::find_cluster(where ? where : ""));
  options.software = "squall example";
  return value_or_exit(client::cluster::connect(options));
}

void apply_or_exit(client::cluster& cluster, const std::string& spec_file) {
  const auto documents = value_or_exit(client::load_spec_file(spec_file));
  if (auto applied = client::apply(cluster, documents); !applied.ok())
    exit_with(applied.error());
}

void exit_with(const error& e) {
  std::fprintf(stderr, "%s (%s)\n", e.message.c_str(), std::string{to_string(e.code)}.c_str());
  std::exit(1);
}

} // namespace squall::examples
