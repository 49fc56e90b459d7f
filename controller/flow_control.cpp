#include "controller/flow_control.hpp"

#include <algorithm>
#include <string>

namespace squall::controller {

namespace {

/// The rate of ends is taken over stretches of this length.
constexpr duration stretch = std::chrono::milliseconds{100};
constexpr duration shortest_hint = std::chrono::milliseconds{1};
constexpr duration longest_hint = std::chrono::seconds{5};

} // namespace

error flow_control::overloaded(std::string what, std::uint64_t wanted, std::uint64_t limit) const {
  duration hint = std::chrono::milliseconds{100};
  if (bytes_per_ns_ > 0)
    hint = duration{static_cast<std::int64_t>(
        std::min(static_cast<double>(wanted) / bytes_per_ns_, static_cast<double>(longest_hint.count())))};
  return {errc::overloaded, what + "; the limit is " + std::to_string(limit),
          std::clamp(hint, shortest_hint, longest_hint)};
}

result<> flow_control::check(client_id client, std::uint64_t bytes) const {
  if (bytes_ + bytes > limits_.bytes && bytes_ > 0)
    return overloaded("the inputs of calls in flight have " + std::to_string(bytes_) + " bytes", bytes, limits_.bytes);
  const auto at = clients_.find(client);
  if (at != clients_.end() && at->second.bytes + bytes > limits_.bytes_of_client)
    return overloaded("the inputs of the client's calls in flight have " + std::to_string(at->second.bytes) + " bytes",
                      bytes, limits_.bytes_of_client);
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
  ended_since_ += bytes;
  if (const duration passed = now - last_end_; passed >= stretch) {
    const double rate = static_cast<double>(ended_since_) / static_cast<double>(passed.count());
    bytes_per_ns_ = bytes_per_ns_ > 0 ? (3 * bytes_per_ns_ + rate) / 4 : rate;
    ended_since_ = 0;
    last_end_ = now;
  }
}

bool flow_control::beyond_share(client_id client) const {
  const auto at = clients_.find(client);
  return at != clients_.end() && at->second.calls > std::max(a_few, calls_ / clients_.size());
}

} // namespace squall::controller
