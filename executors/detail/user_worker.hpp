#pragma once

#include "executors/detail/log_reader.hpp"
#include "executors/detail/packet_socket.hpp"
#include "executors/detail/segment.hpp"
#include "wire/worker.hpp"

#include <deque>
#include <memory>
#include <optional>
#include <set>

namespace squall::executors::detail {

[[nodiscard]] result<unique_fd> duplicate(const unique_fd& fd);

/// A batch on its way through a pool.
struct user_job {
  wire::worker::run request;
  time_point deadline = never;
  std::uint32_t attempt = 0;
  batch_id whole;          ///< the batch of which this is an item by itself; none: it is a batch
  std::uint32_t place = 0; ///< in that
  bool cancelled = false;  ///< while it was on its way
};

/// A worker process of user code, as the node sees it.
struct user_worker {
  enum class phase {
    loading,
    idle,
    busy,
    leaving, ///< its socket is closed, or it is being killed; its end is being waited for
  };

  std::uint64_t id = 0;
  variant_id variant;
  std::string zygote; ///< its name
  phase state = phase::loading;
  bool waiting = false; ///< for a call that it made
  bool ended = false;   ///< the process is gone: nothing more is sent to it
  time_point started;
  time_point idle_since;
  std::uint64_t batches = 0;
  std::uint64_t pid = 0;      ///< as the zygote sees it
  std::uint64_t host_pid = 0; ///< once it was looked up
  std::uint64_t memory_bytes = 0;

  std::optional<user_job> job;
  std::deque<user_job> ahead; ///< sent, to be begun when `job` has ended
  bool cancelled = false;     ///< the job
  time_point kill_at = never; ///< when it has not answered, ended or loaded
  std::string why_killed;     ///< for whoever waits for its job
  errc killed_as = errc::failed;
  std::set<std::uint64_t> questions; ///< calls that it made
  bool asked = false;                ///< anything of others, in this job: its time is not its own

  std::unique_ptr<inbox> in;
  std::unique_ptr<outbox> out;
  std::unique_ptr<packet_socket> socket;
  std::unique_ptr<log_reader> log;

  template <class Message>
  [[nodiscard]] result<> send(const Message& message, request_id request = {}, std::vector<unique_fd> with = {}) {
    return socket->send(wire::encode(message, request, {.local = in.get()}), std::move(with));
  }
};

} // namespace squall::executors::detail
