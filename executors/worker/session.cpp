#include "executors/worker/session.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>

#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

namespace squall::executors::worker {

namespace messages = wire::worker;

namespace {

std::uint64_t resident_bytes() {
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

/// Processor time of this batch: from now on, the kernel ends the process when it has used so much more.
void allow_cpu_time(duration more) {
  rusage used{};
  rlimit limit{};
  if (more <= duration{0} || getrusage(RUSAGE_SELF, &used) != 0 || getrlimit(RLIMIT_CPU, &limit) != 0)
    return;
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(more).count();
  limit.rlim_cur = static_cast<rlim_t>(used.ru_utime.tv_sec + used.ru_stime.tv_sec + 1 + seconds);
  setrlimit(RLIMIT_CPU, &limit);
}

bool readable(int socket) {
  pollfd source{socket, POLLIN, 0};
  return poll(&source, 1, 0) > 0;
}

/// Of a worker to spare, while nobody waits for it: after the fork every page that is written is a fault and a copy,
/// and every page of code a fault; a load and a first run would pay for some hundred.
void touch_own_pages() {
  constexpr std::uint64_t most_bytes = 16 << 20; // of one mapping
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::array<char, 5> rights{};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, rights.data()) != 3 || end - begin > most_bytes ||
        rights[0] != 'r' || rights[3] != 'p')
      continue;
    // A kernel that does not know this, or a mapping that cannot: it is only slower.
    (void)madvise(reinterpret_cast<void*>(begin), end - begin,
                  rights[1] == 'w' ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
  }
}

functions::value bytes_value(shared_bytes bytes) {
  const auto size = static_cast<std::int64_t>(bytes.size());
  return {functions::tensor{functions::datatype::uint8, {size}, std::move(bytes)}};
}

} // namespace

