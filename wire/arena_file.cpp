#include "wire/detail/arena_file.hpp"

#include "base/hash.hpp"
#include "wire/arena.hpp"

#include <dirent.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

namespace squall::wire {

namespace detail {

namespace {

constexpr const char* folder = "/dev/shm";
constexpr std::string_view prefix = "squall-";
constexpr std::string_view magic = "SQARENA1";
constexpr std::size_t id_digits = 16;

result<std::uint64_t> random_id() {
  std::uint64_t id = 0;
  while (id == 0)
    if (getrandom(&id, sizeof id, 0) != sizeof id && errno != EINTR)
      return {errc::internal, std::string{"the kernel gives no random numbers: "} + std::strerror(errno)};
  return id;
}

bool is_arena_name(std::string_view name) {
  if (name.size() != prefix.size() + id_digits || !name.starts_with(prefix))
    return false;
  return name.find_first_not_of("0123456789abcdef", prefix.size()) == std::string_view::npos;
}

} // namespace

file_descriptor::~file_descriptor() {
  if (fd_ >= 0)
    ::close(fd_);
}

std::shared_ptr<mapping> mapping::map(int fd, std::size_t size, bool writable) {
  void* data = ::mmap(nullptr, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (data == MAP_FAILED)
    return nullptr;
  return std::shared_ptr<mapping>{new mapping{static_cast<std::byte*>(data), size}};
}

mapping::~mapping() { ::munmap(data_, size_); }

std::string arena_path(std::uint64_t id) {
  std::array<char, id_digits> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), id, 16).ptr;
  const auto written = static_cast<std::size_t>(end - digits.data());
  std::string path = std::string{folder} + "/" + std::string{prefix};
  path.append(id_digits - written, '0').append(digits.data(), written);
  return path;
}

std::string boot_id() {
  const file_descriptor file{::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)};
  std::array<char, 36> text{};
  if (!file || ::read(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return {};
  return {text.data(), text.size()};
}

result<new_arena_file> create_arena_file(std::size_t capacity) {
  // A sweeper that runs between open and flock takes the file for that of a dead owner; then another is made.
  for (int attempt = 0; attempt < 16; ++attempt) {
    SQUALL_ASSIGN(id, random_id());
    const std::string path = arena_path(id);
    file_descriptor file{::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)};
    if (!file && errno == EEXIST)
      continue;
    if (!file)
      return error{
          errc::unsupported, "cannot make " + path + ": " + std::strerror(errno) + "; mount a tmpfs at /dev/shm", {}};
    struct stat state {};
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0 || ::fstat(file.get(), &state) != 0 || state.st_nlink == 0)
      continue;
    if (::ftruncate(file.get(), static_cast<off_t>(capacity)) != 0) {
      const int reason = errno;
      ::unlink(path.c_str());
      return error{errc::unsupported, "cannot size " + path + ": " + std::strerror(reason), {}};
    }
    return new_arena_file{std::move(file), id};
  }
  return error{errc::internal, "no new file in /dev/shm survives: something keeps deleting them", {}};
}

result<std::shared_ptr<const mapping>> map_arena_file(std::uint64_t id) {
  const std::string path = arena_path(id);
  const file_descriptor file{::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
  if (!file && errno == ENOENT)
    return error{errc::data_loss, "the arena " + path + " is gone: its owner died, or is on another host", {}};
  if (!file)
    return error{errc::permission_denied, "cannot read " + path + ": " + std::strerror(errno), {}};
  struct stat state {};
  if (::fstat(file.get(), &state) != 0 || !S_ISREG(state.st_mode) || state.st_uid != ::geteuid())
    return error{errc::permission_denied, path + " is not a file of this user", {}};
  const auto size = static_cast<std::size_t>(state.st_size);
  if (size < arena_header_bytes)
    return error{errc::corrupt, path + " is too short for an arena", {}};
  const auto mapped = mapping::map(file.get(), size, false);
  if (mapped == nullptr)
    return error{errc::overloaded, "cannot map " + path + ": " + std::strerror(errno), {}};
  const arena_header& header = mapped->header();
  if (std::string_view{header.magic, magic.size()} != magic || header.version != arena_version || header.id != id ||
      header.capacity != size)
    return error{errc::corrupt, path + " is no arena of format version " + std::to_string(arena_version), {}};
  return std::shared_ptr<const mapping>{mapped};
}

} // namespace detail

std::uint64_t host_key() {
  struct stat state {};
  ::stat(detail::folder, &state);
  fnv1a hash;
  hash.add(detail::boot_id());
  hash.add(static_cast<std::uint64_t>(state.st_dev));
  hash.add(static_cast<std::uint64_t>(state.st_ino));
  return hash.value();
}

std::size_t sweep_dead_arenas() {
  DIR* listing = ::opendir(detail::folder);
  if (listing == nullptr)
    return 0;
  std::size_t swept = 0;
  while (const dirent* entry = ::readdir(listing)) {
    if (!detail::is_arena_name(entry->d_name))
      continue;
    const std::string path = std::string{detail::folder} + "/" + entry->d_name;
    const detail::file_descriptor file{::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC)};
    // The lock goes with the descriptor, after the name is gone.
    if (file && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0 && ::unlink(path.c_str()) == 0)
      ++swept;
  }
  ::closedir(listing);
  return swept;
}

} // namespace squall::wire
