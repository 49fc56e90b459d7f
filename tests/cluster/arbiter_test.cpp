#include "cluster/arbiter.hpp"

#include "kvs/store.hpp"
#include "kvs/store_service.hpp"
#include "tests/support/fake_post.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/// What candidates for leadership agree by must do, whichever engine it is.
namespace squall::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::fake_post;

constexpr actors::peer_id the_store{7};
constexpr actors::peer_id the_client{1};

/// An arbiter, and what carries its messages.
class engine {
public:
  virtual ~engine() = default;
  virtual arbiter& get() = 0;
  /// Lets answers come; called until they have.
  virtual void pump() = 0;
  /// Nobody answers any more.
  virtual void stop() = 0;
};

class store_engine final : public engine {
public:
  store_engine() { service_->start(service_post_); }
  arbiter& get() override { return *arbiter_; }
  void pump() override {
    for (auto& there : std::exchange(client_post_.sent, {})) {
      actors::incoming one{the_client, there.head, std::move(there.message)};
      service_->on_messages({&one, 1});
    }
    for (auto& back : std::exchange(service_post_.sent, {}))
      EXPECT_TRUE(client_->on_message({the_store, back.head, std::move(back.message)}));
  }
  void stop() override { client_post_.failing[the_store] = errc::unavailable; }

private:
  std::unique_ptr<kvs::store> store_ = kvs::open_memory();
  null_logger log_;
  fake_post service_post_;
  fake_post client_post_;
  std::unique_ptr<actors::role_service> service_ = kvs::make_store_service(*store_, nullptr, log_);
  std::unique_ptr<actors::store_client> client_ = actors::store_client::create(client_post_, the_store, seconds{5});
  std::unique_ptr<arbiter> arbiter_ = make_store_arbiter(*client_);
};

int free_port() {
  const int s = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  const bool bound = ::bind(s, reinterpret_cast<sockaddr*>(&at), size) == 0 &&
                     ::getsockname(s, reinterpret_cast<sockaddr*>(&at), &size) == 0;
  ::close(s);
  return bound ? ntohs(at.sin_port) : 0;
}

/// An etcd of its own, gone with the test.
class etcd_engine final : public engine {
public:
  static bool installed() { return ::access("/usr/bin/etcd", X_OK) == 0; }

