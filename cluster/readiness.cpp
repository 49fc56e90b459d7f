#include "cluster/readiness.hpp"

#include "calls/json.hpp"
#include "client/cluster.hpp"
#include "cluster/key_files.hpp"
#include "controller/controller_service.hpp"

#include <chrono>
#include <cstdio>
#include <thread>

#include <unistd.h>

namespace squall::cluster {

namespace {

result<controller::controller_status> status_of(client::cluster& cluster) {
  SQUALL_ASSIGN(text, cluster.query("status"));
  return calls::from_json<controller::controller_status>(text);
}

} // namespace

result<runtime_file> await_serving(const std::string& cluster, std::size_t nodes, duration timeout,
                                   const std::function<bool()>& alive) {
  using clock = std::chrono::steady_clock;
  const auto begin = clock::now();
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  std::unique_ptr<client::cluster> connection;
  std::uint64_t joined = 0;
  for (;;) {
    const auto waited = clock::now() - begin;
    if (terminal && waited > std::chrono::seconds{1})
      std::fprintf(stderr, "\rstarting: %llu of %zu nodes (%lld s) ", static_cast<unsigned long long>(joined), nodes,
                   static_cast<long long>(std::chrono::duration_cast<std::chrono::seconds>(waited).count()));
    if (!alive())
      return error{errc::unavailable, "cluster '" + cluster + "' ended before it served", {}};
    if (waited > timeout)
      return error{errc::deadline_exceeded,
                   "cluster '" + cluster + "' has " + std::to_string(joined) + " of " + std::to_string(nodes) +
                       " nodes after " + std::to_string(timeout.count() / 1'000'000'000) + " s",
                   {}};
    if (const auto file = read_runtime_file(cluster)) {
      if (!connection) {
        client::options options;
        options.endpoint = file->endpoint;
        options.timeout = std::chrono::seconds{2};
        if (auto keys = load_key_folder(file->keys))
          options.keys = {keys->server_public, keys->client_public, keys->client_secret};
        if (auto connected = client::cluster::connect(options))
          connection = std::move(connected).value();
      }
      if (connection)
        if (const auto status = status_of(*connection); status && (joined = status->nodes) >= nodes && status->ready) {
          if (terminal && waited > std::chrono::seconds{1})
            std::fprintf(stderr, "\r\033[K");
          return *file;
        }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
}

} // namespace squall::cluster
