#include "executors/cpu/host.hpp"

#include "executors/cpu/variants.hpp"
#include "executors/cpu/work_queue.hpp"
#include "executors/packet.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>

#include <unistd.h>

namespace squall::executors::cpu {

namespace {

namespace worker = wire::worker;

/// A node sends one batch at a time to a lane; more may be on their way when it changes its mind, but not many.
constexpr std::size_t waiting_batches_limit = 16;
constexpr std::size_t waiting_loads_limit = 1024;
/// How long a batch may go on when the node has gone.
constexpr std::chrono::milliseconds farewell{300};

std::size_t resident_bytes() {
  std::size_t total = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

duration since(host_clock::time_point start) { return std::chrono::duration_cast<duration>(host_clock::now() - start); }

/// Sends messages to the node, from any thread. A node that is gone is noticed by the reader, not here.
class outbox {
public:
  outbox(int socket, const wire::arena_map& arenas) : socket_(socket), arenas_(arenas) {}

  template <class Message>
  result<> send(const Message& message) {
    packet_writer writer;
    SQUALL_TRY(writer.add(wire::encode(message, request_id{}, {.local = &arenas_})));
    const std::lock_guard lock(mutex_);
    for (;;) {
      const auto written = writer.write_to(socket_);
      if (!written.ok())
        return written.error();
      if (*written)
        return {};
    }
  }

private:
  std::mutex mutex_;
  const int socket_;
  const wire::arena_map& arenas_;
};

class host {
public:
  host(const host_options& options, std::shared_ptr<wire::arena> arena)
      : options_(options), arena_(std::move(arena)), outputs_(*arena_), outbox_(options.socket, *arenas_) {
    arenas_->add(arena_);
    environment_.lanes = options.lanes;
    environment_.outputs = &outputs_;
    for (std::uint32_t lane = 0; lane < options.lanes; ++lane)
      lanes_.push_back(std::make_unique<work_queue>("lane " + std::to_string(lane)));
  }

  /// Takes the runtime into use, if it can be used, and says so.
  void greet(const result<>& usable) {
    worker::ready ready;
    ready.pid = static_cast<std::uint64_t>(getpid());
    ready.arena = arena_->id();
    ready.runtime = runtime_version();
    auto made = usable.ok() ? runtime::create({.lanes = options_.lanes, .cache_folder = options_.cache_folder})
                            : result<std::unique_ptr<runtime>>(usable.error());
    if (made.ok()) {
      runtime_ = std::move(made).value();
      environment_.inference = runtime_.get();
    } else {
      environment_.unusable = ready.message = made.error().message;
      ready.code = made.error().code;
    }
    send_or_note(ready);
  }

  /// Until the node closes the socket (true) or sends what is no packet (false).
  bool read_packets() {
    packet_reader reader;
    for (;;) {
      const auto room = reader.room();
      const auto got = read(options_.socket, room.data(), room.size());
      if (got < 0 && errno == EINTR)
        continue;
      if (got <= 0)
        return true;
      if (const auto sound = reader.advance(static_cast<std::size_t>(got)); !sound.ok()) {
        std::fprintf(stderr, "the node sent what is no packet: %s\n", sound.error().message.c_str());
        return false;
      }
      while (auto packet = reader.next())
        on_packet(*packet);
    }
  }

  /// Cancels everything; true when all of it has ended in time, so that this object may be destroyed.
  bool wind_up() {
    std::unique_lock lock(mutex_);
    for (auto& [batch, control] : running_)
      control->cancelled = true;
    return idle_.wait_for(lock, farewell, [this] { return running_.empty() && loading_ == 0; });
  }

private:
  void on_packet(const wire::frames& packet) {
    const auto head = wire::peek(packet.header.span());
    if (!head.ok())
      return note("a message from the node does not decode: " + head.error().message);
    const auto type = head->type;
    if (type == worker::load::type)
      return on_load(packet, variant_id{head->request.value});
    if (type == worker::run::type)
      return on_run(packet, batch_id{head->request.value});
    if (type == worker::unload::type)
      return with<worker::unload>(packet, [this](const auto& message) { on_unload(message.variant); });
    if (type == worker::release::type)
      return with<worker::release>(packet, [this](const auto& message) { on_release(message); });
    if (type == worker::cancel::type)
      return with<worker::cancel>(packet, [this](const auto& message) { on_cancel(message.batch); });
    note("a message of a type that a model host does not know: " + std::to_string(static_cast<unsigned>(type)));
  }

  template <class Message, class Handler>
  void with(const wire::frames& packet, Handler handler) {
    auto message = wire::decode<Message>(packet, arenas_.get());
    if (message.ok())
      handler(*message);
    else
      note("a message from the node does not decode: " + message.error().message);
  }

  // -- residency: one thing after another, in a thread of its own, so that lanes go on meanwhile

  void on_load(const wire::frames& packet, variant_id variant) {
    auto request = wire::decode<worker::load>(packet, arenas_.get());
    if (!request.ok())
      return refuse_load(variant, request.error());
    count_load(+1);
    const bool taken = loader_.add(
        [this, request = std::move(*request)] {
          load_now(request);
          count_load(-1);
        },
        waiting_loads_limit);
    if (!taken) {
      count_load(-1);
      refuse_load(
          variant,
          {errc::overloaded, "the model host has " + std::to_string(waiting_loads_limit) + " loads waiting", {}});
    }
  }

  void load_now(const worker::load& request) {
    const auto start = host_clock::now();
    const auto before = resident_bytes();
    auto loaded = load_variant(request, environment_);
    if (!loaded.ok())
      return refuse_load(request.variant, loaded.error());
    const auto after = resident_bytes();
    worker::loaded answer;
    answer.measured = (*loaded)->measured();
    {
      const std::lock_guard lock(mutex_);
      variants_[request.variant] = std::move(loaded).value();
    }
    answer.variant = request.variant;
    answer.memory_bytes = after > before ? after - before : 0;
    answer.load_time = since(start);
    send_or_note(answer);
  }

  void refuse_load(variant_id variant, const error& why) {
    worker::loaded answer;
    answer.variant = variant;
    answer.code = why.code;
    answer.message = why.message;
    send_or_note(answer);
  }

  void count_load(int change) {
    const std::lock_guard lock(mutex_);
    loading_ += change;
    idle_.notify_all();
  }

  /// Behind the loads that came before it. Batches that run keep the variant until they end.
  void on_unload(variant_id variant) {
    const bool taken = loader_.add(
        [this, variant] {
          std::shared_ptr<resident_variant> gone; // outlives the lock: freeing a model takes time
          const std::lock_guard lock(mutex_);
          if (const auto found = variants_.find(variant); found != variants_.end()) {
            gone = std::move(found->second);
            variants_.erase(found);
          }
        },
        waiting_loads_limit + 1);
    if (!taken)
      note("an unload was dropped: too many loads wait");
  }

  // -- batches

  void on_run(const wire::frames& packet, batch_id batch) {
    auto decoded = wire::decode<worker::run>(packet, arenas_.get());
    if (!decoded.ok())
      return refuse_batch(batch, decoded.error());
    auto request = std::make_shared<worker::run>(std::move(*decoded));
    if (request->lane >= lanes_.size())
      return refuse_batch(batch, {errc::invalid_argument, "there is no lane " + std::to_string(request->lane), {}});
    auto control = std::make_shared<batch_control>();
    if (request->remaining < std::chrono::hours(24 * 365))
      control->deadline = host_clock::now() + request->remaining;
    std::shared_ptr<resident_variant> variant;
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = variants_.find(request->variant); found != variants_.end())
        variant = found->second;
      if (variant)
        running_[batch] = control;
    }
    if (!variant)
      return refuse_batch(
          batch, {errc::not_found, "variant " + to_string(request->variant) + " is not loaded in the model host", {}});
    const bool taken = lanes_[request->lane]->add(
        [this, request, control, variant] { run_now(*request, *control, *variant); }, waiting_batches_limit);
    if (!taken) {
      forget_batch(batch);
      refuse_batch(batch, {errc::overloaded,
                           "lane " + std::to_string(request->lane) + " has " + std::to_string(waiting_batches_limit) +
                               " batches waiting",
                           {}});
    }
  }

