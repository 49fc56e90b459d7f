#include "bench/calls/relay.hpp"

#include "bench/support.hpp"

#include <zmq.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace squall::bench {

namespace {

/// As many as Squall's own sockets hold.
constexpr int high_water_mark = 10'000;

zmq::socket_t make_socket(zmq::context_t& context, zmq::socket_type type) {
  zmq::socket_t socket{context, type};
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::sndhwm, high_water_mark);
  socket.set(zmq::sockopt::rcvhwm, high_water_mark);
  if (type == zmq::socket_type::router)
    socket.set(zmq::sockopt::router_mandatory, true);
  return socket;
}

zmq::socket_t bind_router(zmq::context_t& context) {
  auto socket = make_socket(context, zmq::socket_type::router);
  socket.bind("tcp://127.0.0.1:*");
  return socket;
}

zmq::socket_t connect_dealer(zmq::context_t& context, const std::string& endpoint) {
  auto socket = make_socket(context, zmq::socket_type::dealer);
  socket.connect(endpoint);
  return socket;
}

/// Waits for a message and drops what follows its first frame. From a ROUTER the first frame is who sent it.
void receive(zmq::socket_t& from, zmq::message_t& first) {
  (void)from.recv(first);
  zmq::message_t rest;
  for (bool more = first.more(); more; more = rest.more())
    (void)from.recv(rest);
}

void send(zmq::socket_t& to, const wire::frames& message) {
  const auto frame = [&](const shared_bytes& bytes, bool more) {
    to.send(zmq::const_buffer{bytes.data(), bytes.size()}, more ? zmq::send_flags::sndmore : zmq::send_flags::none);
  };
  frame(message.header, !message.payloads.empty());
  for (std::size_t i = 0; i < message.payloads.size(); ++i)
    frame(message.payloads[i], i + 1 < message.payloads.size());
}

void send(zmq::socket_t& router, const std::string& to, const wire::frames& message) {
  router.send(zmq::buffer(to), zmq::send_flags::sndmore);
  send(router, message);
}

/// The first message on a connection: only then a ROUTER knows whom to send to.
void introduce(zmq::socket_t& dealer, std::string_view as) { dealer.send(zmq::buffer(as), zmq::send_flags::none); }

/// Waits until a peer has introduced itself as each of these; their identities in that order.
std::vector<std::string> await_peers(zmq::socket_t& router, const std::vector<std::string>& wanted) {
  std::vector<std::string> identities(wanted.size());
  for (std::size_t missing = wanted.size(); missing > 0; --missing) {
    zmq::message_t from;
    zmq::message_t as;
    (void)router.recv(from);
    (void)router.recv(as);
    const auto found = std::find(wanted.begin(), wanted.end(), as.to_string_view());
    if (found == wanted.end())
      throw std::runtime_error{"a stranger came before all were there"};
    identities[static_cast<std::size_t>(found - wanted.begin())] = from.to_string();
  }
  return identities;
}

/// Tells a client that everybody is there, so that no request comes too early.
void welcome(zmq::socket_t& router, const std::string& client) {
  router.send(zmq::buffer(client), zmq::send_flags::sndmore);
  router.send(zmq::str_buffer("welcome"), zmq::send_flags::none);
}

using process_ptr = std::unique_ptr<child_process>;

/// Passes what comes from the client to the executor (the first peer), and, where `to_client` says so, what comes from
/// there to the client.
process_ptr scheduler(const wire::frames& to_executor, const wire::frames* to_client) {
  return std::make_unique<child_process>([&](const auto& tell) {
    zmq::context_t context;
    auto router = bind_router(context);
    tell(router.get(zmq::sockopt::last_endpoint));
    const auto peers = await_peers(router, {"executor", "client"});
    const std::string& executor = peers[0];
    const std::string& client = peers[1];
    welcome(router, client);
    zmq::message_t from;
    for (;;) {
      receive(router, from);
      if (from.to_string_view() != executor)
        send(router, executor, to_executor);
      else if (to_client)
        send(router, client, *to_client);
    }
  });
}

