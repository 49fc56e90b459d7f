#include "executors/user_workers.hpp"

#include "tests/executors/loop_post.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>

#include <signal.h>

/// Workers of user code, as real processes in their sandbox. What tries to break out is in functions/misbehave.cpp.
namespace squall::executors {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

class memory_log final : public logger {
public:
  void write(log_level, std::string_view, std::string_view text, const std::vector<log_field>&) override {
    lines.emplace_back(text);
  }
  std::vector<std::string> lines;
};

functions::value numbers(const std::vector<float>& x) {
  return {functions::tensor_of(functions::datatype::fp32, {static_cast<std::int64_t>(x.size())}, x)};
}

/// Children of this process.
std::size_t zygotes_of_python() {
  std::size_t count = 0;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", none)) {
    std::string words;
    std::getline(std::ifstream(entry.path() / "cmdline"), words);
    std::string status;
    std::getline(std::ifstream(entry.path() / "stat"), status);
    const auto parent = " " + std::to_string(getpid()) + " ";
    count += words.find("--zygote") != std::string::npos && words.find("_worker.py") != std::string::npos &&
             status.find(parent, status.rfind(')')) == status.rfind(')') + 3;
  }
  return count;
}

class UserWorkers : public ::testing::Test, public user_worker_listener {
protected:
  UserWorkers() {
    options_.program_folder = std::filesystem::path(SQUALL_WORKER).parent_path();
    options_.lanes = 2;
    options_.grace = 200ms;
  }

  void start() {
    workers_ = user_workers::create(
        options_, post_, *this,
        [](std::size_t size, const auto& fill) -> result<shared_bytes> {
          std::vector<std::byte> bytes(size);
          SQUALL_TRY(fill(bytes));
          return shared_bytes::take(std::move(bytes));
        },
        log_);
  }
  void TearDown() override {
    const auto limit = std::chrono::steady_clock::now() + 20s;
    std::vector<std::uint64_t> pids;
    if (workers_)
      for (const auto& i : workers_->instances())
        pids.push_back(i.pid);
    workers_.reset();
    for (const auto pid : pids)
      while (pid != 0 && kill(static_cast<pid_t>(pid), 0) == 0) {
        ASSERT_LT(std::chrono::steady_clock::now(), limit) << "worker " << pid << " is still there";
        usleep(2000);
      }
  }

  wire::worker::load request(variant_id variant, const std::string& what) {
    wire::worker::load out;
    out.variant = variant;
    out.function = what;
    out.spec.name = "default";
    out.spec.kind = functions::variant_kind::native;
    out.spec.target = "models/misbehave.so";
    out.spec.parameters["do"] = what;
    out.spec.worker = bounds_;
    functions::port x;
    x.name = "x";
    x.shape = {-1};
    auto y = x;
    y.name = "y";
    out.inputs = {x};
    out.outputs = {y};
    out.model_path = SQUALL_MISBEHAVE;
    return out;
  }
  wire::worker::loaded load(const std::string& what, bool repeatable = false) {
    if (!workers_)
      start();
    const variant_id variant{++last_variant_};
    const auto started = workers_->load(request(variant, what), repeatable);
    EXPECT_TRUE(started.ok()) << started.error().message;
    const auto before = loaded_.size();
    EXPECT_TRUE(wait_for([&] { return loaded_.size() > before; }));
    return loaded_.size() > before ? loaded_.back() : wire::worker::loaded{};
  }
  batch_id begin(const functions::value& x, duration remaining = duration::max(), bool stream = false) {
    wire::worker::run run;
    run.batch = batch_id{++last_batch_};
    run.variant = variant_id{last_variant_};
    run.items = {{x}};
    run.calls = {call_id{1}};
    run.remaining = remaining;
    run.stream = stream;
    const auto sent = workers_->run(run);
    EXPECT_TRUE(sent.ok()) << sent.error().message;
    return run.batch;
  }
  /// A batch of items with one number each.
  batch_id begin_together(const std::vector<float>& items) {
    wire::worker::run run;
    run.batch = batch_id{++last_batch_};
    run.variant = variant_id{last_variant_};
    for (const auto x : items) {
      run.items.push_back({numbers({x})});
      run.calls.push_back(call_id{run.items.size()});
    }
    run.remaining = duration::max();
    const auto sent = workers_->run(run);
    EXPECT_TRUE(sent.ok()) << sent.error().message;
    return run.batch;
  }
  wire::worker::item_result finish(batch_id batch) {
    EXPECT_TRUE(wait_for([&] { return done_.contains(batch); }));
    return done_.contains(batch) ? done_[batch].items.at(0) : wire::worker::item_result{};
  }
  wire::worker::item_result run(const functions::value& x = numbers({1})) { return finish(begin(x)); }
  /// Loads, runs once, and gives y[0].
  float number_of(const std::string& what) {
    const auto loaded = load(what);
    EXPECT_EQ(loaded.code, errc::ok) << loaded.message;
    const auto ran = run();
    EXPECT_EQ(ran.code, errc::ok) << ran.message;
    return ran.outputs.empty() ? -1 : functions::elements_of<float>(*ran.outputs[0].as_tensor())[0];
  }

