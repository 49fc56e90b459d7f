#include "executors/packet.hpp"
#include "tests/executors/host_fixture.hpp"

#include <fstream>

#include <sys/stat.h>

/// The node's end: processes that die, hang, or talk nonsense.
namespace squall::executors {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr variant_id first{1};

class WorkerHost : public testing::HostTest {
protected:
  /// A worker that is a shell script; descriptor 3 is its socket.
  std::string script(const std::string& body) {
    const auto path =
        ::testing::TempDir() + "worker-" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
    chmod(path.c_str(), 0700);
    return path;
  }
  /// A file that holds a message as it stands on the socket.
  template <class Message>
  std::string recorded(const Message& message) {
    const auto frames = wire::encode(message, request_id{});
    const auto prefix = packet_prefix(frames).value();
    const auto path =
        ::testing::TempDir() + "message-" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(prefix.data()), static_cast<std::streamsize>(prefix.size()))
        << frames.header.text();
    return path;
  }
  static bool arena_exists(std::uint64_t id) {
    char path[64];
    std::snprintf(path, sizeof path, "/dev/shm/squall-%016llx", static_cast<unsigned long long>(id));
    return std::filesystem::exists(path);
  }
};

TEST_F(WorkerHost, AMissingProgramIsAnErrorOfStart) {
  worker_host_options options;
  options.program = "/nowhere/squall-model-host";
  const auto started = worker_host::start(options, post_, *arenas_, *this, log_);
  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().code, errc::not_found);
  EXPECT_EQ(started.error().message, "cannot start /nowhere/squall-model-host: No such file or directory");
}

TEST_F(WorkerHost, NothingIsSentBeforeItIsReady) {
  start();
  EXPECT_EQ(host_->unload(first).error().code, errc::unavailable);
}

TEST_F(WorkerHost, AKilledWorkerIsReportedAndStartedAgain) {
  start_and_wait();
  const auto arena = host_->arena_id();
  const auto pid = host_->pid();
  ASSERT_TRUE(arena_exists(arena));
  ASSERT_EQ(load(builtin(first, "sleep", {{"milliseconds", "20000"}})).code, errc::ok);
  begin(first, {{functions::value{}}});
  wait_for([] { return false; }, 50ms);
  kill(pid, SIGKILL);
  ASSERT_TRUE(wait_for([this] { return !lost_.empty(); }));
  EXPECT_THAT(lost_[0], HasSubstr("killed by SIGKILL (Killed)"));
  EXPECT_EQ(host_->pid(), 0);
  EXPECT_EQ(host_->unload(first).error().code, errc::unavailable);
  EXPECT_FALSE(arena_exists(arena)) << "its memory is swept";

  ASSERT_TRUE(wait_for([this] { return readies_.size() == 2; }));
  EXPECT_NE(host_->pid(), pid);
  EXPECT_EQ(load(builtin(first, "argmax")).code, errc::ok) << "the new one works";
  EXPECT_TRUE(done_.empty());
}

TEST_F(WorkerHost, ItsEndLeavesNothingBehind) {
  start_and_wait();
  const auto arena = host_->arena_id();
  const auto pid = host_->pid();
  const auto begun = std::chrono::steady_clock::now();
  host_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 450ms) << "it ends by itself";
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_FALSE(arena_exists(arena));
}

TEST_F(WorkerHost, AWorkerInMidBatchEndsToo) {
  start_and_wait();
  const auto arena = host_->arena_id();
  ASSERT_EQ(load(builtin(first, "sleep", {{"milliseconds", "20000"}})).code, errc::ok);
  begin(first, {{functions::value{}}});
  host_.reset();
  EXPECT_FALSE(arena_exists(arena));
}

TEST_F(WorkerHost, TheLastLineOfACrashIsQuoted) {
  start(1, script("echo 'something came first' >&2; echo 'no licence found' >&2; exit 3"));
  ASSERT_TRUE(wait_for([this] { return !lost_.empty(); }));
  EXPECT_THAT(lost_[0], HasSubstr("exit status 3; its last line: no licence found"));
  EXPECT_THAT(log_.lines, ::testing::Contains("something came first"));
}

TEST_F(WorkerHost, CrashesInARowWaitLongerAndLonger) {
  start(1, script("exit 1"));
  std::vector<duration> pauses;
  while (pauses.size() < 3) {
    const auto seen = lost_.size();
    ASSERT_TRUE(wait_for([&] { return lost_.size() > seen; }));
    pauses.push_back(host_->next_alarm() - post_.now());
  }
  EXPECT_NEAR(static_cast<double>(pauses[0].count()), 1e8, 5e7);
  EXPECT_NEAR(static_cast<double>(pauses[1].count()), 2e8, 5e7);
  EXPECT_NEAR(static_cast<double>(pauses[2].count()), 4e8, 5e7);
}

TEST_F(WorkerHost, GarbageEndsTheWorker) {
  start(1, script("printf 'this is certainly not a packet of ours' >&3; exec sleep 60"));
  ASSERT_TRUE(wait_for([this] { return !lost_.empty(); }));
  EXPECT_THAT(lost_[0], HasSubstr("it sent what is no packet"));
}

TEST_F(WorkerHost, APacketThatIsNoMessageEndsTheWorker) {
  start(1, script(R"(printf '\003\000\000\000\000\000\000\000abc' >&3; exec sleep 60)"));
  ASSERT_TRUE(wait_for([this] { return !lost_.empty(); }));
  EXPECT_THAT(lost_[0], HasSubstr("it sent a message that does not decode"));
}

TEST_F(WorkerHost, HalfAPacketIsNotAMessage) {
  start(1, script(R"(printf '\003\000\000\000\000\000\000\000ab' >&3; exit 0)"));
  ASSERT_TRUE(wait_for([this] { return !lost_.empty(); }));
  EXPECT_THAT(lost_[0], HasSubstr("exit status 0"));
  EXPECT_TRUE(readies_.empty());
}

TEST_F(WorkerHost, AWorkerThatDoesNotReadIsOverloadedNotWaitedFor) {
  start(1, script("cat '" + recorded(wire::worker::ready{}) + "' >&3; exec sleep 60"));
  ASSERT_TRUE(wait_for([this] { return !readies_.empty(); }));
  wire::worker::run request;
  request.variant = first;
  request.items = {{functions::value{
      functions::tensor_of(functions::datatype::uint8, {8 << 20}, std::vector<std::uint8_t>(8 << 20))}}};
  errc code = errc::ok;
  for (std::uint64_t i = 1; i < 20 && code == errc::ok; ++i) {
    request.batch = batch_id{i};
    if (const auto sent = host_->run(request); !sent.ok())
      code = sent.error().code;
  }
  EXPECT_EQ(code, errc::overloaded);
}

} // namespace
} // namespace squall::executors
