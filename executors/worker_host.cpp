#include "executors/worker_host.hpp"

#include "executors/detail/child_process.hpp"
#include "executors/detail/line_splitter.hpp"
#include "executors/packet.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <unordered_map>

#include <poll.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace squall::executors {

namespace {

namespace worker = wire::worker;
using namespace std::chrono_literals;

constexpr duration first_pause = 100ms;
constexpr duration longest_pause = 10s;
/// A worker that lived this long was sound: the next crash is the first in a row again.
constexpr duration sound_life = 30s;
/// From start to `ready`, which includes a test of the inference runtime.
constexpr duration start_limit = 60s;
constexpr int farewell_ms = 500;
/// What one wake-up reads at most before others of the loop have their turn.
constexpr std::size_t read_at_once = 4 << 20;

class process_worker_host final : public worker_host {
public:
  process_worker_host(const worker_host_options& options, actors::post& post, wire::arena_map& arenas,
                      worker_listener& listener, logger& log)
      : options_(options), post_(post), arenas_(arenas), listener_(listener), log_(log) {
    arguments_ = {"--socket",      std::to_string(detail::child_socket),
                  "--lanes",       std::to_string(options.lanes),
                  "--arena-bytes", std::to_string(options.arena_capacity_bytes)};
    arguments_.insert(arguments_.end(), options.arguments.begin(), options.arguments.end());
  }

  ~process_worker_host() override {
    if (child_.pid == 0)
      return;
    unwatch();
    child_.socket.reset(); // asks it to end
    pollfd exit{child_.exited.get(), POLLIN, 0};
    if (poll(&exit, 1, farewell_ms) <= 0)
      kill(child_.pid, SIGKILL);
    waitpid(child_.pid, nullptr, 0);
    arenas_.forget(arena_);
    wire::sweep_dead_arenas();
  }

  result<> launch() {
    SQUALL_ASSIGN(child, detail::spawn(options_.program, arguments_));
    child_ = std::move(child);
    started_ = post_.now();
    deadline_ = started_ + start_limit;
    phase_ = phase::starting;
    reader_ = std::make_unique<packet_reader>();
    writer_ = {};
    waits_for_room_ = false;
    // One descriptor for the loop: it is readable when any of them has something, and also when the socket takes bytes
    // again.
    gate_ = detail::unique_fd(epoll_create1(EPOLL_CLOEXEC));
    for (const int fd : {child_.socket.get(), child_.errors.get(), child_.exited.get()})
      control_gate(EPOLL_CTL_ADD, fd, EPOLLIN);
    post_.watch(gate_.get(), [this] { on_gate(); });
    return {};
  }

  result<> load(const worker::load& request) override { return send(request, request_id{request.variant.value}); }

  result<> unload(variant_id variant) override {
    worker::unload message;
    message.variant = variant;
    return send(message);
  }

  result<> run(const worker::run& request) override {
    for (const auto& item : request.items)
      for (const auto& value : item)
        if (value.byte_size() > wire::max_value_bytes)
          return {errc::too_large, "a value of " + std::to_string(value.byte_size()) +
                                       " bytes is beyond the limit of " + std::to_string(wire::max_value_bytes)};
    SQUALL_TRY(send(request, request_id{request.batch.value}));
    batch_sizes_[request.batch] = request.items.size();
    return {};
  }

  void cancel(batch_id batch) override {
    worker::cancel message;
    message.batch = batch;
    if (const auto sent = send(message); !sent.ok() && phase_ == phase::running)
      log_.warn("worker", "a cancellation could not be sent",
                {{"batch", to_string(batch)}, {"why", sent.error().message}});
  }

  void release(const std::vector<wire::arena_ref>& blocks) override {
    worker::release message;
    message.blocks = blocks;
    // What a dead worker held went with it.
    if (const auto sent = send(message); !sent.ok() && phase_ == phase::running)
      log_.warn("worker", "memory could not be given back",
                {{"blocks", std::to_string(blocks.size())}, {"why", sent.error().message}});
  }

  void on_alarm() override {
    if (post_.now() < deadline_)
      return;
    if (phase_ == phase::starting)
      return give_up("it did not become ready in 60 s");
    if (phase_ == phase::pausing)
      restart();
  }

  time_point next_alarm() const override {
    return phase_ == phase::starting || phase_ == phase::pausing ? deadline_ : never;
  }
  int pid() const override { return child_.pid; }
  std::uint64_t arena_id() const override { return arena_; }

private:
  enum class phase {
    starting, ///< the process runs and has not said that it is ready
    running,
    dying,   ///< it was killed, or has closed its socket; its end is being waited for
    pausing, ///< no process; started again at deadline_
  };

