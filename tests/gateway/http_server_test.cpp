// The server over real sockets, spoken to in plain bytes.
#include "gateway/http_server.hpp"

#include "fake_port.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace squall::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// A connection that sends and reads bytes, and gives up reading after five seconds.
class plain_socket {
public:
  /// With a small `buffer` the kernel takes little for a client that does not read.
  explicit plain_socket(const std::string& address, int buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (buffer > 0)
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{5, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  }
  ~plain_socket() { ::close(fd_); }
  plain_socket(const plain_socket&) = delete;
  plain_socket& operator=(const plain_socket&) = delete;

  bool send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0)
        return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  /// Head and body of one response.
  std::string response() {
    std::string out = std::exchange(rest_, {});
    for (;;) {
      const std::size_t head = out.find("\r\n\r\n");
      if (head != std::string::npos) {
        const std::size_t length = out.find("Content-Length: ");
        const std::size_t size = head + 4 + (length < head ? std::stoul(out.substr(length + 16)) : 0);
        if (out.size() >= size) {
          rest_ = out.substr(size);
          return out.substr(0, size);
        }
      }
      std::array<char, 4096> some{};
      const ssize_t got = ::recv(fd_, some.data(), some.size(), 0);
      if (got <= 0)
        return out;
      out.append(some.data(), static_cast<std::size_t>(got));
    }
  }

  /// The first bytes of what has come, left there to be read. Waits for them.
  std::string begun() {
    std::array<char, 12> some{};
    const pollfd wanted{fd_, POLLIN, 0};
    std::array<pollfd, 1> list{wanted};
    if (::poll(list.data(), 1, 30'000) <= 0)
      return {};
    const ssize_t got = ::recv(fd_, some.data(), some.size(), MSG_PEEK);
    return {some.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
  }

  /// Whether the server has closed its side.
  bool closed() {
    char one = 0;
    return ::recv(fd_, &one, 1, 0) <= 0;
  }

private:
  int fd_;
  std::string rest_;
};

class HttpServer : public ::testing::Test {
protected:
  void start(http_options options = {}) {
    options.address = "127.0.0.1:0";
    options.software = "squall 0.1.0";
    auto started = http_server::start(options, port_, log_);
    ASSERT_TRUE(started.ok()) << started.error().message;
    server_ = std::move(started).value();
  }

  static std::string post(const std::string& body, const std::string& extra = "") {
    return "POST /v2/models/echo/infer HTTP/1.1\r\nHost: x\r\n" + extra +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }

  std::string ask(std::string_view bytes) {
    plain_socket s{server_->address()};
    s.send(bytes);
    return s.response();
  }

  null_logger log_;
  fake_port port_;
  std::unique_ptr<http_server> server_;
};

const std::string one_number = R"({"id":"i","inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1.5]}]})";

TEST_F(HttpServer, AnswersAnInference) {
  start();
  const std::string body =
      R"({"model_name":"echo","model_version":"3","id":"i","parameters":{"call":"77","stages_run":0,"stages_skipped":0},)"
      R"("outputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1.5]}]})";
  EXPECT_EQ(ask(post(one_number)),
            "HTTP/1.1 200 OK\r\nServer: squall 0.1.0\r\nContent-Type: application/json\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
}

