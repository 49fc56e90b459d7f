#include "kvs/core/condition.hpp"
#include "kvs/core/layout.hpp"
#include "kvs/detail/folder_lock.hpp"
#include "kvs/detail/shared_flush.hpp"
#include "kvs/store.hpp"
#include "wire/store_limits.hpp"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/snapshot.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>

namespace squall::kvs {

namespace {

constexpr std::size_t max_batch_writes = 10'000;
/// A batch is copied as a whole by the engine, so what is beyond this is written ahead as uploads.
constexpr std::size_t batch_value_bytes = 4 << 20;
constexpr std::size_t cache_bytes = 64 << 20;
constexpr std::uint64_t format = 1;
/// Numbers are given out from a block that was reserved on the disk before, so that one that was seen is not given
/// again after a power cut undid the write that bore it.
constexpr std::uint64_t numbers_block = 1 << 20;

rocksdb::Slice slice_of(std::string_view text) { return {text.data(), text.size()}; }

std::string_view text_of(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

error error_of(const rocksdb::Status& status, const std::string& folder) {
  if (status.IsNoSpace())
    return {
        errc::unavailable,
        "the disk of the store's folder '" + folder + "' is full; free space there, and writes go on within seconds",
        {}};
  if (status.IsCorruption())
    return {errc::corrupt,
            "the store in '" + folder + "' is damaged (" + status.ToString() +
                "); restore the folder from a copy, or move it away to begin with an empty store",
            {}};
  if (status.IsIOError() || status.IsBusy() || status.IsTimedOut() || status.IsIncomplete() || status.IsAborted())
    return {errc::unavailable, "the store in '" + folder + "' cannot be used now: " + status.ToString(), {}};
  return {errc::internal, "the store in '" + folder + "' failed: " + status.ToString(), {}};
}

error corrupt_record(std::string_view key, const error& why) {
  return {
      errc::corrupt, "key " + wire::quoted(key) + " is damaged on the disk: " + why.message + "; write it again", {}};
}

/// An engine that finds no CURRENT file makes an empty store, and deletes what else lies there: a lost file would
/// become a lost store.
result<> check_not_beheaded(const std::string& folder) {
  std::error_code failed;
  if (std::filesystem::exists(folder + "/CURRENT", failed))
    return {};
  for (const auto& file : std::filesystem::directory_iterator{folder, failed}) {
    const std::string name = file.path().filename().string();
    if (name.starts_with("MANIFEST") || name.ends_with(".sst") || name.ends_with(".log"))
      return {errc::corrupt, "the store in '" + folder + "' is damaged (the file CURRENT is missing beside " + name +
                                 "); restore the folder from a copy, or move it away to begin with an empty store"};
  }
  return {};
}

rocksdb::DBOptions engine_options() {
  rocksdb::DBOptions o;
  o.create_if_missing = true;
  o.create_missing_column_families = true;
  o.max_background_jobs = 2;
  o.max_open_files = 512;
  o.max_total_wal_size = 256 << 20;
  o.bytes_per_sync = 1 << 20; // small steps of write-back, so that a sync does not wait for a whole file
  o.wal_bytes_per_sync = 1 << 20;
  o.info_log_level = rocksdb::WARN_LEVEL;
  o.keep_log_file_num = 2;
  o.max_log_file_size = 1 << 20;
  o.stats_dump_period_sec = 0; // an idle process must stay idle
  o.stats_persist_period_sec = 0;
  return o;
}

rocksdb::ColumnFamilyOptions table_options(const std::shared_ptr<rocksdb::Cache>& cache, bool pieces) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  rocksdb::ColumnFamilyOptions o;
  o.write_buffer_size = pieces ? 32 << 20 : 16 << 20;
  o.max_write_buffer_number = 2;
  if (pieces)
    o.compression = rocksdb::kNoCompression; // weights and pictures do not shrink
  else
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return o;
}

/// An open engine and all that must outlive it or go before it.
struct engine {
  std::unique_ptr<detail::folder_lock> lock;
  std::shared_ptr<rocksdb::Cache> cache;
  std::unique_ptr<rocksdb::DB> db;
  rocksdb::ColumnFamilyHandle* records = nullptr;
  rocksdb::ColumnFamilyHandle* pieces = nullptr;

