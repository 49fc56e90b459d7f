#pragma once

#include "executors/native/library.hpp"
#include "executors/packet.hpp"
#include "executors/worker/segments.hpp"

#include <deque>
#include <memory>
#include <optional>
#include <span>

namespace squall::executors::worker {

/// A worker of native code: serves the node at the other end of `socket` until that closes it. One thread: it reads,
/// runs, and answers.
class session final : public native::services {
public:
  explicit session(int socket) : socket_(socket) {}

  /// Returns the exit status of the process.
  int serve();

  result<block> allocate(std::size_t size) override;
  void log(int level, const std::string& text) override;
  bool cancelled() override;
  std::optional<duration> time_left() override;
  result<> emit(std::uint32_t item, native::port_values outputs) override;
  result<shared_bytes> get(const std::string& key) override;
  result<> put(const std::string& key, shared_bytes value) override;
  result<> erase(const std::string& key) override;
  result<std::vector<wire::wire_value>> call(std::uint32_t item, const std::string& target, std::uint32_t version,
                                             std::vector<wire::wire_value> inputs) override;

private:
  /// The next packet; nothing when the node has gone, or sent what is none.
  std::optional<wire::frames> next_packet();
  bool handle(const wire::frames& packet);
  void on_segment(const wire::frames& packet);
  void on_load(const wire::frames& packet);
  void on_run(const wire::frames& packet);
  void refuse(batch_id batch);
  /// Handles what comes until the answer to `request` is there; nothing when the node has gone.
  std::optional<wire::frames> wait_for(request_id request);
  result<wire::worker::state_reply> ask_store(wire::worker::state_request question);
  [[nodiscard]] detail::unique_fd take_descriptor();

  result<> write(std::span<wire::frames> packets);
  template <class Message>
  void send(const Message& message, request_id request = {});

  const int socket_;
  packet_reader reader_;
  std::deque<detail::unique_fd> descriptors_;
  segments segments_;
  std::unique_ptr<native::function> function_;
  std::vector<detail::unique_fd> files_; ///< of the code and the resources

  bool to_spare_ = true; ///< nothing was to be loaded so far
  duration cpu_time_{0}; ///< of each batch

  // Of the batch that runs.
  batch_id batch_;
  bool stream_ = false;
  std::optional<time_point> deadline_;
  duration waited_{0}; ///< for calls that it made
  std::uint64_t last_request_ = 0;
};

/// The process's clock.
[[nodiscard]] time_point clock_now();

} // namespace squall::executors::worker
