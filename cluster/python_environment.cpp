#include "cluster/python_environment.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace squall::cluster {

namespace {

namespace fs = std::filesystem;

/// Where the interpreter of a virtual environment has its library: the folder above its `home`.
std::string base_of(const fs::path& environment) {
  std::ifstream file{environment / "pyvenv.cfg"};
  for (std::string line; std::getline(file, line);) {
    const auto equals = line.find('=');
    if (line.starts_with("home") && equals != std::string::npos) {
      const auto begin = line.find_first_not_of(" \t", equals + 1);
      return begin == std::string::npos ? "" : fs::path{line.substr(begin)}.parent_path().string();
    }
  }
  return {};
}

std::string worker_program(const fs::path& program_folder) {
  std::error_code ignored;
  const auto installed = program_folder.parent_path() / "share/squall/python/squall/_worker.py";
  return fs::exists(installed, ignored) ? installed.string() : SQUALL_PYTHON_WORKER;
}

} // namespace

python_environment find_python(const std::string& program_folder) {
  const char* const given = std::getenv("SQUALL_VENV");
  const fs::path environment = given && *given ? given : SQUALL_BUILD_VENV;
  python_environment found;
  std::error_code ignored;
  found.worker = worker_program(program_folder);
  if (!fs::exists(environment / "bin/python", ignored) || !fs::exists(found.worker, ignored))
    return {};
  found.interpreter = (environment / "bin/python").string();
  found.installer = (fs::path{found.worker}.parent_path() / "_environment.py").string();
  found.paths = {environment.string(), fs::path{found.worker}.parent_path().parent_path().string()};
  if (const auto base = base_of(environment); !base.empty() && base != "/usr")
    found.paths.push_back(base);
  return found;
}

} // namespace squall::cluster
