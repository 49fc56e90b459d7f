#pragma once

#include "actors/bridge.hpp"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <thread>

namespace squall::actors::testing {

/// Answers each message with itself, keeps what happened to it, and does what the test gives it to do.
class echo_role final : public role_service {
public:
  struct record {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t messages = 0;
    std::size_t largest_batch = 0;
    std::size_t alarms = 0;
    bool started = false;
    bool stopped = false;
    std::vector<peer_id> lost;
    std::vector<incoming> kept;
    std::vector<errc> send_errors;
    std::set<std::thread::id> threads;
    post* out = nullptr;

    template <class F>
    bool wait(F until) {
      std::unique_lock lock{mutex};
      return changed.wait_for(lock, std::chrono::seconds{10}, until);
    }
  };

  explicit echo_role(std::shared_ptr<record> r) : record_(std::move(r)) {}

  std::function<void(post&)> at_start;
  std::function<void(post&, incoming&)> at_message; ///< instead of echoing

  void start(post& out) override {
    out_ = &out;
    note([&](record& r) {
      r.started = true;
      r.out = &out;
    });
    if (at_start)
      at_start(out);
  }
  void on_messages(std::span<incoming> messages) override {
    for (auto& m : messages) {
      if (at_message) {
        at_message(*out_, m);
      } else {
        const auto sent = out_->send(m.from, m.message);
        if (!sent.ok())
          note([&](record& r) { r.send_errors.push_back(sent.error().code); });
      }
    }
    note([&](record& r) {
      r.messages += messages.size();
      r.largest_batch = std::max(r.largest_batch, messages.size());
      for (auto& m : messages)
        if (r.kept.size() < 100)
          r.kept.push_back(m);
    });
  }
  void on_peer_lost(peer_id peer) override {
    note([&](record& r) { r.lost.push_back(peer); });
  }
  void on_alarm() override {
    note([](record& r) { ++r.alarms; });
  }
  void stop() override {
    note([](record& r) { r.stopped = true; });
  }

private:
  template <class F>
  void note(F f) {
    const std::lock_guard lock{record_->mutex};
    record_->threads.insert(std::this_thread::get_id());
    f(*record_);
    record_->changed.notify_all();
  }

  std::shared_ptr<record> record_;
  post* out_ = nullptr;
};

/// A bridge that runs in a thread of its own until the end of the test.
class running_bridge {
public:
  explicit running_bridge(bridge_options options = {}) {
    auto made = bridge::create(options, log_);
    SQUALL_CHECK(made.ok(), made.error().message);
    bridge_ = *std::move(made);
  }
  ~running_bridge() { stop(); }

  std::shared_ptr<echo_role::record> host(wire::role role, placing how, std::function<void(echo_role&)> prepare = {}) {
    auto record = std::make_shared<echo_role::record>();
    auto service = std::make_unique<echo_role>(record);
    if (prepare)
      prepare(*service);
    bridge_->host(role, std::move(service), how);
    return record;
  }
  void run() {
    thread_ = std::thread{[this] { bridge_->run(); }};
    id_ = thread_.get_id();
  }
  void stop() {
    if (!thread_.joinable())
      return;
    bridge_->stop();
    thread_.join();
  }
  bridge& operator*() { return *bridge_; }
  bridge* operator->() { return bridge_.get(); }
  [[nodiscard]] std::thread::id thread() const { return id_; }

private:
  null_logger log_;
  std::unique_ptr<bridge> bridge_;
  std::thread thread_;
  std::thread::id id_;
};

} // namespace squall::actors::testing
