#include "gateway/http_server.hpp"

#include "gateway/routes.hpp"

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <algorithm>
#include <charconv>
#include <mutex>
#include <optional>
#include <thread>
#include <utility> // Boost 1.74's awaitable.hpp lacks it

namespace squall::gateway {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;

// -- addresses
// ----------------------------------------------------------------------------------------------------------

result<tcp::endpoint> endpoint_of(const http_options& options) {
  const std::string& text = options.address;
  const error wrong{errc::invalid_argument,
                    "'" + text + "' is no address to listen at; write it like 127.0.0.1:8000 or [::1]:8000",
                    {}};
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos)
    return wrong;
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + colon + 1, end, port);
  error_code failed;
  const auto ip = asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, failed);
  if (failed || parsed.ec != std::errc{} || parsed.ptr != end)
    return wrong;
  if (!ip.is_loopback() && !options.beyond_loopback)
    return {errc::permission_denied,
            "HTTP has no keys, so it is not offered at " + text +
                ", which other hosts can reach; listen at 127.0.0.1 and put a proxy before it, or allow it expressly"};
  return tcp::endpoint{ip, port};
}

std::string text_of(const tcp::endpoint& at) {
  const std::string ip = at.address().to_string();
  return (at.address().is_v6() ? "[" + ip + "]" : ip) + ":" + std::to_string(at.port());
}

// -- messages
// ---------------------------------------------------------------------------------------------------------------

constexpr std::size_t small_response_bytes = 64 << 10;

using request_parser = http::request_parser<http::string_body>;
using beast_response = http::response<http::string_body>;

std::string_view text_of(beast::string_view text) { return {text.data(), text.size()}; }

beast_response message_of(http_response response, const std::string& software, unsigned version, bool keep_alive) {
  beast_response out{static_cast<http::status>(response.status), version};
  out.set(http::field::server, software);
  out.set(http::field::content_type, response.content_type);
  if (!response.allow.empty())
    out.set(http::field::allow, response.allow);
  if (response.retry_after_s > 0)
    out.set(http::field::retry_after, std::to_string(response.retry_after_s));
  out.body() = std::move(response.body);
  out.keep_alive(keep_alive);
  out.prepare_payload();
  return out;
}

/// What a client is told whose request cannot be read; nothing when the connection is just gone.
std::optional<http_response> complaint(const error_code& why, const http_options& options) {
  if (why == http::error::body_limit)
    return failure({errc::too_large,
                    "the body is larger than the limit of " + std::to_string(options.max_body_bytes) + " bytes",
                    {}});
  if (why == http::error::header_limit || why == http::error::buffer_overflow) {
    auto out = failure({errc::too_large,
                        "the header is larger than the limit of " + std::to_string(options.max_header_bytes) + " bytes",
                        {}});
    out.status = 431;
    return out;
  }
  if (why == beast::error::timeout) {
    auto out = failure({errc::deadline_exceeded, "the request did not arrive in time", {}});
    out.status = 408;
    return out;
  }
  static const auto& parse_errors = make_error_code(http::error::bad_method).category();
  if (why.category() == parse_errors && why != http::error::end_of_stream && why != http::error::partial_message)
    return failure({errc::invalid_argument, "the request is no HTTP/1.1: " + why.message(), {}});
  return std::nullopt;
}

// -- the server
// -----------------------------------------------------------------------------------------------------------

/// Adds to a number for as long as it lives.
class lease {
public:
  lease(std::size_t& total, std::size_t amount) : total_(total), amount_(amount) { total_ += amount_; }
  ~lease() { total_ -= amount_; }
  lease(const lease&) = delete;
  lease& operator=(const lease&) = delete;

private:
  std::size_t& total_;
  const std::size_t amount_;
};

/// Shared with the callbacks of calls that run, which may come when the server is gone: the loop that they would wake
/// must still be there.
class core : public std::enable_shared_from_this<core> {
public:
  core(http_options options, serving_port& port, logger& log)
      : options_(std::move(options)),
        log_(log),
        acceptor_(loop_),
        workers_(std::make_unique<asio::thread_pool>(std::max(1U, options_.workers))),
        routes_(port, options_.software, [this](std::function<void()> task) { work(std::move(task)); }) {}