  // -- writing

  template <class Message>
  result<> send(const Message& message, request_id request = {}) {
    if (phase_ != phase::running)
      return {errc::unavailable, "the worker process is not up"};
    if (writer_.unsent_bytes() > options_.max_unsent_bytes)
      return {errc::overloaded, "the worker process is " + std::to_string(writer_.unsent_bytes()) + " bytes behind"};
    SQUALL_TRY(writer_.add(wire::encode(message, request, {.local = &arenas_})));
    // A failure shows as the end of the process, which is reported when it is seen and not from inside this call.
    if (!waits_for_room_)
      (void)write_out();
    return {};
  }

  bool write_out() {
    const auto written = writer_.write_to(child_.socket.get());
    const bool blocked = written.ok() && !*written;
    if (blocked != waits_for_room_)
      control_gate(EPOLL_CTL_MOD, child_.socket.get(), blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
    waits_for_room_ = blocked;
    return written.ok();
  }

  // -- the loop

  void control_gate(int operation, int fd, std::uint32_t interest) {
    epoll_event event{};
    event.events = interest;
    event.data.fd = fd;
    SQUALL_CHECK(epoll_ctl(gate_.get(), operation, fd, &event) == 0, std::strerror(errno));
  }

  void unwatch() {
    post_.watch(gate_.get(), {});
    gate_.reset();
  }

  void on_gate() {
    std::array<epoll_event, 3> events;
    const auto count = epoll_wait(gate_.get(), events.data(), static_cast<int>(events.size()), 0);
    bool ended = false;
    for (int i = 0; i < count; ++i) {
      const auto& event = events[static_cast<std::size_t>(i)];
      if (event.data.fd == child_.exited.get())
        ended = true;
      else if (event.data.fd == child_.errors.get())
        read_errors();
      else
        on_socket(event.events);
    }
    if (ended)
      on_exit();
  }

  void on_socket(std::uint32_t events) {
    if (phase_ == phase::dying)
      return;
    if ((events & EPOLLOUT) != 0)
      write_out();
    read_packets(read_at_once);
  }

  /// Reads what is there, up to `limit` bytes, and hands it on.
  void read_packets(std::size_t limit) {
    for (std::size_t total = 0; total < limit && phase_ != phase::dying;) {
      const auto room = reader_->room();
      const auto got = read(child_.socket.get(), room.data(), room.size());
      if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
      if (got <= 0)
        return give_up("it closed its socket");
      total += static_cast<std::size_t>(got);
      if (const auto sound = reader_->advance(static_cast<std::size_t>(got)); !sound.ok())
        return give_up("it sent what is no packet: " + sound.error().message);
      while (auto packet = reader_->next())
        if (const auto handled = on_packet(*packet); !handled.ok())
          return give_up("it sent a message that does not decode: " + handled.error().message);
      if (static_cast<std::size_t>(got) < room.size())
        return;
    }
  }

  // -- messages

  result<> on_packet(const wire::frames& packet) {
    SQUALL_ASSIGN(head, wire::peek(packet.header.span()));
    if (phase_ == phase::starting && head.type != worker::ready::type)
      return {errc::corrupt, "its first message is not `ready`"};
    if (head.type == worker::ready::type)
      return with<worker::ready>(packet, [this](auto& message) { on_ready(message); });
    if (head.type == worker::loaded::type)
      return with<worker::loaded>(packet, [this](auto& message) { listener_.on_loaded(message); });
    if (head.type == worker::done::type)
      return with<worker::done>(packet, [this](auto& message) { on_done(std::move(message)); });
    if (head.type == worker::note::type)
      return with<worker::note>(packet, [this](auto& message) { log_.info("worker", message.text); });
    return {errc::corrupt, "type " + std::to_string(static_cast<unsigned>(head.type)) + " is not known"};
  }

  template <class Message, class Handler>
  result<> with(const wire::frames& packet, Handler handler) {
    SQUALL_ASSIGN(message, wire::decode<Message>(packet, &arenas_));
    handler(message);
    return {};
  }

  void on_ready(const worker::ready& message) {
    phase_ = phase::running;
    deadline_ = never;
    arena_ = message.arena;
    log_.info("worker", "ready",
              {{"pid", std::to_string(message.pid)}, {"runtime", message.runtime}, {"problem", message.message}});
    listener_.on_ready(message);
  }

  /// Every batch is answered once, with one result for each of its items.
  void on_done(worker::done message) {
    const auto batch = batch_sizes_.find(message.batch);
    if (batch == batch_sizes_.end())
      return log_.warn("worker", "an answer for a batch that does not run", {{"batch", to_string(message.batch)}});
    const auto size = batch->second;
    batch_sizes_.erase(batch);
    if (message.code == errc::ok && message.items.size() != size) {
      message.code = errc::internal;
      message.message =
          "the worker answered " + std::to_string(message.items.size()) + " of " + std::to_string(size) + " items";
    }
    if (message.code != errc::ok) {
      worker::item_result failed;
      failed.code = message.code;
      failed.message = message.message;
      message.items.assign(size, failed);
    }
    listener_.on_done(std::move(message));
  }

  // -- its end

  void read_errors() {
    std::array<char, 4096> chunk;
    const auto keep = [this](const std::string& line) {
      log_.info("worker", line);
      last_line_ = line;
    };
    for (;;) {
      const auto got = read(child_.errors.get(), chunk.data(), chunk.size());
      if (got > 0) {
        lines_.take({chunk.data(), static_cast<std::size_t>(got)}, keep);
        continue;
      }
      if (got < 0 && errno == EINTR)
        continue;
      if (got == 0) { // the pipe is closed, and would be readable for ever
        lines_.flush(keep);
        if (gate_)
          epoll_ctl(gate_.get(), EPOLL_CTL_DEL, child_.errors.get(), nullptr);
      }
      return;
    }
  }

  /// Ends a process that no longer makes sense, or has hung up; on_exit() follows when it is gone.
  void give_up(const std::string& why) {
    phase_ = phase::dying;
    deadline_ = never;
    why_ = why;
    epoll_ctl(gate_.get(), EPOLL_CTL_DEL, child_.socket.get(), nullptr);
    // One that closed its socket by itself ends by itself; its status then says more than SIGKILL would.
    pollfd exit{child_.exited.get(), POLLIN, 0};
    if (poll(&exit, 1, 1) == 0)
      kill(child_.pid, SIGKILL);
  }

  void on_exit() {
    // Its last answers may still be in the socket: they count.
    if (phase_ == phase::running)
      read_packets(std::numeric_limits<std::size_t>::max());
    read_errors();
    int status = 0;
    waitpid(child_.pid, &status, 0);
    auto why = "the worker process " + std::to_string(child_.pid) + " ended: " + detail::describe_status(status);
    if (!why_.empty() && why_ != "it closed its socket")
      why += "; " + why_;
    if (!last_line_.empty())
      why += "; its last line: " + last_line_;
    unwatch();
    child_ = {};
    arenas_.forget(std::exchange(arena_, 0));
    wire::sweep_dead_arenas();
    batch_sizes_.clear();
    why_.clear();
    last_line_.clear();
    pause();
    log_.warn(
        "worker", why,
        {{"restart_in_ms", std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(pause_).count())}});
    listener_.on_lost(why);
  }

