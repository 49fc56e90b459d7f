#pragma once

#include "executors/detail/user_worker.hpp"
#include "executors/detail/zygote.hpp"
#include "executors/user_workers.hpp"

#include <deque>
#include <map>
#include <optional>
#include <set>

namespace squall::executors::detail {

class user_pools final : public user_workers, private zygote_listener {
public:
  user_pools(const user_worker_options& options, actors::post& post, user_worker_listener& listener, outbox::maker make,
             logger& log);
  ~user_pools() override;

  void prepare(const functions::variant_spec& spec) override;
  void prepare_file(const std::string& path) override;
  result<> load(const wire::worker::load& request, bool repeatable) override;
  void unload(variant_id variant) override;
  bool knows(variant_id variant) const override { return pools_.contains(variant); }
  result<> run(const wire::worker::run& request) override;
  void cancel(batch_id batch) override { cancel_items(batch, std::nullopt); }
  void cancel(batch_id batch, std::uint32_t item) override { cancel_items(batch, item); }
  void returned(const worker_question& to, const wire::worker::returned& message) override;
  void state_reply(const worker_question& to, const wire::worker::state_reply& message) override;
  void on_alarm() override;
  time_point next_alarm() const override;
  std::vector<wire::instance_report> instances() override;

  /// So many crashes in a row are a loop.
  static constexpr std::uint32_t loop_of_crashes = 3;

  /// Of the events of a worker: its id, doubled, and 1 for its log. Of a zygote: this and its tag.
  static constexpr std::uint64_t zygote_bit = std::uint64_t{1} << 63;

private:
  /// The workers of a variant, and what waits for one.
  struct pool {
    wire::worker::load request;
    functions::worker_spec bounds; ///< no zeros
    bool repeatable = false;
    bool announced = false; ///< on_user_loaded() was called
    unique_fd code;
    std::vector<unique_fd> resources;
    std::deque<user_job> waiting;
    std::set<std::uint64_t> workers;
    std::uint32_t crashes = 0; ///< in a row
    time_point retry_at{};     ///< no worker is started before
    std::string problem;       ///< the last crash
    // Of a variant that takes one item at a time.
    std::uint32_t runs = 0;     ///< since `together` was told
    std::uint32_t together = 1; ///< items that are worth a batch
    duration usual{0};          ///< of one
  };
  /// A batch whose items are jobs by themselves.
  struct split_batch {
    std::size_t left = 0;
    std::size_t waiting = 0; ///< for calls that they made
    duration executed{0};
  };
  /// A copy of a file that was made before it was needed.
  struct sealed_file {
    unique_fd copy;
    std::uint64_t size_bytes = 0;
    std::uint64_t made = 0; ///< counts
  };
  /// A zygote, or the pause before it is started again.
  struct zygote_slot {
    std::unique_ptr<zygote> process;
    std::uint64_t tag = 0;
    std::uint32_t failures = 0; ///< in a row
    time_point retry_at{};
    std::string problem;
    wire::worker::load kind;      ///< one of the variants that it serves: what its command line is made of
    std::uint64_t spare = 0;      ///< a worker that has no variant yet; 0: none
    time_point spare_due = never; ///< when the next one is to be started
    bool with_packages = false;   ///< of functions that require some: it ends when nobody has used it for a while
    duration keep_alive{0};       ///< that while, the longest of those that its functions ask for
    time_point used_at{};
  };

