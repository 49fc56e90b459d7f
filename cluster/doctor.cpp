#include "cluster/doctor.hpp"

#include <caf/config.hpp>
#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace squall::cluster {

namespace {

using grade = finding::grade;

finding look_at_shared_memory() {
  struct statvfs info {};
  if (::statvfs("/dev/shm", &info) != 0)
    return {grade::bad, "shared memory", std::string{"/dev/shm cannot be used: "} + std::strerror(errno),
            "mount a tmpfs at /dev/shm"};
  const double free_mib = static_cast<double>(info.f_bavail) * static_cast<double>(info.f_frsize) / (1 << 20);
  const std::string found = fmt::format("/dev/shm has {:.0f} MiB free", free_mib);
  if (free_mib < 128)
    return {grade::bad, "shared memory", found,
            "values of 64 KiB and more need it: remount with size=1G or more (containers: --shm-size)"};
  if (free_mib < 1024)
    return {grade::poor, "shared memory", found, "1 GiB or more is better: remount with a larger size"};
  return {grade::good, "shared memory", found, ""};
}

finding look_at_descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const std::string found = fmt::format("{} open files allowed", limit.rlim_cur);
  return limit.rlim_cur < 1024 ? finding{grade::bad, "descriptors", found, "ulimit -n 4096"}
                               : finding{grade::good, "descriptors", found, ""};
}

finding look_at_memory() {
  const double gib =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 30);
  const std::string found = fmt::format("{:.1f} GiB, {} cores", gib, std::thread::hardware_concurrency());
  return gib < 2 ? finding{grade::poor, "memory", found, "2 GiB or more are better for models"}
                 : finding{grade::good, "memory", found, ""};
}

std::filesystem::path beside_this_program(const std::string& name) {
  std::error_code code;
  return std::filesystem::read_symlink("/proc/self/exe", code).parent_path() / name;
}

struct ran {
  int status = -1;
  std::string said; ///< without the line ends at its end
};

ran run(const std::string& line) {
  ran out;
  FILE* const pipe = ::popen((line + " 2>&1").c_str(), "r");
  if (!pipe)
    return out;
  std::array<char, 256> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe))
    out.said += buffer.data();
  out.status = ::pclose(pipe);
  while (!out.said.empty() && out.said.back() == '\n')
    out.said.pop_back();
  return out;
}

/// Asks the model host to test its inference runtime (in a process of its own, for it may die on this CPU).
finding look_at_runtime() {
  const auto program = beside_this_program("squall-model-host");
  if (::access(program.c_str(), X_OK) != 0)
    return {grade::bad, "inference runtime", program.string() + " is missing", "build it: ./dev build"};
  const auto [status, said] = run("'" + program.string() + "' --check");
  if (status < 0)
    return {grade::bad, "inference runtime", "the model host cannot be started",
            "look at the limits of processes (ulimit -u)"};
  if (status != 0)
    return {grade::bad, "inference runtime", said.empty() ? "it died with status " + std::to_string(status) : said,
            "onnx functions cannot run here; builtin functions can"};
  return {grade::good, "inference runtime", said, ""};
}

/// Starts a worker of user code, both walls around it, that does nothing.
finding look_at_sandbox() {
  const auto sandbox = beside_this_program("squall-sandbox");
  const auto worker = beside_this_program("squall-worker");
  const auto library = beside_this_program("libsquall-sandbox.so");
  for (const auto& file : {sandbox, worker, library})
    if (::access(file.c_str(), R_OK) != 0)
      return {grade::poor, "sandbox", file.string() + " is missing", "build it: ./dev build"};
  const auto [status, said] =
      run(fmt::format("'{}' --read-as '{}' /squall/squall-worker --read-as '{}' /squall/libsquall-sandbox.so -- "
                      "/squall/squall-worker --check",
                      sandbox.string(), worker.string(), library.string()));
  if (status != 0)
    return {grade::poor, "sandbox", said.empty() ? "it ended with status " + std::to_string(status) : said,
            "native and Python functions cannot run here; docs/security.md says what they need"};
  return {grade::good, "sandbox",
          "workers of user code can be shut in; memory is bounded for each of their processes (RLIMIT_AS)", ""};
}

finding look_at_port(const std::string& address) {
  const auto colon = address.rfind(':');
  sockaddr_in where{};
  where.sin_family = AF_INET;
  if (colon == std::string::npos || ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &where.sin_addr) != 1)
    return {grade::bad, "port", "'" + address + "' is no address", "write it like 127.0.0.1:8000"};
  where.sin_port = htons(static_cast<std::uint16_t>(std::atoi(address.c_str() + colon + 1)));
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const bool free = ::bind(socket, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
  const std::string why = std::strerror(errno);
  ::close(socket);
  return free ? finding{grade::good, "port", address + " is free", ""}
              : finding{grade::bad, "port", address + ": " + why,
                        "stop what listens there (ss -ltnp), or choose another port"};
}

finding look_at_versions() {
  return {
      grade::good, "versions",
      fmt::format("squall {}, CAF {}.{}.{}", SQUALL_VERSION, CAF_MAJOR_VERSION, CAF_MINOR_VERSION, CAF_PATCH_VERSION),
      ""};
}

} // namespace

std::vector<finding> look_at_host(const std::string& http_address) {
  std::vector<finding> findings{look_at_versions(), look_at_shared_memory(), look_at_descriptors(),
                                look_at_memory(),   look_at_runtime(),       look_at_sandbox()};
  if (!http_address.empty())
    findings.push_back(look_at_port(http_address));
  return findings;
}

int examine_host(const std::string& http_address) { return print_findings(look_at_host(http_address)); }

int print_findings(const std::vector<finding>& findings) {
  bool bad = false;
  for (const finding& f : findings) {
    const char* mark = f.state == grade::good ? "ok  " : f.state == grade::poor ? "poor" : "BAD ";
    std::printf("%s  %-18s %s\n", mark, f.what.c_str(), f.found.c_str());
    if (!f.remedy.empty())
      std::printf("      %-18s -> %s\n", "", f.remedy.c_str());
    bad |= f.state == grade::bad;
  }
  return bad ? 1 : 0;
}

} // namespace squall::cluster
