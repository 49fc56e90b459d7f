#include "actors/store_client.hpp"

#include "wire/codec.hpp"
#include "wire/store_limits.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

namespace squall::actors {

namespace {

constexpr std::size_t window = 4;
constexpr std::uint64_t request_range = 1ull << 32;

enum class progress { more, complete, again };

/// What one call of the client asks for, in one or several requests. succeed() or fail() is called once, at its end.
class operation {
public:
  virtual ~operation() = default;
  [[nodiscard]] virtual bool has_next() const = 0;
  /// The next request. `offset` is handed back with its answer.
  [[nodiscard]] virtual wire::frames next(request_id request, std::uint64_t& offset) = 0;
  /// `again`: the client forgets all requests of the operation, which now begins from its start.
  [[nodiscard]] virtual result<progress> on_reply(std::uint64_t offset, wire::store_reply reply) = 0;
  virtual void succeed() = 0;
  virtual void fail(error why) = 0;
};

class get_operation final : public operation {
public:
  get_operation(std::string key, std::function<void(result<shared_bytes>)> done)
      : key_(std::move(key)), done_(std::move(done)) {}

  // Until the first answer says how large the value is there is one piece to ask for.
  bool has_next() const override { return version_ == 0 ? asked_ == 0 : asked_ < size_; }

  wire::frames next(request_id request, std::uint64_t& offset) override {
    offset = asked_;
    asked_ += wire::max_piece_bytes;
    return wire::encode(wire::store_get{key_, offset, wire::max_piece_bytes}, request);
  }

  result<progress> on_reply(std::uint64_t offset, wire::store_reply reply) override {
    if (reply.entries.size() != 1 || reply.entries[0].size_bytes > wire::max_value_bytes ||
        reply.entries[0].version == 0)
      return {errc::corrupt, "the store's answer for key " + wire::quoted(key_) + " does not describe a value"};
    const wire::store_entry& found = reply.entries[0];
    if (version_ != 0 && version_ != found.version)
      return begin_again(found.version);
    version_ = found.version;
    size_ = found.size_bytes;
    const functions::tensor* t = reply.piece.as_tensor();
    return take(offset, t != nullptr ? t->data : shared_bytes{});
  }

  void succeed() override { done_(std::move(value_)); }
  void fail(error why) override { done_(std::move(why)); }

private:
  result<progress> take(std::uint64_t offset, const shared_bytes& piece) {
    if (offset > size_ || piece.size() != std::min<std::uint64_t>(wire::max_piece_bytes, size_ - offset))
      return {errc::corrupt, "the store's answer for key " + wire::quoted(key_) + " has " +
                                 std::to_string(piece.size()) + " bytes at byte " + std::to_string(offset) + " of " +
                                 std::to_string(size_)};
    if (size_ <= wire::max_piece_bytes) {
      value_ = piece;
      return progress::complete;
    }
    if (!whole_)
      whole_ = std::make_shared_for_overwrite<std::byte[]>(size_);
    std::memcpy(whole_.get() + offset, piece.data(), piece.size());
    arrived_ += piece.size();
    if (arrived_ < size_)
      return progress::more;
    value_ = shared_bytes{whole_, std::span<const std::byte>{whole_.get(), size_}};
    return progress::complete;
  }

  result<progress> begin_again(std::uint64_t found) {
    constexpr int tries = 3;
    if (++replaced_ == tries)
      return wire::replaced(key_, version_, found);
    version_ = size_ = asked_ = arrived_ = 0;
    whole_.reset();
    return progress::again;
  }

  const std::string key_;
  const std::function<void(result<shared_bytes>)> done_;
  std::uint64_t version_ = 0; // 0 until the first answer
  std::uint64_t size_ = 0;
  std::uint64_t asked_ = 0;
  std::uint64_t arrived_ = 0;
  int replaced_ = 0;
  std::shared_ptr<std::byte[]> whole_;
  shared_bytes value_;
};

class stat_operation final : public operation {
public:
  stat_operation(std::string key, std::function<void(result<wire::store_entry>)> done)
      : key_(std::move(key)), done_(std::move(done)) {}

