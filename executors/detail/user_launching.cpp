#include "executors/detail/python_packages.hpp"
#include "executors/detail/user_pools.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/// How workers of user code come to be: zygotes, forks, and the worker to spare.
namespace squall::executors::detail {

namespace {

using namespace std::chrono_literals;

constexpr duration load_limit = 180s;
/// Both segments count as address space of the worker.
constexpr std::uint64_t segments_of_worker = 2;
/// Before the next worker to spare is forked: whatever needed the last one runs first.
constexpr duration spare_delay = 50ms;

error cannot(const char* what) {
  return {errc::unavailable, std::string("a worker cannot be started: ") + what + ": " + std::strerror(errno), {}};
}

struct channel {
  unique_fd own;
  unique_fd theirs;
};

result<channel> make_socket_pair() {
  std::array<int, 2> pair{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0)
    return cannot("socketpair");
  return channel{unique_fd(pair[0]), unique_fd(pair[1])};
}

result<channel> make_pipe() {
  std::array<int, 2> pair{};
  if (pipe2(pair.data(), O_CLOEXEC) != 0)
    return cannot("pipe");
  return channel{unique_fd(pair[0]), unique_fd(pair[1])};
}

std::vector<unique_fd> single(unique_fd fd) {
  std::vector<unique_fd> out;
  out.push_back(std::move(fd));
  return out;
}

/// The folder of the packages that a Python variant requires; empty: it requires none.
std::string packages_of(const functions::variant_spec& spec, const user_worker_options& options) {
  const auto required = spec.parameters.find("requirements");
  if (spec.kind != functions::variant_kind::python || required == spec.parameters.end())
    return {};
  return python_packages::folder_of(options.python_packages, required->second);
}

/// Network or none, and which packages, is a matter of the whole sandbox.
std::string zygote_name(const wire::worker::load& kind, const user_worker_options& options) {
  auto name = std::string(functions::to_string(kind.spec.kind)) + (kind.spec.worker.network ? "+network" : "");
  if (const auto packages = packages_of(kind.spec, options); !packages.empty())
    name += "+" + packages.substr(packages.rfind('/') + 1);
  return name;
}

/// What a worker cannot change once it runs.
bool same_walls(const functions::worker_spec& a, const functions::worker_spec& b) {
  return a.memory_limit_bytes == b.memory_limit_bytes && a.scratch_bytes == b.scratch_bytes &&
         a.processes == b.processes && a.open_files == b.open_files && a.network == b.network;
}

} // namespace

// -- zygotes

result<zygote::command> user_pools::zygote_command(const wire::worker::load& kind) const {
  zygote::command line;
  const auto& folder = options_.program_folder;
  const auto library = folder + "/libsquall-sandbox.so";
  // A worker's own /tmp hides what lies below the host's.
  const auto inside = [this](const std::string& path) {
    return options_.unsandboxed || !path.starts_with("/tmp/") ? path : "/squall" + path.substr(4);
  };
  std::vector<std::string> program;
  std::vector<std::string> read{folder + "/squall-worker", library};
  std::vector<std::string> variables{"OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1"};
#if defined(__SANITIZE_ADDRESS__)
  // An interpreter loads instrumented code late, and no search for leaks gets through the filter of system calls.
  variables.emplace_back("ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0");
#endif
  if (kind.spec.kind == functions::variant_kind::python) {
    if (options_.python.empty() || options_.python_worker.empty())
      return {errc::unsupported, "this node runs no Python functions: it was not told of an interpreter"};
    program = {inside(options_.python), "-I", "-B", inside(options_.python_worker), "--zygote"};
    read.insert(read.end(), options_.python_paths.begin(), options_.python_paths.end());
    variables.push_back("SQUALL_SANDBOX_LIBRARY=" + inside(library));
    variables.push_back("SQUALL_PRELOAD=" + options_.python_preload);
    if (const auto folder_of_packages = packages_of(kind.spec, options_); !folder_of_packages.empty()) {
      read.push_back(folder_of_packages);
      variables.push_back("SQUALL_PACKAGES=" + inside(folder_of_packages));
    }
  } else {
    program = {inside(folder + "/squall-worker"), "--zygote"};
  }
  if (options_.unsandboxed) {
    line.program = "/usr/bin/env";
    line.arguments = {"-i", "PATH=/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8", "SQUALL_UNSANDBOXED=1"};
    line.arguments.insert(line.arguments.end(), variables.begin(), variables.end());
  } else {
    line.program = folder + "/squall-sandbox";
    if (kind.spec.worker.network)
      line.arguments.emplace_back("--network");
    for (const auto& path : read)
      line.arguments.insert(line.arguments.end(), {"--read-as", path, inside(path)});
    for (const auto& variable : variables)
      line.arguments.insert(line.arguments.end(), {"--set", variable});
    line.arguments.emplace_back("--");
  }
  line.arguments.insert(line.arguments.end(), program.begin(), program.end());
  return line;
}

result<zygote*> user_pools::zygote_for(const wire::worker::load& kind) {
  const auto name = zygote_name(kind, options_);
  auto& slot = zygotes_[name];
  slot.used_at = post_.now();
  slot.keep_alive = std::max(slot.keep_alive, kind.spec.worker.keep_alive);
  slot.with_packages = !packages_of(kind.spec, options_).empty();
  if (slot.process)
    return slot.process.get();
  if (post_.now() < slot.retry_at)
    return {errc::unavailable, slot.problem};
  SQUALL_ASSIGN(line, zygote_command(kind));
  slot.tag = zygote_bit | (++last_tag_ << 2);
  SQUALL_ASSIGN(started, zygote::start(name, line, gate_.get(), slot.tag, *this, post_, log_));
  slot.process = std::move(started);
  slot.kind = kind;
  slot.spare_due = post_.now() + spare_delay;
  return slot.process.get();
}

/// An interpreter with packages that nobody uses takes memory for nothing. Those without packages are few, and stay.
time_point user_pools::kept_until(const std::string& name, const zygote_slot& slot) const {
  if (!slot.process || !slot.with_packages)
    return never;
  for (const auto& [id, w] : workers_)
    if (w->zygote == name && id != slot.spare)
      return never;
  return slot.used_at + slot.keep_alive;
}

void user_pools::retire(zygote_slot& slot) {
  log_.info("workers", "a zygote ends, since nobody has used its packages for a while",
            {{"zygote", slot.process->name()}});
  workers_.erase(std::exchange(slot.spare, 0));
  slot.spare_due = never;
  slot.keep_alive = duration{0};
  slot.process->retire();
  retired_[slot.tag] = std::move(slot.process);
}

void user_pools::on_zygote_lost(const zygote& which, const std::string& why) {
  const auto retired = std::ranges::find_if(retired_, [&](const auto& entry) { return entry.second.get() == &which; });
  if (retired != retired_.end()) {
    // Not destroyed here: this is called from inside it.
    post_.later([gone = std::make_shared<std::unique_ptr<zygote>>(std::move(retired->second))] { gone->reset(); });
    retired_.erase(retired);
    return;
  }
  const auto name = which.name();
  auto& slot = zygotes_[name];
  const bool was_ready = slot.process && slot.process->ready();
  slot.failures = was_ready ? 0 : slot.failures + 1;
  slot.problem = was_ready ? why
                           : "the sandbox of workers cannot be started on this host, so user code does not run here (" +
                                 why + "); docs/security.md says what it needs";
  slot.retry_at = post_.now() + std::min<duration>(500ms * (1 << std::min<std::uint32_t>(slot.failures, 6)), 30s);
  log_.warn("workers", slot.problem);
  post_.later([gone = std::make_shared<std::unique_ptr<zygote>>(std::move(slot.process))] { gone->reset(); });
  std::vector<std::uint64_t> ids;
  for (const auto& [id, w] : workers_)
    if (w->zygote == name)
      ids.push_back(id);
  for (const auto id : ids)
    end(id, slot.problem, false);
}

/// A process that has its segments and no variant.
result<user_worker*> user_pools::launch_worker(const wire::worker::load& kind) {
  if (workers_.size() >= options_.max_workers)
    return {errc::overloaded, "the node runs " + std::to_string(workers_.size()) +
                                  " workers of user code, which is its limit; fewer instances of a function, or a "
                                  "shorter keep-alive, make room"};
  SQUALL_ASSIGN(forks, zygote_for(kind));
  SQUALL_ASSIGN(socket, make_socket_pair());
  SQUALL_ASSIGN(log, make_pipe());
  auto made = std::make_unique<user_worker>();
  auto& w = *made;
  w.id = ++last_worker_;
  w.zygote = zygote_name(kind, options_);
  w.started = w.idle_since = post_.now();
  SQUALL_ASSIGN(in, inbox::create(++last_segment_, options_.segment_bytes));
  SQUALL_ASSIGN(out, outbox::create(++last_segment_, options_.segment_bytes, make_));
  w.in = std::move(in);
  w.out = std::move(out);
  w.socket = std::make_unique<packet_socket>(std::move(socket.own), gate_.get(), w.id * 2);
  w.log = std::make_unique<log_reader>(std::move(log.own), gate_.get(), w.id * 2 + 1);
  auto bounds = kind.spec.worker;
  bounds.memory_limit_bytes += segments_of_worker * options_.segment_bytes;
  SQUALL_TRY(forks->spawn(w.id, bounds, std::move(socket.theirs), std::move(log.theirs)));
  workers_.emplace(w.id, std::move(made)); // from here on its end is reported
  SQUALL_TRY(announce_segments(w));
  return &w;
}

result<> user_pools::launch(variant_id variant, pool& p) {
  SQUALL_ASSIGN(worker, take_spare(p));
  if (worker == nullptr) {
    SQUALL_ASSIGN(launched, launch_worker(p.request));
    worker = launched;
  }
  worker->variant = variant;
  worker->started = worker->idle_since = post_.now();
  worker->kill_at = post_.now() + load_limit;
  worker->why_killed = "it did not load in 180 s";
  p.workers.insert(worker->id);
  auto sent = send_load(*worker, p);
  if (!sent.ok()) {
    p.workers.erase(worker->id);
    leave(*worker);
  }
  return sent;
}

/// Null: there is none with these bounds.
result<user_worker*> user_pools::take_spare(const pool& p) {
  SQUALL_TRY(zygote_for(p.request));
  auto& slot = zygotes_[zygote_name(p.request, options_)];
  auto* const spare = find(slot.spare);
  if (spare == nullptr || !same_walls(p.bounds, slot.kind.spec.worker))
    return nullptr;
  slot.spare = 0;
  slot.spare_due = post_.now() + spare_delay;
  return spare;
}

void user_pools::launch_spare(zygote_slot& slot) {
  slot.spare_due = never;
  if (find(slot.spare) != nullptr || workers_.size() >= options_.max_workers)
    return;
  const bool network = slot.kind.spec.worker.network;
  slot.kind.spec.worker = completed({});
  slot.kind.spec.worker.network = network;
  const auto kind = slot.kind;
  if (const auto launched = launch_worker(kind); launched.ok())
    slot.spare = (*launched)->id;
}

/// It reads this when it is up.
result<> user_pools::announce_segments(user_worker& w) {
  SQUALL_ASSIGN(in, w.in->descriptor());
  SQUALL_TRY(w.send(w.in->announcement(), {}, single(std::move(in))));
  SQUALL_ASSIGN(out, w.out->descriptor());
  return w.send(w.out->announcement(), {}, single(std::move(out)));
}

result<> user_pools::send_load(user_worker& w, const pool& p) {
  std::vector<unique_fd> files;
  if (p.code) {
    SQUALL_ASSIGN(code, duplicate(p.code));
    files.push_back(std::move(code));
  }
  for (const auto& resource : p.resources) {
    SQUALL_ASSIGN(file, duplicate(resource));
    files.push_back(std::move(file));
  }
  return w.send(p.request, request_id{p.request.variant.value}, std::move(files));
}

} // namespace squall::executors::detail
