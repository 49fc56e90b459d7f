#include <grp.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/// squall-sandbox: becomes bubblewrap around a zygote (docs/security.md). Started by a node, never by hand.
namespace {

namespace fs = std::filesystem;

constexpr auto usage =
    "usage: squall-sandbox [--network] [--read PATH]... [--read-as PATH NAME]... "
    "[--set NAME=VALUE]... -- PROGRAM [ARG]...\n"
    "Runs PROGRAM where it sees the system's libraries and the PATHs, read-only, and nothing else of the host.\n";
constexpr uid_t nobody = 65534;
constexpr int launch_failed = 125;
/// What is where in the sandbox before the uid changes: a root's paths may be closed to others.
constexpr auto stage = "/tmp/squall-stage";

struct request {
  bool network = false;
  std::vector<std::string> read;
  std::vector<std::string> names; ///< of `read`, inside
  std::vector<std::string> variables;
  std::vector<std::string> program;
};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "squall-sandbox: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(launch_failed);
}

bool read_arguments(int count, char** words, request& r) {
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word == "--") {
      r.program.assign(words + i + 1, words + count);
      return !r.program.empty();
    }
    if (word == "--network")
      r.network = true;
    else if (word == "--read" && i + 1 < count)
      r.names.push_back(r.read.emplace_back(words[++i]));
    else if (word == "--read-as" && i + 2 < count) {
      r.read.emplace_back(words[++i]);
      r.names.emplace_back(words[++i]);
    } else if (word == "--set" && i + 1 < count)
      r.variables.emplace_back(words[++i]);
    else
      return false;
  }
  return false;
}

/// Binds every path to a folder that anybody may enter, in a mount namespace of this process alone. Returns where.
std::vector<std::string> stage_paths(const std::vector<std::string>& paths) {
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return paths; // a container without that right: what others cannot read will be missing
  std::vector<int> opened;
  for (const auto& path : paths) {
    opened.push_back(open(path.c_str(), O_PATH | O_CLOEXEC));
    if (opened.back() < 0)
      fail(path);
  }
  if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m") != 0)
    fail("mounting a staging folder");
  std::vector<std::string> staged;
  mkdir(stage, 0755);
  for (std::size_t i = 0; i < paths.size(); ++i) {
    struct stat what {};
    if (fstat(opened[i], &what) != 0)
      fail(paths[i]);
    staged.push_back(std::string(stage) + "/" + std::to_string(i));
    if (S_ISDIR(what.st_mode))
      mkdir(staged.back().c_str(), 0755);
    else
      close(open(staged.back().c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    const auto from = "/proc/self/fd/" + std::to_string(opened[i]);
    if (mount(from.c_str(), staged.back().c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
      fail("binding " + paths[i]);
  }
  return staged;
}

void become_nobody() {
  if (setgroups(0, nullptr) != 0 || setresgid(nobody, nobody, nobody) != 0 || setresuid(nobody, nobody, nobody) != 0)
    fail("giving up root");
}

std::vector<std::string> bubblewrap(const request& r, const std::vector<std::string>& sources) {
  std::vector<std::string> line{"bwrap",
                                "--unshare-user",
                                "--unshare-ipc",
                                "--unshare-pid",
                                "--unshare-uts",
                                "--unshare-cgroup-try",
                                "--hostname",
                                "worker",
                                "--die-with-parent",
                                "--new-session",
                                "--uid",
                                std::to_string(nobody),
                                "--gid",
                                std::to_string(nobody),
                                "--clearenv"};
  const auto add = [&line](std::initializer_list<std::string> words) { line.insert(line.end(), words); };
  if (!r.network)
    add({"--unshare-net"});
  add({"--ro-bind", "/usr", "/usr"});
  for (const std::string folder : {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}) {
    const fs::path path = "/" + folder;
    std::error_code ignored;
    if (fs::is_symlink(path, ignored))
      add({"--symlink", fs::read_symlink(path, ignored).string(), path.string()});
    else if (fs::is_directory(path, ignored))
      add({"--ro-bind", path.string(), path.string()});
  }
  for (const std::string path : {"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime"})
    add({"--ro-bind-try", path, path});
  if (r.network)
    for (const std::string path : {"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl"})
      add({"--ro-bind-try", path, path});
  add({"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"});
  for (std::size_t i = 0; i < r.read.size(); ++i)
    add({"--ro-bind", sources[i], r.names[i]});
  add({"--remount-ro", "/dev", "--remount-ro", "/"});
  add({"--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8"});
  for (const auto& variable : r.variables) {
    const auto equals = variable.find('=');
    add({"--setenv", variable.substr(0, equals), equals == std::string::npos ? "" : variable.substr(equals + 1)});
  }
  add({"--chdir", "/tmp", "--"});
  line.insert(line.end(), r.program.begin(), r.program.end());
  return line;
}

} // namespace

int main(int count, char** words) {
  request r;
  if (!read_arguments(count, words, r)) {
    std::fputs(usage, stderr);
    return 2;
  }
  auto sources = r.read;
  if (geteuid() == 0) {
    sources = stage_paths(r.read);
    become_nobody();
  }
  const auto line = bubblewrap(r, sources);
  std::vector<char*> arguments;
  for (const auto& word : line)
    arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execvp("bwrap", arguments.data());
  fail("bubblewrap cannot be started (install the Debian package bubblewrap)");
}