  engine() = default;
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;
  ~engine() {
    if (!db)
      return;
    db->DestroyColumnFamilyHandle(pieces);
    db->DestroyColumnFamilyHandle(records);
    db->Close();
  }
};

class rocksdb_store final : public store {
public:
  rocksdb_store(std::string folder, std::unique_ptr<engine> e, std::uint64_t first_number)
      : folder_(std::move(folder)),
        engine_(std::move(e)),
        log_([this] { return flush_log(); }),
        next_number_(first_number),
        numbers_end_(first_number) {}

  result<entry> put(std::string_view key, shared_bytes value, bool durable) override {
    const write one{std::string{key}, std::move(value), false};
    SQUALL_ASSIGN(entries, write_all({&one}));
    if (durable)
      SQUALL_TRY(sync());
    return std::move(entries.front());
  }

  result<entry> put_if(std::string_view key, std::uint64_t expected_version, shared_bytes value,
                       bool durable) override {
    SQUALL_TRY(wire::check_key(key));
    SQUALL_TRY(core::check_one_piece(wire::quoted(key), value.size()));
    const write one{std::string{key}, std::move(value), false};
    SQUALL_ASSIGN(entries, write_linked({&one}, {0}, expected_version));
    if (durable)
      SQUALL_TRY(sync());
    return std::move(entries.front());
  }

  result<> apply(const std::vector<write>& batch, bool durable) override {
    if (batch.size() > max_batch_writes)
      return {errc::too_large, "a batch of " + std::to_string(batch.size()) + " writes; the limit is " +
                                   std::to_string(max_batch_writes)};
    // Of several writes to one key only the last would ever be seen.
    std::map<std::string_view, const write*> last;
    for (const write& w : batch)
      last.insert_or_assign(w.key, &w);
    std::vector<const write*> writes;
    writes.reserve(last.size());
    for (const auto& [key, w] : last)
      writes.push_back(w);
    SQUALL_TRY(write_all(writes));
    return durable ? sync() : result<>{};
  }

  result<std::uint64_t> begin(std::string_view key, std::uint64_t total_bytes) override {
    SQUALL_TRY(wire::check_key(key));
    SQUALL_TRY(wire::check_size(key, total_bytes));
    const std::lock_guard lock{writing_};
    SQUALL_ASSIGN(upload, next_number());
    rocksdb::WriteBatch batch;
    batch.Put(engine_->records, core::upload_key(upload), core::encode_number(total_bytes));
    SQUALL_TRY(write_batch(batch));
    uploads_.emplace(upload, upload_state{std::string{key}, total_bytes, 0});
    return upload;
  }

  result<> append(std::uint64_t upload, std::uint64_t offset, shared_bytes piece) override {
    const std::lock_guard lock{writing_};
    const auto found = uploads_.find(upload);
    if (found == uploads_.end())
      return wire::no_such_upload(upload);
    upload_state& state = found->second;
    SQUALL_TRY(wire::check_piece(state.key, state.arrived_bytes, state.total_bytes, offset, piece.size()));
    rocksdb::WriteBatch batch;
    batch.Put(engine_->pieces, core::piece_key(upload, offset / piece_bytes), slice_of(piece.text()));
    SQUALL_TRY(write_batch(batch));
    state.arrived_bytes += piece.size();
    return {};
  }

  result<entry> commit(std::uint64_t upload, bool durable) override {
    SQUALL_ASSIGN(made, link_upload(upload));
    if (durable)
      SQUALL_TRY(sync());
    return made;
  }

  void abort(std::uint64_t upload) override {
    const std::lock_guard lock{writing_};
    const auto found = uploads_.find(upload);
    if (found == uploads_.end())
      return;
    rocksdb::WriteBatch batch;
    delete_pieces(batch, upload, found->second.arrived_bytes);
    batch.Delete(engine_->records, core::upload_key(upload));
    uploads_.erase(found);
    (void)write_batch(batch); // what stays is swept when the store is opened
  }

  result<entry> stat(std::string_view key) override {
    SQUALL_TRY(wire::check_key(key));
    rocksdb::PinnableSlice bytes;
    SQUALL_ASSIGN(r, load({}, key, bytes));
    return entry{std::string{key}, r.size_bytes, r.version};
  }