TEST_F(HttpServer, KeepsConnectionsAndAnswersPipelinedRequestsInOrder) {
  start();
  plain_socket s{server_->address()};
  s.send("GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n" + post(one_number) +
         "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(s.response(), HasSubstr(R"({"live":true})"));
  EXPECT_THAT(s.response(), HasSubstr("model_name"));
  const std::string last = s.response();
  EXPECT_THAT(last, StartsWith("HTTP/1.1 404 Not Found"));
  EXPECT_THAT(last, HasSubstr("Connection: close"));
  EXPECT_TRUE(s.closed());
}

TEST_F(HttpServer, ErrorsCarryTheirHeaders) {
  start();
  EXPECT_THAT(ask("PUT /v2 HTTP/1.1\r\nHost: x\r\n\r\n"), HasSubstr("Allow: GET\r\n"));
  port_.down = error{errc::unavailable, "no nodes", 5s};
  const std::string down = ask(post(one_number));
  EXPECT_THAT(down, StartsWith("HTTP/1.1 503 Service Unavailable"));
  EXPECT_THAT(down, HasSubstr("Retry-After: 5\r\n"));
  EXPECT_THAT(down, HasSubstr(R"({"error":"no nodes","code":"unavailable"})"));
}

TEST_F(HttpServer, TakesChunkedBodiesAndExpectations) {
  start();
  std::array<char, 16> size{};
  std::snprintf(size.data(), size.size(), "%zx", one_number.size());
  EXPECT_THAT(ask("POST /v2/models/echo/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
                  std::string{size.data()} + "\r\n" + one_number + "\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 200"));
  plain_socket s{server_->address()};
  const std::string whole = post(one_number, "Expect: 100-continue\r\n");
  s.send(whole.substr(0, whole.size() - one_number.size()));
  EXPECT_EQ(s.response(), "HTTP/1.1 100 Continue\r\n\r\n");
  s.send(one_number);
  EXPECT_THAT(s.response(), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServer, RefusesWhatIsNoHttp) {
  start();
  for (const char* bad :
       {"hello\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /\r\n\r\n", "POST /v2 HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n"}) {
    const std::string r = ask(bad);
    EXPECT_THAT(r, StartsWith("HTTP/1.1 400 Bad Request")) << bad;
    EXPECT_THAT(r, HasSubstr(R"("code":"invalid_argument")")) << bad;
  }
  EXPECT_THAT(ask("GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServer, BoundsHeadersAndBodies) {
  http_options options;
  options.max_body_bytes = 1000;
  options.max_bodies_bytes = 1500;
  start(options);
  EXPECT_THAT(ask("GET /v2 HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n"), StartsWith("HTTP/1.1 431"));
  const std::string refused = ask("POST /v2/models/echo/infer HTTP/1.1\r\nContent-Length: 1001\r\n\r\n");
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(refused, HasSubstr("limit of 1000 bytes"));
  EXPECT_THAT(ask("POST /v2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + std::string(4095, 'x')),
              StartsWith("HTTP/1.1 413"));
  plain_socket slow{server_->address()};
  slow.send("POST /v2/models/echo/infer HTTP/1.1\r\nContent-Length: 900\r\n\r\n");
  std::this_thread::sleep_for(100ms);
  const std::string full = ask("POST /v2/models/echo/infer HTTP/1.1\r\nContent-Length: 900\r\n\r\n");
  EXPECT_THAT(full, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(full, HasSubstr("Retry-After: 1"));
}

TEST_F(HttpServer, SlowClientsTimeOutAndHoldNobodyUp) {
  http_options options;
  options.idle_timeout = 300ms;
  options.transfer_timeout = 300ms;
  start(options);
  plain_socket silent{server_->address()};
  plain_socket half{server_->address()};
  half.send("GET /v2 HT");
  plain_socket body{server_->address()};
  body.send("POST /v2/models/echo/infer HTTP/1.1\r\nContent-Length: 900\r\n\r\nabc");
  EXPECT_THAT(ask("GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 200"));
  const auto ends = [](plain_socket& s) {
    const std::string last = s.response();
    return last.empty() || last.starts_with("HTTP/1.1 408");
  };
  EXPECT_TRUE(ends(silent));
  EXPECT_TRUE(ends(half));
  EXPECT_TRUE(ends(body));
}

TEST_F(HttpServer, AClientThatDoesNotReadIsCutOffAndOthersHaveTheirAnswers) {
  http_options options;
  options.transfer_timeout = 8s; // so long, that others come in between on a busy machine, too
  options.max_responses_bytes = 1 << 20;
  start(options);
  constexpr int numbers = 4'000'000; // more than the kernel takes for a client that does not read
  std::string data = "1";
  for (int i = 1; i < numbers; ++i)
    data += ",1";
  const std::string large = post(R"({"inputs":[{"name":"x","shape":[)" + std::to_string(numbers) +
                                 R"(],"datatype":"FP32","data":[)" + data + "]}]}");
  plain_socket lazy{server_->address(), 4096};
  ASSERT_TRUE(lazy.send(large));
  ASSERT_EQ(lazy.begun(), "HTTP/1.1 200"); // of two at a time the other one might be answered
  const auto shed = [&] { return ask(large).starts_with("HTTP/1.1 503"); };
  bool was_shed = false;
  for (int i = 0; i < 20 && !was_shed; ++i)
    was_shed = shed();
  EXPECT_TRUE(was_shed) << "there is no room for another large one";
  EXPECT_THAT(ask(post(one_number)), StartsWith("HTTP/1.1 200")) << "but for small ones";
  bool served = false;
  for (int i = 0; i < 150 && !served; ++i) {
    std::this_thread::sleep_for(200ms);
    served = !shed();
  }
  EXPECT_TRUE(served) << "the one that did not read is gone";
  EXPECT_LT(lazy.response().size(), 2 * numbers) << "it was cut off";
  EXPECT_TRUE(lazy.closed());
}

TEST_F(HttpServer, BoundsConnections) {
  http_options options;
  options.max_connections = 4;
  start(options);
  std::vector<std::unique_ptr<plain_socket>> held;
  for (int i = 0; i < 4; ++i) {
    held.push_back(std::make_unique<plain_socket>(server_->address()));
    held.back()->send("GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n");
    ASSERT_THAT(held.back()->response(), StartsWith("HTTP/1.1 200"));
  }
  plain_socket more{server_->address()};
  EXPECT_THAT(more.response(), HasSubstr("the limit of 4 connections is reached"));
  held.clear();
  std::this_thread::sleep_for(100ms);
  EXPECT_THAT(ask("GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServer, ManyClientsAtOnce) {
  start();
  std::atomic<int> right{0};
  {
    std::vector<std::jthread> clients;
    for (int c = 0; c < 32; ++c) {
      clients.emplace_back([&] {
        plain_socket s{server_->address()};
        for (int i = 0; i < 30; ++i) {
          s.send(post(one_number));
          right += s.response().starts_with("HTTP/1.1 200") ? 1 : 0;
        }
      });
    }
  }
  EXPECT_EQ(right, 32 * 30);
}

TEST_F(HttpServer, ALargeTensorGoesThrough) {
  start();
  std::string data;
  for (int i = 0; i < 1'000'000; ++i)
    data += (i == 0 ? "" : ",") + std::to_string(i % 1000) + ".5";
  const std::string r =
      ask(post(R"({"inputs":[{"name":"x","shape":[1000000],"datatype":"FP32","data":[)" + data + "]}]}"));
  EXPECT_THAT(r.substr(0, 100), StartsWith("HTTP/1.1 200"));
  EXPECT_TRUE(r.find(data) != std::string::npos);
}

TEST_F(HttpServer, GoesWhileCallsRun) {
  port_.hold = true;
  start();
  plain_socket s{server_->address()};
  s.send(post(one_number));
  for (int i = 0; i < 200 && (std::lock_guard{port_.mutex}, port_.held.empty()); ++i)
    std::this_thread::sleep_for(10ms);
  ASSERT_EQ(port_.held.size(), 1u);
  server_.reset();
  port_.held[0]();
  port_.held.clear();
  EXPECT_TRUE(s.closed());
}

TEST_F(HttpServer, RefusesAddressesThatItCannotServe) {
  start();
  const auto at = [&](const std::string& address) { return http_server::start({.address = address}, port_, log_); };
  const auto taken = at(server_->address());
  EXPECT_EQ(taken.error().code, errc::unavailable);
  EXPECT_THAT(taken.error().message, HasSubstr("cannot listen at " + server_->address()));
  EXPECT_EQ(at("0.0.0.0:0").error().code, errc::permission_denied);
  for (const char* bad : {"", "8000", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", "host.example:80"})
    EXPECT_EQ(at(bad).error().code, errc::invalid_argument) << bad;
}

} // namespace
} // namespace squall::gateway
