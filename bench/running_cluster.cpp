#include "bench/running_cluster.hpp"

#include "base/check.hpp"
#include "calls/json.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace squall::bench {

namespace fs = std::filesystem;

namespace {

/// The binary `squall` beside this program.
std::string squall_program() { return fs::read_symlink("/proc/self/exe").parent_path() / "squall"; }

/// Runs a verb of squall without its output; its exit status, or -1.
int run_squall(std::vector<std::string> words) {
  words.insert(words.begin(), squall_program());
  std::vector<char*> arguments;
  for (auto& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  int status = -1;
  if (::posix_spawn(&pid, words.front().c_str(), &actions, nullptr, arguments.data(), environ) == 0)
    ::waitpid(pid, &status, 0);
  posix_spawn_file_actions_destroy(&actions);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

fs::path make_folder() {
  std::string pattern = (fs::temp_directory_path() / "squall-bench-XXXXXX").string();
  SQUALL_CHECK(::mkdtemp(pattern.data()) != nullptr, pattern);
  fs::create_directory(fs::path{pattern} / "run");
  return pattern;
}

void write_config(const fs::path& folder, const std::string& name, std::size_t nodes, const std::string& policy) {
  std::ofstream file{folder / "cluster.yaml"};
  file << "apiVersion: squall/v1\nkind: Cluster\nmetadata: {name: " << name
       << "}\nspec:\n  data: " << (folder / "data").string() << "\n  policy: " << policy
       << "\n  event-log: true\n  nodes:\n";
  for (std::size_t i = 1; i <= nodes; ++i)
    file << "  - {name: n" << i << ", slots: 1}\n";
}

/// Waits in a process of its own until `fd` is written to or closed, then takes the cluster down. Signals from the
/// terminal are for the benchmark.
[[noreturn]] void guard(int fd, const fs::path& folder, const std::string& name) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE})
    std::signal(signal, SIG_IGN);
  char c = 0;
  (void)!::read(fd, &c, 1);
  run_squall({"down", "--name", name});
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  ::_exit(0);
}

[[noreturn]] void give_up(const fs::path& folder, const std::string& why) {
  std::fprintf(stderr, "bench: %s\n", why.c_str());
  std::error_code none;
  for (const auto& log : fs::recursive_directory_iterator{folder, none})
    if (log.path().extension() == ".log")
      std::fprintf(stderr, "--- %s\n%s\n", log.path().c_str(),
                   (std::ostringstream{} << std::ifstream{log.path()}.rdbuf()).str().c_str());
  std::exit(1); // the guardian sees the end of its pipe
}

/// The parent of a process, 0 when it is gone.
pid_t parent_of(const std::string& pid) {
  std::ifstream file{"/proc/" + pid + "/stat"};
  std::string text;
  std::getline(file, text);
  // The name of the program comes in parentheses and may hold anything.
  std::istringstream rest{text.substr(std::min(text.size(), text.rfind(')') + 1))};
  char state = 0;
  pid_t parent = 0;
  rest >> state >> parent;
  return parent;
}

} // namespace

running_cluster::running_cluster(std::size_t nodes, const std::string& policy) : folder_(make_folder()) {
  const std::string name = folder_.filename();
  ::setenv("XDG_RUNTIME_DIR", (folder_ / "run").c_str(), 1);
  int ends[2];
  SQUALL_CHECK(::pipe2(ends, O_CLOEXEC) == 0);
  guardian_ = ::fork();
  SQUALL_CHECK(guardian_ >= 0);
  if (guardian_ == 0) {
    ::close(ends[1]);
    guard(ends[0], folder_, name);
  }
  ::close(ends[0]);
  guardian_pipe_ = ends[1];

  write_config(folder_, name, nodes, policy);
  if (run_squall({"up", "-d", "-f", folder_ / "cluster.yaml"}) != 0)
    give_up(folder_, "the cluster does not start");
  const auto runtime = folder_ / "run" / ("squall-" + std::to_string(::getuid())) / (name + ".json");
  std::ostringstream text;
  text << std::ifstream{runtime}.rdbuf();
  const auto document = calls::json_document::parse(text.str());
  const auto endpoint = document ? document->root().find("endpoint") : std::nullopt;
  const auto pid = document ? document->root().find("pid") : std::nullopt;
  if (!endpoint || !pid)
    give_up(folder_, "no endpoint and pid in " + runtime.string());
  endpoint_ = endpoint->as_string().value_or("");
  launcher_ = static_cast<pid_t>(pid->as_int64().value_or(-1));
}

running_cluster::~running_cluster() {
  // Written and not only closed: processes forked since then hold the pipe, too.
  (void)!::write(guardian_pipe_, "x", 1);
  ::close(guardian_pipe_);
  ::waitpid(guardian_, nullptr, 0);
}

std::vector<pid_t> running_cluster::processes() const {
  std::vector<pid_t> found{launcher_};
  std::vector<std::pair<pid_t, pid_t>> all; // process and parent
  for (const auto& entry : fs::directory_iterator{"/proc"})
    if (const std::string name = entry.path().filename(); name.find_first_not_of("0123456789") == std::string::npos)
      all.emplace_back(std::atoi(name.c_str()), parent_of(name));
  for (std::size_t i = 0; i < found.size(); ++i)
    for (const auto& [pid, parent] : all)
      if (parent == found[i])
        found.push_back(pid);
  return found;
}

} // namespace squall::bench