  bool wait_for(const std::function<bool()>& done, std::chrono::milliseconds limit = 60s) {
    return post_.run_until(
        done,
        [this] {
          if (workers_->next_alarm() <= post_.now())
            workers_->on_alarm();
        },
        limit);
  }

  void on_user_loaded(const wire::worker::loaded& message) override { loaded_.push_back(message); }
  void on_user_done(wire::worker::done message) override { done_[message.batch] = std::move(message); }
  void on_user_item(batch_id batch, std::uint32_t item, wire::worker::item_result result, duration) override {
    items_.emplace_back(batch, item);
    ended_items_[{batch, item}] = std::move(result);
  }
  void on_user_pace(variant_id, std::uint32_t items) override { pace_.push_back(items); }
  void on_user_partial(batch_id, std::uint32_t, std::vector<functions::value> outputs) override {
    partials_.push_back(std::move(outputs));
  }
  void on_user_waiting(batch_id, bool waits) override { waits ? ++waits_ : --waits_; }
  void on_user_call(const worker_question& from, wire::worker::call message) override {
    questions_.emplace_back(from, std::move(message));
  }
  void on_user_state(const worker_question& from, wire::worker::state_request message) override {
    post_.later([this, from, message] {
      wire::worker::state_reply reply;
      if (message.operation == "put")
        store_[message.key] = message.value;
      else if (store_.contains(message.key))
        reply.value = store_[message.key];
      else
        reply.code = errc::not_found;
      workers_->state_reply(from, reply);
    });
  }
  void on_user_gone(std::uint64_t) override {}

  user_worker_options options_;
  functions::worker_spec bounds_;
  testing::loop_post post_;
  memory_log log_;
  std::unique_ptr<user_workers> workers_;
  std::vector<wire::worker::loaded> loaded_;
  std::map<batch_id, wire::worker::done> done_;
  std::vector<std::pair<batch_id, std::uint32_t>> items_; ///< that ended before their batch, in this order
  std::map<std::pair<batch_id, std::uint32_t>, wire::worker::item_result> ended_items_;
  std::vector<std::uint32_t> pace_;
  std::vector<std::vector<functions::value>> partials_;
  std::vector<std::pair<worker_question, wire::worker::call>> questions_;
  std::map<std::string, functions::value> store_;
  int waits_ = 0;
  std::uint64_t last_variant_ = 0;
  std::uint64_t last_batch_ = 0;
};

