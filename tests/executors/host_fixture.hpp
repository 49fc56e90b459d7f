#pragma once

#include "executors/worker_host.hpp"
#include "tests/executors/loop_post.hpp"
#include "tests/executors/models.hpp"

#include <csignal>
#include <map>
#include <mutex>

namespace squall::executors::testing {

/// Keeps what is logged.
class list_logger final : public logger {
public:
  void write(log_level, std::string_view, std::string_view message, const std::vector<log_field>&) override {
    lines.emplace_back(message);
  }
  std::vector<std::string> lines;
};

/// A real model host, driven as a node does, from the test's thread.
class HostTest : public ::testing::Test, public worker_listener {
protected:
  void start(std::uint32_t lanes = 2, const std::string& program = SQUALL_MODEL_HOST,
             std::size_t arena_bytes = 256 << 20) {
    worker_host_options options;
    options.program = program;
    options.lanes = lanes;
    options.arena_capacity_bytes = arena_bytes;
    auto started = worker_host::start(options, post_, *arenas_, *this, log_);
    ASSERT_TRUE(started.ok()) << started.error().message;
    host_ = std::move(started).value();
  }
  void start_and_wait(std::uint32_t lanes = 2) {
    start(lanes);
    ASSERT_TRUE(wait_for([this] { return !readies_.empty(); })) << "not ready";
    ASSERT_EQ(readies_.back().code, errc::ok) << readies_.back().message;
  }
  bool wait_for(const std::function<bool()>& done, std::chrono::milliseconds limit = std::chrono::seconds(30)) {
    return post_.run_until(
        done,
        [this] {
          if (host_ && host_->next_alarm() <= post_.now())
            host_->on_alarm();
        },
        limit);
  }

  wire::worker::loaded load(const wire::worker::load& request) {
    loaded_.erase(request.variant);
    const auto sent = host_->load(request);
    EXPECT_TRUE(sent.ok()) << sent.error().message;
    EXPECT_TRUE(wait_for([&] { return loaded_.contains(request.variant); }));
    return loaded_[request.variant];
  }
  static wire::worker::load onnx(variant_id variant, const cpu::model_request& model) {
    wire::worker::load request;
    request.variant = variant;
    request.spec = model.spec;
    request.inputs = model.inputs;
    request.outputs = model.outputs;
    request.model_path = model.path;
    return request;
  }
  static wire::worker::load builtin(variant_id variant, const std::string& name,
                                    std::map<std::string, std::string> parameters = {}) {
    wire::worker::load request;
    request.variant = variant;
    request.spec.name = "default";
    request.spec.target = name;
    request.spec.parameters = std::move(parameters);
    return request;
  }

  batch_id begin(variant_id variant, std::vector<cpu::port_values> items, std::uint32_t lane = 0,
                 duration remaining = duration::max()) {
    wire::worker::run request;
    request.batch = batch_id{++last_batch_};
    request.lane = lane;
    request.variant = variant;
    request.remaining = remaining;
    request.items = std::move(items);
    const auto sent = host_->run(request);
    EXPECT_TRUE(sent.ok()) << sent.error().message;
    return request.batch;
  }
  wire::worker::done finish(batch_id batch) {
    EXPECT_TRUE(wait_for([&] { return done_.contains(batch); })) << "no answer";
    return done_[batch];
  }

  void on_ready(const wire::worker::ready& message) override { readies_.push_back(message); }
  void on_loaded(const wire::worker::loaded& message) override { loaded_[message.variant] = message; }
  void on_done(wire::worker::done message) override { done_[message.batch] = std::move(message); }
  void on_lost(const std::string& why) override { lost_.push_back(why); }

  list_logger log_;
  loop_post post_;
  std::shared_ptr<wire::arena_map> arenas_ = wire::arena_map::create();
  std::vector<wire::worker::ready> readies_;
  std::map<variant_id, wire::worker::loaded> loaded_;
  std::map<batch_id, wire::worker::done> done_;
  std::vector<std::string> lost_;
  std::uint64_t last_batch_ = 0;
  std::unique_ptr<worker_host> host_;
};

} // namespace squall::executors::testing