  void run_now(const worker::run& request, const batch_control& control, resident_variant& variant) {
    const auto start = host_clock::now();
    auto results = variant.run(request.lane, request.items, control);
    worker::done answer;
    answer.batch = request.batch;
    answer.executed = since(start);
    std::vector<wire::arena_ref> made;
    for (auto& result : results)
      answer.items.push_back(to_item(std::move(result), made));
    // Before the answer, so that a node that has it may reuse the id.
    forget_batch(request.batch);
    if (const auto sent = outbox_.send(answer); !sent.ok() && sent.error().code == errc::too_large) {
      for (const auto& ref : made)
        arena_->release(ref);
      refuse_batch(request.batch, sent.error());
    }
  }

  worker::item_result to_item(result<port_values> result, std::vector<wire::arena_ref>& made) {
    worker::item_result item;
    if (!result.ok()) {
      item.code = result.error().code;
      item.message = result.error().message;
      return item;
    }
    for (const auto& value : result.value())
      item.outputs.push_back(wire::share(value, *arena_, *arenas_, made));
    return item;
  }

  void refuse_batch(batch_id batch, const error& why) {
    worker::done answer;
    answer.batch = batch;
    answer.code = why.code;
    answer.message = why.message;
    send_or_note(answer);
  }

  void forget_batch(batch_id batch) {
    const std::lock_guard lock(mutex_);
    running_.erase(batch);
    idle_.notify_all();
  }