TEST_F(UserWorkers, RunAFunction) {
  ASSERT_EQ(load("echo").code, errc::ok) << loaded_.back().message;
  const auto ran = run(numbers({1, 2, 3}));
  ASSERT_EQ(ran.code, errc::ok) << ran.message;
  EXPECT_EQ(ran.outputs[0], numbers({1, 2, 3}));
  const auto instances = workers_->instances();
  ASSERT_EQ(instances.size(), 1U);
  EXPECT_EQ(instances[0].state, "idle");
  EXPECT_EQ(instances[0].batches, 1U);
  EXPECT_GT(instances[0].memory_bytes, 100'000U);
  EXPECT_NE(instances[0].pid, 0U);
}

TEST_F(UserWorkers, AFileThatWasPreparedIsInMemoryBeforeItsLoad) {
  start();
  const auto path = std::filesystem::path(::testing::TempDir()) / "prepared.so";
  std::filesystem::copy_file(SQUALL_MISBEHAVE, path, std::filesystem::copy_options::overwrite_existing);
  workers_->prepare_file(path);
  std::filesystem::remove(path);
  auto wanted = request(variant_id{++last_variant_}, "echo");
  wanted.model_path = path;
  ASSERT_TRUE(workers_->load(wanted, false).ok());
  ASSERT_TRUE(wait_for([&] { return !loaded_.empty(); }));
  EXPECT_EQ(loaded_.back().code, errc::ok) << loaded_.back().message;
  EXPECT_EQ(run().code, errc::ok);
}

TEST_F(UserWorkers, LargeValuesTravelThroughSharedMemoryAndItIsReused) {
  ASSERT_EQ(load("echo").code, errc::ok);
  for (int round = 0; round < 8; ++round) { // 128 MiB each way: more than the segments would take without reuse
    std::vector<float> x(4 << 20);
    std::iota(x.begin(), x.end(), static_cast<float>(round));
    const auto ran = run(numbers(x));
    ASSERT_EQ(ran.code, errc::ok) << ran.message;
    ASSERT_EQ(ran.outputs[0], numbers(x));
  }
}

TEST_F(UserWorkers, SeveralRunAtOnceAndTheRestWaits) {
  bounds_.max_instances = 2;
  ASSERT_EQ(load("spin").code, errc::ok);
  const auto first = begin(numbers({1}));
  const auto second = begin(numbers({1}));
  const auto third = begin(numbers({1}));
  ASSERT_TRUE(wait_for([&] {
    const auto all = workers_->instances();
    return std::count_if(all.begin(), all.end(), [](const auto& i) { return i.state == "busy"; }) == 2;
  }));
  EXPECT_EQ(workers_->instances().size(), 2U);
  workers_->cancel(third);
  EXPECT_EQ(finish(third).code, errc::cancelled);
  for (const auto batch : {first, second}) {
    workers_->cancel(batch);
    EXPECT_THAT(finish(batch).message, HasSubstr("it was told to stop"));
  }
  EXPECT_EQ(workers_->instances().size(), 2U) << "they stopped by themselves";
}

TEST_F(UserWorkers, IdleOnesGoDownToTheMinimum) {
  bounds_.min_instances = 1;
  bounds_.max_instances = 3;
  bounds_.keep_alive = 50ms;
  ASSERT_EQ(load("spin").code, errc::ok);
  const auto a = begin(numbers({1}));
  const auto b = begin(numbers({1}));
  ASSERT_TRUE(wait_for([&] { return workers_->instances().size() == 2; }));
  workers_->cancel(a);
  workers_->cancel(b);
  finish(a);
  finish(b);
  EXPECT_TRUE(wait_for([&] { return workers_->instances().size() == 1; }));
}

TEST_F(UserWorkers, AMinimumIsThereFromTheLoadOnAndAfterACrash) {
  bounds_.min_instances = 2;
  ASSERT_EQ(load("segfault").code, errc::ok);
  ASSERT_TRUE(wait_for([&] { return workers_->instances().size() == 2; }));
  EXPECT_EQ(run().code, errc::failed);
  EXPECT_TRUE(wait_for([&] { return workers_->instances().size() == 2; })) << ::testing::PrintToString(log_.lines);
}

TEST_F(UserWorkers, AnExceptionIsTheCallersMessage) {
  ASSERT_EQ(load("throw").code, errc::ok);
  EXPECT_EQ(run().message, "the answer is not 42");
  EXPECT_EQ(workers_->instances().size(), 1U) << "it lives on";
  ASSERT_EQ(load("throw-odd").code, errc::ok);
  EXPECT_EQ(run().code, errc::failed);
}

TEST_F(UserWorkers, ACrashComesWithItsSignalAndTheLastLinesOfTheLog) {
  ASSERT_EQ(load("segfault").code, errc::ok);
  const auto ran = run();
  EXPECT_EQ(ran.code, errc::failed);
  EXPECT_THAT(ran.message, HasSubstr("killed by SIGSEGV"));
  EXPECT_THAT(ran.message, HasSubstr("about to read address 8"));
  ASSERT_EQ(load("abort").code, errc::ok);
  EXPECT_THAT(run().message, HasSubstr("abort()"));
  ASSERT_EQ(load("exit").code, errc::ok);
  EXPECT_THAT(run().message, HasSubstr("exit status 7"));
}

TEST_F(UserWorkers, WhatHangsIsKilledAfterItsDeadline) {
  for (const std::string what : {"hang", "block-sigterm"}) {
    ASSERT_EQ(load(what).code, errc::ok);
    const auto ran = finish(begin(numbers({1}), 100ms));
    EXPECT_EQ(ran.code, errc::deadline_exceeded) << what;
    EXPECT_THAT(ran.message, HasSubstr("was killed"));
  }
}

TEST_F(UserWorkers, WhatDoesNotStopWhenCancelledIsKilled) {
  ASSERT_EQ(load("hang").code, errc::ok);
  const auto batch = begin(numbers({1}));
  workers_->cancel(batch);
  const auto ran = finish(batch);
  EXPECT_EQ(ran.code, errc::cancelled);
  EXPECT_THAT(ran.message, HasSubstr("did not stop"));
}

TEST_F(UserWorkers, BoundsOfMemoryHold) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer takes more address space than any bound";
#endif
  bounds_.memory_limit_bytes = 512 << 20;
  ASSERT_EQ(load("allocate").code, errc::ok);
  EXPECT_EQ(run().message, "no more memory");
}