  result<shared_bytes> read(std::string_view key, std::uint64_t offset, std::size_t length,
                            std::uint64_t version) override {
    SQUALL_TRY(wire::check_key(key));
    // The record and its pieces are read as of one moment: a writer deletes the pieces of what it replaces.
    rocksdb::ManagedSnapshot moment{engine_->db.get()};
    rocksdb::ReadOptions options;
    options.snapshot = moment.snapshot();
    rocksdb::PinnableSlice bytes;
    SQUALL_ASSIGN(r, load(options, key, bytes));
    if (version != 0 && version != r.version)
      return wire::replaced(key, version, r.version);
    if (offset >= r.size_bytes)
      return shared_bytes{};
    const std::size_t size = std::min({length, piece_bytes, static_cast<std::size_t>(r.size_bytes - offset)});
    if (r.pieces == 0)
      return shared_bytes::copy_of(r.inline_value.substr(offset, size));
    return read_pieces(options, key, r, offset, size);
  }

  result<> erase(std::string_view key, bool durable) override {
    const write one{std::string{key}, {}, true};
    SQUALL_TRY(write_all({&one}));
    return durable ? sync() : result<>{};
  }

  result<std::vector<entry>> list(std::string_view prefix, std::string_view after, std::size_t limit) override {
    const rocksdb::Slice end = slice_of(core::past_record_keys);
    rocksdb::ReadOptions options;
    options.iterate_upper_bound = &end;
    const std::unique_ptr<rocksdb::Iterator> at{engine_->db->NewIterator(options, engine_->records)};
    const std::string after_key = core::record_key(after);
    std::vector<entry> out;
    for (at->Seek(core::record_key(std::max(prefix, after))); at->Valid() && out.size() < limit; at->Next()) {
      if (!after.empty() && text_of(at->key()) == after_key)
        continue;
      const std::string_view key = core::user_key(text_of(at->key()));
      if (!key.starts_with(prefix))
        break;
      const auto r = core::decode_record(text_of(at->value()));
      if (!r.ok())
        return corrupt_record(key, r.error());
      out.push_back({std::string{key}, r->size_bytes, r->version});
    }
    if (!at->status().ok())
      return failure(at->status());
    return out;
  }

  result<> sync() override { return log_.wait(); }

private:
  struct upload_state {
    std::string key;
    std::uint64_t total_bytes = 0;
    std::uint64_t arrived_bytes = 0;
  };

  [[nodiscard]] error failure(const rocksdb::Status& status) const { return error_of(status, folder_); }

  // -- reading
  // ----------------------------------------------------------------------------------------------------------

  /// The record of a key; `bytes` keeps what it points to.
  result<core::record> load(const rocksdb::ReadOptions& options, std::string_view key,
                            rocksdb::PinnableSlice& bytes) const {
    const rocksdb::Status status = engine_->db->Get(options, engine_->records, core::record_key(key), &bytes);
    if (status.IsNotFound())
      return wire::no_such_key(key);
    if (!status.ok())
      return failure(status);
    auto r = core::decode_record(text_of(bytes));
    if (!r.ok())
      return corrupt_record(key, r.error());
    return r;
  }

  result<shared_bytes> read_pieces(const rocksdb::ReadOptions& options, std::string_view key, const core::record& r,
                                   std::uint64_t offset, std::size_t size) const {
    const std::uint64_t index = offset / piece_bytes;
    const std::size_t skip = offset % piece_bytes;
    SQUALL_ASSIGN(first, read_piece(options, key, r, index));
    if (skip + size <= first.size())
      return first.slice(skip, size);
    const std::size_t here = first.size() - skip;
    SQUALL_ASSIGN(second, read_piece(options, key, r, index + 1));
    std::string joined{first.text().substr(skip)};
    joined.append(second.text().substr(0, size - here));
    return shared_bytes::take(std::move(joined));
  }

