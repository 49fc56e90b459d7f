#pragma once

#include <string>
#include <vector>

namespace squall::cluster {

/// What a node needs to run Python functions (docs/workers.md).
struct python_environment {
  std::string interpreter;        ///< empty: there is none
  std::string worker;             ///< the program of the package `squall` that runs functions
  std::string installer;          ///< the one that makes folders of required packages
  std::vector<std::string> paths; ///< that the first two read, beside /usr
};

/// The environment in SQUALL_VENV, or the one that Squall was built with. `program_folder` is that of the program
/// `squall`: an installation has the package beside it, else the one of the sources is taken.
[[nodiscard]] python_environment find_python(const std::string& program_folder);

} // namespace squall::cluster
