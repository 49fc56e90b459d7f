#include "controller/flow_control.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace squall::controller {

namespace {

/// The rate of ends is taken over stretches of this length.
constexpr duration stretch = std::chrono::milliseconds{100};
constexpr duration shortest_hint = std::chrono::milliseconds{1};
constexpr duration longest_hint = std::chrono::seconds{5};

} // namespace

/// `wait_ns`: until there is room, if what ends goes on ending; not a number when nothing has.
error flow_control::overloaded(std::string what, double wait_ns, std::uint64_t limit) const {
  duration hint = std::chrono::milliseconds{100};
  if (std::isfinite(wait_ns))
    hint = duration{static_cast<std::int64_t>(std::min(wait_ns, static_cast<double>(longest_hint.count())))};
  return {errc::overloaded, what + "; the limit is " + std::to_string(limit),
          std::clamp(hint, shortest_hint, longest_hint)};
}

result<> flow_control::check(client_id client, std::uint64_t bytes) const {
  static const client_flow none;
  const auto at = clients_.find(client);
  const client_flow& own = at == clients_.end() ? none : at->second;
  const double wait_bytes = static_cast<double>(bytes) / bytes_per_ns_;
  // A hundredth of the calls, so that those who come again do not come one by one.
  const auto wait_calls = [&](std::uint64_t limit) { return static_cast<double>(limit) / 100 / calls_per_ns_; };
  if (calls_ >= limits_.calls)
    return overloaded(std::to_string(calls_) + " calls are in flight", wait_calls(limits_.calls), limits_.calls);
  if (own.calls >= limits_.calls_of_client)
    return overloaded("the client has " + std::to_string(own.calls) + " calls in flight",
                      wait_calls(limits_.calls_of_client), limits_.calls_of_client);
  if (bytes_ + bytes > limits_.bytes && bytes_ > 0)
    return overloaded("the inputs of calls in flight have " + std::to_string(bytes_) + " bytes", wait_bytes,
                      limits_.bytes);
  if (own.bytes + bytes > limits_.bytes_of_client && own.bytes > 0)
    return overloaded("the inputs of the client's calls in flight have " + std::to_string(own.bytes) + " bytes",
                      wait_bytes, limits_.bytes_of_client);
  return {};
}

void flow_control::begin(client_id client, std::uint64_t bytes) {
  client_flow& flow = clients_[client];
  ++flow.calls;
  flow.bytes += bytes;
  ++calls_;
  bytes_ += bytes;
}

void flow_control::end(client_id client, std::uint64_t bytes, time_point now) {
  const auto at = clients_.find(client);
  if (at == clients_.end())
    return;
  at->second.bytes -= bytes;
  bytes_ -= bytes;
  --calls_;
  if (--at->second.calls == 0)
    clients_.erase(at);
  ended_bytes_ += bytes;
  ++ended_calls_;
  if (const duration passed = now - last_end_; passed >= stretch) {
    const auto average = [&](double& of, std::uint64_t& ended) {
      const double rate = static_cast<double>(std::exchange(ended, 0)) / static_cast<double>(passed.count());
      of = of > 0 ? (3 * of + rate) / 4 : rate;
    };
    average(bytes_per_ns_, ended_bytes_);
    average(calls_per_ns_, ended_calls_);
    last_end_ = now;
  }
}

} // namespace squall::controller
