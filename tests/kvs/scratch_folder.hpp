#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace squall::kvs {

/// An empty folder that goes with the object.
class scratch_folder {
public:
  scratch_folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "squall_kvs_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~scratch_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;

  /// A path in it that does not exist yet.
  [[nodiscard]] std::string store() const { return path_ + "/store"; }
  [[nodiscard]] const std::string& path() const { return path_; }

private:
  std::string path_;
};

} // namespace squall::kvs
