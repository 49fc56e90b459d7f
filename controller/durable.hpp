#pragma once

#include "base/ids.hpp"
#include "base/time.hpp"
#include "calls/call.hpp"
#include "functions/value.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace squall::controller {

/// What the store holds of a call that its client asked to be durable, under durable_key(): first what is to be done,
/// then (with `ended`) how it ended. Binary (calls/binary.hpp); new fields go to the end.
struct durable_record {
  client_id owner;
  std::string target;
  std::uint32_t version = 0;
  calls::call_options options;
  std::vector<functions::named_value> inputs; ///< until it ended
  bool ended = false;
  calls::outcome outcome;
  std::vector<functions::named_value> outputs;

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("owner", s.owner);
    v("target", s.target);
    v("version", s.version);
    v("options", s.options);
    v("inputs", s.inputs);
    v("ended", s.ended);
    v("outcome", s.outcome);
    v("outputs", s.outputs);
  }
};

inline constexpr const char* durable_prefix = "calls/durable/";
[[nodiscard]] std::string durable_key(call_id call);
/// The call of a key; zero: it is no such key.
[[nodiscard]] call_id durable_call(const std::string& key);

/// Of the inputs of one call, and of its outputs: they travel inline.
inline constexpr std::uint64_t max_durable_bytes = 64ull << 20;
/// A result that nobody has taken is kept for so long.
inline constexpr duration durable_kept = std::chrono::minutes{10};
inline constexpr std::size_t max_durable_kept = 10'000; ///< the oldest goes for the next

/// The same value in memory of its own: what it came in may go away.
[[nodiscard]] functions::value owned(const functions::value& value);

} // namespace squall::controller
