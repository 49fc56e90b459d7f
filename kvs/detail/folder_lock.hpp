#pragma once

#include "base/result.hpp"

#include <memory>
#include <string>

namespace squall::kvs::detail {

/// Holds a folder for one process. The lock ends with the object or the process, however that dies; the file `holder`
/// in the folder says who has it.
class folder_lock {
public:
  /// Makes the folder (mode 0700, parents as the umask has them) if it is not there. Fails as unavailable, naming the
  /// holder's pid, or as permission_denied when the folder cannot be made or written.
  [[nodiscard]] static result<std::unique_ptr<folder_lock>> acquire(const std::string& folder);

  explicit folder_lock(int fd) : fd_(fd) {}
  ~folder_lock();
  folder_lock(const folder_lock&) = delete;
  folder_lock& operator=(const folder_lock&) = delete;

private:
  int fd_;
};

} // namespace squall::kvs::detail