  result<shared_bytes> read_piece(const rocksdb::ReadOptions& options, std::string_view key, const core::record& r,
                                  std::uint64_t index) const {
    // The bytes may lie in a block of the cache, which must then outlive them.
    struct pinned {
      std::shared_ptr<rocksdb::Cache> cache;
      rocksdb::PinnableSlice bytes;
    };
    const auto block = std::make_shared<pinned>();
    block->cache = engine_->cache;
    const rocksdb::Status status =
        engine_->db->Get(options, engine_->pieces, core::piece_key(r.pieces, index), &block->bytes);
    if (!status.ok() && !status.IsNotFound())
      return failure(status);
    const std::size_t expected = std::min<std::uint64_t>(piece_bytes, r.size_bytes - index * piece_bytes);
    if (status.IsNotFound() || block->bytes.size() != expected)
      return corrupt_record(
          key, {errc::corrupt, "its piece " + std::to_string(index) + " is missing or has another size", {}});
    return shared_bytes{block, std::as_bytes(std::span{block->bytes.data(), block->bytes.size()})};
  }

  // -- writing; all below with writing_ held, but write_all()
  // ------------------------------------------------------------

  /// All of `writes` (each key once) in one batch; the entries of those that erase have version 0.
  result<std::vector<entry>> write_all(const std::vector<const write*>& writes) {
    for (const write* w : writes) {
      SQUALL_TRY(wire::check_key(w->key));
      SQUALL_TRY(wire::check_size(w->key, w->erase ? 0 : w->value.size()));
    }
    std::vector<std::uint64_t> ahead(writes.size(), 0);
    auto entries = upload_large(writes, ahead);
    if (entries.ok())
      entries = write_linked(writes, ahead);
    if (!entries.ok()) {
      for (const std::uint64_t upload : ahead)
        abort(upload);
    }
    return entries;
  }

  /// Writes what does not fit into one batch as uploads; `ahead` gets their numbers.
  result<std::vector<entry>> upload_large(const std::vector<const write*>& writes, std::vector<std::uint64_t>& ahead) {
    std::size_t in_batch = 0;
    for (std::size_t i = 0; i < writes.size(); ++i) {
      const write& w = *writes[i];
      if (w.erase || w.value.size() <= core::inline_bytes)
        continue;
      in_batch += w.value.size();
      if (in_batch <= batch_value_bytes)
        continue;
      in_batch -= w.value.size();
      SQUALL_ASSIGN(upload, begin(w.key, w.value.size()));
      ahead[i] = upload;
      for (std::size_t offset = 0; offset < w.value.size(); offset += piece_bytes)
        SQUALL_TRY(append(upload, offset, w.value.slice(offset, std::min(piece_bytes, w.value.size() - offset))));
    }
    return std::vector<entry>{};
  }

  result<std::vector<entry>> write_linked(const std::vector<const write*>& writes,
                                          const std::vector<std::uint64_t>& ahead,
                                          std::optional<std::uint64_t> expected_version = {}) {
    const std::lock_guard lock{writing_};
    if (expected_version)
      SQUALL_TRY(check_present(writes.front()->key, *expected_version));
    std::vector<entry> entries;
    rocksdb::WriteBatch batch;
    for (std::size_t i = 0; i < writes.size(); ++i) {
      const write& w = *writes[i];
      if (w.erase) {
        SQUALL_TRY(delete_value(batch, w.key));
        batch.Delete(engine_->records, core::record_key(w.key));
        entries.push_back({w.key, 0, 0});
        continue;
      }
      core::record r{0, w.value.size(), ahead[i], {}};
      if (w.value.size() <= core::inline_bytes) {
        r.inline_value = w.value.text();
      } else if (r.pieces == 0) {
        SQUALL_ASSIGN(number, next_number());
        r.pieces = number;
        put_pieces(batch, number, w.value);
      } else {
        batch.Delete(engine_->records, core::upload_key(ahead[i]));
      }
      SQUALL_ASSIGN(made, link(batch, w.key, r));
      entries.push_back(std::move(made));
    }
    SQUALL_TRY(write_batch(batch));
    for (const std::uint64_t upload : ahead)
      uploads_.erase(upload);
    return entries;
  }

  result<> check_present(std::string_view key, std::uint64_t expected_version) {
    rocksdb::PinnableSlice bytes;
    const auto r = load({}, key, bytes);
    if (!r.ok() && r.error().code != errc::not_found)
      return r.error();
    return core::check_version(wire::quoted(key), expected_version, r.ok() ? r->version : 0);
  }

