#pragma once

#include "base/result.hpp"
#include "base/time.hpp"
#include "wire/worker.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

/// Runs functions of functions/native.h: between values and the C ABI.
namespace squall::executors::native {

using port_values = std::vector<functions::value>; ///< one per port

/// What a native function may ask of the process that it runs in. Called by the thread that runs it.
class services {
public:
  virtual ~services() = default;

  /// Memory of an output. `freeze` makes the bytes of it, once they are written.
  struct block {
    std::span<std::byte> bytes;
    std::function<shared_bytes()> freeze;
  };
  [[nodiscard]] virtual result<block> allocate(std::size_t size) = 0;

  virtual void log(int level, const std::string& text) = 0;
  [[nodiscard]] virtual bool cancelled() = 0;
  [[nodiscard]] virtual std::optional<duration> time_left() = 0;
  [[nodiscard]] virtual result<> emit(std::uint32_t item, port_values outputs) = 0;
  [[nodiscard]] virtual result<shared_bytes> get(const std::string& key) = 0;
  [[nodiscard]] virtual result<> put(const std::string& key, shared_bytes value) = 0;
  [[nodiscard]] virtual result<> erase(const std::string& key) = 0;
  [[nodiscard]] virtual result<std::vector<wire::wire_value>> call(std::uint32_t item, const std::string& target,
                                                                   std::uint32_t version,
                                                                   std::vector<wire::wire_value> inputs) = 0;
};

/// A loaded function. Not thread-safe.
class function {
public:
  /// Opens the library at `path`, checks that it fits `request`, and loads it. Errors name what is wrong with it.
  [[nodiscard]] static result<std::unique_ptr<function>> load(const std::string& path,
                                                              const wire::worker::load& request, services& host);
  virtual ~function() = default; ///< unloads it; the library itself stays in memory, as threads of it may run

  /// One result for each item, in their order.
  [[nodiscard]] virtual std::vector<result<port_values>> run(std::span<const port_values> items, services& host) = 0;
};

} // namespace squall::executors::native
