#include "executors/detail/service.hpp"

/// Where the values of calls lie, and when their memory goes (docs/data-plane.md).
namespace squall::executors {

void node_role::keep(call_id call, std::vector<functions::value>& values) {
  for (auto& v : values)
    v = blocks_.keep(call, std::move(v));
}

void node_role::adopt(call_id call, std::vector<functions::value>& values) {
  for (const auto& v : values)
    blocks_.adopt(call, v);
  keep(call, values);
}

/// While the worker has items of the call it may read its blocks, and write more.
void node_role::release_blocks(call_id call) {
  if (in_worker_.contains(call))
    release_when_idle_.push_back(call);
  else
    blocks_.release(call);
}

void node_role::item_left_worker(call_id call) {
  const auto found = in_worker_.find(call);
  if (found == in_worker_.end() || --found->second > 0)
    return;
  in_worker_.erase(found);
  if (std::erase(release_when_idle_, call) > 0)
    blocks_.release(call);
}

} // namespace squall::executors