  bool has_next() const override { return !sent_; }
  wire::frames next(request_id request, std::uint64_t&) override {
    sent_ = true;
    return wire::encode(wire::store_get{key_, 0, 0}, request);
  }
  result<progress> on_reply(std::uint64_t, wire::store_reply reply) override {
    if (reply.entries.size() != 1)
      return {errc::corrupt, "the store's answer for key " + wire::quoted(key_) + " does not describe a value"};
    found_ = std::move(reply.entries[0]);
    return progress::complete;
  }
  void succeed() override { done_(std::move(found_)); }
  void fail(error why) override { done_(std::move(why)); }

private:
  const std::string key_;
  const std::function<void(result<wire::store_entry>)> done_;
  wire::store_entry found_;
  bool sent_ = false;
};

class put_operation final : public operation {
public:
  put_operation(std::string key, shared_bytes value, bool durable, std::uint64_t fence,
                std::function<void(result<>)> done)
      : key_(std::move(key)), value_(std::move(value)), durable_(durable), fence_(fence), done_(std::move(done)) {}

  bool has_next() const override { return sent_ < value_.size() || (value_.empty() && requests_ == 0); }

  wire::frames next(request_id request, std::uint64_t& offset) override {
    if (value_.size() > wire::max_piece_bytes && upload_ == 0)
      upload_ = request.value;
    offset = sent_;
    shared_bytes piece = value_.slice(sent_, std::min(wire::max_piece_bytes, value_.size() - sent_));
    sent_ += piece.size();
    ++requests_;
    const auto size = static_cast<std::int64_t>(piece.size());
    return wire::encode(wire::store_put{key_,
                                        value_.size(),
                                        offset,
                                        upload_,
                                        durable_,
                                        {functions::tensor{functions::datatype::uint8, {size}, std::move(piece)}},
                                        {},
                                        fence_},
                        request);
  }

  result<progress> on_reply(std::uint64_t, wire::store_reply) override {
    ++acknowledged_;
    return !has_next() && acknowledged_ == requests_ ? progress::complete : progress::more;
  }

  void succeed() override { done_({}); }
  void fail(error why) override { done_(std::move(why)); }

private:
  const std::string key_;
  const shared_bytes value_;
  const bool durable_;
  const std::uint64_t fence_;
  const std::function<void(result<>)> done_;
  std::uint64_t upload_ = 0;
  std::size_t sent_ = 0;
  std::size_t requests_ = 0;
  std::size_t acknowledged_ = 0;
};

/// One request with one answer.
class put_if_operation final : public operation {
public:
  put_if_operation(wire::store_put what, std::function<void(result<wire::store_entry>)> done)
      : what_(std::move(what)), done_(std::move(done)) {}

  bool has_next() const override { return !sent_; }
  wire::frames next(request_id request, std::uint64_t&) override {
    sent_ = true;
    return wire::encode(what_, request);
  }
  result<progress> on_reply(std::uint64_t, wire::store_reply reply) override {
    if (reply.entries.size() != 1)
      return {errc::corrupt, "the store's answer for key " + wire::quoted(what_.key) + " does not describe a value"};
    written_ = std::move(reply.entries[0]);
    return progress::complete;
  }
  void succeed() override { done_(std::move(written_)); }
  void fail(error why) override { done_(std::move(why)); }

private:
  const wire::store_put what_;
  const std::function<void(result<wire::store_entry>)> done_;
  wire::store_entry written_;
  bool sent_ = false;
};

class read_operation final : public operation {
public:
  read_operation(std::string key, std::function<void(result<store_client::stored_value>)> done)
      : key_(std::move(key)), done_(std::move(done)) {}

  bool has_next() const override { return !sent_; }
  wire::frames next(request_id request, std::uint64_t&) override {
    sent_ = true;
    return wire::encode(wire::store_get{key_, 0, wire::max_piece_bytes}, request);
  }
  result<progress> on_reply(std::uint64_t, wire::store_reply reply) override {
    if (reply.entries.size() != 1)
      return {errc::corrupt, "the store's answer for key " + wire::quoted(key_) + " does not describe a value"};
    const functions::tensor* t = reply.piece.as_tensor();
    found_ = {reply.entries[0].version, t != nullptr ? t->data : shared_bytes{}};
    return progress::complete;
  }
  void succeed() override { done_(std::move(found_)); }
  void fail(error why) override { done_(std::move(why)); }

private:
  const std::string key_;
  const std::function<void(result<store_client::stored_value>)> done_;
  store_client::stored_value found_;
  bool sent_ = false;
};

class erase_operation final : public operation {
public:
  erase_operation(std::string key, std::uint64_t fence, std::function<void(result<>)> done)
      : key_(std::move(key)), fence_(fence), done_(std::move(done)) {}

