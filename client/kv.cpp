#include "client/kv.hpp"

#include "client/detail/engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <deque>

namespace squall::client {

namespace {

using detail::engine;
using detail::pending_request;

/// Pieces on their way at once: enough to keep the store busy, few enough for any queue.
constexpr std::size_t pieces_in_flight = 4;
constexpr int read_attempts = 3;

result<wire::store_reply> reply_of(engine& engine, pending_request& request) {
  SQUALL_ASSIGN(reply, engine.finish<wire::store_reply>(request));
  if (reply.code != errc::ok)
    return error{reply.code, std::move(reply.message), reply.retry_after};
  return reply;
}

result<wire::store_entry> only_entry(const wire::store_reply& reply) {
  if (reply.entries.size() != 1)
    return {errc::corrupt, fmt::format("the store answered with {} entries for one key", reply.entries.size())};
  if (reply.entries[0].size_bytes > wire::max_value_bytes)
    return {errc::corrupt, fmt::format("the store claims {} bytes for one value", reply.entries[0].size_bytes)};
  return reply.entries[0];
}

std::uint64_t pieces_of(std::uint64_t total_bytes) {
  return std::max<std::uint64_t>(1, (total_bytes + wire::max_piece_bytes - 1) / wire::max_piece_bytes);
}

/// A few requests at once, whose answers are taken in order. Those left over when an error ends the work end by
/// themselves.
template <class Begin, class Use>
result<> pipelined(std::uint64_t first, std::uint64_t count, const Begin& begin, const Use& use) {
  std::deque<std::shared_ptr<pending_request>> in_flight;
  for (std::uint64_t begun = first, ended = first; ended < count;) {
    if (begun < count && in_flight.size() < pieces_in_flight) {
      in_flight.push_back(begin(begun++));
      continue;
    }
    SQUALL_TRY(use(ended++, *in_flight.front()));
    in_flight.pop_front();
  }
  return {};
}

/// Reads the pieces of one version of a value.
class value_reader {
public:
  value_reader(engine& engine, std::string_view key, const kv_progress& progress)
      : engine_(engine), key_(key), progress_(progress) {}

  /// Fails as data_loss when the value is replaced meanwhile.
  result<shared_bytes> read() {
    SQUALL_ASSIGN(first, reply_of(engine_, *ask(0)));
    SQUALL_ASSIGN(entry, only_entry(first));
    version_ = entry.version;
    bytes_.resize(entry.size_bytes);
    SQUALL_TRY(place(0, first));
    SQUALL_TRY(pipelined(
        1, pieces_of(entry.size_bytes), [this](std::uint64_t piece) { return ask(piece); },
        [this](std::uint64_t piece, pending_request& request) -> result<> {
          SQUALL_ASSIGN(reply, reply_of(engine_, request));
          return place(piece, reply);
        }));
    return shared_bytes::take(std::move(bytes_));
  }

private:
  std::shared_ptr<pending_request> ask(std::uint64_t piece) {
    return engine_.begin(wire::store_get{std::string{key_}, piece * wire::max_piece_bytes, wire::max_piece_bytes});
  }

  result<> place(std::uint64_t piece, const wire::store_reply& reply) {
    SQUALL_ASSIGN(entry, only_entry(reply));
    if (entry.version != version_)
      return {errc::data_loss,
              fmt::format("'{}' was replaced while it was read; read it again when its writer is done", key_)};
    const std::uint64_t offset = piece * wire::max_piece_bytes;
    const auto* tensor = reply.piece.as_tensor();
    const std::size_t size = tensor ? tensor->data.size() : 0;
    if (size != std::min<std::uint64_t>(wire::max_piece_bytes, bytes_.size() - offset))
      return {errc::corrupt, fmt::format("the store answered with {} bytes at {} of {}", size, offset, bytes_.size())};
    if (size > 0)
      std::memcpy(bytes_.data() + offset, tensor->data.data(), size);
    if (progress_)
      progress_(offset + size, bytes_.size());
    return {};
  }

  engine& engine_;
  std::string_view key_;
  const kv_progress& progress_;
  std::uint64_t version_ = 0;
  std::vector<std::byte> bytes_;
};

} // namespace

result<> kv::put(std::string_view key, const shared_bytes& value, const kv_put_options& options) {
  const std::uint64_t total = value.size();
  if (total > wire::max_value_bytes)
    return {errc::too_large,
            fmt::format("the value of '{}' has {} bytes; the limit is {}", key, total, wire::max_value_bytes)};
  wire::store_put request;
  request.key = key;
  request.total_bytes = total;
  request.durable = options.durable;
  request.upload = total > wire::max_piece_bytes ? engine_.fresh_id() : 0;
  const auto size_of = [&](std::uint64_t offset) {
    return std::min<std::uint64_t>(wire::max_piece_bytes, total - offset);
  };
  return pipelined(
      0, pieces_of(total),
      [&](std::uint64_t piece) {
        request.offset = piece * wire::max_piece_bytes;
        const std::uint64_t size = size_of(request.offset);
        request.piece = {functions::tensor{
            functions::datatype::uint8, {static_cast<std::int64_t>(size)}, value.slice(request.offset, size)}};
        return engine_.begin(request);
      },
      [&](std::uint64_t piece, pending_request& pending) -> result<> {
        SQUALL_TRY(reply_of(engine_, pending));
        const std::uint64_t offset = piece * wire::max_piece_bytes;
        if (options.progress)
          options.progress(offset + size_of(offset), total);
        return {};
      });
}

result<shared_bytes> kv::get(std::string_view key, const kv_progress& progress) {
  for (int attempt = 1;; ++attempt) {
    auto value = value_reader{engine_, key, progress}.read();
    if (value.ok() || value.error().code != errc::data_loss || attempt == read_attempts)
      return value;
  }
}

result<kv_entry> kv::stat(std::string_view key) {
  SQUALL_ASSIGN(reply, reply_of(engine_, *engine_.begin(wire::store_get{std::string{key}, 0, 0})));
  SQUALL_ASSIGN(entry, only_entry(reply));
  return kv_entry{std::move(entry.key), entry.size_bytes, entry.version};
}

result<> kv::erase(std::string_view key) {
  SQUALL_TRY(reply_of(engine_, *engine_.begin(wire::store_delete{std::string{key}})));
  return {};
}

result<std::vector<kv_entry>> kv::list(std::string_view prefix, std::string_view after, std::size_t limit) {
  constexpr std::size_t page = 1000;
  std::vector<kv_entry> entries;
  std::string last{after};
  for (bool more = true; more;) {
    const std::size_t wanted = limit == 0 ? page : std::min(page, limit - entries.size());
    SQUALL_ASSIGN(reply, reply_of(engine_, *engine_.begin(wire::store_list{std::string{prefix}, last,
                                                                           static_cast<std::uint32_t>(wanted)})));
    for (wire::store_entry& entry : reply.entries)
      entries.push_back({std::move(entry.key), entry.size_bytes, entry.version});
    more = reply.more && !reply.entries.empty() && (limit == 0 || entries.size() < limit);
    last = entries.empty() ? last : entries.back().key;
  }
  return entries;
}

} // namespace squall::client
