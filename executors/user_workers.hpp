#pragma once

#include "actors/role.hpp"
#include "base/log.hpp"
#include "executors/detail/segment.hpp"
#include "functions/spec.hpp"
#include "wire/messages.hpp"
#include "wire/worker.hpp"

#include <memory>
#include <string>
#include <vector>

namespace squall::executors {

/// A call or a question to the store that a worker waits for.
struct worker_question {
  std::uint64_t worker = 0;
  request_id request;
  batch_id batch; ///< of a call
};

/// What workers of user code report. Called in the context of the role that owns them; none is called from inside a
/// call of the owner but run(), load() and on_alarm().
class user_worker_listener {
public:
  virtual ~user_worker_listener() = default;
  virtual void on_user_loaded(const wire::worker::loaded& message) = 0;
  /// One result for each item, checked against the function's ports.
  virtual void on_user_done(wire::worker::done message) = 0;
  /// An item of a batch whose function takes one at a time has ended before the others. on_user_done() follows when all
  /// have, and says nothing about them.
  virtual void on_user_item(batch_id batch, std::uint32_t item, wire::worker::item_result result,
                            duration executed) = 0;
  /// So many items of the variant, which takes one at a time, are worth a batch from now on: it has always been so
  /// short lately that the way to the worker takes longer.
  virtual void on_user_pace(variant_id variant, std::uint32_t items) = 0;
  virtual void on_user_partial(batch_id batch, std::uint32_t item, std::vector<functions::value> outputs) = 0;
  /// The batch waits for a call that it made (true), or goes on.
  virtual void on_user_waiting(batch_id batch, bool waits) = 0;
  virtual void on_user_call(const worker_question& from, wire::worker::call message) = 0;
  virtual void on_user_state(const worker_question& from, wire::worker::state_request message) = 0;
  /// The worker has ended: its questions need no answer.
  virtual void on_user_gone(std::uint64_t worker) = 0;
};

struct user_worker_options {
  std::string program_folder; ///< of squall-sandbox and squall-worker
  std::uint32_t lanes = 1;
  std::uint32_t max_workers = 256;                    ///< on the node
  bool unsandboxed = false;                           ///< the operator allows user code outside a sandbox
  functions::worker_spec defaults;                    ///< for what a variant leaves at zero
  duration grace = std::chrono::seconds{1};           ///< from being told to stop to being killed
  std::size_t segment_bytes = std::size_t{256} << 20; ///< of each inbox and each outbox
  std::string python;                                 ///< interpreter of the default environment; empty: no Python
  std::string python_worker;                          ///< the zygote's program, a file
  std::vector<std::string> python_paths;              ///< what else it reads: environment, package
  std::string python_preload = "numpy";
  std::string python_installer; ///< the program that makes the folders of required packages
  std::string python_packages;  ///< where they lie
};

/// The worker processes of user code on a node: zygotes, the pools of the variants, and what runs in them
/// (docs/workers.md). Lives in an inline role: never blocks.
class user_workers {
public:
  /// `make` makes the memory of what workers send. All arguments outlive it.
  [[nodiscard]] static std::unique_ptr<user_workers> create(const user_worker_options& options, actors::post& post,
                                                            user_worker_listener& listener, detail::outbox::maker make,
                                                            logger& log);
  virtual ~user_workers() = default; ///< ends all processes

  /// Such a variant may be called soon: gets ready what takes time and is not of the variant itself, its zygote and one
  /// worker to spare.
  virtual void prepare(const functions::variant_spec& spec) = 0;
  /// A load of this file may come soon.
  virtual void prepare_file(const std::string& path) = 0;
  /// Starts the variant's first workers. `repeatable`: see function_spec. Answered by on_user_loaded().
  virtual result<> load(const wire::worker::load& request, bool repeatable) = 0;
  virtual void unload(variant_id variant) = 0;
  [[nodiscard]] virtual bool knows(variant_id variant) const = 0;
  /// Answered by on_user_done(), unless it fails here.
  virtual result<> run(const wire::worker::run& request) = 0;
  virtual void cancel(batch_id batch) = 0;
  /// One item of a batch whose function takes one at a time; of another the item goes on.
  virtual void cancel(batch_id batch, std::uint32_t item) = 0;

  virtual void returned(const worker_question& to, const wire::worker::returned& message) = 0;
  virtual void state_reply(const worker_question& to, const wire::worker::state_reply& message) = 0;

  virtual void on_alarm() = 0;
  [[nodiscard]] virtual time_point next_alarm() const = 0;

  [[nodiscard]] virtual std::vector<wire::instance_report> instances() = 0;
};

} // namespace squall::executors
