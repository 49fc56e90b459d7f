#include "wire/endpoints.hpp"

#include <algorithm>

namespace squall::wire {

endpoint_list::endpoint_list(std::string_view text) {
  while (!text.empty()) {
    const auto end = std::min(text.find(','), text.size());
    add(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  given_ = all_.size();
}

void endpoint_list::add(std::string_view endpoint) {
  while (endpoint.starts_with(' '))
    endpoint.remove_prefix(1);
  while (endpoint.ends_with(' '))
    endpoint.remove_suffix(1);
  if (!endpoint.empty() && all_.size() < max_endpoints && std::find(all_.begin(), all_.end(), endpoint) == all_.end())
    all_.emplace_back(endpoint);
}

void endpoint_list::learn(const std::vector<std::string>& told) {
  const std::string guess = current();
  all_.resize(given_);
  for (const std::string& endpoint : told)
    add(endpoint);
  const auto at = std::find(all_.begin(), all_.end(), guess);
  at_ = at == all_.end() ? 0 : static_cast<std::size_t>(at - all_.begin());
}

const std::string& endpoint_list::current() const {
  static const std::string none;
  return all_.empty() ? none : all_[at_];
}

void endpoint_list::next() {
  if (!all_.empty())
    at_ = (at_ + 1) % all_.size();
}

std::string endpoint_list::text() const {
  std::string out;
  for (const std::string& endpoint : all_)
    out += (out.empty() ? "" : ",") + endpoint;
  return out;
}

} // namespace squall::wire
