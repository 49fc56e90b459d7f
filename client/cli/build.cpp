#include "client/cli/parts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SQUALL_SOURCE_FOLDER
#error "the build sets SQUALL_SOURCE_FOLDER"
#endif

/// build: a native function's library from its source, without a build system.
namespace squall::client::cli {

namespace {

namespace fs = std::filesystem;

struct build_flags {
  std::vector<std::string> sources;
  std::string output;
};

/// The folder that holds functions/native.h: of an installation, or of the sources that this program was built from.
result<fs::path> include_folder() {
  std::error_code ignored;
  const auto program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const fs::path& folder : {program.parent_path() / "include/squall", fs::path{SQUALL_SOURCE_FOLDER}})
    if (fs::exists(folder / "functions/native.h", ignored))
      return folder;
  return {errc::not_found, "functions/native.h is neither beside this program nor in " SQUALL_SOURCE_FOLDER};
}

result<int> run(const std::vector<std::string>& line) {
  std::vector<char*> words;
  for (const auto& word : line)
    words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t pid = 0;
  if (const int failed = posix_spawnp(&pid, words[0], nullptr, nullptr, words.data(), environ); failed != 0)
    return {errc::not_found, fmt::format("the compiler {} cannot be started: {}; CXX and CC name others", line[0],
                                         std::strerror(failed))};
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

result<> build(const build_flags& flags) {
  SQUALL_ASSIGN(include, include_folder());
  const bool c = std::all_of(flags.sources.begin(), flags.sources.end(),
                             [](const std::string& s) { return fs::path{s}.extension() == ".c"; });
  const char* const given = std::getenv(c ? "CC" : "CXX");
  const std::string compiler = given && *given ? given : c ? "cc" : "c++";
  const auto output =
      flags.output.empty() ? fs::path{flags.sources.front()}.replace_extension(".so").string() : flags.output;
  std::vector<std::string> line{compiler,
                                c ? "-std=c99" : "-std=c++20",
                                "-O2",
                                "-g",
                                "-Wall",
                                "-shared",
                                "-fPIC",
                                "-fvisibility=hidden",
                                "-I" + include.string(),
                                "-o",
                                output};
  line.insert(line.end(), flags.sources.begin(), flags.sources.end());
  SQUALL_ASSIGN(status, run(line));
  if (status != 0)
    return {errc::failed, fmt::format("{} ended with status {}", compiler, status)};
  return {};
}

} // namespace

void add_build_verb(CLI::App& app, const shared_session& session) {
  auto* verb = app.add_subcommand("build", "compile a native function (functions/native.h) into a library");
  const auto flags = std::make_shared<build_flags>();
  verb->add_option("source", flags->sources, "files in C or C++")->required()->check(CLI::ExistingFile);
  verb->add_option("--to", flags->output, "the library (the first source with .so)")->envname("SQUALL_TO");
  verb->callback(session->run([flags] { return build(*flags); }));
}

} // namespace squall::client::cli
