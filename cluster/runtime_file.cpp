#include "cluster/runtime_file.hpp"

#include "calls/json.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <sys/stat.h>
#include <unistd.h>

namespace squall::cluster {

bool process_lives(std::uint64_t pid) {
  // A dead process whose parent has not asked for its status is still there for kill(): its state tells.
  std::ifstream in{"/proc/" + std::to_string(pid) + "/stat"};
  std::string text;
  if (!std::getline(in, text))
    return false;
  const auto end_of_name = text.rfind(')');
  return end_of_name != std::string::npos && end_of_name + 2 < text.size() && text[end_of_name + 2] != 'Z';
}

std::string runtime_path(const std::string& cluster) {
  const char* folder = std::getenv("XDG_RUNTIME_DIR");
  return std::string{folder && *folder ? folder : "/tmp"} + "/squall-" + std::to_string(::getuid()) + "/" + cluster +
         ".json";
}

result<> write_runtime_file(const std::string& cluster, const runtime_file& content) {
  const std::string path = runtime_path(cluster);
  const std::string folder = std::filesystem::path{path}.parent_path().string();
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return error{errc::unavailable, "cannot make " + folder + ": " + std::strerror(errno), {}};
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0 || info.st_uid != ::getuid())
    return error{
        errc::permission_denied, folder + " belongs to somebody else; set XDG_RUNTIME_DIR to a folder of yours", {}};
  std::ofstream out{path + ".new"};
  out << calls::to_json(content) << '\n';
  out.close();
  std::error_code code;
  std::filesystem::rename(path + ".new", path, code);
  return out && !code ? result<>{} : error{errc::unavailable, "cannot write " + path, {}};
}

result<runtime_file> read_runtime_file(const std::string& cluster) {
  const std::string path = runtime_path(cluster);
  std::ifstream in{path};
  if (!in)
    return error{
        errc::not_found, "no cluster '" + cluster + "' of yours runs on this host; start one with: squall up", {}};
  std::stringstream text;
  text << in.rdbuf();
  SQUALL_ASSIGN(content, calls::from_json<runtime_file>(text.str()));
  if (!process_lives(content.pid)) {
    remove_runtime_file(cluster);
    return error{errc::not_found,
                 "cluster '" + cluster + "' is gone: its process " + std::to_string(content.pid) + " has died",
                 {}};
  }
  return content;
}

void remove_runtime_file(const std::string& cluster) {
  std::error_code ignored;
  std::filesystem::remove(runtime_path(cluster), ignored);
}

} // namespace squall::cluster
