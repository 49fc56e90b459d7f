#pragma once

#include "base/ids.hpp"
#include "base/metrics.hpp"
#include "base/result.hpp"
#include "calls/call.hpp"
#include "functions/spec.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace squall::gateway {

/// A DAG or a function as the Open Inference Protocol sees it.
struct model_metadata {
  std::string name;
  std::uint32_t version = 0;           ///< the one that the ports are of
  std::vector<std::uint32_t> versions; ///< all, ascending
  bool dag = true;                     ///< else a single function
  std::vector<functions::port> inputs;
  std::vector<functions::port> outputs;
};

struct infer_reply {
  call_id id;
  calls::outcome outcome;
  std::vector<functions::named_value> outputs; ///< absent ones among them
};

/// What the gateway needs of a cluster. Thread-safe.
class serving_port {
public:
  virtual ~serving_port() = default;

  /// Never waits. `done` is called once, from any thread (also before this returns); every failure is in the outcome.
  virtual void call(const std::string& model, std::uint32_t version, std::vector<functions::named_value> inputs,
                    const calls::call_options& options, std::function<void(infer_reply)> done) = 0;

  /// version 0: the latest. not_found: no such model, or no such version of it. May wait for the cluster, as the two
  /// below.
  [[nodiscard]] virtual result<model_metadata> metadata(std::string_view model, std::uint32_t version) = 0;

  /// Ok when calls can be served now; the error says why not.
  [[nodiscard]] virtual result<> ready() = 0;

  [[nodiscard]] virtual result<std::vector<metric_sample>> metrics() = 0;
};

} // namespace squall::gateway
