#include "executors/detail/block_ledger.hpp"

#include <algorithm>

namespace squall::executors {

namespace {

using functions::value;

template <class Visit>
void for_each_large_tensor(const value& v, const Visit& visit) {
  if (const auto* t = v.as_tensor()) {
    if (t->data.size() >= wire::share_threshold_bytes)
      visit(*t);
  } else if (const auto* list = v.as_list()) {
    for (const auto& element : *list)
      for_each_large_tensor(element, visit);
  }
}

bool has_large_tensor(const value& v) {
  bool found = false;
  for_each_large_tensor(v, [&](const functions::tensor&) { found = true; });
  return found;
}

} // namespace

template <class Visit>
void block_ledger::for_each_worker_block(const value& v, const Visit& visit) const {
  if (worker_arena_ == 0)
    return;
  for_each_large_tensor(v, [&](const functions::tensor& t) {
    if (const auto ref = known_->locate(t.data); ref && ref->arena == worker_arena_)
      visit(*ref);
  });
}

void block_ledger::set_worker_arena(std::uint64_t id) {
  if (worker_arena_ != 0 && worker_arena_ != id)
    for (auto& [call, h] : held_)
      h.worker.clear();
  worker_arena_ = id;
  released_.clear();
}

value block_ledger::keep(call_id call, value v) {
  if (!own_ || !has_large_tensor(v))
    return v;
  std::vector<wire::arena_ref> made;
  auto kept = wire::share(v, *own_, *known_, made);
  if (!made.empty()) {
    auto& own = held_[call].own;
    own.insert(own.end(), made.begin(), made.end());
  }
  return kept;
}

void block_ledger::adopt(call_id call, const value& v) {
  for_each_worker_block(v, [&](const wire::arena_ref& ref) {
    auto& row = held_[call].worker;
    const auto at =
        std::lower_bound(row.begin(), row.end(), ref, [](const auto& a, const auto& b) { return a.offset < b.offset; });
    if (at == row.end() || at->offset != ref.offset)
      row.insert(at, ref);
  });
  if (unowned_.empty())
    return;
  for_each_large_tensor(v, [&](const functions::tensor& t) {
    const auto ref = known_->locate(t.data);
    if (ref && std::erase(unowned_, *ref) > 0)
      held_[call].own.push_back(*ref);
  });
}

result<shared_bytes> block_ledger::make(std::size_t size, const std::function<result<>(std::span<std::byte>)>& fill) {
  if (own_ && size >= wire::share_threshold_bytes)
    if (const auto block = own_->allocate(size); block.ok()) {
      unowned_.push_back(block->ref);
      SQUALL_TRY(fill(block->bytes));
      return own_->freeze(*block);
    }
  std::vector<std::byte> bytes(size);
  SQUALL_TRY(fill(bytes));
  return shared_bytes::take(std::move(bytes));
}

void block_ledger::drop_unowned() {
  for (const auto& ref : std::exchange(unowned_, {}))
    own_->release(ref);
}

void block_ledger::discard(const value& v) {
  for_each_worker_block(v, [&](const wire::arena_ref& ref) { released_.push_back(ref); });
}

bool block_ledger::shared(const value& v) const {
  bool found = false;
  for_each_large_tensor(v, [&](const functions::tensor& t) { found |= known_->locate(t.data).has_value(); });
  return found;
}

bool block_ledger::in_worker(const value& v) const {
  bool found = false;
  for_each_worker_block(v, [&](const wire::arena_ref&) { found = true; });
  return found;
}

void block_ledger::give_back(const holding& h) {
  for (const auto& ref : h.own)
    own_->release(ref);
  released_.insert(released_.end(), h.worker.begin(), h.worker.end());
}

void block_ledger::release(call_id call) {
  const auto found = held_.find(call);
  if (found == held_.end())
    return;
  give_back(found->second);
  held_.erase(found);
}

void block_ledger::release_all() {
  for (const auto& [call, h] : held_)
    give_back(h);
  held_.clear();
}

void block_ledger::expire_at(call_id call, time_point at) {
  if (const auto found = held_.find(call); found != held_.end())
    found->second.expires = at;
}

void block_ledger::release_expired(time_point now) {
  for (auto it = held_.begin(); it != held_.end();) {
    if (it->second.expires > now) {
      ++it;
      continue;
    }
    give_back(it->second);
    it = held_.erase(it);
  }
}

} // namespace squall::executors