  result<std::string> listen() {
    SQUALL_ASSIGN(at, endpoint_of(options_));
    error_code failed;
    acceptor_.open(at.protocol(), failed);
    if (!failed)
      acceptor_.set_option(tcp::acceptor::reuse_address(true), failed);
    if (!failed)
      acceptor_.bind(at, failed);
    if (!failed)
      acceptor_.listen(asio::socket_base::max_listen_connections, failed);
    if (failed)
      return {errc::unavailable, "cannot listen at " + options_.address + ": " + failed.message() +
                                     "; stop the program that has the port, or choose another"};
    return text_of(acceptor_.local_endpoint());
  }

  void run() {
    asio::co_spawn(loop_, accept_all(), asio::detached);
    thread_ = std::thread{[this] { loop_.run(); }};
  }

  void stop() {
    loop_.stop();
    thread_.join();
    error_code ignored;
    acceptor_.close(ignored);
    // Tasks that wait hold on to this object, so they must go now.
    std::unique_ptr<asio::thread_pool> workers;
    {
      const std::lock_guard lock{workers_mutex_};
      workers = std::move(workers_);
    }
    workers->stop();
    workers->join();
  }

private:
  /// Dropped when the server has stopped.
  void work(std::function<void()> task) {
    const std::lock_guard lock{workers_mutex_};
    if (workers_)
      asio::post(*workers_, std::move(task));
  }

