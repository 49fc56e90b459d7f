#include "executors/worker/zygote.hpp"

#include "executors/worker/sandbox.h"
#include "executors/worker/session.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <map>

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

namespace squall::executors::worker {

namespace messages = wire::worker;

namespace {

constexpr int worker_socket = 3;

class zygote {
public:
  explicit zygote(int socket) : socket_(socket) {
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    sigprocmask(SIG_BLOCK, &ended, nullptr);
    ended_ = detail::unique_fd(signalfd(-1, &ended, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  /// True: this process is a worker now. False: the zygote's end has come.
  bool serve() {
    messages::ready ready;
    ready.pid = static_cast<std::uint64_t>(getpid());
    ready.runtime = "native";
    send(ready);
    for (;;) {
      std::array<pollfd, 2> sources{pollfd{socket_, POLLIN, 0}, pollfd{ended_.get(), POLLIN, 0}};
      if (poll(sources.data(), sources.size(), -1) < 0 && errno != EINTR)
        return false;
      if ((sources[1].revents & POLLIN) != 0)
        reap();
      if (sources[0].revents == 0)
        continue;
      if (!read_some())
        return false;
      while (const auto packet = reader_.next())
        if (handle(*packet))
          return true;
    }
  }

private:
  bool read_some() {
    const auto room = reader_.room();
    const auto got = receive(socket_, room, descriptors_);
    if (got < 0 && errno == EINTR)
      return true;
    return got > 0 && reader_.advance(static_cast<std::size_t>(got)).ok();
  }

  /// True in a new worker.
  bool handle(const wire::frames& packet) {
    const auto head = wire::peek(packet.header.span());
    if (!head.ok())
      return false;
    if (head->type == messages::kill::type) {
      if (const auto message = wire::decode<messages::kill>(packet, nullptr); message.ok())
        if (const auto found = pids_.find(message->worker); found != pids_.end())
          ::kill(found->second, SIGKILL);
      return false;
    }
    if (head->type != messages::spawn::type || descriptors_.size() < 2)
      return false;
    const auto socket = std::move(descriptors_[0]);
    const auto log = std::move(descriptors_[1]);
    descriptors_.erase(descriptors_.begin(), descriptors_.begin() + 2);
    const auto message = wire::decode<messages::spawn>(packet, nullptr);
    return message.ok() && spawn(*message, socket.get(), log.get());
  }

  bool spawn(const messages::spawn& message, int socket, int log) {
    const squall_bounds bounds{message.bounds.memory_limit_bytes, message.bounds.scratch_bytes,
                               message.bounds.open_files, message.bounds.processes};
    std::array<char, 256> problem{};
    messages::spawned answer;
    answer.worker = message.worker;
    std::fflush(nullptr);
    const int pid = squall_sandbox_fork(&bounds, socket, log, problem.data(), problem.size());
    if (pid == 0)
      return true;
    if (pid > 0) {
      pids_[message.worker] = pid;
      answer.pid = static_cast<std::uint64_t>(pid);
    } else {
      answer.code = errc::unavailable;
      answer.message = problem.data();
    }
    send(answer);
    return false;
  }

  void reap() {
    std::array<signalfd_siginfo, 8> notes;
    while (read(ended_.get(), notes.data(), sizeof notes) > 0) {
    }
    int status = 0;
    for (pid_t pid = 0; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
      for (auto it = pids_.begin(); it != pids_.end(); ++it) {
        if (it->second != pid)
          continue;
        messages::exited message;
        message.worker = it->first;
        message.status = static_cast<std::uint32_t>(status);
        pids_.erase(it);
        send(message);
        break;
      }
  }

  template <class Message>
  void send(const Message& message) {
    packet_writer writer;
    if (writer.add(wire::encode(message, request_id{})).ok())
      (void)writer.write_to(socket_); // a node that is gone is noticed by the reader
  }

  const int socket_;
  packet_reader reader_;
  std::deque<detail::unique_fd> descriptors_;
  detail::unique_fd ended_; ///< readable when a child has ended
  std::map<std::uint64_t, pid_t> pids_;
};

} // namespace

int serve_zygote(int socket) {
  {
    // Not destroyed in a worker: its descriptors were closed behind its back, and their numbers may be others' now.
    auto* const forks = new zygote(socket);
    if (!forks->serve())
      return 0;
  }
  std::signal(SIGPIPE, SIG_IGN);
  return session(worker_socket).serve();
}

} // namespace squall::executors::worker