  result<entry> link_upload(std::uint64_t upload) {
    const std::lock_guard lock{writing_};
    const auto found = uploads_.find(upload);
    if (found == uploads_.end())
      return wire::no_such_upload(upload);
    const upload_state& state = found->second;
    SQUALL_TRY(wire::check_complete(state.key, state.arrived_bytes, state.total_bytes));
    rocksdb::WriteBatch batch;
    batch.Delete(engine_->records, core::upload_key(upload));
    SQUALL_ASSIGN(made, link(batch, state.key, {0, state.total_bytes, upload, {}}));
    SQUALL_TRY(write_batch(batch));
    uploads_.erase(found);
    return made;
  }

  /// Makes `r` the value of the key, under a new version.
  result<entry> link(rocksdb::WriteBatch& batch, const std::string& key, core::record r) {
    SQUALL_TRY(delete_value(batch, key));
    SQUALL_ASSIGN(version, next_number());
    r.version = version;
    batch.Put(engine_->records, core::record_key(key), core::encode(r));
    return entry{key, r.size_bytes, version};
  }

  /// Deletes the pieces of the key's present value, if it has any. Its record is the caller's.
  result<> delete_value(rocksdb::WriteBatch& batch, std::string_view key) {
    rocksdb::PinnableSlice bytes;
    const auto r = load({}, key, bytes);
    if (r.ok() && r->pieces != 0)
      delete_pieces(batch, r->pieces, r->size_bytes);
    // A damaged record must not keep anybody from writing the key again; its pieces are lost space.
    const bool fine = r.ok() || r.error().code == errc::not_found || r.error().code == errc::corrupt;
    return fine ? result<>{} : result<>{r.error()};
  }

  void put_pieces(rocksdb::WriteBatch& batch, std::uint64_t number, const shared_bytes& value) {
    for (std::uint64_t index = 0; index < core::piece_count(value.size()); ++index)
      batch.Put(engine_->pieces, core::piece_key(number, index),
                slice_of(value.text().substr(index * piece_bytes, piece_bytes)));
  }

  void delete_pieces(rocksdb::WriteBatch& batch, std::uint64_t number, std::uint64_t size_bytes) {
    for (std::uint64_t index = 0; index < core::piece_count(size_bytes); ++index)
      batch.Delete(engine_->pieces, core::piece_key(number, index));
  }

  /// A number that no earlier value, upload or version has had, in any run.
  result<std::uint64_t> next_number() {
    if (next_number_ == numbers_end_) {
      rocksdb::WriteBatch batch;
      batch.Put(engine_->records, slice_of(core::numbers_key), core::encode_number(numbers_end_ + numbers_block));
      SQUALL_TRY(write_batch(batch));
      SQUALL_TRY(sync());
      numbers_end_ += numbers_block;
    }
    return next_number_++;
  }

  result<> write_batch(rocksdb::WriteBatch& batch) {
    // The engine refuses everything after a failed write until it is told to go on; after a full disk it looks every 5
    // s whether there is space again, and is busy until then.
    if (!stopped_by_.ok()) {
      if (!engine_->db->Resume().ok())
        return failure(stopped_by_);
      stopped_by_ = rocksdb::Status::OK();
    }
    const rocksdb::Status status = engine_->db->Write({}, &batch);
    if (!status.ok()) {
      stopped_by_ = status;
      return failure(status);
    }
    log_.wrote();
    return {};
  }

  result<> flush_log() {
    const rocksdb::Status status = engine_->db->SyncWAL();
    return status.ok() ? result<>{} : result<>{failure(status)};
  }

  const std::string folder_;
  const std::unique_ptr<engine> engine_;
  detail::shared_flush log_;

