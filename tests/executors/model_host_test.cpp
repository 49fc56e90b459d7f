#include "executors/detail/child_process.hpp"
#include "tests/executors/host_fixture.hpp"

#include <chrono>
#include <iostream>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/// The model host, through its socket.
namespace squall::executors {
namespace {

using functions::datatype;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr variant_id first{1};

class ModelHost : public testing::HostTest {};

/// For a function whose only input is optional.
const cpu::port_values nothing = {functions::value{}};

functions::value text(std::string_view words) { return functions::scalar_value(words); }

TEST_F(ModelHost, SaysThatItIsReady) {
  start_and_wait();
  EXPECT_THAT(readies_[0].runtime, HasSubstr("OpenVINO 20"));
  EXPECT_EQ(readies_[0].pid, static_cast<std::uint64_t>(host_->pid()));
  EXPECT_NE(host_->arena_id(), 0U);
}

TEST_F(ModelHost, GivesWhatTheModelGivesInThisProcess) {
  SQUALL_NEEDS_MODEL("rec-v6-tiny");
  start_and_wait();
  const auto request = testing::rec_request();
  const auto loaded = load(onnx(first, request));
  ASSERT_EQ(loaded.code, errc::ok) << loaded.message;
  EXPECT_GT(loaded.memory_bytes, 1U << 20);
  EXPECT_GT(loaded.load_time, duration{0});

  const std::vector<cpu::port_values> items = {{{testing::striped_line(320, 0)}}, {{testing::striped_line(160, 1)}}};
  const auto done = finish(begin(first, items, 1));
  ASSERT_EQ(done.items.size(), 2U);
  EXPECT_GT(done.executed, duration{0});

  const auto runtime = cpu::runtime::create({.lanes = 2, .cache_folder = {}}).value();
  const auto direct = runtime->load(request).value();
  cpu::heap_memory memory;
  const auto expected = direct->run(0, items, memory, [] { return result<>(); });
  for (std::size_t i = 0; i < items.size(); ++i) {
    ASSERT_EQ(done.items[i].code, errc::ok) << done.items[i].message;
    const auto& output = *done.items[i].outputs[0].as_tensor();
    EXPECT_EQ(output, *expected[i].value()[0].as_tensor());
    const auto place = arenas_->locate(output.data);
    ASSERT_TRUE(place) << "outputs of this size travel through shared memory";
    EXPECT_EQ(place->arena, host_->arena_id());
  }
}

TEST_F(ModelHost, LoadsThatFailSayWhy) {
  SQUALL_NEEDS_MODEL("magika");
  start_and_wait();
  auto request = testing::magika_request();
  request.inputs[0].type = datatype::fp32;
  EXPECT_THAT(load(onnx(first, request)).message,
              HasSubstr("input 'bytes' is declared as FP32 [-1,2048], but the model has INT32 [?,2048]"));
  request = testing::magika_request();
  request.path = SQUALL_MODEL_HOST; // surely no model
  const auto no_model = load(onnx(first, request));
  EXPECT_EQ(no_model.code, errc::invalid_argument);
  EXPECT_THAT(no_model.message, HasSubstr("no model that can be read"));
  EXPECT_EQ(load(builtin(first, "no-such-thing")).code, errc::not_found);
  auto python = builtin(first, "x");
  python.spec.kind = functions::variant_kind::python;
  EXPECT_EQ(load(python).code, errc::unsupported);
  EXPECT_EQ(finish(begin(first, {{text("x")}})).items[0].code, errc::not_found) << "and nothing is loaded";
}

TEST_F(ModelHost, ABadItemFailsAlone) {
  SQUALL_NEEDS_MODEL("magika");
  start_and_wait();
  ASSERT_EQ(load(onnx(first, testing::magika_request())).code, errc::ok);
  const functions::value good{functions::tensor_of(datatype::int32, {1, 2048}, std::vector<std::int32_t>(2048, 65))};
  const auto done = finish(begin(first, {{good}, {text("no numbers")}, {good}}));
  ASSERT_EQ(done.items.size(), 3U);
  EXPECT_EQ(done.items[0].code, errc::ok);
  EXPECT_EQ(done.items[1].code, errc::invalid_argument);
  EXPECT_EQ(done.items[2].code, errc::ok);
  EXPECT_EQ(done.items[0].outputs, done.items[2].outputs);
}

TEST_F(ModelHost, UnloadsWhatIsNotNeeded) {
  start_and_wait();
  ASSERT_EQ(load(builtin(first, "prime", {{"n", "10"}})).code, errc::ok);
  ASSERT_TRUE(host_->unload(first).ok());
  // The unload is done by the loader, so a load behind it tells when it is over.
  ASSERT_EQ(load(builtin(variant_id{2}, "prime")).code, errc::ok);
  EXPECT_EQ(finish(begin(first, {nothing})).items[0].code, errc::not_found);
}

TEST_F(ModelHost, ABuiltinThatRunsLongCanBeCancelled) {
  start_and_wait();
  ASSERT_EQ(load(builtin(first, "sleep", {{"milliseconds", "20000"}})).code, errc::ok);
  const auto batch = begin(first, {nothing, nothing});
  EXPECT_FALSE(wait_for([&] { return done_.contains(batch); }, 100ms));
  host_->cancel(batch);
  const auto done = finish(batch);
  EXPECT_EQ(done.items[0].code, errc::cancelled);
  EXPECT_EQ(done.items[1].code, errc::cancelled);
  EXPECT_LT(done.executed, 10s);
}

TEST_F(ModelHost, ADeadlineEndsABuiltin) {
  start_and_wait();
  ASSERT_EQ(load(builtin(first, "sleep", {{"milliseconds", "20000"}})).code, errc::ok);
  const auto done = finish(begin(first, {nothing}, 0, 50ms));
  EXPECT_EQ(done.items[0].code, errc::deadline_exceeded);
}

TEST_F(ModelHost, LanesRunSideBySide) {
  start_and_wait();
  ASSERT_EQ(load(builtin(first, "sleep", {{"milliseconds", "200"}})).code, errc::ok);
  const auto start = std::chrono::steady_clock::now();
  const auto a = begin(first, {nothing}, 0);
  const auto b = begin(first, {nothing}, 1);
  finish(a);
  finish(b);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 390ms);
}

TEST_F(ModelHost, GivesMemoryBackAndSaysWhenThereIsNone) {
  SQUALL_NEEDS_MODEL("rec-v6-tiny");
  start(1, SQUALL_MODEL_HOST, 20 << 20);
  ASSERT_TRUE(wait_for([this] { return !readies_.empty(); }));
  ASSERT_EQ(load(onnx(first, testing::rec_request())).code, errc::ok);
  const std::vector<cpu::port_values> items = {{{testing::striped_line(320, 0)}}}; // its output is 1.1 MB
  std::vector<wire::arena_ref> held;
  std::string refusal;
  for (int i = 0; i < 40 && refusal.empty(); ++i) {
    const auto done = finish(begin(first, items));
    if (done.items[0].code == errc::ok)
      held.push_back(arenas_->locate(done.items[0].outputs[0].as_tensor()->data).value());
    else
      refusal = std::string(to_string(done.items[0].code));
  }
  EXPECT_EQ(refusal, "overloaded");
  EXPECT_GT(held.size(), 10U);
  done_.clear();
  host_->release(held);
  EXPECT_EQ(finish(begin(first, items)).items[0].code, errc::ok);
}

TEST_F(ModelHost, ValuesTravelBothWaysThroughSharedMemory) {
  start_and_wait();
  const auto arena = wire::arena::create(64 << 20).value();
  arenas_->add(arena);
  ASSERT_EQ(load(builtin(first, "argmax")).code, errc::ok);
  const functions::value numbers{functions::tensor_of(datatype::fp32, {1, 1 << 20}, std::vector<float>(1 << 20, 0.5F))};
  std::vector<wire::arena_ref> made;
  const auto shared = wire::share(numbers, *arena, *arenas_, made);
  ASSERT_EQ(made.size(), 1U);
  const auto done = finish(begin(first, {{shared}}));
  EXPECT_EQ(done.items[0].code, errc::ok) << done.items[0].message;
}

TEST_F(ModelHost, AValueThatIsGoneIsAnErrorOfItsBatch) {
  start_and_wait();
  ASSERT_EQ(load(builtin(first, "argmax")).code, errc::ok);
  auto arena = wire::arena::create(64 << 20).value();
  auto known = wire::arena_map::create();
  known->add(arena);
  arenas_->add(arena);
  const functions::value numbers{functions::tensor_of(datatype::fp32, {1, 1 << 20}, std::vector<float>(1 << 20, 0.5F))};
  std::vector<wire::arena_ref> made;
  const auto shared = wire::share(numbers, *arena, *arenas_, made);
  // Its file vanishes before the host has mapped it, as when its owner dies.
  std::filesystem::path folder("/dev/shm");
  char name[32];
  std::snprintf(name, sizeof name, "squall-%016llx", static_cast<unsigned long long>(arena->id()));
  ASSERT_TRUE(std::filesystem::remove(folder / name));
  const auto done = finish(begin(first, {{shared}, {shared}}));
  ASSERT_EQ(done.items.size(), 2U);
  EXPECT_EQ(done.items[1].code, errc::data_loss) << done.items[1].message;
}

TEST_F(ModelHost, ValuesBeyondTheLimitAreRefused) {
  start_and_wait();
  ASSERT_EQ(load(builtin(first, "argmax")).code, errc::ok);
  wire::worker::run request;
  request.batch = batch_id{1};
  request.variant = first;
  const std::size_t size = 300 << 20;
  const auto block = std::make_shared_for_overwrite<std::byte[]>(size);
  const functions::tensor huge{
      datatype::uint8, {static_cast<std::int64_t>(size)}, shared_bytes(block, {block.get(), size})};
  request.items = {{functions::value{huge}}};
  const auto sent = host_->run(request);
  ASSERT_FALSE(sent.ok());
  EXPECT_EQ(sent.error().code, errc::too_large);
  EXPECT_THAT(sent.error().message, HasSubstr("268435456"));
}

TEST_F(ModelHost, AnAnswerComesForEveryBatchEvenOnALaneThatIsNotThere) {
  start_and_wait(1);
  ASSERT_EQ(load(builtin(first, "argmax")).code, errc::ok);
  const auto done = finish(begin(first, {nothing, nothing, nothing}, 7));
  ASSERT_EQ(done.items.size(), 3U);
  EXPECT_EQ(done.items[2].message, "there is no lane 7");
}

/// What a host does on a socket that carries these bytes and is then closed: its exit status, and what it said.
std::string fate_of_host_given(std::string_view bytes) {
  auto child = detail::spawn(SQUALL_MODEL_HOST, {"--socket", std::to_string(detail::child_socket)}).value();
  EXPECT_EQ(write(child.socket.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  shutdown(child.socket.get(), SHUT_WR);
  int status = 0;
  waitpid(child.pid, &status, 0);
  std::string said(4096, '\0');
  const auto got = read(child.errors.get(), said.data(), said.size());
  said.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return detail::describe_status(status) + ": " + said;
}

TEST(ModelHostSocket, GarbageEndsTheProcessWithAWord) {
  EXPECT_THAT(fate_of_host_given("this is certainly not a packet of ours"),
              HasSubstr("exit status 1: the node sent what is no packet"));
}

TEST(ModelHostSocket, ATruncatedPacketIsTheEndOfTheStream) {
  EXPECT_EQ(fate_of_host_given(std::string_view("\x10\0\0\0\0\0\0\0half", 12)), "exit status 0: ");
}

TEST(ModelHostSocket, AMessageThatDoesNotDecodeIsPassedOver) {
  EXPECT_THAT(fate_of_host_given(std::string_view("\x03\0\0\0\0\0\0\0abc", 11)),
              HasSubstr("exit status 0: a message from the node does not decode"));
}

} // namespace
} // namespace squall::executors