TEST_F(UserWorkers, BoundsOfProcessorTimeHold) {
  bounds_.cpu_time = 1s;
  ASSERT_EQ(load("cpu").code, errc::ok);
  EXPECT_THAT(run().message, HasSubstr("SIGXCPU"));
}

TEST_F(UserWorkers, WrongOutputsAreNamed) {
  ASSERT_EQ(load("wrong-type").code, errc::ok);
  EXPECT_THAT(run().message, HasSubstr("output 'y'"));
  ASSERT_EQ(load("wrong-rank").code, errc::ok);
  EXPECT_THAT(run().message, HasSubstr("output 'y'"));
  ASSERT_EQ(load("no-output").code, errc::ok);
  EXPECT_THAT(run().message, HasSubstr("output 'y'"));
}

TEST_F(UserWorkers, GarbageOnItsChannelEndsTheWorkerAlone) {
  ASSERT_EQ(load("echo").code, errc::ok);
  const auto echo = last_variant_;
  ASSERT_EQ(load("garbage").code, errc::ok);
  EXPECT_THAT(run().message, HasSubstr("no packet"));
  ASSERT_EQ(load("close-channel").code, errc::ok);
  EXPECT_THAT(run().message, HasSubstr("closed its socket"));
  last_variant_ = echo;
  EXPECT_EQ(run(numbers({5})).outputs.at(0), numbers({5})) << "the others do not notice";
}

TEST_F(UserWorkers, AGigabyteOfPrintsHoldsNobodyUp) {
  ASSERT_EQ(load("echo").code, errc::ok);
  const auto echo = last_variant_;
  ASSERT_EQ(load("print").code, errc::ok);
  const auto printing = begin(numbers({1}));
  ASSERT_TRUE(wait_for([&] { return log_.lines.size() >= 100; }));
  last_variant_ = echo;
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(run(numbers({5})).code, errc::ok);
  EXPECT_FALSE(done_.contains(printing)) << "it waits for its pipe";
  EXPECT_LT(log_.lines.size(), 5000U);
  workers_->cancel(printing);
  EXPECT_EQ(finish(printing).code, errc::cancelled);
}

TEST_F(UserWorkers, ChildrenThatStayGoWithTheWorker) {
  EXPECT_EQ(number_of("children"), 3);
  const auto pid = workers_->instances().at(0).pid;
  const auto of_worker = "/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children";
  std::vector<pid_t> children;
  std::ifstream list(of_worker);
  for (pid_t child = 0; list >> child;)
    children.push_back(child);
  ASSERT_EQ(children.size(), 3U);
  workers_->unload(variant_id{last_variant_});
  EXPECT_TRUE(wait_for(
      [&] { return std::none_of(children.begin(), children.end(), [](pid_t child) { return kill(child, 0) == 0; }); }));
}

TEST_F(UserWorkers, ACrashLoopBacksOffAndSaysSo) {
  ASSERT_EQ(load("segfault").code, errc::ok);
  std::string message;
  for (int i = 0; i < 10 && message.find("times in a row") == std::string::npos; ++i)
    message = run().message;
  EXPECT_THAT(message, HasSubstr("function 'segfault' has crashed 3 times in a row"));
  const auto instances = workers_->instances();
  ASSERT_EQ(instances.size(), 1U);
  EXPECT_EQ(instances[0].state, "backing off");
  EXPECT_THAT(instances[0].problem, HasSubstr("SIGSEGV"));
}