  std::mutex writing_; // one writer at a time: versions rise in the order of the log, and the engine is faster so
  std::unordered_map<std::uint64_t, upload_state> uploads_;
  std::uint64_t next_number_;
  std::uint64_t numbers_end_;
  rocksdb::Status stopped_by_; // the write that failed and why; ok while all is well
};

// -- opening
// -------------------------------------------------------------------------------------------------------------

result<std::unique_ptr<engine>> open_engine(const std::string& folder) {
  auto out = std::make_unique<engine>();
  SQUALL_ASSIGN(lock, detail::folder_lock::acquire(folder));
  out->lock = std::move(lock);
  SQUALL_TRY(check_not_beheaded(folder));
  out->cache = rocksdb::NewLRUCache(cache_bytes);
  const std::vector<rocksdb::ColumnFamilyDescriptor> tables{
      {rocksdb::kDefaultColumnFamilyName, table_options(out->cache, false)},
      {"pieces", table_options(out->cache, true)},
  };
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(engine_options(), folder, tables, &handles, &db);
  if (status.IsInvalidArgument())
    return {errc::unsupported, "the folder '" + folder + "' holds a database that is not Squall's (" +
                                   status.ToString() + "); choose another folder"};
  if (!status.ok())
    return error_of(status, folder);
  out->db.reset(db);
  out->records = handles[0];
  out->pieces = handles[1];
  return out;
}

/// The number under a key of ours; 0 when there is none.
result<std::uint64_t> own_number(const engine& e, std::string_view key, const std::string& folder) {
  std::string bytes;
  const rocksdb::Status status = e.db->Get({}, e.records, slice_of(key), &bytes);
  if (status.IsNotFound())
    return std::uint64_t{0};
  if (!status.ok())
    return error_of(status, folder);
  const auto number = core::decode_number(bytes);
  if (!number)
    return error_of(rocksdb::Status::Corruption(std::string{key}), folder);
  return *number;
}

result<> check_format(const engine& e, const std::string& folder) {
  SQUALL_ASSIGN(found, own_number(e, core::format_key, folder));
  if (found == format)
    return {};
  if (found != 0)
    return {errc::unsupported, "the store in '" + folder + "' has format " + std::to_string(found) +
                                   "; this program knows format " + std::to_string(format) + ": use a newer one"};
  const std::unique_ptr<rocksdb::Iterator> any{e.db->NewIterator({}, e.records)};
  any->SeekToFirst();
  if (any->Valid())
    return {errc::unsupported,
            "the folder '" + folder + "' holds a database that is not Squall's; choose another folder"};
  rocksdb::WriteOptions durable;
  durable.sync = true;
  const rocksdb::Status status = e.db->Put(durable, e.records, slice_of(core::format_key), core::encode_number(format));
  return status.ok() ? result<>{} : result<>{error_of(status, folder)};
}

/// Deletes what uploads left behind that were not committed when the last process ended.
result<> sweep_uploads(const engine& e, const std::string& folder) {
  const rocksdb::Slice end = slice_of(core::past_upload_keys);
  rocksdb::ReadOptions options;
  options.iterate_upper_bound = &end;
  const std::unique_ptr<rocksdb::Iterator> at{e.db->NewIterator(options, e.records)};
  for (at->Seek(slice_of(core::first_upload_key)); at->Valid(); at->Next()) {
    const auto number = core::pieces_of_upload_key(text_of(at->key()));
    const auto total = core::decode_number(text_of(at->value()));
    rocksdb::WriteBatch batch;
    if (number && total && *total <= max_value_bytes) {
      for (std::uint64_t index = 0; index < core::piece_count(*total); ++index)
        batch.Delete(e.pieces, core::piece_key(*number, index));
    }
    batch.Delete(e.records, at->key());
    if (const rocksdb::Status status = e.db->Write({}, &batch); !status.ok())
      return error_of(status, folder);
  }
  return at->status().ok() ? result<>{} : result<>{error_of(at->status(), folder)};
}

} // namespace

result<std::unique_ptr<store>> open_rocksdb(const std::string& folder) {
  SQUALL_ASSIGN(opened, open_engine(folder));
  SQUALL_TRY(check_format(*opened, folder));
  SQUALL_TRY(sweep_uploads(*opened, folder));
  SQUALL_ASSIGN(reserved, own_number(*opened, core::numbers_key, folder));
  return std::unique_ptr<store>{
      std::make_unique<rocksdb_store>(folder, std::move(opened), std::max<std::uint64_t>(reserved, 1))};
}

} // namespace squall::kvs