  void pause() {
    const bool was_sound = post_.now() - started_ >= sound_life;
    pause_ = was_sound || pause_ == duration{} ? first_pause : std::min(pause_ * 2, longest_pause);
    phase_ = phase::pausing;
    deadline_ = post_.now() + pause_;
  }

  void restart() {
    if (const auto launched = launch(); !launched.ok()) {
      log_.error("worker", launched.error().message);
      started_ = post_.now();
      pause();
    }
  }

  const worker_host_options options_;
  actors::post& post_;
  wire::arena_map& arenas_;
  worker_listener& listener_;
  logger& log_;
  std::vector<std::string> arguments_;

  phase phase_ = phase::pausing;
  time_point started_{};
  time_point deadline_ = never; ///< of the start, or end of the pause
  duration pause_{0};           ///< the last one

  detail::child_process child_;
  detail::unique_fd gate_; ///< an epoll of the child's three descriptors
  std::unique_ptr<packet_reader> reader_;
  packet_writer writer_;
  bool waits_for_room_ = false;
  std::uint64_t arena_ = 0;
  std::unordered_map<batch_id, std::size_t> batch_sizes_; ///< of the batches that run

  detail::line_splitter lines_;
  std::string last_line_; ///< of its standard error
  std::string why_;       ///< it was given up
};

} // namespace

result<std::unique_ptr<worker_host>> worker_host::start(const worker_host_options& options, actors::post& post,
                                                        wire::arena_map& arenas, worker_listener& listener,
                                                        logger& log) {
  auto host = std::make_unique<process_worker_host>(options, post, arenas, listener, log);
  SQUALL_TRY(host->launch());
  return std::unique_ptr<worker_host>(std::move(host));
}

} // namespace squall::executors