  asio::awaitable<void> accept_all() {
    for (;;) {
      error_code failed;
      tcp::socket socket = co_await acceptor_.async_accept(asio::redirect_error(asio::use_awaitable, failed));
      if (failed) {
        // Out of descriptors, most likely: give connections time to end.
        log_.warn("http", "cannot accept a connection", {{"why", failed.message()}});
        asio::steady_timer pause{loop_, std::chrono::milliseconds{100}};
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, failed));
        continue;
      }
      if (connections_ >= options_.max_connections) {
        turn_away(std::move(socket));
        continue;
      }
      asio::co_spawn(loop_, serve(std::move(socket)), [](const std::exception_ptr&) {});
    }
  }

  /// What fits into the socket's buffer, without waiting.
  void turn_away(tcp::socket socket) {
    const auto full = failure(
        {errc::overloaded, "the limit of " + std::to_string(options_.max_connections) + " connections is reached", {}});
    routes_.count(full.status);
    const std::string text =
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Type: application/json\r\n"
        "Content-Length: " +
        std::to_string(full.body.size()) + "\r\n\r\n" + full.body;
    error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(asio::buffer(text), ignored);
    socket.shutdown(tcp::socket::shutdown_send, ignored);
  }

  asio::awaitable<void> serve(tcp::socket socket) {
    const lease one{connections_, 1};
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    beast::tcp_stream stream{std::move(socket)};
    beast::flat_buffer buffer{options_.max_header_bytes + (64 << 10)};
    while (co_await serve_one(stream, buffer)) {
    }
    stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  // Coroutines take what they need by reference to a variable of the caller: g++ 12 destroys temporaries in a co_await
  // twice.

  /// One request and its response; false when the connection is to end.
  asio::awaitable<bool> serve_one(beast::tcp_stream& stream, beast::flat_buffer& buffer) {
    request_parser parser;
    parser.header_limit(static_cast<std::uint32_t>(options_.max_header_bytes));
    parser.body_limit(options_.max_body_bytes);
    error_code failed;
    stream.expires_after(options_.idle_timeout);
    co_await http::async_read_header(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, failed));
    if (failed) {
      co_await end_with(stream, failed);
      co_return false;
    }
    const std::size_t body_bytes = parser.content_length().value_or(parser.chunked() ? options_.max_body_bytes : 0);
    if (bodies_bytes_ + body_bytes > options_.max_bodies_bytes) {
      http_response full =
          failure({errc::overloaded, "the bodies of all requests are more than can be held; try again", {}});
      co_return co_await send(stream, full, 11, false);
    }
    const lease body{bodies_bytes_, body_bytes};
    stream.expires_after(options_.transfer_timeout);
    if (text_of(parser.get()[http::field::expect]) == "100-continue") {
      static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      co_await asio::async_write(stream, asio::buffer(go_on), asio::redirect_error(asio::use_awaitable, failed));
    }
    if (!failed)
      co_await http::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, failed));
    if (failed) {
      co_await end_with(stream, failed);
      co_return false;
    }
    const bool keep_alive = parser.get().keep_alive();
    const unsigned version = parser.get().version();
    stream.expires_never(); // a call takes as long as its deadline says
    http::request<http::string_body> message = parser.release();
    http_response response = co_await handled(message);
    co_return co_await send(stream, response, version, keep_alive);
  }

  asio::awaitable<void> end_with(beast::tcp_stream& stream, const error_code& why) {
    std::optional<http_response> last = complaint(why, options_);
    if (last)
      co_await send(stream, *last, 11, false);
  }

  /// Takes the response's body; false when the connection is to end.
  asio::awaitable<bool> send(beast::tcp_stream& stream, http_response& response, unsigned version, bool keep_alive) {
    // A small one always goes out, and one that is alone; those that do not fit beside what nobody reads do not.
    if (response.body.size() > small_response_bytes && responses_bytes_ > 0 &&
        responses_bytes_ + response.body.size() > options_.max_responses_bytes)
      response =
          failure({errc::overloaded,
                   "the response is made, but those that other clients have not read yet take the memory for it; "
                   "try again",
                   {}});
    const lease unread{responses_bytes_, response.body.size()};
    routes_.count(response.status);
    const beast_response message = message_of(std::move(response), options_.software, version, keep_alive);
    error_code failed;
    stream.expires_after(options_.transfer_timeout);
    co_await http::async_write(stream, message, asio::redirect_error(asio::use_awaitable, failed));
    co_return keep_alive && !failed;
  }

  /// The answer to a request: made by the workers and the cluster, awaited here.
  asio::awaitable<http_response> handled(http::request<http::string_body>& message) {
    http_request request{std::string{text_of(message.method_string())}, std::string{text_of(message.target())},
                         std::string{text_of(message["Inference-Header-Content-Length"])}, std::move(message.body())};
    return asio::async_initiate<const asio::use_awaitable_t<>&, void(http_response)>(
        [this](auto resume, http_request asked) {
          auto waiting = std::make_shared<decltype(resume)>(std::move(resume));
          auto done = [self = shared_from_this(), waiting](http_response response) mutable {
            asio::post(self->loop_,
                       [waiting, response = std::move(response)]() mutable { (*waiting)(std::move(response)); });
          };
          work([this, asked = std::move(asked), done = std::move(done)] { routes_.handle(asked, done); });
        },
        asio::use_awaitable, std::move(request));
  }

  const http_options options_;
  logger& log_;
  // Only the loop's thread touches these; connections that the loop still holds when it goes give their leases
  // back.
  std::size_t connections_ = 0;
  std::size_t bodies_bytes_ = 0;
  std::size_t responses_bytes_ = 0;
  asio::io_context loop_{1};
  tcp::acceptor acceptor_;
  std::mutex workers_mutex_;
  std::unique_ptr<asio::thread_pool> workers_; // null when stopped
  routes routes_;
  std::thread thread_;
};

class beast_server final : public http_server {
public:
  beast_server(std::shared_ptr<core> what, std::string address) : core_(std::move(what)), address_(std::move(address)) {
    core_->run();
  }
  ~beast_server() override { core_->stop(); }
  const std::string& address() const override { return address_; }

private:
  const std::shared_ptr<core> core_;
  const std::string address_;
};

} // namespace

result<std::unique_ptr<http_server>> http_server::start(const http_options& options, serving_port& port, logger& log) {
  auto made = std::make_shared<core>(options, port, log);
  SQUALL_ASSIGN(address, made->listen());
  return std::unique_ptr<http_server>{std::make_unique<beast_server>(std::move(made), std::move(address))};
}

} // namespace squall::gateway
