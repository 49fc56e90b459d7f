#include "executors/detail/zygote.hpp"

#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>

#include <poll.h>
#include <sys/epoll.h>
#include <sys/wait.h>

namespace squall::executors::detail {

namespace messages = wire::worker;

namespace {

constexpr std::size_t read_at_once = 1 << 20;
constexpr int farewell_ms = 200;

std::vector<pid_t> children_of(pid_t pid) {
  const auto id = std::to_string(pid);
  std::ifstream file("/proc/" + id + "/task/" + id + "/children");
  std::vector<pid_t> children;
  for (pid_t child = 0; file >> child;)
    children.push_back(child);
  return children;
}

/// A process's ids from the host's to its own namespace's.
std::vector<std::uint64_t> namespace_pids(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  std::vector<std::uint64_t> ids;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("NSpid:"))
      continue;
    std::istringstream words(line.substr(6));
    for (std::uint64_t id = 0; words >> id;)
      ids.push_back(id);
  }
  return ids;
}

} // namespace

zygote::zygote(std::string name, child_process child, int epoll, std::uint64_t tag, zygote_listener& listener,
               actors::post& post, logger& log)
    : name_(std::move(name)),
      pid_(child.pid),
      exited_(std::move(child.exited)),
      epoll_(epoll),
      listener_(listener),
      post_(post),
      log_(log),
      socket_(std::move(child.socket), epoll, tag),
      log_lines_(std::move(child.errors), epoll, tag + 1) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag + 2;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, exited_.get(), &event);
}

result<std::unique_ptr<zygote>> zygote::start(std::string name, const command& line, int epoll, std::uint64_t tag,
                                              zygote_listener& listener, actors::post& post, logger& log) {
  SQUALL_ASSIGN(child, detail::spawn(line.program, line.arguments));
  return std::unique_ptr<zygote>(new zygote(std::move(name), std::move(child), epoll, tag, listener, post, log));
}

zygote::~zygote() {
  if (ended_)
    return;
  epoll_ctl(epoll_, EPOLL_CTL_DEL, exited_.get(), nullptr);
  socket_.close(); // asks it to end
  pollfd exit{exited_.get(), POLLIN, 0};
  if (poll(&exit, 1, farewell_ms) <= 0)
    ::kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

result<> zygote::spawn(std::uint64_t worker, const functions::worker_spec& bounds, unique_fd socket, unique_fd log) {
  messages::spawn message;
  message.worker = worker;
  message.bounds = bounds;
  std::vector<unique_fd> descriptors;
  descriptors.push_back(std::move(socket));
  descriptors.push_back(std::move(log));
  return socket_.send(wire::encode(message, request_id{}), std::move(descriptors));
}

void zygote::kill(std::uint64_t worker) {
  messages::kill message;
  message.worker = worker;
  (void)socket_.send(wire::encode(message, request_id{})); // one that is gone has taken its workers along
}

void zygote::on_event(int which, std::uint32_t events) {
  const auto say = [this](const std::string& line) { log_.info("zygote", line, {{"zygote", name_}}); };
  if (which == 1)
    return log_lines_.read(post_.now(), say);
  if (which == 2)
    return on_end();
  if ((events & EPOLLOUT) != 0)
    socket_.on_writable();
  if (const auto sound = socket_.read(read_at_once, [this](const auto& packet) { return on_packet(packet); });
      !sound.ok()) {
    if (sound.error().code != errc::unavailable)
      why_ = sound.error().message;
    socket_.close();
    ::kill(pid_, why_.empty() ? SIGTERM : SIGKILL); // its end is reported when it comes
  }
}

result<> zygote::on_packet(const wire::frames& packet) {
  SQUALL_ASSIGN(head, wire::peek(packet.header.span()));
  if (head.type == messages::ready::type) {
    ready_ = true;
  } else if (head.type == messages::spawned::type) {
    SQUALL_ASSIGN(message, wire::decode<messages::spawned>(packet, nullptr));
    listener_.on_spawned(message);
  } else if (head.type == messages::exited::type) {
    SQUALL_ASSIGN(message, wire::decode<messages::exited>(packet, nullptr));
    listener_.on_exited(message);
  } else {
    return {errc::corrupt, "type " + std::to_string(static_cast<unsigned>(head.type)) + " is not a zygote's"};
  }
  return {};
}

void zygote::on_end() {
  ended_ = true;
  epoll_ctl(epoll_, EPOLL_CTL_DEL, exited_.get(), nullptr);
  if (socket_.open())
    (void)socket_.read(read_at_once, [this](const auto& packet) { return on_packet(packet); });
  socket_.close();
  log_lines_.read_rest([this](const std::string& line) { log_.info("zygote", line, {{"zygote", name_}}); });
  int status = 0;
  waitpid(pid_, &status, 0);
  auto why = "the process that forks workers (" + name_ + ") ended: " + describe_status(status);
  if (!why_.empty())
    why += "; " + why_;
  if (const auto line = log_lines_.last_line(); !line.empty())
    why += "; its last line: " + line;
  listener_.on_zygote_lost(*this, why);
}

std::map<std::uint64_t, std::uint64_t> zygote::host_pids() const {
  // bubblewrap, its child that reaps, the zygote, workers; without a sandbox the zygote itself.
  std::map<std::uint64_t, std::uint64_t> found;
  std::vector<pid_t> level{pid_};
  for (int depth = 0; depth < 3 && !level.empty(); ++depth) {
    std::vector<pid_t> next;
    for (const auto parent : level)
      for (const auto child : children_of(parent))
        next.push_back(child);
    for (const auto pid : next)
      if (const auto ids = namespace_pids(pid); ids.size() == 3 || ids.size() == 1)
        found[ids[ids.size() / 2]] = static_cast<std::uint64_t>(pid);
    level = std::move(next);
  }
  return found;
}

} // namespace squall::executors::detail