time_point clock_now() {
  return from_ns(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

int session::serve() {
  messages::ready ready;
  ready.pid = static_cast<std::uint64_t>(getpid());
  ready.runtime = "native";
  send(ready);
  while (const auto packet = next_packet())
    if (!handle(*packet))
      return 1;
  return 0;
}

/// In one system call. Fails when one is too large for the wire; nothing was sent then.
result<> session::write(std::span<wire::frames> packets) {
  packet_writer writer;
  for (auto& packet : packets)
    SQUALL_TRY(writer.add(std::move(packet)));
  (void)writer.write_to(socket_); // a socket that is gone is noticed by the reader
  return {};
}

template <class Message>
void session::send(const Message& message, request_id request) {
  std::array packet{wire::encode(message, request, {.local = &segments_})};
  if (const auto written = write(packet); !written.ok())
    std::fprintf(stderr, "a message to the node is too large: %s\n", written.error().message.c_str());
}

std::optional<wire::frames> session::next_packet() {
  for (;;) {
    if (auto packet = reader_.next())
      return packet;
    if (to_spare_ && segments_.complete() && !readable(socket_)) {
      touch_own_pages();
      to_spare_ = false;
    }
    const auto room = reader_.room();
    const auto got = receive(socket_, room, descriptors_);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return std::nullopt;
    if (const auto sound = reader_.advance(static_cast<std::size_t>(got)); !sound.ok()) {
      std::fprintf(stderr, "the node sent what is no packet: %s\n", sound.error().message.c_str());
      return std::nullopt;
    }
  }
}

bool session::handle(const wire::frames& packet) {
  const auto head = wire::peek(packet.header.span());
  if (!head.ok()) {
    std::fprintf(stderr, "the node sent what does not decode: %s\n", head.error().message.c_str());
    return false;
  }
  if (head->type == messages::run::type)
    on_run(packet);
  else if (head->type == messages::load::type)
    on_load(packet);
  else if (head->type == messages::segment::type)
    on_segment(packet);
  // Others need no answer: what is cancelled or released stands in memory, or is not of interest between batches.
  return true;
}

detail::unique_fd session::take_descriptor() {
  if (descriptors_.empty())
    return {};
  auto fd = std::move(descriptors_.front());
  descriptors_.pop_front();
  return fd;
}

void session::on_segment(const wire::frames& packet) {
  const auto message = wire::decode<messages::segment>(packet, nullptr);
  auto memory = take_descriptor();
  if (!message.ok())
    return;
  if (const auto taken = segments_.take(*message, std::move(memory)); !taken.ok())
    std::fprintf(stderr, "%s\n", taken.error().message.c_str());
}

void session::on_load(const wire::frames& packet) {
  to_spare_ = false;
  const auto started = clock_now();
  const auto before = resident_bytes();
  messages::loaded answer;
  auto request = wire::decode<messages::load>(packet, nullptr);
  if (!request.ok()) {
    answer.variant = variant_id{wire::peek(packet.header.span())->request.value};
    answer.code = request.error().code;
    answer.message = request.error().message;
    return send(answer);
  }
  answer.variant = request->variant;
  files_.push_back(take_descriptor());
  const auto path = "/proc/self/fd/" + std::to_string(files_.back().get());
  for (auto& [name, place] : request->resources) {
    files_.push_back(take_descriptor());
    place = "/proc/self/fd/" + std::to_string(files_.back().get());
    request->spec.parameters[name] = place;
  }
  auto loaded = native::function::load(path, *request, *this);
  if (loaded.ok()) {
    function_ = std::move(*loaded);
    cpu_time_ = request->spec.worker.cpu_time;
    const auto after = resident_bytes();
    answer.memory_bytes = after > before ? after - before : 0;
    answer.load_time = clock_now() - started;
  } else {
    answer.code = loaded.error().code;
    answer.message = loaded.error().message;
  }
  send(answer);
}

void session::on_run(const wire::frames& packet) {
  messages::done answer;
  const auto request = wire::decode<messages::run>(packet, &segments_);
  answer.batch = batch_id{wire::peek(packet.header.span())->request.value};
  if (!request.ok() || !function_) {
    answer.code = request.ok() ? errc::not_found : request.error().code;
    answer.message = request.ok() ? "nothing is loaded" : request.error().message;
    return send(answer);
  }
  segments_.reset();
  batch_ = request->batch;
  stream_ = request->stream;
  waited_ = duration{0};
  const auto started = clock_now();
  deadline_.reset();
  if (request->remaining < std::chrono::hours(24 * 365))
    deadline_ = started + request->remaining;
  allow_cpu_time(cpu_time_);
  auto results = function_->run(request->items, *this);
  answer.executed = clock_now() - started - waited_;
  for (auto& r : results) {
    auto& item = answer.items.emplace_back();
    if (r.ok()) {
      item.outputs = *std::move(r);
    } else {
      item.code = r.error().code;
      item.message = r.error().message;
    }
  }
  send(answer);
}

// -- what a function asks for

result<native::services::block> session::allocate(std::size_t size) {
  if (size > wire::max_value_bytes)
    return {errc::too_large,
            std::to_string(size) + " bytes are beyond the limit of " + std::to_string(wire::max_value_bytes)};
  if (size >= wire::share_threshold_bytes)
    if (const auto place = segments_.allocate(size))
      return block{*place, [p = *place] { return segments::freeze(p); }};
  if (size > wire::max_payload_bytes)
    return {errc::overloaded, "there is no room for " + std::to_string(size) + " more bytes of results"};
  auto memory = std::make_shared<std::vector<std::byte>>(size);
  return block{*memory, [memory] { return shared_bytes{memory, std::span<const std::byte>{*memory}}; }};
}

void session::log(int level, const std::string& text) {
  messages::note note;
  note.level = static_cast<std::uint8_t>(level);
  note.text = text;
  send(note);
}

bool session::cancelled() {
  return segments_.cancelled_batch() == batch_.value || (deadline_ && clock_now() >= *deadline_);
}

std::optional<duration> session::time_left() {
  if (!deadline_)
    return std::nullopt;
  return *deadline_ - clock_now();
}

result<> session::emit(std::uint32_t item, native::port_values outputs) {
  if (!stream_)
    return {};
  messages::partial message;
  message.batch = batch_;
  message.item = item;
  message.outputs = std::move(outputs);
  send(message);
  return {};
}

/// What was sent ahead must not wait behind what waits.
void session::refuse(batch_id batch) {
  messages::done message;
  message.batch = batch;
  message.code = errc::overloaded;
  message.message = "the function before it waits for another";
  send(message, request_id{batch.value});
}

std::optional<wire::frames> session::wait_for(request_id request) {
  while (auto packet = next_packet()) {
    const auto head = wire::peek(packet->header.span());
    if (head.ok() && (head->type == messages::returned::type || head->type == messages::state_reply::type) &&
        head->request == request)
      return packet;
    if (head.ok() && head->type == messages::run::type)
      refuse(batch_id{head->request.value});
  }
  _exit(0); // the node has gone in the middle of a function
}

result<messages::state_reply> session::ask_store(messages::state_request question) {
  const request_id request{++last_request_};
  std::array packet_out{wire::encode(question, request, {.local = &segments_})};
  SQUALL_TRY(write(packet_out));
  const auto packet = wait_for(request);
  SQUALL_ASSIGN(reply, wire::decode<messages::state_reply>(*packet, &segments_));
  if (reply.code != errc::ok)
    return {reply.code, reply.message};
  return reply;
}

result<shared_bytes> session::get(const std::string& key) {
  messages::state_request question;
  question.operation = "get";
  question.key = key;
  SQUALL_ASSIGN(reply, ask_store(std::move(question)));
  const auto* const bytes = reply.value.as_tensor();
  return bytes == nullptr ? shared_bytes{} : bytes->data;
}

result<> session::put(const std::string& key, shared_bytes value) {
  messages::state_request question;
  question.operation = "put";
  question.key = key;
  question.value = bytes_value(std::move(value));
  SQUALL_TRY(ask_store(std::move(question)));
  return {};
}

result<> session::erase(const std::string& key) {
  messages::state_request question;
  question.operation = "delete";
  question.key = key;
  SQUALL_TRY(ask_store(std::move(question)));
  return {};
}

result<std::vector<wire::wire_value>> session::call(std::uint32_t item, const std::string& target,
                                                    std::uint32_t version, std::vector<wire::wire_value> inputs) {
  if (!batch_)
    return {errc::invalid_argument, "a function cannot call others while it is loaded"};
  const auto began = clock_now();
  const request_id request{++last_request_};
  messages::call message;
  message.batch = batch_;
  message.item = item;
  message.target = target;
  message.version = version;
  message.inputs = std::move(inputs);
  messages::waiting waiting;
  waiting.batch = batch_;
  std::array both{wire::encode(message, request, {.local = &segments_}), wire::encode(waiting, request_id{})};
  SQUALL_TRY(write(both));
  const auto packet = wait_for(request);
  waited_ += clock_now() - began;
  SQUALL_ASSIGN(answer, wire::decode<messages::returned>(*packet, &segments_));
  if (answer.code != errc::ok)
    return {answer.code, "calling '" + target + "': " + answer.message};
  return std::move(answer.outputs);
}

} // namespace squall::executors::worker
