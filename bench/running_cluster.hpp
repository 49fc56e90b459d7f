#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

namespace squall::bench {

/// A cluster of real processes (a store, a controller, nodes of one lane each) that `squall up` starts in a temporary
/// folder, with its event logs on, in the placement of this process. It is taken down and its folder removed when this
/// object or this process ends, whatever ends it.
///
/// Make it before this process starts a thread (it forks). A cluster that does not start ends the program with
/// status 1.
class running_cluster {
public:
  running_cluster(std::size_t nodes, const std::string& policy);
  ~running_cluster();
  running_cluster(const running_cluster&) = delete;
  running_cluster& operator=(const running_cluster&) = delete;

  /// Of the controller.
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }
  /// Its processes now, the launcher and the model hosts among them.
  [[nodiscard]] std::vector<pid_t> processes() const;

private:
  std::filesystem::path folder_;
  std::string endpoint_;
  pid_t launcher_ = -1;
  pid_t guardian_ = -1;
  int guardian_pipe_ = -1; ///< what is written here, or its end, takes the cluster down
};

} // namespace squall::bench
