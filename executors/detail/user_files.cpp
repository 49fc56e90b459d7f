#include "executors/detail/user_pools.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

/// The files that workers get: code and resources.
namespace squall::executors::detail {

namespace {

/// Files that are kept in memory for loads that may come.
constexpr std::uint64_t most_sealed_bytes = 64 << 20;
constexpr std::size_t most_sealed_files = 256;

/// A copy that nobody can change: workers may run as the user that owns the file, and its descriptor would be a way out
/// of the sandbox.
result<unique_fd> sealed_copy(const std::string& path) {
  const unique_fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat what {};
  if (!file || fstat(file.get(), &what) != 0)
    return {errc::not_found, "the file " + path + " cannot be opened: " + std::strerror(errno)};
  unique_fd copy(memfd_create("squall-code", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy)
    return {errc::unavailable, std::string("no memory for a worker's code: ") + std::strerror(errno)};
  for (off_t done = 0; done < what.st_size;) {
    const auto sent = sendfile(copy.get(), file.get(), &done, static_cast<std::size_t>(what.st_size - done));
    if (sent <= 0)
      return {errc::unavailable, "the file " + path + " cannot be copied: " + std::strerror(errno)};
  }
  if (fcntl(copy.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return {errc::unavailable, std::string("a worker's code cannot be sealed: ") + std::strerror(errno)};
  return copy;
}

} // namespace

result<unique_fd> duplicate(const unique_fd& fd) {
  unique_fd copy(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy)
    return {errc::unavailable,
            std::string("a worker cannot be started: duplicating a descriptor: ") + std::strerror(errno)};
  return copy;
}

void user_pools::prepare_file(const std::string& path) {
  std::error_code gone;
  const auto size = std::filesystem::file_size(path, gone);
  if (gone || size > most_sealed_bytes / 4 || sealed_.contains(path))
    return;
  auto copy = sealed_copy(path);
  if (!copy.ok())
    return; // the load says why
  sealed_bytes_ += size;
  sealed_[path] = {std::move(*copy), size, ++last_sealed_};
  while (sealed_bytes_ > most_sealed_bytes || sealed_.size() > most_sealed_files) {
    const auto oldest = std::min_element(sealed_.begin(), sealed_.end(),
                                         [](const auto& a, const auto& b) { return a.second.made < b.second.made; });
    sealed_bytes_ -= oldest->second.size_bytes;
    sealed_.erase(oldest);
  }
}

result<unique_fd> user_pools::code_of(const std::string& path) const {
  const auto made = sealed_.find(path);
  return made == sealed_.end() ? sealed_copy(path) : duplicate(made->second.copy);
}

result<> user_pools::open_files(pool& p) const {
  if (!p.request.model_path.empty()) {
    SQUALL_ASSIGN(code, code_of(p.request.model_path));
    p.code = std::move(code);
  }
  for (const auto& [name, path] : p.request.resources) {
    SQUALL_ASSIGN(file, code_of(path));
    p.resources.push_back(std::move(file));
  }
  return {};
}

} // namespace squall::executors::detail
