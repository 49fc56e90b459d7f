#include "controller/turnstile.hpp"

#include <algorithm>

namespace squall::controller {

bool turnstile::room(const line& l) const {
  const auto steady = static_cast<std::uint64_t>(l.ends_per_ns * static_cast<double>(horizon.count()));
  return wide_ || l.inside < std::max({fewest, 2 * lanes_ * l.batch, steady});
}

bool turnstile::enter(client_id client, dag_id dag, std::uint32_t batch, call_id call) {
  line& l = lines_[{client, dag}];
  l.batch = std::max<std::uint32_t>(batch, 1);
  if (l.waiting.empty() && room(l)) {
    ++l.inside;
    return true;
  }
  l.waiting.push_back(call);
  ++waiting_;
  return false;
}

void turnstile::leave(client_id client, dag_id dag, time_point now) {
  const auto at = lines_.find({client, dag});
  if (at == lines_.end() || at->second.inside == 0)
    return;
  line& l = at->second;
  --l.inside;
  ++l.ended;
  if (const duration passed = now - l.since; passed >= stretch) {
    const double rate = static_cast<double>(l.ended) / static_cast<double>(passed.count());
    l.ends_per_ns = (l.ends_per_ns + rate) / 2;
    l.ended = 0;
    l.since = now;
  }
  if (!l.waiting.empty())
    changed_.push_back(at->first);
  drop_if_idle(at);
}

void turnstile::withdraw(client_id client, dag_id dag, call_id call) {
  const auto at = lines_.find({client, dag});
  if (at == lines_.end())
    return;
  waiting_ -= std::erase(at->second.waiting, call);
  drop_if_idle(at);
}

void turnstile::drop_if_idle(std::map<key, line>::iterator at) {
  // What is known of its rate is worth keeping only while somebody waits or is inside.
  if (at->second.inside == 0 && at->second.waiting.empty() && lines_.size() > 1000)
    lines_.erase(at);
}

std::vector<call_id> turnstile::take_ready() {
  std::vector<call_id> out;
  for (const key& k : std::exchange(changed_, {})) {
    const auto at = lines_.find(k);
    if (at == lines_.end())
      continue;
    line& l = at->second;
    while (!l.waiting.empty() && room(l)) {
      out.push_back(l.waiting.front());
      l.waiting.pop_front();
      --waiting_;
      ++l.inside;
    }
  }
  return out;
}

void turnstile::open(bool wide) {
  wide_ = wide;
  for (const auto& [k, l] : lines_)
    if (!l.waiting.empty())
      changed_.push_back(k);
}

} // namespace squall::controller
