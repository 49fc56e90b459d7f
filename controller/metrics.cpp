#include "calls/json.hpp"
#include "controller/detail/service.hpp"

#include <utility>

namespace squall::controller {

namespace {

struct metric_view {
  const metric_sample* sample = nullptr;
  template <class S, class V>
  static void fields(S& s, V& v) {
    const bool counter = s.sample->type == metric_sample::kind::counter;
    std::string type = counter ? "counter" : "gauge";
    v("name", s.sample->name);
    v("help", s.sample->help);
    v("type", type);
    v("labels", s.sample->labels);
    v("value", s.sample->value);
  }
};

} // namespace

void controller_service::count_drifts(std::vector<metric_sample>& samples) const {
  for (const functions::registered_function* f : catalogue_.functions())
    for (std::size_t i = 0; i < f->variants.size(); ++i)
      if (const auto d = profiles_.drift_of(f->variants[i]))
        samples.push_back({"squall_profile_drift_ratio",
                           "Of variants whose recent times left what was booked for them: recent over booked",
                           metric_sample::kind::gauge,
                           {{"function", f->spec.name}, {"variant", f->spec.variants[i].name}},
                           static_cast<double>(d->recent.count()) / static_cast<double>(d->booked.count())});
}

/// What this process's sockets hold, and refuse.
void controller_service::count_traffic(std::vector<metric_sample>& samples) const {
  using kind = metric_sample::kind;
  samples.push_back({"squall_results_dropped_total",
                     "Results whose client was gone or did not take what waits for it",
                     kind::counter,
                     {},
                     static_cast<double>(results_dropped_)});
  if (!options_.traffic)
    return;
  const actors::bridge_stats traffic = options_.traffic();
  samples.push_back({"squall_waiting_bytes",
                     "Bytes of messages that wait for peers to take them",
                     kind::gauge,
                     {},
                     static_cast<double>(traffic.waiting_bytes)});
  const std::pair<const char*, std::uint64_t> counts[] = {{"received", traffic.received},
                                                          {"sent", traffic.sent},
                                                          {"undecodable", traffic.undecodable},
                                                          {"overloaded", traffic.overloaded},
                                                          {"unreachable", traffic.unreachable}};
  for (const auto& [what, count] : counts)
    samples.push_back({"squall_messages_total",
                       "Messages of the controller's process, by what came of them",
                       kind::counter,
                       {{"what", what}},
                       static_cast<double>(count)});
}

void controller_service::count_node(const node_record& node, std::vector<metric_sample>& samples) const {
  using kind = metric_sample::kind;
  const std::map<std::string, std::string> labels{{"node", node.info.name}};
  samples.push_back(
      {"squall_node_queued", "Items that wait on a node", kind::gauge, labels, static_cast<double>(node.beat.queued)});
  samples.push_back({"squall_node_running", "Batches that run on a node", kind::gauge, labels,
                     static_cast<double>(node.beat.running)});
  samples.push_back({"squall_node_resident_bytes", "Memory of resident variants", kind::gauge, labels,
                     static_cast<double>(node.beat.resident_bytes)});
  samples.push_back({"squall_node_arena_used_bytes", "Values in shared memory", kind::gauge, labels,
                     static_cast<double>(node.beat.arena_used_bytes)});
  samples.push_back({"squall_node_arena_capacity_bytes", "Bound of values in shared memory", kind::gauge, labels,
                     static_cast<double>(node.beat.arena_capacity_bytes)});
  for (const auto& [name, value] : node.beat.metrics)
    samples.push_back({"squall_node_" + name, "Counter of a node", kind::counter, labels, value});
  if (const auto clock = node.beats.clock())
    samples.push_back({"squall_node_clock_ahead_seconds", "A node's wall clock less the controller's", kind::gauge,
                       labels, std::chrono::duration<double>{clock->offset}.count()});
  if (const auto pace = paces_.permille_of(node.id))
    samples.push_back({"squall_node_pace_ratio", "What work takes on a node over what it takes on the best other one",
                       kind::gauge, labels, *pace / 1000.0});
}

std::string controller_service::metrics_json() {
  using kind = metric_sample::kind;
  std::vector<metric_sample> samples;
  samples.push_back({"squall_calls_running",
                     "Calls that were admitted and have not ended",
                     kind::gauge,
                     {},
                     static_cast<double>(calls_.running().size())});
  samples.push_back({"squall_nodes", "Nodes in the cluster", kind::gauge, {}, static_cast<double>(nodes_.size())});
  samples.push_back({"squall_clients", "Connected clients", kind::gauge, {}, static_cast<double>(clients_.size())});
  const std::pair<const char*, double> bounds[] = {
      {"calls", static_cast<double>(options_.scheduler.max_calls)},
      {"calls of a client", static_cast<double>(options_.scheduler.max_calls_per_client)},
      {"bytes", static_cast<double>(options_.flow.bytes)},
      {"bytes of a client", static_cast<double>(options_.flow.bytes_of_client)},
      {"clients", static_cast<double>(options_.flow.clients)},
      {"bytes that wait for peers", static_cast<double>(actors::bridge_options{}.waiting_bytes)}};
  for (const auto& [what, most] : bounds)
    samples.push_back({"squall_limit", "The bounds at which calls are refused", kind::gauge, {{"of", what}}, most});
  samples.push_back(
      {"squall_bytes_in_flight", "Inputs of calls that run", kind::gauge, {}, static_cast<double>(flow_.bytes())});
  samples.push_back({"squall_calls_in_line",
                     "Calls that wait for others of their client to end",
                     kind::gauge,
                     {},
                     static_cast<double>(turnstile_.waiting())});
  samples.push_back({"squall_calls_repeated_total",
                     "Attempts that were made again since a node was lost or failed them",
                     kind::counter,
                     {},
                     static_cast<double>(repeated_)});
  samples.push_back(
      {"squall_store_up", "Whether the store holds its lease", kind::gauge, {}, store_lost() ? 0.0 : 1.0});
  samples.push_back({"squall_calls_adopted_total",
                     "Calls of the controller before that went on at the nodes",
                     kind::counter,
                     {},
                     static_cast<double>(adopted_)});
  statistics_.collect(samples);
  count_drifts(samples);
  samples.push_back({"squall_promises_total",
                     "Promises that ended, by result",
                     kind::counter,
                     {{"result", "kept"}},
                     static_cast<double>(ledger_.kept())});
  samples.push_back(
      {"squall_promises_total", "", kind::counter, {{"result", "broken"}}, static_cast<double>(ledger_.broken())});
  samples.push_back({"squall_promises_refused_total",
                     "Calls with an SLO that were refused",
                     kind::counter,
                     {},
                     static_cast<double>(ledger_.refusals())});
  samples.push_back({"squall_offers_redeemed_total",
                     "Offers that were taken",
                     kind::counter,
                     {},
                     static_cast<double>(ledger_.redemptions())});
  count_traffic(samples);
  for (const auto& [id, node] : nodes_)
    count_node(node, samples);
  std::vector<metric_view> views;
  for (const metric_sample& s : samples)
    views.push_back({&s});
  return calls::to_json(views);
}

} // namespace squall::controller
