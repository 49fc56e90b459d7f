#include "cluster/candidacy.hpp"

#include "kvs/core/condition.hpp"
#include "kvs/core/layout.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace squall::cluster {

namespace {

constexpr duration store_timeout = std::chrono::seconds{2};
constexpr duration retry_pause = std::chrono::milliseconds{200};
/// The controller's own client of the store has the default.
constexpr std::uint64_t first_request = actors::store_client::default_first_request + (1ull << 40);
const std::string controllers_prefix = "cluster/controllers/";

/// Not the time of the round: the process may have slept since it was read, and a lease may have ended.
time_point true_now() {
  return from_ns(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

/// What the controller has in the place of the bridge.
class guarded_post final : public actors::post {
public:
  guarded_post(std::function<bool()> leads, std::function<void()> rearm)
      : leads_(std::move(leads)), rearm_(std::move(rearm)) {}
  void begin(actors::post& out) { out_ = &out; }

  result<> send(actors::peer_id to, wire::frames message) override {
    if (!leads_())
      return {errc::unavailable, "this controller does not lead any more"};
    return out_->send(to, std::move(message));
  }
  result<actors::peer_id> connect(const std::string& endpoint, const std::string& server_key) override {
    return out_->connect(endpoint, server_key);
  }
  void close(actors::peer_id peer) override { out_->close(peer); }
  [[nodiscard]] actors::peer_id local(wire::role role) const override { return out_->local(role); }
  [[nodiscard]] time_point now() const override { return out_->now(); }
  void set_alarm(time_point at) override { alarm_ = at; } // the candidacy arms for both
  void watch(int fd, std::function<void()> ready) override { out_->watch(fd, std::move(ready)); }
  void later(std::function<void()> task) override {
    out_->later([this, task = std::move(task)] {
      task();
      rearm_();
    });
  }

  [[nodiscard]] time_point alarm() const { return alarm_; }
  void fired() { alarm_ = never; }

private:
  std::function<bool()> leads_;
  std::function<void()> rearm_;
  actors::post* out_ = nullptr;
  time_point alarm_ = never;
};

class candidacy final : public actors::role_service {
public:
  candidacy(const candidacy_options& options, logger& log)
      : options_(options),
        log_(log),
        guarded_([this] { return machine_ && machine_->leads(true_now()); }, [this] { arm(); }) {}

  void start(actors::post& out) override {
    post_ = &out;
    guarded_.begin(out);
    store_ = actors::store_client::create(out, connect_store(), store_timeout, first_request);
    arbiter_ = options_.make_arbiter ? options_.make_arbiter(out) : make_store_arbiter(*store_);
    machine_ = std::make_unique<candidate>(options_.leadership, true_now());
    log_.info("controller", "stands by", {{"endpoint", options_.leadership.endpoint}});
    step(lease_tick{});
    arm();
  }

  void on_messages(std::span<actors::incoming> messages) override {
    while (!messages.empty()) {
      // What the store answers here is rare; all between goes on as it came.
      const auto ours = std::find_if(messages.begin(), messages.end(),
                                     [this](const actors::incoming& m) { return m.from == store_peer_; });
      const auto others = messages.first(static_cast<std::size_t>(ours - messages.begin()));
      if (!others.empty())
        hand_on(others);
      messages = messages.subspan(others.size());
      if (messages.empty())
        break;
      store_->on_message(messages.front());
      messages = messages.subspan(1);
    }
    arm();
  }

  void on_peer_lost(actors::peer_id peer) override {
    if (peer == store_peer_) {
      post_->close(peer);
      store_->reset(connect_store());
    } else if (controller_ && still_leads()) {
      controller_->on_peer_lost(peer);
    }
    arm();
  }

  void on_alarm() override {
    const time_point now = true_now();
    if (store_->next_alarm() <= now)
      store_->on_alarm();
    if (machine_->next_deadline().value_or(never) <= now)
      step(lease_tick{});
    if (retry_at_ <= now) {
      retry_at_ = never;
      raise_fence();
    }
    if (controller_ && guarded_.alarm() <= now && still_leads()) {
      guarded_.fired();
      controller_->on_alarm();
    }
    arm();
  }

  void drain(std::function<void()> done) override {
    if (!controller_)
      return done();
    controller_->drain(std::move(done));
    arm();
  }

  void stop() override {
    if (controller_)
      controller_->stop();
    stopping_ = true;
    if (!machine_ || deposed_)
      return;
    store_->erase(controllers_prefix + options_.leadership.endpoint, [](const result<>&) {});
    step(resign_wanted{}); // the sockets still work, and linger
  }

private:
  actors::peer_id connect_store() {
    auto connected = post_->connect(options_.store_endpoint, options_.store_key);
    if (!connected) {
      log_.error("controller", "cannot connect to the store",
                 {{"endpoint", options_.store_endpoint}, {"error", connected.error().message}});
      return store_peer_ = {};
    }
    return store_peer_ = *connected;
  }

  // -- leading
  // ----------------------------------------------------------------------------------------------------------

  [[nodiscard]] bool still_leads() {
    if (machine_->leads(true_now()))
      return true;
    step(lease_tick{});
    return false;
  }

  void hand_on(std::span<actors::incoming> messages) {
    if (controller_ && still_leads())
      return controller_->on_messages(messages);
    for (const actors::incoming& m : messages)
      refuse(m);
  }

  /// Whoever asks finds out that another leads; they know where.
  void refuse(const actors::incoming& m) {
    if (!m.head.request || m.head.type == wire::message_type::reply || deposed_)
      return;
    const std::string leader = leader_.empty() ? "none leads yet" : "the one at " + leader_ + " leads";
    (void)post_->send(
        m.from,
        wire::encode_failure({errc::unavailable, "this controller stands by: " + leader, retry_pause}, m.head.request,
                             m.head.type == wire::message_type::node_hello ? wire::role::node : wire::role::client));
  }

  /// Whose lease is over takes no other: the process begins anew, and another candidate with it.
  void step(const lease_event& fact) {
    if (deposed_)
      return;
    machine_->step(true_now(), fact);
    for (const lease_command& command : machine_->take_commands())
      if (!deposed_)
        carry_out(command);
  }

  void carry_out(const lease_command& command) {
    be_known();
    if (const auto* wanted = std::get_if<read_record>(&command)) {
      arbiter_->read([this, request = wanted->request](result<arbiter::versioned> found) {
        if (found)
          heard(record_found{request, found->version, std::move(found->record)});
        else
          failed(request, found.error());
      });
    } else if (const auto* write = std::get_if<write_record>(&command)) {
      arbiter_->write(write->expected_version, write->record,
                      [this, request = write->request](result<std::uint64_t> w) {
                        if (w)
                          heard(record_written{request, *w});
                        else if (w.error().code == errc::already_exists)
                          heard(record_differs{request});
                        else
                          failed(request, w.error());
                      });
    } else if (const auto* begin = std::get_if<begin_to_lead>(&command)) {
      log_.info("controller", "leads", {{"term", std::to_string(begin->term)}});
      raise_fence();
    } else if (const auto* stop = std::get_if<stop_leading>(&command)) {
      log_.warn("controller", "leads no more", {{"why", stop->why}});
      deposed_ = true;
      if (!stopping_)
        options_.on_deposed();
    } else if (const auto* other = std::get_if<other_leads>(&command)) {
      leader_ = other->endpoint;
      log_.info("controller", "another leads", {{"endpoint", other->endpoint}, {"term", std::to_string(other->term)}});
    }
  }

  /// Not at once: an answer may come before the question returns.
  void heard(lease_event fact) {
    if (deposed_ || stopping_)
      return;
    post_->later([this, fact = std::move(fact)] {
      if (deposed_ || stopping_)
        return;
      step(fact);
      arm();
    });
  }

  void failed(std::uint64_t request, const error& why) {
    log_.debug("controller", "the record of the leadership was not reached", {{"error", why.message}});
    heard(arbiter_failed{request});
  }

  // -- beginning
  // --------------------------------------------------------------------------------------------------------

  /// Before the first act, the store is told to take nothing more from those who led before.
  void raise_fence() {
    const std::uint64_t term = machine_->term();
    store_->read(std::string{kvs::core::term_key}, [this, term](result<actors::store_client::stored_value> found) {
      if (!found && found.error().code != errc::not_found)
        return try_again(found.error());
      const std::uint64_t before = found ? kvs::core::decode_number(found->bytes.text()).value_or(0) : 0;
      const std::uint64_t version = found ? found->version : 0;
      if (before >= term)
        return post_->later([this, before] { be_told_of(before); });
      store_->put_if(std::string{kvs::core::term_key}, version, shared_bytes::take(kvs::core::encode_number(term)),
                     [this, term](result<wire::store_entry> written) {
                       if (!written)
                         return try_again(written.error());
                       post_->later([this, term] { begin(term); });
                     });
    });
  }

  void try_again(const error& why) {
    log_.debug("controller", "the store does not know the new term yet: trying again", {{"error", why.message}});
    retry_at_ = post_->now() + retry_pause;
    arm();
  }

  /// The store has a higher term than the arbiter gave: it was kept elsewhere before, or was put back from a copy.
  void be_told_of(std::uint64_t before) {
    if (before == machine_->term())
      return begin(before); // written by an attempt whose answer was lost
    log_.error("controller",
               "the store knows a later term than the arbiter; erase the key cluster/term if no other "
               "controller runs",
               {{"store", std::to_string(before)}, {"arbiter", std::to_string(machine_->term())}});
    try_again({errc::permission_denied, "another leads in term " + std::to_string(before), {}});
  }

  void begin(std::uint64_t term) {
    if (controller_ || deposed_ || stopping_ || !still_leads())
      return;
    controller_ = options_.make_controller(term, [this] { return controllers_; });
    controller_->start(guarded_);
    arm();
  }

  // -- the other controllers
  // ---------------------------------------------------------------------------------------------------

  /// Each writes itself down, and who leads looks now and then who there is, for clients and nodes to know.
  void be_known() {
    if (stopping_)
      return;
    if (!std::exchange(known_, true))
      store_->put(controllers_prefix + options_.leadership.endpoint, {}, true,
                  [this](const result<>& written) { known_ = written.ok(); });
    if (!machine_->leads(true_now()) && !controllers_.empty())
      return;
    store_->list(controllers_prefix, [this](result<std::vector<std::string>> found) {
      if (!found)
        return;
      controllers_.clear();
      for (const std::string& key : *found)
        controllers_.push_back(key.substr(controllers_prefix.size()));
    });
  }

  void arm() {
    if (!machine_)
      return;
    time_point at = std::min({machine_->next_deadline().value_or(never), store_->next_alarm(), retry_at_});
    if (controller_)
      at = std::min(at, guarded_.alarm());
    post_->set_alarm(at);
  }

  const candidacy_options options_;
  logger& log_;
  actors::post* post_ = nullptr;
  guarded_post guarded_;
  actors::peer_id store_peer_;
  std::unique_ptr<actors::store_client> store_;
  std::unique_ptr<arbiter> arbiter_;
  std::unique_ptr<candidate> machine_;
  std::unique_ptr<actors::role_service> controller_; ///< from when it leads
  std::vector<std::string> controllers_;
  std::string leader_;
  bool known_ = false; ///< written down, or about to be
  time_point retry_at_ = never;
  bool deposed_ = false;
  bool stopping_ = false;
};

} // namespace

std::unique_ptr<actors::role_service> make_candidacy(const candidacy_options& options, logger& log) {
  return std::make_unique<candidacy>(options, log);
}

} // namespace squall::cluster