/// Answers the scheduler, or hands over to the next executor.
process_ptr first_executor(const std::string& scheduler, const std::string& next, const wire::frames& message) {
  return std::make_unique<child_process>([&](const auto& tell) {
    zmq::context_t context;
    auto work = connect_dealer(context, scheduler);
    introduce(work, "executor");
    auto forward = next.empty() ? zmq::socket_t{} : connect_dealer(context, next);
    if (!next.empty())
      introduce(forward, "executor");
    tell("-");
    zmq::message_t first;
    for (;;) {
      receive(work, first);
      send(next.empty() ? work : forward, message);
    }
  });
}

process_ptr middle_executor(const std::string& next, const wire::frames& message) {
  return std::make_unique<child_process>([&](const auto& tell) {
    zmq::context_t context;
    auto work = bind_router(context);
    tell(work.get(zmq::sockopt::last_endpoint));
    auto forward = connect_dealer(context, next);
    introduce(forward, "executor");
    await_peers(work, {"executor"});
    zmq::message_t from;
    for (;;) {
      receive(work, from);
      send(forward, message);
    }
  });
}

/// Answers the client, which connects to it, too.
process_ptr last_executor(const wire::frames& message) {
  return std::make_unique<child_process>([&](const auto& tell) {
    zmq::context_t context;
    auto work = bind_router(context);
    tell(work.get(zmq::sockopt::last_endpoint));
    const std::string client = await_peers(work, {"executor", "client"}).back();
    welcome(work, client);
    zmq::message_t from;
    for (;;) {
      receive(work, from);
      send(work, client, message);
    }
  });
}

class relay_of_processes final : public relay {
public:
  relay_of_processes(wire::frames request, std::vector<process_ptr> processes, const std::string& scheduler,
                     const std::string& answers)
      : request_(std::move(request)), processes_(std::move(processes)), requests_(connect_dealer(context_, scheduler)) {
    join(requests_);
    if (!answers.empty()) {
      answers_ = connect_dealer(context_, answers);
      join(answers_);
    }
  }

  void send_round(std::size_t count, std::size_t outstanding) override {
    auto& answers = answers_ ? answers_ : requests_;
    std::size_t sent = 0;
    for (; sent < std::min(count, outstanding); ++sent)
      send(requests_, request_);
    zmq::message_t first;
    for (std::size_t received = 0; received < count; ++received) {
      receive(answers, first);
      if (sent < count) {
        send(requests_, request_);
        ++sent;
      }
    }
  }

private:
  static void join(zmq::socket_t& socket) {
    introduce(socket, "client");
    zmq::message_t welcomed;
    receive(socket, welcomed);
  }

  wire::frames request_;
  std::vector<process_ptr> processes_; ///< before the context, which starts threads
  zmq::context_t context_;
  zmq::socket_t requests_;
  zmq::socket_t answers_; ///< empty: they come where the requests go
};

} // namespace

std::unique_ptr<relay> relay::through_scheduler(std::vector<wire::frames> hops) {
  std::vector<process_ptr> processes;
  processes.push_back(scheduler(hops.at(1), &hops.at(3)));
  const std::string endpoint = processes.front()->endpoint();
  processes.push_back(first_executor(endpoint, "", hops.at(2)));
  return std::make_unique<relay_of_processes>(hops.at(0), std::move(processes), endpoint, "");
}

std::unique_ptr<relay> relay::chain(std::vector<wire::frames> hops) {
  std::vector<process_ptr> processes;
  processes.push_back(last_executor(hops.at(4)));
  const std::string last = processes.back()->endpoint();
  processes.push_back(middle_executor(last, hops.at(3)));
  const std::string middle = processes.back()->endpoint();
  processes.push_back(scheduler(hops.at(1), nullptr));
  const std::string endpoint = processes.back()->endpoint();
  processes.push_back(first_executor(endpoint, middle, hops.at(2)));
  return std::make_unique<relay_of_processes>(hops.at(0), std::move(processes), endpoint, last);
}

} // namespace squall::bench
