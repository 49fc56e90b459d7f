#include "executors/worker/sandbox.h"

#include <seccomp.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

constexpr unsigned namespaces = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC;

/// What no function needs, and what has made holes in kernels or would pass the bounds (memory that is in no address
/// space). All are refused with EPERM, so that a library that only tries goes on.
constexpr std::array refused_calls{
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(process_madvise),
    SCMP_SYS(kcmp),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(mount_setattr),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount),
    SCMP_SYS(fspick),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(memfd_create),
    SCMP_SYS(memfd_secret),
    SCMP_SYS(shmget),
    SCMP_SYS(shmat),
    SCMP_SYS(msgget),
    SCMP_SYS(semget),
    SCMP_SYS(mq_open),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(name_to_handle_at),
    SCMP_SYS(fanotify_init),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(syslog),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(personality),
    SCMP_SYS(lookup_dcookie),
    SCMP_SYS(mbind),
    SCMP_SYS(migrate_pages),
    SCMP_SYS(move_pages),
    SCMP_SYS(set_mempolicy),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(modify_ldt),
    SCMP_SYS(vhangup),
    SCMP_SYS(setdomainname),
    SCMP_SYS(sethostname),
};

/// The end of a child that cannot go on.
[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "the sandbox cannot be entered: %s: %s\n", what, std::strerror(errno));
  _exit(SQUALL_SANDBOX_FAILED);
}

void write_file(const char* path, const std::string& text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    give_up(path);
  close(fd);
}

/// Descriptors as the worker expects them, and no others.
void place_descriptors(int socket, int log) {
  const int high_socket = fcntl(socket, F_DUPFD, 10);
  const int high_log = fcntl(log, F_DUPFD, 10);
  const int nothing = open("/dev/null", O_RDONLY);
  if (high_socket < 0 || high_log < 0 || nothing < 0)
    _exit(SQUALL_SANDBOX_FAILED);
  dup2(nothing, STDIN_FILENO);
  dup2(high_log, STDOUT_FILENO);
  dup2(high_log, STDERR_FILENO);
  dup2(high_socket, 3);
  close_range(4, ~0U, 0);
}

/// Its own user, so that it counts its own processes and has no rights outside.
void map_user(uid_t user, gid_t group) {
  write_file("/proc/self/setgroups", "deny");
  write_file("/proc/self/uid_map", std::to_string(user) + " " + std::to_string(user) + " 1");
  write_file("/proc/self/gid_map", std::to_string(group) + " " + std::to_string(group) + " 1");
}

void mount_own_folders(const squall_bounds& bounds) {
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    give_up("making the mounts its own");
  const auto options = "mode=0700,nr_inodes=16384,size=" + std::to_string(bounds.scratch_bytes);
  if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
    give_up("mounting its scratch folder");
  if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
    give_up("mounting its /proc");
}

void bound(__rlimit_resource which, const char* name, std::uint64_t most) {
  const rlimit limit{most, most};
  if (setrlimit(which, &limit) != 0)
    give_up(name);
}

void bound_resources(const squall_bounds& bounds, bool sandboxed) {
#ifndef __SANITIZE_ADDRESS__ // which takes terabytes of address space for itself
  bound(RLIMIT_AS, "bounding its memory", bounds.memory_bytes);
#endif
  bound(RLIMIT_NOFILE, "bounding its files", bounds.open_files);
  bound(RLIMIT_CORE, "switching core dumps off", 0);
  bound(RLIMIT_MEMLOCK, "bounding locked memory", 0);
  bound(RLIMIT_MSGQUEUE, "bounding message queues", 0);
  if (sandboxed) // else all processes of the user count
    bound(RLIMIT_NPROC, "bounding its processes", bounds.processes);
}

void drop_privileges() {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; ++capability)
    prctl(PR_CAPBSET_DROP, capability);
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> none{};
  if (syscall(SYS_capset, &header, none.data()) != 0)
    give_up("dropping its capabilities");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    give_up("renouncing new privileges");
}

/// Whether the network can be reached is a matter of the namespace; families that are in no namespace are refused.
bool restrict_sockets(scmp_filter_ctx filter) {
  const auto refuse = [&](scmp_compare how, scmp_datum_t family) {
    return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_CMP(0, how, family, 0)) ==
           0;
  };
  bool sound = refuse(SCMP_CMP_GT, AF_INET6);
  for (int family = AF_UNIX + 1; family < AF_INET6; ++family)
    if (family != AF_INET)
      sound = refuse(SCMP_CMP_EQ, static_cast<scmp_datum_t>(family)) && sound;
  return sound;
}

void filter_calls() {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  bool sound = filter != nullptr && restrict_sockets(filter);
  for (const int call : refused_calls)
    sound = sound && seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0) == 0;
  // New namespaces; clone3 hides its flags, so libraries are sent back to clone.
  for (const unsigned flag :
       {CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWUTS, CLONE_NEWCGROUP})
    sound = sound && seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                      SCMP_CMP(0, SCMP_CMP_MASKED_EQ, flag, flag)) == 0;
  sound = sound && seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
  // Typing into the terminal of whoever started the node.
  sound = sound && seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                                    SCMP_CMP(1, SCMP_CMP_MASKED_EQ, 0xffffffffu, 0x5412)) == 0;
  if (!sound || seccomp_load(filter) != 0)
    give_up("filtering system calls");
  seccomp_release(filter);
}

/// To the first process of a namespace most signals do nothing unless it handles them; these must end it.
void end_on(int number) {
  std::signal(number, [](int caught) { _exit(128 + caught); });
}

void enter(const squall_bounds& bounds, uid_t user, gid_t group) {
  map_user(user, group);
  mount_own_folders(bounds);
  bound_resources(bounds, true);
  drop_privileges();
  filter_calls();
}

} // namespace

extern "C" __attribute__((visibility("default"))) int squall_sandbox_fork(const struct squall_bounds* bounds,
                                                                          int socket, int log, char* problem,
                                                                          size_t problem_size) {
  const char* open_house = std::getenv("SQUALL_UNSANDBOXED");
  const bool sandboxed = open_house == nullptr || std::strcmp(open_house, "1") != 0;
  const uid_t user = geteuid();
  const gid_t group = getegid();
  // Not fork(): its child would be in the zygote's namespaces.
  const auto flags = static_cast<unsigned long>(SIGCHLD) | (sandboxed ? namespaces : 0U);
  const auto pid = static_cast<int>(syscall(SYS_clone, flags, nullptr, nullptr, nullptr, nullptr));
  if (pid < 0) {
    std::snprintf(problem, problem_size, "a worker cannot be forked into namespaces of its own: %s",
                  std::strerror(errno));
    return -1;
  }
  if (pid > 0)
    return pid;
  place_descriptors(socket, log);
  setsid();
  if (sandboxed) {
    enter(*bounds, user, group);
  } else {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bound_resources(*bounds, false);
  }
  if (chdir("/tmp") != 0)
    give_up("entering its scratch folder");
  for (int number = 1; number < NSIG; ++number)
    if (number != SIGKILL && number != SIGSTOP)
      std::signal(number, SIG_DFL);
  end_on(SIGABRT);
  end_on(SIGXCPU);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  return 0;
}
