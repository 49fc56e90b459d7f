// A function that does what its parameter `do` says, most of it nothing good. x: FP32 [-1], y: FP32 [-1]. Those that
// try to break out give in y[0] how often they got through.
#include "functions/native.hpp"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using squall::native::item;

void give(item& i, float number) { i.output<float>(0, {1})[0] = number; }

void echo(item& i) {
  const auto x = i.input<float>(0);
  const auto y = i.output<float>(0, {std::ssize(x)});
  std::copy(x.begin(), x.end(), y.begin());
}

/// Takes as many milliseconds as its input says.
void doze(item& i) {
  usleep(static_cast<useconds_t>(i.input<float>(0)[0] * 1000));
  echo(i);
}

/// Ends its process when it is given less than zero.
void frail(item& i) {
  if (i.input<float>(0)[0] < 0)
    std::abort();
  echo(i);
}

[[noreturn]] void hang() {
  for (;;)
    pause();
}

void allocate(item&) {
  for (;;) {
    auto* const more = static_cast<char*>(std::malloc(64 << 20));
    if (more == nullptr)
      throw std::runtime_error("no more memory");
    std::memset(more, 1, 64 << 20);
  }
}

void print_a_lot(item& i) {
  const std::string line(1023, 'x');
  for (int n = 0; n < 1 << 20; ++n) // a gigabyte
    std::printf("%s\n", line.c_str());
  give(i, 1);
}

void leave_children(item& i) {
  for (int n = 0; n < 3; ++n)
    if (fork() == 0) {
      setsid();
      for (int fd = 0; fd < 3; ++fd)
        close(fd);
      hang();
    }
  give(i, 3);
}

void read_host(item& i) {
  float through = 0;
  for (const char* path :
       {"/etc/passwd", "/etc/shadow", "/root/.bashrc", "/home", "/dev/shm/../../etc/hostname",
        "/proc/1/root/etc/passwd", "/proc/2/environ", "/var/log", "/dev/vda", "/dev/mem", "/sys/kernel"})
    through += access(path, R_OK) == 0 ? 1 : 0;
  for (const char* path : {"/x", "/usr/x", "/dev/x", "/etc/x"})
    through += open(path, O_CREAT | O_WRONLY, 0600) >= 0 ? 1 : 0;
  give(i, through);
}

