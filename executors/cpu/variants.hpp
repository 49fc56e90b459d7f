#pragma once

#include "executors/cpu/inference.hpp"
#include "wire/arena.hpp"
#include "wire/worker.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>

namespace squall::executors::cpu {

using host_clock = std::chrono::steady_clock;

/// What is asked of a batch while it runs.
struct batch_control {
  std::atomic<bool> cancelled{false};
  std::optional<host_clock::time_point> deadline; ///< nobody wants the results after it

  /// An error when the batch should not go on: cancelled or deadline_exceeded.
  [[nodiscard]] result<> go_on() const;
};

/// A variant that is resident in this process. Each lane is used by one thread at a time, different lanes at once.
class resident_variant {
public:
  virtual ~resident_variant() = default;
  /// One result per item, in their order.
  [[nodiscard]] virtual std::vector<result<port_values>> run(std::uint32_t lane, std::span<const port_values> items,
                                                             const batch_control& control) = 0;
  /// See model::measured; empty for what is not warmed up.
  [[nodiscard]] virtual std::vector<calls::batch_time> measured() const { return {}; }
};

/// What variants need of the process. Outlives them.
struct variant_environment {
  std::uint32_t lanes = 1;
  runtime* inference = nullptr; ///< null: the runtime cannot be used here, and
  std::string unusable;         ///< this says why
  output_memory* outputs = nullptr;
};

/// Loads a builtin or a model. Says in the error which parameter, port or file is wrong.
[[nodiscard]] result<std::unique_ptr<resident_variant>> load_variant(const wire::worker::load& request,
                                                                     const variant_environment& environment);

/// Outputs of at least wire::share_threshold_bytes go to the arena, smaller ones to the heap.
class arena_memory final : public output_memory {
public:
  explicit arena_memory(wire::arena& arena) : arena_(arena) {}
  [[nodiscard]] result<shared_bytes> make(std::size_t size,
                                          const std::function<void(std::span<std::byte>)>& fill) override;

private:
  wire::arena& arena_;
  heap_memory heap_;
};

} // namespace squall::executors::cpu
