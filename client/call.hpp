#pragma once

#include "base/ids.hpp"
#include "base/result.hpp"
#include "calls/call.hpp"
#include "functions/value.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace squall::client {

namespace detail {
class call_state;
class engine;
} // namespace detail

/// How a call ended. Large outputs lie in shared memory of the cluster; it is given back when the last copy of them is
/// dropped.
struct call_result {
  call_id id;
  calls::outcome outcome; ///< the code, and the trace as far as it is known
  std::vector<functions::named_value> outputs;

  [[nodiscard]] bool ok() const { return outcome.code == errc::ok; }
  /// The outcome as a result.
  [[nodiscard]] result<> status() const;
  /// An output by name; null when there is none of that name.
  [[nodiscard]] const functions::value* find(std::string_view output) const;
};

/// What a stage gave out before it ended (`emit()` of a native function, a generator's items but the last).
struct partial_result {
  call_id id;
  std::string stage;                           ///< its name
  std::uint32_t element = 0;                   ///< of a map
  std::uint32_t index = 0;                     ///< from 0, ascending, for one element of one stage
  std::vector<functions::named_value> outputs; ///< of the stage's function

  /// An output by name; null when there is none of that name.
  [[nodiscard]] const functions::value* find(std::string_view output) const;
};
using partial_callback = std::function<void(const partial_result&)>;

/// A call on its way; copies are the same call. Dropping it does not cancel the call. Thread-safe.
class call_handle {
public:
  [[nodiscard]] call_id id() const;

  /// Waits for the end, which comes (see cluster::call). Not from within a callback: the thread that would bring the
  /// end is the one that waits.
  [[nodiscard]] const call_result& get() const&;
  [[nodiscard]] call_result get() &&;

  /// Whether the call ended within this time.
  [[nodiscard]] bool wait_for(duration patience) const;

  /// Calls back once, when the call ends: from the client's thread, or from this one if it has ended already. Must be
  /// short and not wait. A second callback replaces the first if that was not called yet.
  void on_done(std::function<void(const call_result&)> callback) const;

  /// Asks the cluster to end it; it ends as cancelled, or with its result if that was faster.
  void cancel() const;

private:
  friend class cluster;
  call_handle(std::shared_ptr<detail::call_state> state, std::weak_ptr<detail::engine> engine)
      : state_(std::move(state)), engine_(std::move(engine)) {}

  std::shared_ptr<detail::call_state> state_;
  std::weak_ptr<detail::engine> engine_;
};

} // namespace squall::client