  bool has_next() const override { return !sent_; }
  wire::frames next(request_id request, std::uint64_t&) override {
    sent_ = true;
    return wire::encode(wire::store_delete{key_, fence_}, request);
  }
  result<progress> on_reply(std::uint64_t, wire::store_reply) override { return progress::complete; }
  void succeed() override { done_({}); }
  void fail(error why) override { done_(std::move(why)); }

private:
  const std::string key_;
  const std::uint64_t fence_;
  const std::function<void(result<>)> done_;
  bool sent_ = false;
};

class list_operation final : public operation {
public:
  list_operation(std::string prefix, std::function<void(result<std::vector<std::string>>)> done)
      : prefix_(std::move(prefix)), done_(std::move(done)) {}

  bool has_next() const override { return !waiting_; }
  wire::frames next(request_id request, std::uint64_t&) override {
    waiting_ = true;
    return wire::encode(wire::store_list{prefix_, keys_.empty() ? std::string{} : keys_.back(), 1000}, request);
  }
  result<progress> on_reply(std::uint64_t, wire::store_reply reply) override {
    // A store that says "more" and gives nothing would be asked for ever.
    if (reply.more && reply.entries.empty())
      return {errc::corrupt,
              "the store's answer for keys with the prefix " + wire::quoted(prefix_) + " has an empty page"};
    for (wire::store_entry& e : reply.entries)
      keys_.push_back(std::move(e.key));
    waiting_ = false;
    return reply.more ? progress::more : progress::complete;
  }
  void succeed() override { done_(std::move(keys_)); }
  void fail(error why) override { done_(std::move(why)); }

private:
  const std::string prefix_;
  const std::function<void(result<std::vector<std::string>>)> done_;
  std::vector<std::string> keys_;
  bool waiting_ = false;
};

/// An answer, of whichever kind came.
result<wire::store_reply> reply_in(const incoming& m) {
  if (m.head.type == wire::message_type::store_reply) {
    SQUALL_ASSIGN(reply, wire::decode<wire::store_reply>(m.message, nullptr));
    if (reply.code != errc::ok)
      return error{reply.code, std::move(reply.message), reply.retry_after};
    return reply;
  }
  if (m.head.type != wire::message_type::reply)
    return {errc::corrupt, "a store answered with a message of type " + std::to_string(static_cast<int>(m.head.type))};
  SQUALL_ASSIGN(reply, wire::decode<wire::reply>(m.message, nullptr));
  return error{reply.code == errc::ok ? errc::corrupt : reply.code, std::move(reply.message), reply.retry_after};
}

class wire_client final : public store_client {
public:
  wire_client(post& post, peer_id store, duration timeout, std::uint64_t first_request)
      : post_(post), store_(store), timeout_(timeout), first_request_(first_request) {}

  void get(std::string key, std::function<void(result<shared_bytes>)> done) override {
    start(std::make_unique<get_operation>(std::move(key), std::move(done)));
  }

  void stat(std::string key, std::function<void(result<wire::store_entry>)> done) override {
    start(std::make_unique<stat_operation>(std::move(key), std::move(done)));
  }

  void put(std::string key, shared_bytes value, bool durable, std::function<void(result<>)> done) override {
    if (auto fits = wire::check_size(key, value.size()); !fits.ok())
      return done(std::move(fits));
    start(std::make_unique<put_operation>(std::move(key), std::move(value), durable, fence_, std::move(done)));
  }

  void put_if(std::string key, std::uint64_t expected_version, shared_bytes value,
              std::function<void(result<wire::store_entry>)> done) override {
    const auto size = static_cast<std::int64_t>(value.size());
    const std::uint64_t bytes = value.size();
    wire::store_put what{
        std::move(key),   bytes, 0, 0, true, {functions::tensor{functions::datatype::uint8, {size}, std::move(value)}},
        expected_version, fence_};
    start(std::make_unique<put_if_operation>(std::move(what), std::move(done)));
  }

  void read(std::string key, std::function<void(result<stored_value>)> done) override {
    start(std::make_unique<read_operation>(std::move(key), std::move(done)));
  }

  void set_fence(std::uint64_t term) override { fence_ = term; }