  void on_cancel(batch_id batch) {
    const std::lock_guard lock(mutex_);
    if (const auto found = running_.find(batch); found != running_.end())
      found->second->cancelled = true;
  }

  void on_release(const worker::release& message) {
    for (const auto& ref : message.blocks)
      if (ref.arena == arena_->id())
        arena_->release(ref);
  }

  // -- talking

  template <class Message>
  void send_or_note(const Message& message) {
    if (const auto sent = outbox_.send(message); !sent.ok())
      note("a message to the node could not be sent: " + sent.error().message);
  }

  /// For the node's log: it reads this process's standard error.
  static void note(const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); }

  const host_options options_;
  const std::shared_ptr<wire::arena> arena_;
  const std::shared_ptr<wire::arena_map> arenas_ = wire::arena_map::create();
  arena_memory outputs_;
  outbox outbox_;
  std::unique_ptr<runtime> runtime_;
  variant_environment environment_;

  std::mutex mutex_; ///< of the next four
  std::condition_variable idle_;
  std::map<variant_id, std::shared_ptr<resident_variant>> variants_;
  std::map<batch_id, std::shared_ptr<batch_control>> running_;
  int loading_ = 0;

  // Last, so that their threads end before what they use.
  work_queue loader_{"loader"};
  std::vector<std::unique_ptr<work_queue>> lanes_;
};

} // namespace

int serve(const host_options& options) {
  const auto usable = check_runtime();
  auto arena = wire::arena::create(options.arena_capacity_bytes);
  if (!arena.ok()) {
    std::fprintf(stderr, "%s\n", arena.error().message.c_str());
    return 1;
  }
  auto served = std::make_unique<host>(options, std::move(arena).value());
  served->greet(usable);
  const bool sound = served->read_packets();
  if (!served->wind_up())
    // Something runs that cannot be stopped. Its memory must not be taken from under it; the process ends, and the
    // arena is swept by the node.
    _exit(sound ? 0 : 1);
  served.reset();
  return sound ? 0 : 1;
}

} // namespace squall::executors::cpu
