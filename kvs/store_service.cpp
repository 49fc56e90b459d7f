#include "kvs/store_service.hpp"

#include "kvs/core/condition.hpp"
#include "wire/store_limits.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace squall::kvs {

namespace {

/// The bytes of a piece: a UINT8 tensor, or nothing for an empty value.
result<shared_bytes> bytes_of(const functions::value& piece) {
  if (piece.absent())
    return shared_bytes{};
  const functions::tensor* t = piece.as_tensor();
  if (t == nullptr || t->type != functions::datatype::uint8)
    return {errc::invalid_argument, "a piece of a value must be a UINT8 tensor"};
  return t->data;
}

functions::value piece_of(shared_bytes bytes) {
  const auto size = static_cast<std::int64_t>(bytes.size());
  return {functions::tensor{functions::datatype::uint8, {size}, std::move(bytes)}};
}

wire::store_entry on_wire(entry e) { return {std::move(e.key), e.size_bytes, e.version}; }

wire::store_reply failure(const error& what) {
  wire::store_reply out;
  out.code = what.code;
  out.message = what.message;
  out.retry_after = what.retry_after;
  return out;
}

class store_service final : public actors::role_service {
public:
  store_service(store& engine, std::shared_ptr<wire::arena_map> arenas, logger& log,
                const store_service_options& options)
      : engine_(engine), arenas_(std::move(arenas)), log_(log), options_(options) {}

  void start(actors::post& out) override { out_ = &out; }

  void on_messages(std::span<actors::incoming> messages) override {
    now_ = out_->now();
    for (const actors::incoming& m : messages)
      take(m);
    acknowledge_durable();
    arm();
  }

  void on_peer_lost(actors::peer_id peer) override {
    drop_uploads([&](const upload_key& key, const upload&) { return key.first == peer; });
    arm();
  }

  void on_alarm() override {
    now_ = out_->now();
    drop_uploads([&](const upload_key&, const upload& u) { return u.last_piece + options_.upload_idle <= now_; });
    arm();
  }

  void stop() override {}

private:
  using upload_key = std::pair<actors::peer_id, std::uint64_t>; // the peer's own number
  struct upload {
    std::uint64_t number = 0; // the engine's
    std::string key;
    time_point last_piece;
  };
  /// An answer that waits for the flush.
  struct pending_answer {
    actors::peer_id to;
    request_id request;
    wire::store_reply reply;
  };

  // -- messages
  // ---------------------------------------------------------------------------------------------------------

  void take(const actors::incoming& m) {
    switch (m.head.type) {
      case wire::message_type::store_put:
        return decoded<wire::store_put>(m, [&](const auto& put) { take_put(m, put); });
      case wire::message_type::store_get:
        return decoded<wire::store_get>(m, [&](const auto& get) {
          const auto may = may_read(m, get.key);
          answer(m, may.ok() ? get_reply(get) : failure(may.error()));
        });
      case wire::message_type::store_delete:
        return decoded<wire::store_delete>(m, [&](const auto& erase) { take_delete(m, erase); });
      case wire::message_type::store_list:
        return decoded<wire::store_list>(m, [&](const auto& list) { answer(m, list_reply(list)); });
      case wire::message_type::hello:
        return decoded<wire::hello>(m, [&](const auto& hello) { take_hello(m, hello); });
      case wire::message_type::ping:
        return send(m, wire::encode(wire::pong{}, m.head.request));
      default:
        return fail(m, {errc::invalid_argument,
                        "a store does not answer messages of type " + std::to_string(static_cast<int>(m.head.type)),
                        {}});
    }
  }

  template <class Message, class Handler>
  void decoded(const actors::incoming& m, Handler&& handle) {
    const auto message = wire::decode<Message>(m.message, arenas_.get());
    if (!message.ok())
      return fail(m, message.error());
    handle(*message);
  }

  void take_hello(const actors::incoming& m, const wire::hello& hello) {
    if (hello.oldest > wire::protocol_version || hello.newest < wire::oldest_protocol_version)
      return fail(m,
                  {errc::unsupported,
                   "the peer speaks versions " + std::to_string(hello.oldest) + " to " + std::to_string(hello.newest) +
                       " of the protocol, the store " + std::to_string(wire::oldest_protocol_version) + " to " +
                       std::to_string(wire::protocol_version),
                   {}});
    wire::welcome welcome;
    welcome.version = std::min(hello.newest, wire::protocol_version);
    welcome.software = options_.software;
    welcome.host = wire::host_key();
    send(m, wire::encode(welcome, m.head.request));
  }

  // -- writing
  // ----------------------------------------------------------------------------------------------------------

