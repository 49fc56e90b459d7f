#include "kvs/detail/folder_lock.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace squall::kvs::detail {

namespace {

error cannot(const std::string& what, const std::string& folder, int number) {
  const bool denied = number == EACCES || number == EPERM || number == EROFS;
  return {denied ? errc::permission_denied : errc::unavailable,
          "cannot " + what + " the store's folder '" + folder + "': " + std::strerror(number) +
              (denied ? "; give this user the right to write there, or choose another folder" : ""),
          {}};
}

result<> make_folder(const std::string& folder) {
  std::error_code failed;
  const std::filesystem::path path{folder};
  if (path.has_parent_path())
    std::filesystem::create_directories(path.parent_path(), failed); // a failure shows in mkdir below
  if (::mkdir(folder.c_str(), 0700) == 0)
    return {};
  if (errno != EEXIST)
    return cannot("make", folder, errno);
  if (!std::filesystem::is_directory(path, failed))
    return {errc::invalid_argument, "the store's folder '" + folder + "' is not a folder"};
  // Values may be private to the cluster's user; a folder that was made by hand is tightened too.
  if (::chmod(folder.c_str(), 0700) != 0)
    return cannot("protect", folder, errno);
  return {};
}

std::string holder_in(int fd) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(fd, text.data(), text.size() - 1, 0);
  std::string pid{text.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
  pid.erase(pid.find_last_not_of("\n ") + 1);
  return pid.empty() ? "another process" : "process " + pid;
}

} // namespace

result<std::unique_ptr<folder_lock>> folder_lock::acquire(const std::string& folder) {
  SQUALL_TRY(make_folder(folder));
  const std::string path = folder + "/holder";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0)
    return cannot("write to", folder, errno);
  auto lock = std::make_unique<folder_lock>(fd);
  // flock and not fcntl: it belongs to this open file, so it also stops a second opener in this process, and closing
  // some other descriptor of the file does not drop it.
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK)
      return cannot("lock", folder, errno);
    return {errc::unavailable, "the store in '" + folder + "' is held by " + holder_in(fd) +
                                   "; stop that process, or give this one another folder"};
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size()))
    return cannot("write to", folder, errno);
  return lock;
}

folder_lock::~folder_lock() { ::close(fd_); }

} // namespace squall::kvs::detail
