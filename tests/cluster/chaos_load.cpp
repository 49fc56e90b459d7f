#include "client/cluster.hpp"
#include "client/discovery.hpp"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

/// chaos_load CLUSTER SEED [KEYS]: calls a cluster and writes to its store until its standard input ends, then checks:
/// every call ended once, within its deadline and the stated bound, with the right result or an error that is honest;
/// no acknowledged write was lost. Prints what it saw as JSON; status 1 when something was wrong.
namespace squall {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr auto deadline = 8s;
constexpr auto bound = 2s;      ///< client::cluster: a call ends so long after its deadline at the latest
constexpr auto scheduling = 2s; ///< of this very process, on a machine that is busy
constexpr int callers = 4;

struct tally {
  std::mutex mutex;
  std::map<std::string, std::uint64_t> ended; ///< by code
  std::map<std::string, std::string> example; ///< a message of each
  std::vector<std::string> wrong;
  std::uint64_t begun = 0;
  std::uint64_t puts = 0;
  std::uint64_t puts_failed = 0;
  clock::duration slowest{};

  void fault(std::string what) {
    const std::lock_guard lock{mutex};
    if (wrong.size() < 20)
      wrong.push_back(std::move(what));
  }
};

/// Faults of the cluster; anything else would be a fault of the call, and these calls have none.
bool honest(errc code) {
  return code == errc::unavailable || code == errc::overloaded || code == errc::deadline_exceeded ||
         code == errc::data_loss;
}

struct one_call {
  std::atomic<int> ends{0};
  clock::time_point begun = clock::now();
  functions::value input;
};

void check_end(const client::call_result& result, one_call& call, tally& to) {
  const auto took = clock::now() - call.begun;
  if (call.ends.fetch_add(1) != 0)
    to.fault("call " + to_string(result.id) + " ended twice");
  if (took > deadline + bound + scheduling)
    to.fault("call " + to_string(result.id) + " ended " +
             std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()) +
             " ms after it began");
  const functions::value* output = result.find("x");
  if (result.ok() && (output == nullptr || *output != call.input))
    to.fault("call " + to_string(result.id) + " has the result of another");
  if (!result.ok() && !honest(result.outcome.code))
    to.fault("call " + to_string(result.id) + ": " + std::string{to_string(result.outcome.code)} + ": " +
             result.outcome.message);
  const std::lock_guard lock{to.mutex};
  const std::string code{to_string(result.outcome.code)};
  ++to.ended[code];
  if (!result.ok())
    to.example.try_emplace(code, result.outcome.message);
  to.slowest = std::max(to.slowest, took);
}

void keep_calling(client::cluster& cluster, std::uint64_t seed, const std::atomic<bool>& stop, tally& to) {
  std::mt19937_64 random{seed};
  const std::vector<std::string> targets{"chain3", "echo", "blink", "spread"};
  while (!stop) {
    // Some are large enough for shared memory.
    const std::size_t size = random() % 8 == 0 ? 100'000 : 1 + random() % 100;
    std::vector<std::uint8_t> bytes(size);
    for (auto& b : bytes)
      b = static_cast<std::uint8_t>(random());
    const auto shape = functions::shape{static_cast<std::int64_t>(size)};
    auto call = std::make_shared<one_call>();
    call->input = {functions::tensor_of<std::uint8_t>(functions::datatype::uint8, shape, bytes)};
    {
      const std::lock_guard lock{to.mutex};
      ++to.begun;
    }
    calls::call_options options;
    options.deadline = deadline;
    std::atomic<bool> over{false};
    cluster.call_async(targets[random() % targets.size()], {{"x", call->input}}, options,
                       [call, &to, &over](client::call_result result) {
                         check_end(result, *call, to);
                         over = true;
                       });
    const auto until = clock::now() + deadline + bound + 20s;
    while (!over && clock::now() < until)
      std::this_thread::sleep_for(1ms);
    if (!over) {
      to.fault("a call did not end");
      std::printf("{\"wrong\": [\"a call did not end\"]}\n");
      std::_Exit(1); // it may still call back into this frame
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{random() % 20});
  }
}

