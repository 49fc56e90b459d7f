#include "executors/detail/object_cache.hpp"

#include <utility>

namespace squall::executors {

void object_cache::fetch(object_source& from, const std::string& key, time_point now, duration max_age, found done) {
  if (const auto known = objects_.find(key); known != objects_.end()) {
    uses_.splice(uses_.end(), uses_, known->second.use);
    if (now - known->second.checked < max_age) {
      ++hits_;
      return done(known->second.bytes);
    }
  }
  auto& waiting = fetches_[key];
  waiting.push_back(std::move(done));
  if (waiting.size() > 1)
    return;
  from.stat(key, [this, &from, key, now](const result<wire::store_entry>& entry) { on_stat(from, key, now, entry); });
}

void object_cache::on_stat(object_source& from, const std::string& key, time_point now,
                           const result<wire::store_entry>& entry) {
  if (!entry.ok()) {
    forget(key);
    return finish(key, entry.error());
  }
  const auto version = entry->version;
  const auto known = objects_.find(key);
  if (known != objects_.end() && known->second.version == version) {
    ++hits_;
    known->second.checked = now;
    const auto bytes = known->second.bytes;
    return finish(key, bytes);
  }
  // It may change between the two questions: what was read then counts as the older version, and is asked for again.
  from.get(key, [this, key, version, now](const result<shared_bytes>& bytes) {
    if (bytes.ok())
      keep(key, version, *bytes, now);
    else
      forget(key);
    finish(key, bytes);
  });
}

void object_cache::keep(const std::string& key, std::uint64_t version, const shared_bytes& bytes, time_point now) {
  forget(key);
  if (bytes.size() > max_bytes_ / 4)
    return;
  used_bytes_ += bytes.size();
  objects_[key] = {version, bytes, now, uses_.insert(uses_.end(), key)};
  while (used_bytes_ > max_bytes_)
    forget(std::string{uses_.front()});
}

void object_cache::forget(const std::string& key) {
  const auto known = objects_.find(key);
  if (known == objects_.end())
    return;
  used_bytes_ -= known->second.bytes.size();
  uses_.erase(known->second.use);
  objects_.erase(known);
}

void object_cache::clear() {
  objects_.clear();
  uses_.clear();
  used_bytes_ = 0;
}

void object_cache::finish(const std::string& key, const result<shared_bytes>& outcome) {
  const auto waiting = fetches_.extract(key);
  if (waiting.empty())
    return;
  for (const auto& done : waiting.mapped())
    done(outcome);
}

} // namespace squall::executors