  /// Whoever could write there could run code, or put other weights in the place of a model's.
  [[nodiscard]] static result<> may_write(const actors::incoming& m, std::string_view key) {
    if (m.allowed < wire::access::node)
      for (const std::string_view ours : {"calls/", "catalogue/", "cluster/", "models/", "profiles/"})
        if (key.starts_with(ours))
          return {errc::permission_denied,
                  "keys that begin with '" + std::string{ours} + "' are the cluster's own; your key is a user's"};
    return {};
  }

  /// What others called with is not for every user.
  [[nodiscard]] static result<> may_read(const actors::incoming& m, std::string_view key) {
    if (m.allowed < wire::access::node && key.starts_with("calls/"))
      return {errc::permission_denied, "keys that begin with 'calls/' are the cluster's own; your key is a user's"};
    return {};
  }

  /// A leader that was replaced must not write over what the next one did.
  [[nodiscard]] result<> may_write_still(std::uint64_t fence) {
    if (fence == 0)
      return {};
    const auto term = engine_.read(core::term_key, 0, piece_bytes, 0);
    if (!term.ok())
      return term.error().code == errc::not_found ? result<>{} : result<>{term.error()};
    return core::check_fence(fence, term->text());
  }

  void take_put(const actors::incoming& m, const wire::store_put& put) {
    auto may = may_write(m, put.key);
    if (may.ok())
      may = may_write_still(put.fence);
    if (!may.ok())
      return answer(m, failure(may.error()));
    const auto written = put.upload == 0 ? put_whole(put) : put_piece({m.from, put.upload}, put);
    if (!written.ok())
      return answer(m, failure(written.error()));
    wire::store_reply reply;
    if (*written)
      reply.entries.push_back(on_wire(**written));
    // A piece in the middle shows nothing, so its acknowledgement promises nothing about the disk.
    if (*written && put.durable)
      durable_.push_back({m.from, m.head.request, std::move(reply)});
    else
      answer(m, reply);
  }

  result<std::optional<entry>> put_whole(const wire::store_put& put) {
    SQUALL_ASSIGN(bytes, bytes_of(put.piece));
    if (put.offset != 0 || put.total_bytes != bytes.size())
      return {errc::invalid_argument, "a value in one piece must be all of it: " + std::to_string(bytes.size()) +
                                          " bytes came at byte " + std::to_string(put.offset) + " of " +
                                          std::to_string(put.total_bytes) + "; larger values need an upload number"};
    auto made_or_not = put.expected_version ? engine_.put_if(put.key, *put.expected_version, std::move(bytes), false)
                                            : engine_.put(put.key, std::move(bytes), false);
    SQUALL_ASSIGN(made, std::move(made_or_not));
    return std::optional{std::move(made)};
  }

  result<std::optional<entry>> put_piece(const upload_key& id, const wire::store_put& put) {
    if (put.expected_version)
      return {errc::unsupported,
              "key " + wire::quoted(put.key) + ": a value that is written under a condition must come in one piece"};
    SQUALL_ASSIGN(bytes, bytes_of(put.piece));
    if (put.offset == 0)
      SQUALL_TRY(begin_upload(id, put));
    const auto found = uploads_.find(id);
    if (found == uploads_.end())
      return wire::no_such_upload(put.upload);
    auto written = continue_upload(found->second, put, std::move(bytes));
    if (!written.ok())
      engine_.abort(found->second.number);
    if (!written.ok() || *written)
      uploads_.erase(found);
    return written;
  }

  result<> begin_upload(const upload_key& id, const wire::store_put& put) {
    // The first piece again: the writer starts over.
    if (const auto found = uploads_.find(id); found != uploads_.end()) {
      engine_.abort(found->second.number);
      uploads_.erase(found);
    }
    if (uploads_.size() >= options_.max_uploads)
      return error{errc::overloaded,
                   "the store takes " + std::to_string(options_.max_uploads) + " uploads at a time; try again later",
                   std::chrono::seconds{1}};
    SQUALL_ASSIGN(number, engine_.begin(put.key, put.total_bytes));
    uploads_.emplace(id, upload{number, put.key, now_});
    return {};
  }

  /// The entry with the last piece, nothing before.
  result<std::optional<entry>> continue_upload(upload& u, const wire::store_put& put, shared_bytes bytes) {
    if (put.key != u.key)
      return {errc::invalid_argument, "upload " + std::to_string(put.upload) + " is for key " + wire::quoted(u.key) +
                                          ", not for " + wire::quoted(put.key)};
    u.last_piece = now_;
    const std::uint64_t end = put.offset + bytes.size();
    if (put.total_bytes != 0)
      SQUALL_TRY(engine_.append(u.number, put.offset, std::move(bytes)));
    if (end != put.total_bytes)
      return std::optional<entry>{};
    SQUALL_ASSIGN(made, engine_.commit(u.number, false));
    return std::optional{std::move(made)};
  }

