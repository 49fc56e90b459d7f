#include "bench/support.hpp"

#include "base/check.hpp"
#include "wire/messages.hpp"

#include <zmq.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace squall::bench {

settings parse(int argc, char** argv) {
  settings s;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--json") {
      s.json = true;
    } else if (argument == "--smoke") {
      s.smoke = true;
    } else {
      std::fprintf(stderr, "usage: %s [--json] [--smoke]\n", argv[0]);
      std::exit(2);
    }
  }
  return s;
}

void pin_to_one_core() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  SQUALL_CHECK(::sched_getaffinity(0, sizeof allowed, &allowed) == 0);
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed))
      continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    SQUALL_CHECK(::sched_setaffinity(0, sizeof one, &one) == 0, core);
    return;
  }
}

std::int64_t now_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

double quantile(std::vector<double> values, double q) {
  SQUALL_CHECK(!values.empty());
  const auto at = std::min(values.size() - 1, static_cast<std::size_t>(q * static_cast<double>(values.size())));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

child_process::child_process(const std::function<void(const std::function<void(const std::string&)>&)>& serve) {
  std::array<int, 2> ends{};
  SQUALL_CHECK(::pipe(ends.data()) == 0);
  pid_ = ::fork();
  SQUALL_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    serve([&](const std::string& endpoint) {
      const std::string line = endpoint + "\n";
      SQUALL_CHECK(::write(ends[1], line.data(), line.size()) == static_cast<ssize_t>(line.size()));
    });
    ::_exit(0);
  }
  ::close(ends[1]);
  for (char c = 0; ::read(ends[0], &c, 1) == 1 && c != '\n';)
    endpoint_ += c;
  ::close(ends[0]);
  SQUALL_CHECK(!endpoint_.empty());
}

child_process::~child_process() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void serve_plain_echo(bool copy, const std::function<void(const std::string&)>& tell) {
  void* context = zmq_ctx_new();
  void* socket = zmq_socket(context, ZMQ_ROUTER);
  const int high_water_mark = 10'000;
  zmq_setsockopt(socket, ZMQ_SNDHWM, &high_water_mark, sizeof high_water_mark);
  zmq_setsockopt(socket, ZMQ_RCVHWM, &high_water_mark, sizeof high_water_mark);
  SQUALL_CHECK(zmq_bind(socket, "tcp://127.0.0.1:*") == 0);
  std::array<char, 128> endpoint{};
  std::size_t size = endpoint.size();
  SQUALL_CHECK(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint.data(), &size) == 0);
  tell(endpoint.data());
  zmq_msg_t identity;
  zmq_msg_t body;
  zmq_msg_init(&identity);
  zmq_msg_init(&body);
  for (;;) {
    SQUALL_CHECK(zmq_msg_recv(&identity, socket, 0) >= 0);
    SQUALL_CHECK(zmq_msg_recv(&body, socket, 0) >= 0);
    SQUALL_CHECK(zmq_msg_send(&identity, socket, ZMQ_SNDMORE) >= 0);
    if (copy) {
      zmq_msg_t made;
      zmq_msg_init_size(&made, zmq_msg_size(&body));
      std::memcpy(zmq_msg_data(&made), zmq_msg_data(&body), zmq_msg_size(&body));
      SQUALL_CHECK(zmq_msg_send(&made, socket, 0) >= 0);
    } else {
      SQUALL_CHECK(zmq_msg_send(&body, socket, 0) >= 0);
    }
  }
}

struct plain_client::holder {
  zmq_msg_t message;
};

plain_client::plain_client(const std::string& endpoint)
    : context_(zmq_ctx_new()), socket_(zmq_socket(context_, ZMQ_DEALER)), last_(new holder) {
  const int linger = 0;
  const int high_water_mark = 10'000;
  zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof linger);
  zmq_setsockopt(socket_, ZMQ_SNDHWM, &high_water_mark, sizeof high_water_mark);
  zmq_setsockopt(socket_, ZMQ_RCVHWM, &high_water_mark, sizeof high_water_mark);
  zmq_msg_init(&last_->message);
  SQUALL_CHECK(zmq_connect(socket_, endpoint.c_str()) == 0, endpoint);
}

