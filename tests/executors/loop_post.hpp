#pragma once

#include "actors/role.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <vector>

#include <poll.h>

namespace squall::executors::testing {

/// The world of one role, as the bridge gives it, with watched descriptors and time and no messages. Run by the test's
/// own thread.
class loop_post final : public actors::post {
public:
  result<> send(actors::peer_id, wire::frames) override { return {errc::unsupported, "nobody is there"}; }
  result<actors::peer_id> connect(const std::string&, const std::string&) override {
    return {errc::unsupported, "nobody is there"};
  }
  void close(actors::peer_id) override {}
  actors::peer_id local(wire::role) const override { return {}; }
  time_point now() const override { return from_ns(std::chrono::steady_clock::now().time_since_epoch().count()); }
  void set_alarm(time_point) override {}
  void watch(int fd, std::function<void()> ready) override {
    if (ready)
      watched_[fd] = std::move(ready);
    else
      watched_.erase(fd);
  }
  void later(std::function<void()> task) override { tasks_.push_back(std::move(task)); }

  /// Serves the descriptors until `done`, calling `tick` each round; false when `limit` passes first.
  bool run_until(const std::function<bool()>& done, const std::function<void()>& tick,
                 std::chrono::milliseconds limit = std::chrono::seconds(30)) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!done()) {
      if (std::chrono::steady_clock::now() >= end)
        return false;
      std::vector<pollfd> waiting;
      for (const auto& [fd, ready] : watched_)
        waiting.push_back({fd, POLLIN, 0});
      poll(waiting.data(), waiting.size(), 10);
      for (const auto& one : waiting)
        if (one.revents != 0)
          if (const auto found = watched_.find(one.fd); found != watched_.end())
            std::function(found->second)();
      for (const auto& task : std::exchange(tasks_, {}))
        task();
      tick();
    }
    return true;
  }

private:
  std::map<int, std::function<void()>> watched_;
  std::vector<std::function<void()>> tasks_;
};

} // namespace squall::executors::testing