  void take_delete(const actors::incoming& m, const wire::store_delete& erase) {
    auto may = may_write(m, erase.key);
    if (may.ok())
      may = may_write_still(erase.fence);
    if (!may.ok())
      return answer(m, failure(may.error()));
    const auto erased = engine_.erase(erase.key, false);
    if (!erased.ok())
      return answer(m, failure(erased.error()));
    durable_.push_back({m.from, m.head.request, {}});
  }

  void acknowledge_durable() {
    if (durable_.empty())
      return;
    const auto synced = engine_.sync();
    for (pending_answer& a : durable_)
      send(a.to, a.request, wire::encode(synced.ok() ? a.reply : failure(synced.error()), a.request));
    durable_.clear();
  }

  // -- reading
  // ----------------------------------------------------------------------------------------------------------

  wire::store_reply get_reply(const wire::store_get& get) {
    // The entry and the piece must be of one version, which a writer may replace between the two.
    constexpr int tries = 5;
    for (int i = 1;; ++i) {
      auto found = engine_.stat(get.key);
      if (!found.ok())
        return failure(found.error());
      wire::store_reply reply;
      if (get.length > 0) {
        auto bytes =
            engine_.read(get.key, get.offset, std::min<std::uint64_t>(get.length, piece_bytes), found->version);
        const bool again =
            !bytes.ok() && (bytes.error().code == errc::data_loss || bytes.error().code == errc::not_found);
        if (again && i < tries)
          continue;
        if (!bytes.ok())
          return failure(bytes.error());
        reply.piece = piece_of(std::move(bytes).value());
      }
      reply.entries.push_back(on_wire(std::move(found).value()));
      return reply;
    }
  }

  wire::store_reply list_reply(const wire::store_list& list) {
    const std::size_t limit = std::clamp<std::uint32_t>(list.limit, 1, options_.max_list);
    auto found = engine_.list(list.prefix, list.after, limit + 1);
    if (!found.ok())
      return failure(found.error());
    wire::store_reply reply;
    std::size_t bytes = 0;
    for (entry& e : *found) {
      bytes += e.key.size();
      reply.more = reply.entries.size() == limit || bytes > options_.max_list_bytes;
      if (reply.more)
        break;
      reply.entries.push_back(on_wire(std::move(e)));
    }
    return reply;
  }

  // -- uploads that end by themselves
  // --------------------------------------------------------------------------------------

  template <class Predicate>
  void drop_uploads(Predicate&& goes) {
    for (auto at = uploads_.begin(); at != uploads_.end();) {
      if (!goes(at->first, at->second)) {
        ++at;
        continue;
      }
      log_.info("store", "an upload was dropped before its end", {{"key", at->second.key}});
      engine_.abort(at->second.number);
      at = uploads_.erase(at);
    }
  }

  void arm() {
    time_point next = never;
    for (const auto& [key, u] : uploads_)
      next = std::min(next, u.last_piece + options_.upload_idle);
    if (next != alarm_)
      out_->set_alarm(alarm_ = next);
  }

  // -- answering
  // ---------------------------------------------------------------------------------------------------------

  void answer(const actors::incoming& m, const wire::store_reply& reply) {
    send(m, wire::encode(reply, m.head.request));
  }

  void fail(const actors::incoming& m, const error& why) { send(m, wire::encode_failure(why, m.head.request)); }

  void send(const actors::incoming& m, wire::frames message) { send(m.from, m.head.request, std::move(message)); }

  /// Nobody waits for the answer to request 0. A peer that cannot be reached times out.
  void send(actors::peer_id to, request_id request, wire::frames message) {
    if (request)
      (void)out_->send(to, std::move(message));
  }

  store& engine_;
  const std::shared_ptr<wire::arena_map> arenas_;
  logger& log_;
  const store_service_options options_;
  actors::post* out_ = nullptr;
  time_point now_{};
  time_point alarm_ = never;
  std::map<upload_key, upload> uploads_;
  std::vector<pending_answer> durable_;
};

} // namespace

std::unique_ptr<actors::role_service> make_store_service(store& engine, std::shared_ptr<wire::arena_map> arenas,
                                                         logger& log, const store_service_options& options) {
  return std::make_unique<store_service>(engine, std::move(arenas), log, options);
}

} // namespace squall::kvs