  etcd_engine() {
    const std::string client = "http://127.0.0.1:" + std::to_string(free_port());
    const std::string peer = "http://127.0.0.1:" + std::to_string(free_port());
    const std::string name = "default=" + peer;
    folder_ = ::testing::TempDir() + "etcd-" + std::to_string(::getpid());
    std::filesystem::create_directories(folder_);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int nothing = ::open("/dev/null", O_RDWR);
      ::dup2(nothing, STDOUT_FILENO);
      ::dup2(nothing, STDERR_FILENO);
      ::execl("/usr/bin/etcd", "etcd", "--data-dir", folder_.c_str(), "--listen-client-urls", client.c_str(),
              "--advertise-client-urls", client.c_str(), "--listen-peer-urls", peer.c_str(),
              "--initial-advertise-peer-urls", peer.c_str(), "--initial-cluster", name.c_str(), nullptr);
      ::_exit(127);
    }
    arbiter_ = make_etcd_arbiter(client, "test", post_);
  }
  ~etcd_engine() override {
    end();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  void stop() override { end(); }
  void end() {
    if (pid_ <= 0)
      return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  arbiter& get() override { return *arbiter_; }
  void pump() override {
    if (post_.run_tasks() == 0)
      std::this_thread::sleep_for(milliseconds{2});
  }

private:
  std::string folder_;
  pid_t pid_ = 0;
  fake_post post_;
  std::unique_ptr<arbiter> arbiter_;
};

class Arbiter : public ::testing::TestWithParam<std::string> {
protected:
  void SetUp() override {
    if (GetParam() == "store") {
      engine_ = std::make_unique<store_engine>();
      return;
    }
    if (!etcd_engine::installed())
      GTEST_SKIP() << "etcd is not installed (apt-get install etcd-server)";
    engine_ = std::make_unique<etcd_engine>();
    const auto patience = std::chrono::steady_clock::now() + seconds{30};
    while (!read().ok() && std::chrono::steady_clock::now() < patience)
      std::this_thread::sleep_for(milliseconds{50});
  }

  template <class T>
  result<T> await(std::optional<result<T>>& answer) {
    const auto patience = std::chrono::steady_clock::now() + seconds{20};
    while (!answer && std::chrono::steady_clock::now() < patience)
      engine_->pump();
    return answer ? *answer : result<T>{errc::deadline_exceeded, "no answer"};
  }
  result<arbiter::versioned> read() {
    std::optional<result<arbiter::versioned>> answer;
    engine_->get().read([&](auto r) { answer = std::move(r); });
    return await(answer);
  }
  result<std::uint64_t> write(std::uint64_t expected, const lease_record& record) {
    std::optional<result<std::uint64_t>> answer;
    engine_->get().write(expected, record, [&](auto r) { answer = std::move(r); });
    return await(answer);
  }
  static lease_record record(std::uint64_t term, std::uint64_t holder) {
    return {term, holder, 3, seconds{3}, "tcp://127.0.0.1:77"};
  }

  std::unique_ptr<engine> engine_;
};

INSTANTIATE_TEST_SUITE_P(Engines, Arbiter, ::testing::Values("store", "etcd"), [](const auto& of) { return of.param; });

TEST_P(Arbiter, KeepsARecordThatOnlyWhoKnowsItsVersionReplaces) {
  const auto none = read();
  ASSERT_TRUE(none.ok()) << none.error().message;
  EXPECT_EQ(none->version, 0u);
  const auto first = write(0, record(1, ~0ull));
  ASSERT_TRUE(first.ok()) << first.error().message;
  const auto found = read();
  ASSERT_TRUE(found.ok()) << found.error().message;
  EXPECT_EQ(found->version, *first);
  EXPECT_EQ(found->record, record(1, ~0ull));

  EXPECT_EQ(write(0, record(2, 8)).error().code, errc::already_exists);
  EXPECT_EQ(write(*first + 1, record(2, 8)).error().code, errc::already_exists);
  EXPECT_EQ(read()->record, record(1, ~0ull)) << "nothing was written";

  const auto second = write(*first, record(2, 8));
  ASSERT_TRUE(second.ok()) << second.error().message;
  EXPECT_GT(*second, *first);
  const auto third = write(*second, record(1, ~0ull));
  ASSERT_TRUE(third.ok());
  EXPECT_NE(*third, *first) << "the same record, but another version";
  EXPECT_EQ(write(*first, record(9, 9)).error().code, errc::already_exists);
  EXPECT_EQ(write(*second, record(9, 9)).error().code, errc::already_exists);
}

TEST_P(Arbiter, OfTwoWhoTakeItAtOnceOneDoes) {
  std::optional<result<std::uint64_t>> answers[2];
  for (std::size_t i = 0; i < 2; ++i)
    engine_->get().write(0, record(1, i + 1), [&answers, i](auto r) { answers[i] = std::move(r); });
  const auto a = await(answers[0]);
  const auto b = await(answers[1]);
  EXPECT_NE(a.ok(), b.ok());
  EXPECT_EQ(read()->record.holder, a.ok() ? 1u : 2u);
}

TEST_P(Arbiter, ACandidateLeadsByItAndGivesItBack) {
  leadership_config config;
  config.self = 42;
  config.endpoint = "tcp://here";
  time_point now{seconds{1}};
  candidate one{config, now};
  std::uint64_t led = 0;
  bool back = false;
  const auto step = [&](const lease_event& fact) {
    one.step(now, fact);
    for (const lease_command& command : one.take_commands()) {
      if (const auto* r = std::get_if<read_record>(&command)) {
        const auto found = read();
        ASSERT_TRUE(found.ok());
        one.step(now, record_found{r->request, found->version, found->record});
      } else if (const auto* w = std::get_if<write_record>(&command)) {
        const auto written = write(w->expected_version, w->record);
        ASSERT_TRUE(written.ok()) << written.error().message;
        one.step(now, record_written{w->request, *written});
      } else if (const auto* begin = std::get_if<begin_to_lead>(&command)) {
        led = begin->term;
      } else if (std::holds_alternative<given_back>(command)) {
        back = true;
      }
    }
  };
  for (int i = 0; i < 10; ++i) {
    step(lease_tick{});
    now += milliseconds{400};
  }
  EXPECT_EQ(led, 1u);
  EXPECT_TRUE(one.leads(now));
  EXPECT_GT(read()->record.renewals, 1u);
  step(resign_wanted{});
  step(lease_tick{});
  step(lease_tick{});
  EXPECT_TRUE(back);
  EXPECT_EQ(read()->record.holder, 0u);
}

TEST_P(Arbiter, SaysSoWhenNobodyAnswers) {
  engine_->stop();
  EXPECT_EQ(read().error().code, errc::unavailable);
  EXPECT_EQ(write(0, record(1, 1)).error().code, errc::unavailable);
}

} // namespace
} // namespace squall::cluster
