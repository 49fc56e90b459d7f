#include "kvs/core/condition.hpp"
#include "kvs/store.hpp"
#include "wire/store_limits.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

namespace squall::kvs {

namespace {

using pieces = std::vector<shared_bytes>; // all of piece_bytes but the last

/// A copy: the bytes may lie in shared memory that their writer uses again.
pieces cut(const shared_bytes& value) {
  pieces out;
  for (std::size_t offset = 0; offset < value.size(); offset += piece_bytes)
    out.push_back(shared_bytes::copy_of(value.text().substr(offset, piece_bytes)));
  return out;
}

shared_bytes join(const shared_bytes& a, const shared_bytes& b) {
  std::vector<std::byte> out(a.span().begin(), a.span().end());
  out.insert(out.end(), b.span().begin(), b.span().end());
  return shared_bytes::take(std::move(out));
}

class memory_store final : public store {
public:
  result<entry> put(std::string_view key, shared_bytes value, bool) override {
    SQUALL_TRY(check(key, value.size()));
    const std::unique_lock lock{mutex_};
    return set(key, value.size(), cut(value));
  }

  result<entry> put_if(std::string_view key, std::uint64_t expected_version, shared_bytes value, bool) override {
    SQUALL_TRY(check(key, value.size()));
    SQUALL_TRY(core::check_one_piece(wire::quoted(key), value.size()));
    const std::unique_lock lock{mutex_};
    const auto found = values_.find(key);
    SQUALL_TRY(core::check_version(wire::quoted(key), expected_version,
                                   found == values_.end() ? 0 : found->second.head.version));
    return set(key, value.size(), cut(value));
  }

  result<> apply(const std::vector<write>& batch, bool) override {
    for (const write& w : batch)
      SQUALL_TRY(check(w.key, w.value.size()));
    const std::unique_lock lock{mutex_};
    for (const write& w : batch) {
      if (w.erase)
        values_.erase(w.key);
      else
        set(w.key, w.value.size(), cut(w.value));
    }
    return {};
  }

  result<std::uint64_t> begin(std::string_view key, std::uint64_t total_bytes) override {
    SQUALL_TRY(check(key, total_bytes));
    const std::unique_lock lock{mutex_};
    const std::uint64_t upload = ++last_number_;
    uploads_.emplace(upload, upload_state{std::string{key}, total_bytes, 0, {}});
    return upload;
  }

  result<> append(std::uint64_t upload, std::uint64_t offset, shared_bytes piece) override {
    const std::unique_lock lock{mutex_};
    const auto found = uploads_.find(upload);
    if (found == uploads_.end())
      return wire::no_such_upload(upload);
    upload_state& state = found->second;
    SQUALL_TRY(wire::check_piece(state.key, state.arrived_bytes, state.total_bytes, offset, piece.size()));
    state.arrived_bytes += piece.size();
    state.arrived.push_back(shared_bytes::copy_of(piece.text()));
    return {};
  }

  result<entry> commit(std::uint64_t upload, bool) override {
    const std::unique_lock lock{mutex_};
    const auto found = uploads_.find(upload);
    if (found == uploads_.end())
      return wire::no_such_upload(upload);
    SQUALL_TRY(wire::check_complete(found->second.key, found->second.arrived_bytes, found->second.total_bytes));
    const upload_state state = std::move(found->second);
    uploads_.erase(found);
    return set(state.key, state.total_bytes, state.arrived);
  }

  void abort(std::uint64_t upload) override {
    const std::unique_lock lock{mutex_};
    uploads_.erase(upload);
  }

  result<entry> stat(std::string_view key) override {
    SQUALL_TRY(wire::check_key(key));
    const std::shared_lock lock{mutex_};
    const auto found = values_.find(key);
    if (found == values_.end())
      return wire::no_such_key(key);
    return found->second.head;
  }

  result<shared_bytes> read(std::string_view key, std::uint64_t offset, std::size_t length,
                            std::uint64_t version) override {
    SQUALL_TRY(wire::check_key(key));
    const std::shared_lock lock{mutex_};
    const auto found = values_.find(key);
    if (found == values_.end())
      return wire::no_such_key(key);
    const held& value = found->second;
    if (version != 0 && version != value.head.version)
      return wire::replaced(key, version, value.head.version);
    if (offset >= value.head.size_bytes)
      return shared_bytes{};
    const std::size_t size = std::min({length, piece_bytes, static_cast<std::size_t>(value.head.size_bytes - offset)});
    const shared_bytes& first = value.data[offset / piece_bytes];
    const std::size_t skip = offset % piece_bytes;
    if (skip + size <= first.size())
      return first.slice(skip, size);
    const std::size_t here = first.size() - skip;
    return join(first.slice(skip, here), value.data[offset / piece_bytes + 1].slice(0, size - here));
  }

  result<> erase(std::string_view key, bool) override {
    SQUALL_TRY(wire::check_key(key));
    const std::unique_lock lock{mutex_};
    if (const auto found = values_.find(key); found != values_.end())
      values_.erase(found);
    return {};
  }

  result<std::vector<entry>> list(std::string_view prefix, std::string_view after, std::size_t limit) override {
    const std::shared_lock lock{mutex_};
    std::vector<entry> out;
    auto next = after < prefix ? values_.lower_bound(prefix) : values_.upper_bound(after);
    for (; next != values_.end() && out.size() < limit && next->first.starts_with(prefix); ++next)
      out.push_back(next->second.head);
    return out;
  }

  result<> sync() override { return {}; }

private:
  struct held {
    entry head;
    pieces data;
  };
  struct upload_state {
    std::string key;
    std::uint64_t total_bytes = 0;
    std::uint64_t arrived_bytes = 0;
    pieces arrived;
  };

  static result<> check(std::string_view key, std::uint64_t size_bytes) {
    SQUALL_TRY(wire::check_key(key));
    return wire::check_size(key, size_bytes);
  }

  entry set(std::string_view key, std::uint64_t size_bytes, pieces data) {
    entry head{std::string{key}, size_bytes, ++last_number_};
    values_.insert_or_assign(std::string{key}, held{head, std::move(data)});
    return head;
  }

  std::shared_mutex mutex_;
  std::map<std::string, held, std::less<>> values_;
  std::unordered_map<std::uint64_t, upload_state> uploads_;
  std::uint64_t last_number_ = 0; // of versions and uploads
};

} // namespace

std::unique_ptr<store> open_memory() { return std::make_unique<memory_store>(); }

} // namespace squall::kvs
