#include "executors/cpu/host.hpp"
#include "executors/cpu/inference.hpp"

#include <charconv>
#include <csignal>
#include <cstdio>
#include <optional>
#include <string_view>

#include <sys/prctl.h>

/// squall-model-host: started by a node, never by hand.
namespace {

constexpr auto usage =
    "usage: squall-model-host --socket FD [--lanes N] [--arena-bytes N] [--cache DIR]\n"
    "       squall-model-host --check\n"
    "Runs models and builtin functions for the node that started it and holds the other end of the socket.\n"
    "With --check it says whether its inference runtime works on this CPU (exit status 0) or why not (1).\n";

template <class Number>
bool read_number(std::string_view text, Number& number) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  return code == std::errc{} && end == text.data() + text.size();
}

std::optional<squall::executors::cpu::host_options> read_arguments(int count, char** words) {
  squall::executors::cpu::host_options options;
  for (int i = 1; i < count; i += 2) {
    const std::string_view name = words[i];
    if (i + 1 == count)
      return std::nullopt;
    const std::string_view text = words[i + 1];
    bool good = false;
    if (name == "--socket")
      good = read_number(text, options.socket);
    else if (name == "--lanes")
      good = read_number(text, options.lanes) && options.lanes > 0 && options.lanes <= 1024;
    else if (name == "--arena-bytes")
      good = read_number(text, options.arena_capacity_bytes);
    else if (name == "--cache") {
      options.cache_folder = text;
      good = true;
    }
    if (!good)
      return std::nullopt;
  }
  return options.socket < 0 ? std::nullopt : std::optional(options);
}

/// For `squall doctor`.
int check() {
  namespace cpu = squall::executors::cpu;
  const auto usable = cpu::check_runtime();
  std::printf("%s\n", usable ? cpu::runtime_version().c_str() : usable.error().message.c_str());
  return usable ? 0 : 1;
}

} // namespace

int main(int count, char** words) {
  if (count == 2 && std::string_view{words[1]} == "--check")
    return check();
  const auto options = read_arguments(count, words);
  if (!options) {
    std::fputs(usage, stderr);
    return 2;
  }
  // The node's death ends this process even in the middle of a batch. Ctrl-C is the node's business: it winds up its
  // calls first.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  return squall::executors::cpu::serve(*options);
}
