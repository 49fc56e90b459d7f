#pragma once

#include "actors/role.hpp"
#include "base/log.hpp"
#include "executors/detail/child_process.hpp"
#include "executors/detail/line_splitter.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace squall::executors::detail {

/// The packages that Python functions require: a folder for each set of them, made once on a node by a process of its
/// own (client/python/squall/_environment.py), which takes as long as PyPI does. Lives in an inline role.
class python_packages {
public:
  using on_ready = std::function<void(const result<>&)>;

  /// `folder` is where the folders lie. What is being made when this ends is given up.
  python_packages(std::string interpreter, std::string program, std::string folder, actors::post& post, logger& log);
  ~python_packages();
  python_packages(const python_packages&) = delete;
  python_packages& operator=(const python_packages&) = delete;

  /// The folder of a function's `requirements` (one a line); empty when there are none.
  [[nodiscard]] static std::string folder_of(const std::string& base, const std::string& requirements);

  /// Calls back, never from in here, when the folder is complete, or as failed with what pip said.
  void want(const std::string& requirements, on_ready ready);

private:
  /// One folder that is being made, and who waits for it.
  struct making {
    child_process child;
    std::string requirements;
    line_splitter lines;
    std::string last_line;
    std::vector<on_ready> waiting;
  };

  void start(const std::string& folder, making& m);
  void read(const std::string& folder);
  void on_end(const std::string& folder);
  void stop_watching(const making& m);

  const std::string interpreter_;
  const std::string program_;
  const std::string folder_;
  actors::post& post_;
  logger& log_;
  std::map<std::string, making> making_; ///< by folder
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

} // namespace squall::executors::detail