plain_client::~plain_client() {
  zmq_msg_close(&last_->message);
  delete last_;
  zmq_close(socket_);
  zmq_ctx_term(context_);
}

void plain_client::send(std::span<const std::byte> message) {
  SQUALL_CHECK(zmq_send(socket_, message.data(), message.size(), 0) >= 0, zmq_strerror(zmq_errno()));
}

std::span<const std::byte> plain_client::receive(bool wait) {
  if (zmq_msg_recv(&last_->message, socket_, wait ? 0 : ZMQ_DONTWAIT) < 0) {
    SQUALL_CHECK(!wait && zmq_errno() == EAGAIN, zmq_strerror(zmq_errno()));
    return {};
  }
  SQUALL_CHECK(zmq_msg_more(&last_->message) == 0);
  return {static_cast<const std::byte*>(zmq_msg_data(&last_->message)), zmq_msg_size(&last_->message)};
}

double round_trip_p50(plain_client& client, const shared_bytes& message, std::size_t count, fnv1a& hash) {
  std::vector<double> times;
  times.reserve(count);
  const std::size_t warm_up = count / 10;
  for (std::size_t i = 0; i < warm_up + count; ++i) {
    const std::int64_t begun = now_ns();
    client.send(message.span());
    const auto back = client.receive();
    if (i < warm_up)
      continue;
    times.push_back(static_cast<double>(now_ns() - begun));
    hash.add(back);
  }
  return median(std::move(times));
}

double pipelined_rate(plain_client& client, const shared_bytes& message, std::size_t count, std::size_t window,
                      fnv1a& hash) {
  const std::int64_t begun = now_ns();
  std::size_t sent = 0;
  std::size_t received = 0;
  std::size_t bytes = 0;
  while (received < count) {
    for (; sent < count && sent - received < window; ++sent)
      client.send(message.span());
    // Waits for one, takes what else is there, but sends again before the window is empty.
    bytes += client.receive().size();
    ++received;
    while (received < sent && (sent == count || sent - received >= window / 2)) {
      const auto more = client.receive(false);
      if (more.empty())
        break;
      bytes += more.size();
      ++received;
    }
  }
  const double seconds = static_cast<double>(now_ns() - begun) * 1e-9;
  hash.add(bytes);
  return static_cast<double>(count) / seconds;
}

shared_bytes header_of_size(std::size_t size) {
  wire::query q;
  while (wire::encode(q, request_id{1}).header.size() < size)
    q.name += 'x';
  const auto header = wire::encode(q, request_id{1}).header;
  SQUALL_CHECK(header.size() == size, header.size(), size);
  return header;
}

comparison compare(std::size_t rounds, const std::function<double()>& ours, const std::function<double()>& reference) {
  std::vector<double> of_ours;
  std::vector<double> of_reference;
  for (std::size_t i = 0; i < rounds; ++i) {
    if (i % 2 == 0)
      of_ours.push_back(ours());
    of_reference.push_back(reference());
    if (i % 2 != 0)
      of_ours.push_back(ours());
  }
  return {median(std::move(of_ours)), median(std::move(of_reference))};
}

void report(const settings& s, const std::string& bench, const comparison& c, const std::string& unit,
            const fnv1a& work) {
  const double ratio = c.ours / c.reference;
  const auto hash = static_cast<unsigned long long>(work.value());
  if (s.json)
    std::printf(
        "{\"bench\": \"%s\", \"ratio\": %.4f, \"ours\": %.3f, \"reference\": %.3f, \"unit\": \"%s\", \"work_hash\": "
        "\"%016llx\"}\n",
        bench.c_str(), ratio, c.ours, c.reference, unit.c_str(), hash);
  else
    std::printf("%-20s ratio %.3f   ours %.1f   reference %.1f %s   work %016llx\n", bench.c_str(), ratio, c.ours,
                c.reference, unit.c_str(), hash);
}

} // namespace squall::bench
