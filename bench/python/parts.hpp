#pragma once

#include "bench/support.hpp"
#include "executors/detail/child_process.hpp"
#include "executors/packet.hpp"

#include <filesystem>

/// What the benchmarks of Python functions share.
namespace squall::bench {

/// The environment's interpreter, and the program of workers.
[[nodiscard]] std::string python_program();
[[nodiscard]] std::string python_worker();
/// hop.py.
[[nodiscard]] std::string hop_program();

/// A folder with the functions of functions.py, gone with its owner.
class python_functions {
public:
  python_functions();
  ~python_functions();
  python_functions(const python_functions&) = delete;
  python_functions& operator=(const python_functions&) = delete;
  /// The pickle of one.
  [[nodiscard]] std::filesystem::path file(const std::string& name) const { return folder_ / (name + ".pkl"); }

private:
  std::filesystem::path folder_;
};

/// A zygote of Python workers that no node drives.
class bare_zygote {
public:
  bare_zygote();
  ~bare_zygote();
  bare_zygote(const bare_zygote&) = delete;
  bare_zygote& operator=(const bare_zygote&) = delete;

  /// From being asked for a worker to that one's first bytes; microseconds. The worker is gone afterwards.
  double fork_us();

private:
  void wait_for_packets(std::size_t count);

  executors::detail::child_process process_;
  executors::packet_reader reader_;
  std::uint64_t workers_ = 0;
};

} // namespace squall::bench