TEST_F(UserWorkers, ARepeatableFunctionRunsOnceMoreWhenItsWorkerDied) {
  ASSERT_EQ(load("spin", true).code, errc::ok);
  const auto batch = begin(numbers({1}));
  ASSERT_TRUE(
      wait_for([&] { return workers_->instances().at(0).pid != 0 && workers_->instances()[0].state == "busy"; }));
  const auto first = workers_->instances()[0].pid;
  ASSERT_EQ(kill(static_cast<pid_t>(first), SIGKILL), 0);
  ASSERT_TRUE(wait_for([&] {
    const auto all = workers_->instances();
    return all.size() == 1 && all[0].pid != 0 && all[0].pid != first && all[0].state == "busy";
  }));
  EXPECT_FALSE(done_.contains(batch));
  workers_->cancel(batch);
  EXPECT_THAT(finish(batch).message, HasSubstr("told to stop"));
}

TEST_F(UserWorkers, LoadsThatFailSayWhy) {
  auto loaded = load("fly");
  EXPECT_EQ(loaded.code, errc::failed);
  EXPECT_THAT(loaded.message, HasSubstr("it cannot do 'fly'"));
  loaded = load("load-crash");
  EXPECT_EQ(loaded.code, errc::failed);
  EXPECT_THAT(loaded.message, HasSubstr("abort()"));
  auto other = request(variant_id{99}, "echo");
  other.model_path = "/bin/true";
  ASSERT_TRUE(workers_->load(other, false).ok());
  ASSERT_TRUE(wait_for([&] { return loaded_.size() == 3; }));
  EXPECT_EQ(loaded_.back().code, errc::invalid_argument);
  other.model_path = "/nowhere";
  EXPECT_EQ(workers_->load(other, false).error().code, errc::not_found);
}

TEST_F(UserWorkers, StateIsReadAndWritten) {
  EXPECT_EQ(number_of("state"), 1);
  EXPECT_EQ(functions::elements_of<float>(*run().outputs.at(0).as_tensor())[0], 2);
}

TEST_F(UserWorkers, PartialResultsComeBeforeTheLast) {
  ASSERT_EQ(load("stream").code, errc::ok);
  EXPECT_EQ(run().outputs.at(0), numbers({3}));
  EXPECT_TRUE(partials_.empty()) << "nobody wants them";
  EXPECT_EQ(finish(begin(numbers({1}), duration::max(), true)).outputs.at(0), numbers({3}));
  ASSERT_EQ(partials_.size(), 3U);
  EXPECT_EQ(partials_[1].at(0), numbers({1}));
}

TEST_F(UserWorkers, AFunctionCallsAnotherAndItsLaneIsGivenUpMeanwhile) {
  bounds_.max_instances = 1;
  ASSERT_EQ(load("nested").code, errc::ok);
  const auto outer = begin(numbers({2}));
  ASSERT_TRUE(wait_for([&] { return questions_.size() == 1 && waits_ == 1; }));
  EXPECT_EQ(questions_[0].second.target, "nested");
  EXPECT_EQ(questions_[0].second.inputs.at(0).value, numbers({1}));
  // The only instance waits; another is started, or this would never end.
  const auto inner = begin(numbers({0}));
  EXPECT_EQ(finish(inner).outputs.at(0), numbers({0}));
  wire::worker::returned answer;
  answer.outputs.push_back({"y", numbers({41})});
  workers_->returned(questions_[0].first, answer);
  EXPECT_EQ(waits_, 0);
  EXPECT_EQ(finish(outer).outputs.at(0), numbers({42}));
}

