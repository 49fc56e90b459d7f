#pragma once

#include "base/result.hpp"
#include "base/time.hpp"
#include "calls/call.hpp"
#include "client/call.hpp"
#include "client/kv.hpp"
#include "functions/spec.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// The C++ client. No exceptions cross this face.
namespace squall::client {

/// Keys of CURVE, each as 40 characters of Z85; all empty on loopback.
struct keys {
  std::string server_public;
  std::string client_public;
  std::string client_secret;
};

struct options {
  /// Of the controller, for example "tcp://127.0.0.1:7400"; with commas between them if others stand by. Those that the
  /// controller names are tried, too.
  std::string endpoint;
  client::keys keys;
  duration timeout = std::chrono::seconds{10}; ///< of connect() and of every request but calls
  /// How long calls wait for a controller that is gone, or for nodes that are to come, before they end as unavailable.
  /// Those that were sent are sent again when it is back, with their ids; it runs them again only if that is safe.
  /// Zero: they end at once.
  duration patience = std::chrono::seconds{10};
  std::size_t max_outstanding = 10'000;   ///< calls; the next one fails as overloaded
  std::size_t arena_bytes = 0;            ///< shared memory for large inputs; 0 = the default of docs/data-plane.md
  std::string software = "squall client"; ///< for the server's log
};

struct cluster_info {
  std::string name;
  std::string software; ///< of the controller
  std::uint32_t protocol_version = 0;
  std::uint64_t epoch = 0; ///< changes when the controller restarts
  bool same_host = false;  ///< large values travel through shared memory
  duration default_deadline{0};
};

/// A connection to a cluster. Thread-safe: one thread of its own owns the sockets, all others hand their messages to
/// it.
///
/// The server is pinged each second. When it has been silent for 5 s, when the connection breaks, or when it turns out
/// to have restarted, the client connects again by itself. Calls wait for that for up to `patience`; then, and requests
/// of other kinds at once, they end as unavailable (whether a call ran is then unknown).
class cluster {
public:
  /// Waits until the server has answered. Errors: invalid_argument (no endpoint, a bad key), unavailable (no answer
  /// within the timeout), unsupported (no common version of the protocol), permission_denied.
  [[nodiscard]] static result<std::unique_ptr<cluster>> connect(const options& options);

  /// Outstanding calls end as cancelled. Must not run in a callback.
  ~cluster();
  cluster(const cluster&) = delete;
  cluster& operator=(const cluster&) = delete;

  /// The same spec again is ok; another one under the same name and version is already_exists, unless `replace`.
  [[nodiscard]] result<> register_function(const functions::function_spec& spec, bool replace = false);
  [[nodiscard]] result<> register_dag(const functions::dag_spec& spec, bool replace = false);

  /// version 0: every version. Calls that run go on.
  [[nodiscard]] result<> remove_function(std::string_view name, std::uint32_t version = 0);
  [[nodiscard]] result<> remove_dag(std::string_view name, std::uint32_t version = 0);

  /// Calls a DAG, or a function as a DAG of one stage; "name" (the latest version) or "name@2". Never waits; every
  /// failure is in the outcome. Ends at the latest 2 s after its deadline (or the cluster's default deadline), whatever
  /// becomes of the cluster. Inputs of 64 KiB and more are copied into shared memory if the server is on this host.
  [[nodiscard]] call_handle call(std::string_view name, std::vector<functions::named_value> inputs,
                                 const calls::call_options& options = {});

  /// The same, and hears of partial results. `on_partial` is called from the client's thread, for each at most once
  /// (also when the call had to be sent again), before the call ends; it must be short and not wait. Its values are
  /// copies. Those of an element of a map that ran on another node may come too late: they are dropped.
  [[nodiscard]] call_handle call(std::string_view name, std::vector<functions::named_value> inputs,
                                 const calls::call_options& options, partial_callback on_partial);

  /// The same without a handle, for those that want every microsecond. `done` is called once, from the client's thread
  /// (or from this one when the call is refused at once); it must be short and not wait.
  call_id call_async(std::string_view name, std::vector<functions::named_value> inputs,
                     const calls::call_options& options, std::function<void(call_result)> done);

  /// Asks for the end of a call; see call_handle::cancel().
  void cancel(call_id call);

  [[nodiscard]] client::kv kv();

  /// JSON: a list, or one object when `name` is given. Kinds: functions, dags, nodes, calls, policy, status, metrics.
  [[nodiscard]] result<std::string> query(std::string_view kind, std::string_view name = {});
  [[nodiscard]] result<> set_policy(std::string_view name);
  /// Gives a policy a part of the calls, in millionths, beside the one in force; 0 ends that.
  [[nodiscard]] result<> set_policy_share(std::string_view name, std::uint32_t share_ppm);
  /// Lets a policy decide what it would, without effect, to compare it with the one in force; "none" ends that.
  [[nodiscard]] result<> set_shadow_policy(std::string_view name);
  /// Nothing more is placed on the node, and it leaves when it has finished what it has. Returns at once.
  [[nodiscard]] result<> drain(std::string_view node);
  /// Stops the whole cluster.
  [[nodiscard]] result<> shutdown();

  /// As of the last welcome.
  [[nodiscard]] cluster_info info() const;
  [[nodiscard]] const std::string& endpoint() const;

  /// The time of a round trip to the controller.
  [[nodiscard]] result<duration> ping();

private:
  explicit cluster(std::shared_ptr<detail::engine> engine);

  std::shared_ptr<detail::engine> engine_;
};

} // namespace squall::client
