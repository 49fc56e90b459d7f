#pragma once

#include "actors/role.hpp"
#include "base/log.hpp"
#include "wire/arena.hpp"
#include "wire/worker.hpp"

#include <memory>
#include <string>
#include <vector>

namespace squall::executors {

/// What a worker process reports. Called in the context of the role that owns it.
class worker_listener {
public:
  virtual ~worker_listener() = default;
  /// The process is up; `message.code` says whether its runtime can be used.
  virtual void on_ready(const wire::worker::ready& message) = 0;
  virtual void on_loaded(const wire::worker::loaded& message) = 0;
  virtual void on_done(wire::worker::done message) = 0;
  /// The process is gone: every batch that it ran and everything resident in it is lost. It is started again by itself
  /// after a pause that grows with crashes in a row (100 ms to 10 s); on_ready() follows. `why` names the signal or
  /// exit status, and quotes its last line.
  virtual void on_lost(const std::string& why) = 0;
};

struct worker_host_options {
  std::string program; ///< path of squall-model-host
  std::vector<std::string> arguments;
  std::uint32_t lanes = 1;                 ///< threads that run batches
  std::size_t arena_capacity_bytes = 0;    ///< of its arena; 0 = default
  std::size_t max_unsent_bytes = 64 << 20; ///< beyond this, requests fail as overloaded
};

/// Drives one worker process over its Unix socket (wire/worker.hpp). Lives in an inline role: never blocks. The child
/// dies with its parent.
class worker_host {
public:
  /// Starts the process. `arenas` resolves the references in its answers and outlives the host.
  [[nodiscard]] static result<std::unique_ptr<worker_host>> start(const worker_host_options& options,
                                                                  actors::post& post, wire::arena_map& arenas,
                                                                  worker_listener& listener, logger& log);
  virtual ~worker_host() = default; ///< ends the process: asks, then kills

  virtual result<> load(const wire::worker::load& request) = 0;
  virtual result<> unload(variant_id variant) = 0;
  virtual result<> run(const wire::worker::run& request) = 0;
  virtual void cancel(batch_id batch) = 0;
  virtual void release(const std::vector<wire::arena_ref>& blocks) = 0;

  /// Called by the owner when the time of next_alarm() has come.
  virtual void on_alarm() = 0;
  [[nodiscard]] virtual time_point next_alarm() const = 0;

  [[nodiscard]] virtual int pid() const = 0; ///< 0 while none runs
  [[nodiscard]] virtual std::uint64_t arena_id() const = 0;
};

} // namespace squall::executors