std::string number_text(std::uint64_t n) { return std::to_string(n); }

void keep_writing(client::cluster& cluster, std::uint64_t seed, const std::atomic<bool>& stop, tally& to,
                  std::map<std::string, std::uint64_t>& acknowledged) {
  std::mt19937_64 random{seed};
  for (std::uint64_t n = 1; !stop; ++n) {
    const std::string key = "chaos-" + std::to_string(random() % 10);
    const bool put = cluster.kv().put(key, shared_bytes::copy_of(number_text(n))).ok();
    if (put)
      acknowledged[key] = n;
    {
      const std::lock_guard lock{to.mutex};
      ++(put ? to.puts : to.puts_failed);
    }
    std::this_thread::sleep_for(20ms);
  }
}

/// What is read is what was acknowledged last, or was written after it.
void check_writes(client::cluster& cluster, const std::map<std::string, std::uint64_t>& acknowledged, tally& to) {
  for (const auto& [key, n] : acknowledged) {
    auto read = cluster.kv().get(key);
    for (int attempt = 0; !read.ok() && attempt < 100; ++attempt) {
      std::this_thread::sleep_for(100ms);
      read = cluster.kv().get(key);
    }
    if (!read.ok())
      to.fault(key + " was acknowledged and cannot be read: " + read.error().message);
    else if (std::strtoull(std::string{read->text()}.c_str(), nullptr, 10) < n)
      to.fault(key + " was acknowledged as " + number_text(n) + " and is " + std::string{read->text()});
  }
}

void print(const tally& from, std::size_t keys) {
  std::printf(
      "{\"begun\": %llu, \"slowest_ms\": %lld, \"puts\": %llu, \"puts_failed\": %llu, \"keys_checked\": %zu, "
      "\"ended\": {",
      static_cast<unsigned long long>(from.begun),
      static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(from.slowest).count()),
      static_cast<unsigned long long>(from.puts), static_cast<unsigned long long>(from.puts_failed), keys);
  const char* comma = "";
  for (const auto& [code, count] : from.ended)
    std::printf("%s\"%s\": %llu", std::exchange(comma, ", "), code.c_str(), static_cast<unsigned long long>(count));
  std::printf("}}\n");
  for (const auto& [code, message] : from.example)
    std::fprintf(stderr, "%s, for example: %s\n", code.c_str(), message.c_str());
  for (const auto& what : from.wrong)
    std::fprintf(stderr, "WRONG: %s\n", what.c_str());
}

int run(const std::string& where, std::uint64_t seed, const std::string& keys) {
  auto options = client::find_cluster(where, keys);
  if (!options.ok()) {
    std::fprintf(stderr, "%s\n", options.error().message.c_str());
    return 2;
  }
  options->timeout = 5s;
  auto cluster = client::cluster::connect(*options);
  if (!cluster.ok()) {
    std::fprintf(stderr, "%s\n", cluster.error().message.c_str());
    return 2;
  }
  tally seen;
  std::map<std::string, std::uint64_t> acknowledged;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < callers; ++i)
    threads.emplace_back([&, i] { keep_calling(**cluster, seed + static_cast<std::uint64_t>(i), stop, seen); });
  threads.emplace_back([&] { keep_writing(**cluster, seed, stop, seen, acknowledged); });
  std::printf("calling\n");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  stop = true;
  for (auto& thread : threads)
    thread.join();
  check_writes(**cluster, acknowledged, seen);
  std::uint64_t ended = 0;
  for (const auto& [code, count] : seen.ended)
    ended += count;
  if (ended != seen.begun)
    seen.fault(std::to_string(seen.begun) + " calls began and " + std::to_string(ended) + " ended");
  if (seen.ended["ok"] == 0)
    seen.fault("no call succeeded");
  print(seen, acknowledged.size());
  return seen.wrong.empty() ? 0 : 1;
}

} // namespace
} // namespace squall

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    std::fprintf(stderr, "usage: chaos_load CLUSTER SEED [KEYS]\n");
    return 2;
  }
  return squall::run(argv[1], std::strtoull(argv[2], nullptr, 10), argc == 4 ? argv[3] : "");
}