  void erase(std::string key, std::function<void(result<>)> done) override {
    start(std::make_unique<erase_operation>(std::move(key), fence_, std::move(done)));
  }

  void list(std::string prefix, std::function<void(result<std::vector<std::string>>)> done) override {
    start(std::make_unique<list_operation>(std::move(prefix), std::move(done)));
  }

  bool on_message(const incoming& message) override {
    const std::uint64_t request = message.head.request.value;
    if (request < first_request_ || request - first_request_ >= request_range)
      return false;
    const auto found = pending_.find(request);
    if (found == pending_.end() || message.from != store_)
      return true; // too late, or from a store that we left
    const sent_request answered = found->second;
    pending_.erase(found);
    on_answer(answered, reply_in(message));
    return true;
  }

  void on_alarm() override {
    const time_point now = post_.now();
    // One time-out for all: the first in the map was sent first.
    while (!pending_.empty() && pending_.begin()->second.deadline <= now)
      finish(pending_.begin()->second.operation,
             error{errc::unavailable,
                   "the store did not answer within " +
                       std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(timeout_).count()) + " ms",
                   {}});
  }

  time_point next_alarm() const override { return pending_.empty() ? never : pending_.begin()->second.deadline; }

  void reset(peer_id store) override {
    store_ = store;
    // Their callbacks may ask again, and those requests go to the new store.
    std::vector<std::uint64_t> moved;
    for (const auto& [id, running] : operations_)
      moved.push_back(id);
    for (const std::uint64_t id : moved)
      finish(id, error{errc::unavailable, "the store was restarted before it answered", {}});
  }

private:
  struct running_operation {
    std::unique_ptr<operation> what;
    std::size_t in_flight = 0;
  };
  struct sent_request {
    std::uint64_t operation = 0;
    std::uint64_t offset = 0;
    time_point deadline;
  };

  void start(std::unique_ptr<operation> what) {
    const std::uint64_t id = ++last_operation_;
    operations_.emplace(id, running_operation{std::move(what), 0});
    fill_window(id);
  }

  void fill_window(std::uint64_t id) {
    running_operation& running = operations_.at(id);
    while (running.in_flight < window && running.what->has_next()) {
      const request_id request{first_request_ + next_request_++ % request_range};
      sent_request sent{id, 0, post_.now() + timeout_};
      wire::frames message = running.what->next(request, sent.offset);
      pending_.insert_or_assign(request.value, sent);
      ++running.in_flight;
      if (auto gone = post_.send(store_, std::move(message)); !gone.ok())
        return finish(id, std::move(gone).error());
    }
  }

  void on_answer(const sent_request& answered, result<wire::store_reply> reply) {
    running_operation& running = operations_.at(answered.operation);
    --running.in_flight;
    if (!reply.ok())
      return finish(answered.operation, std::move(reply).error());
    auto now = running.what->on_reply(answered.offset, std::move(reply).value());
    if (!now.ok())
      return finish(answered.operation, std::move(now).error());
    if (*now == progress::complete)
      return finish(answered.operation, {});
    if (*now == progress::again) {
      forget_requests(answered.operation);
      running.in_flight = 0;
    }
    fill_window(answered.operation);
  }

  void forget_requests(std::uint64_t id) {
    std::erase_if(pending_, [id](const auto& sent) { return sent.second.operation == id; });
  }

  /// Last: the callback may ask again.
  void finish(std::uint64_t id, result<> how) {
    const auto found = operations_.find(id);
    if (found == operations_.end())
      return;
    const std::unique_ptr<operation> what = std::move(found->second.what);
    operations_.erase(found);
    forget_requests(id);
    if (how.ok())
      what->succeed();
    else
      what->fail(std::move(how).error());
  }

  post& post_;
  peer_id store_;
  const duration timeout_;
  const std::uint64_t first_request_;
  std::uint64_t fence_ = 0;
  std::uint64_t next_request_ = 0;
  std::uint64_t last_operation_ = 0;
  std::map<std::uint64_t, sent_request> pending_; // by request id
  std::map<std::uint64_t, running_operation> operations_;
};

} // namespace

std::unique_ptr<store_client> store_client::create(post& post, peer_id store, duration timeout,
                                                   std::uint64_t first_request) {
  return std::make_unique<wire_client>(post, store, timeout, first_request);
}

} // namespace squall::actors