  // -- pools (user_pools.cpp)
  [[nodiscard]] functions::worker_spec completed(const functions::worker_spec& given) const;
  result<> open_files(pool& p) const;
  result<unique_fd> code_of(const std::string& path) const;
  void pump(variant_id variant);
  void keep_minimum(variant_id variant, pool& p);
  void start_job(user_worker& w, user_job job);
  void begin(user_worker& w, user_job job);
  [[nodiscard]] wire::worker::run placed_request(user_worker& w, const user_job& job) const;
  void report(const user_job& job, wire::worker::done message);
  void report_waiting(const user_job& job, bool waits);
  void fail_job(const user_job& job, errc code, const std::string& message);
  void fail_waiting(pool& p, errc code, const std::string& message);
  void cancel_items(batch_id batch, std::optional<std::uint32_t> item);
  void cancel_running(user_worker& w);
  void note_crash(pool& p, const std::string& why);
  void check_outputs(const pool& p, const user_job& job, wire::worker::done& message) const;

  // -- items one at a time (user_splitting.cpp)
  [[nodiscard]] static bool takes_one(const pool& p) { return p.request.spec.max_batch <= 1; }
  void split(pool& p, user_job job);
  void send_ahead(user_worker& w, pool& p);
  [[nodiscard]] static std::size_t wanted_workers(const pool& p);
  [[nodiscard]] bool take_back(user_worker& w, const wire::worker::done& message);
  void take_all_back(user_worker& w, pool& p);
  void drop_cancelled(variant_id variant);
  void next_ahead(user_worker& w);
  void note_pace(variant_id variant, pool& p, duration executed, bool asked);

  // -- how they come to be (user_launching.cpp)
  result<> launch(variant_id variant, pool& p);
  result<user_worker*> launch_worker(const wire::worker::load& kind);
  result<user_worker*> take_spare(const pool& p);
  void launch_spare(zygote_slot& slot);
  result<> announce_segments(user_worker& w);
  result<> send_load(user_worker& w, const pool& p);
  result<zygote*> zygote_for(const wire::worker::load& kind);
  [[nodiscard]] time_point kept_until(const std::string& name, const zygote_slot& slot) const;
  void retire(zygote_slot& slot);
  [[nodiscard]] result<zygote::command> zygote_command(const wire::worker::load& kind) const;
  // -- processes (user_processes.cpp)
  void on_events();
  [[nodiscard]] zygote* zygote_of(std::uint64_t tag);
  void on_socket(user_worker& w, std::uint32_t events);
  result<> on_packet(user_worker& w, const wire::frames& packet);
  result<> on_question(user_worker& w, const wire::frames& packet, const wire::envelope_head& head);
  void on_loaded(user_worker& w, const wire::worker::loaded& message);
  result<> on_done(user_worker& w, wire::worker::done message);
  void release_copied(user_worker& w);
  void kill(user_worker& w, errc code, std::string why);
  void leave(user_worker& w);
  void on_spawned(const wire::worker::spawned& message) override;
  void on_exited(const wire::worker::exited& message) override;
  void on_zygote_lost(const zygote& which, const std::string& why) override;
  void end(std::uint64_t worker, const std::string& how, bool by_itself);
  void see_to(user_worker& w);

  [[nodiscard]] user_worker* find(std::uint64_t worker);
  void say(const user_worker& w, const std::string& line);

  const user_worker_options options_;
  actors::post& post_;
  user_worker_listener& listener_;
  const outbox::maker make_;
  logger& log_;
  unique_fd gate_; ///< an epoll of everything here
  std::map<variant_id, pool> pools_;
  std::map<std::uint64_t, std::unique_ptr<user_worker>> workers_;
  std::map<batch_id, split_batch> split_;
  std::uint64_t last_item_ = 0;                              ///< of those that are jobs by themselves
  std::map<std::string, zygote_slot> zygotes_;               ///< by name
  std::map<std::uint64_t, std::unique_ptr<zygote>> retired_; ///< by tag; they have been asked to end
  std::map<std::string, sealed_file> sealed_;                ///< by path, which a file of other content never gets
  std::uint64_t sealed_bytes_ = 0;
  std::uint64_t last_sealed_ = 0;
  std::uint64_t last_worker_ = 0;
  std::uint64_t last_tag_ = 0;
  std::uint64_t last_segment_ = 0;
};

} // namespace squall::executors::detail