TEST_F(UserWorkers, AZygoteOfPackagesThatNobodyUsesEndsAndComesBack) {
  options_.unsandboxed = true; // what the sandbox shows of an interpreter is not of interest here
  options_.python = SQUALL_PYTHON;
  options_.python_worker = SQUALL_PYTHON_WORKER;
  options_.python_packages = ::testing::TempDir();
  options_.defaults.keep_alive = 200ms;
  start();
  const auto load_python = [&](bool with_packages) {
    auto wanted = request(variant_id{++last_variant_}, "python");
    wanted.spec.kind = functions::variant_kind::python;
    wanted.spec.target.clear();
    wanted.spec.parameters = {{"entry", "json:dumps"}};
    if (with_packages)
      wanted.spec.parameters["requirements"] = "a-package==1";
    const auto before = loaded_.size();
    EXPECT_TRUE(workers_->load(wanted, false).ok());
    EXPECT_TRUE(wait_for([&] { return loaded_.size() > before; }));
    EXPECT_EQ(loaded_.back().code, errc::ok) << loaded_.back().message;
  };
  load_python(false);
  load_python(true);
  EXPECT_EQ(zygotes_of_python(), 2U);
  ASSERT_TRUE(wait_for([&] { return zygotes_of_python() == 1; }));
  EXPECT_TRUE(workers_->instances().empty());
  EXPECT_THAT(log_.lines, ::testing::Contains(HasSubstr("nobody has used its packages")));
  load_python(true);
  EXPECT_EQ(zygotes_of_python(), 2U);
}

// -- several items for a function that takes one at a time

TEST_F(UserWorkers, ItemsOfOneBatchRunInOneWorkerAndEndOneByOne) {
  bounds_.max_instances = 2;
  ASSERT_EQ(load("doze").code, errc::ok);
  const auto batch = begin_together({3, 2, 1});
  ASSERT_TRUE(wait_for([&] { return done_.contains(batch); }));
  EXPECT_EQ(items_, (std::vector<std::pair<batch_id, std::uint32_t>>{{batch, 0}, {batch, 1}, {batch, 2}}));
  for (std::uint32_t i = 0; i < 3; ++i)
    EXPECT_EQ(ended_items_.at({batch, i}).outputs.at(0), numbers({3.0F - static_cast<float>(i)}));
  EXPECT_TRUE(done_[batch].items.empty());
  EXPECT_GE(done_[batch].executed, 6ms);
  EXPECT_EQ(workers_->instances().size(), 1U);
}

TEST_F(UserWorkers, ItemsBehindOneThatWaitsRunElsewhere) {
  bounds_.max_instances = 1;
  ASSERT_EQ(load("nested").code, errc::ok);
  const auto batch = begin_together({0, 1, 0, 0});
  ASSERT_TRUE(wait_for([&] { return items_.size() == 3; })); // all but the one that waits
  ASSERT_EQ(questions_.size(), 1U);
  EXPECT_EQ(questions_[0].second.batch, batch);
  EXPECT_EQ(questions_[0].second.item, 1U);
  EXPECT_EQ(waits_, 1);
  EXPECT_FALSE(done_.contains(batch));
  EXPECT_FALSE(ended_items_.contains({batch, 1}));
  wire::worker::returned answer;
  answer.outputs.push_back({"y", numbers({41})});
  workers_->returned(questions_[0].first, answer);
  ASSERT_TRUE(wait_for([&] { return done_.contains(batch); }));
  EXPECT_EQ(waits_, 0);
  EXPECT_EQ(ended_items_.at({batch, 1}).outputs.at(0), numbers({42}));
  for (const std::uint32_t i : {0U, 2U, 3U})
    EXPECT_EQ(ended_items_.at({batch, i}).outputs.at(0), numbers({0}));
}

TEST_F(UserWorkers, ACrashIsThatOfOneItem) {
  bounds_.max_instances = 1;
  ASSERT_EQ(load("frail").code, errc::ok);
  const auto batch = begin_together({1, -1, 2, 3});
  ASSERT_TRUE(wait_for([&] { return done_.contains(batch); }));
  EXPECT_EQ(ended_items_.at({batch, 1}).code, errc::failed);
  EXPECT_THAT(ended_items_.at({batch, 1}).message, HasSubstr("abort()"));
  for (const std::uint32_t i : {0U, 2U, 3U})
    EXPECT_EQ(ended_items_.at({batch, i}).code, errc::ok) << ended_items_.at({batch, i}).message;
}