void reach_out(item& i) {
  float through = 0;
  for (const auto& [address, port] :
       {std::pair{"127.0.0.1", 22}, std::pair{"10.0.0.1", 80}, std::pair{"8.8.8.8", 53}}) {
    const int s = socket(AF_INET, SOCK_DGRAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    inet_pton(AF_INET, address, &to.sin_addr);
    through +=
        s >= 0 && connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 && std::string(address) != "127.0.0.1"
            ? 1
            : 0;
  }
  through += socket(AF_NETLINK, SOCK_RAW, 0) >= 0 ? 1 : 0;
  through += socket(AF_PACKET, SOCK_RAW, 0) >= 0 ? 1 : 0;
  through += socket(40 /* AF_VSOCK */, SOCK_STREAM, 0) >= 0 ? 1 : 0;
  give(i, through);
}

void bomb(item& i) {
  float children = 0;
  for (int n = 0; n < 10'000; ++n) {
    const auto pid = fork();
    if (pid == 0)
      hang();
    if (pid < 0)
      break;
    ++children;
  }
  give(i, children);
}

void trace_others(item& i) {
  float through = 0;
  through += ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0 ? 1 : 0;
  through += ptrace(PTRACE_ATTACH, 1, nullptr, nullptr) == 0 ? 1 : 0;
  for (int pid = 2; pid < 1000; ++pid)
    through += ptrace(PTRACE_ATTACH, pid, nullptr, nullptr) == 0 || kill(pid, 0) == 0 ? 1 : 0;
  give(i, through);
}

void kill_parents(item& i) {
  kill(getppid(), SIGKILL);
  kill(-1, SIGKILL);
  give(i, static_cast<float>(getppid()));
}

void fill_disk(item& i) {
  const std::string block(1 << 20, 'x');
  std::ofstream file("/tmp/filler", std::ios::binary);
  float written = 0;
  while (written < 4096 && file.write(block.data(), std::ssize(block)).flush())
    ++written;
  give(i, written); // MiB
}

/// Memory that is in no address space.
void hoard(item& i) {
  float through = 0;
  through += memfd_create("hoard", 0) >= 0 ? 1 : 0;
  const int shm = open("/dev/shm/hoard", O_CREAT | O_RDWR, 0600);
  through += shm >= 0 ? 1 : 0;
  give(i, through);
}

/// What the node gave it to read is not its to write.
void write_inbox(item& i) {
  const auto x = i.input<float>(0);
  const auto page = reinterpret_cast<std::uintptr_t>(x.data()) & ~std::uintptr_t{4095};
  float through = mprotect(reinterpret_cast<void*>(page), 4096, PROT_READ | PROT_WRITE) == 0 ? 1 : 0;
  for (int fd = 3; fd < 64; ++fd) {
    char byte = 0;
    const auto path = "/proc/self/fd/" + std::to_string(fd);
    const int again = open(path.c_str(), O_RDWR);
    if (again >= 0 && fd != 3)
      through += ftruncate(again, 1) == 0 ? 1 : 0;
    (void)byte;
  }
  give(i, through);
}

void spin(item& i) {
  while (!i.cancelled())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  throw squall::native::failure("it was told to stop");
}

void call_self(item& i) {
  const auto x = i.input<float>(0);
  if (x[0] <= 0)
    return give(i, 0);
  const float less = x[0] - 1;
  const std::int64_t one = 1;
  squall_value v{};
  v.kind = SQUALL_TENSOR;
  v.datatype = SQUALL_FP32;
  v.rank = 1;
  v.shape = &one;
  v.data = &less;
  v.size = sizeof less;
  const auto y = i.call("nested", {{"x", v}});
  give(i, squall::native::elements<float>(y[0].value)[0] + 1);
}

void keep_state(item& i) {
  const auto before = i.get("tests/counter");
  const auto now = (before.empty() ? 0 : std::stoi(before)) + 1;
  i.put("tests/counter", std::to_string(now));
  give(i, static_cast<float>(now));
}

/// x = [milliseconds, number]: counts its runs under a key of that number, in the store, before it takes its time.
void tally(item& i) {
  const auto x = i.input<float>(0);
  const std::string key = "tests/tally/" + std::to_string(static_cast<int>(x[1]));
  const auto before = i.get(key);
  i.put(key, std::to_string((before.empty() ? 0 : std::stoi(before)) + 1));
  doze(i);
}

using action = void (*)(item&);

const std::map<std::string, action>& actions() {
  static const std::map<std::string, action> all{
      {"echo", echo},
      {"throw", [](item&) { throw std::runtime_error("the answer is not 42"); }},
      {"throw-odd", [](item&) { throw 42; }},
      {"segfault",
       [](item&) {
         std::fprintf(stderr, "about to read address 8\n");
         *reinterpret_cast<volatile int*>(8) = 1;
       }},
      {"abort", [](item&) { std::abort(); }},
      {"exit", [](item&) { std::exit(7); }},
      {"hang", [](item&) { hang(); }},
      {"doze", doze},
      {"frail", frail},
      {"block-sigterm",
       [](item&) {
         std::signal(SIGTERM, SIG_IGN);
         std::signal(SIGINT, SIG_IGN);
         for (volatile bool on = true; on;) {
         }
       }},
      {"allocate", allocate},
      {"print", print_a_lot},
      {"children", leave_children},
      {"garbage",
       [](item&) {
         const std::string noise(100'000, '\xff');
         (void)!write(3, noise.data(), noise.size());
         hang();
       }},
      {"close-channel",
       [](item&) {
         close(3);
         hang();
       }},
      {"wrong-type", [](item& i) { i.output<std::int64_t>(0, {1})[0] = 1; }},
      {"wrong-rank",
       [](item& i) {
         i.output<float>(0, {1, 1})[0] = 1;
       }},
      {"no-output", [](item&) {}},
      {"read-host", read_host},
      {"reach-out", reach_out},
      {"bomb", bomb},
      {"trace", trace_others},
      {"kill-parents", kill_parents},
      {"fill-disk", fill_disk},
      {"hoard", hoard},
      {"write-inbox", write_inbox},
      {"spin", spin},
      {"nested", call_self},
      {"state", keep_state},
      {"tally", tally},
      {"stream",
       [](item& i) {
         for (int n = 0; n < 3; ++n) {
           give(i, static_cast<float>(n));
           i.emit();
         }
         give(i, 3);
       }},
      {"cpu",
       [](item&) {
         for (volatile bool on = true; on;) {
         }
       }},
  };
  return all;
}

int32_t load(squall_context* context, const squall_load* what, void** instance) {
  std::string wanted = "echo";
  for (std::size_t i = 0; i < what->parameter_count; ++i)
    if (std::string(what->parameters[2 * i]) == "do")
      wanted = what->parameters[2 * i + 1];
  if (wanted == "load-crash")
    std::abort();
  const auto found = actions().find(wanted);
  if (found == actions().end()) {
    context->fail(context, 0, ("it cannot do '" + wanted + "'").c_str());
    return SQUALL_FAILED;
  }
  *instance = reinterpret_cast<void*>(found->second);
  return SQUALL_OK;
}

int32_t run(void* instance, squall_context* context, const squall_batch* batch) {
  auto body = reinterpret_cast<action>(instance);
  return squall::native::detail::run_items(body, context, batch);
}

} // namespace

extern "C" const squall_native_function* squall_function(void) {
  static const squall_native_function function{SQUALL_NATIVE_VERSION, nullptr, load, run, nullptr};
  return &function;
}
