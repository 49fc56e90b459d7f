#pragma once

#include "base/random.hpp"
#include "sim/agenda.hpp"

#include <cstdint>
#include <functional>
#include <map>

namespace squall::sim {

struct network_model {
  duration delay{0};
  duration jitter{0}; ///< up to so much more, uniform
  std::uint32_t lost_permille = 0;
};

/// Carries messages between places (node ids; 0 is the controller). Messages of one link keep their order; each may be
/// lost.
class network {
public:
  network(agenda& when, const network_model& model, std::uint64_t seed) : agenda_(when), model_(model), random_(seed) {}

  void send(std::uint64_t from, std::uint64_t to, std::function<void()> arrive) {
    if (from != to && random_.below(1000) < model_.lost_permille)
      return;
    deliver(from, to, std::move(arrive));
  }
  /// As send, but the message is never lost (a transport that repeats).
  void deliver(std::uint64_t from, std::uint64_t to, std::function<void()> arrive) {
    duration wait{0};
    if (from != to)
      wait = model_.delay +
             duration{static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(model_.jitter.count()) + 1))};
    time_point& last = last_[{from, to}];
    last = std::max(last, agenda_.now() + wait);
    agenda_.at(last, std::move(arrive));
  }

private:
  agenda& agenda_;
  network_model model_;
  random_source random_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, time_point> last_;
};

} // namespace squall::sim