TEST_F(UserWorkers, OneItemIsCancelledAndTheOthersGoOn) {
  bounds_.max_instances = 1;
  ASSERT_EQ(load("doze").code, errc::ok);
  const auto batch = begin_together({1, 60'000, 2, 3});
  ASSERT_TRUE(wait_for([&] { return items_.size() == 1; }));
  workers_->cancel(batch, 2); // it was sent and has not begun
  workers_->cancel(batch, 1);
  ASSERT_TRUE(wait_for([&] { return done_.contains(batch); }));
  EXPECT_EQ(ended_items_.at({batch, 0}).code, errc::ok);
  EXPECT_EQ(ended_items_.at({batch, 1}).code, errc::cancelled);
  EXPECT_EQ(ended_items_.at({batch, 3}).code, errc::ok) << ended_items_.at({batch, 3}).message;
}

TEST_F(UserWorkers, AWholeBatchIsCancelledWithAllItsItems) {
  bounds_.max_instances = 1;
  ASSERT_EQ(load("doze").code, errc::ok);
  const auto first = begin_together({60'000, 60'000});
  const auto second = begin_together({1, 60'000}); // waits for the worker
  workers_->cancel(second);
  ASSERT_TRUE(wait_for([&] { return done_.contains(second); }));
  workers_->cancel(first);
  ASSERT_TRUE(wait_for([&] { return done_.contains(first); }));
  for (const auto batch : {first, second})
    for (const std::uint32_t i : {0U, 1U})
      EXPECT_EQ(ended_items_.at({batch, i}).code, errc::cancelled);
}

TEST_F(UserWorkers, LargeItemsFollowEachOtherThroughTheSameMemory) {
  options_.segment_bytes = 8 << 20;
  bounds_.max_instances = 1;
  ASSERT_EQ(load("echo").code, errc::ok);
  wire::worker::run run;
  run.batch = batch_id{++last_batch_};
  run.variant = variant_id{last_variant_};
  for (int i = 0; i < 4; ++i)
    run.items.push_back({numbers(std::vector<float>(1 << 20, static_cast<float>(i)))}); // 4 MiB: one fits
  ASSERT_TRUE(workers_->run(run).ok());
  ASSERT_TRUE(wait_for([&] { return done_.contains(run.batch); }));
  for (std::uint32_t i = 0; i < 4; ++i)
    EXPECT_EQ(ended_items_.at({run.batch, i}).outputs.at(0), run.items[i][0]);
}

TEST_F(UserWorkers, WhatIsShortComesTogetherAndWhatIsLongDoesNot) {
  ASSERT_EQ(load("doze").code, errc::ok);
  for (int i = 0; i < 5000 && (pace_.empty() || pace_.back() == 1); ++i)
    ASSERT_EQ(run(numbers({0})).code, errc::ok);
  ASSERT_FALSE(pace_.empty());
  EXPECT_GT(pace_.back(), 1U);
  ASSERT_EQ(run(numbers({100})).code, errc::ok);
  EXPECT_EQ(pace_.back(), 1U);
}

// -- the sandbox

TEST_F(UserWorkers, SeeNothingOfTheHost) { EXPECT_EQ(number_of("read-host"), 0); }
TEST_F(UserWorkers, ReachNoNetwork) { EXPECT_EQ(number_of("reach-out"), 0); }
TEST_F(UserWorkers, ForkNoMoreThanTheyMay) {
  bounds_.processes = 16;
  EXPECT_LE(number_of("bomb"), 16);
}
TEST_F(UserWorkers, TraceAndSignalNobody) { EXPECT_EQ(number_of("trace"), 0); }
TEST_F(UserWorkers, HaveNoParentToKill) {
  EXPECT_EQ(number_of("kill-parents"), 0);
  EXPECT_EQ(run().code, errc::ok);
}
TEST_F(UserWorkers, FillNoMoreThanTheirScratchFolder) {
  bounds_.scratch_bytes = 8 << 20;
  EXPECT_LE(number_of("fill-disk"), 8);
}
TEST_F(UserWorkers, HoardNoMemoryOutsideTheirBounds) { EXPECT_EQ(number_of("hoard"), 0); }
TEST_F(UserWorkers, WriteNothingThatIsTheNodes) {
  ASSERT_EQ(load("write-inbox").code, errc::ok);
  const auto ran = run(numbers(std::vector<float>(1 << 20, 1.0F)));
  ASSERT_EQ(ran.code, errc::ok) << ran.message;
  EXPECT_EQ(functions::elements_of<float>(*ran.outputs[0].as_tensor())[0], 0);
}

} // namespace
} // namespace squall::executors
