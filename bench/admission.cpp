// What one decision of the calendar takes: a call of a DAG of ten stages, over a thousand executors whose calendars are
// full. Each call that is admitted is withdrawn again (not timed), so that the calendars stay as full as they are. The
// reference is ten ordered insertions into a map of as many bookings. With --json or without, the lines after the
// result say how the time grows with the bookings of each executor, and what memory they take.
#include "base/random.hpp"
#include "bench/support.hpp"
#include "policy/calendar/calendar.hpp"

#include <cstdio>
#include <map>

namespace {

using namespace squall;
namespace placing = calls::placing;
using functions::resource_type;

constexpr int stages = 10, cpu_nodes = 100, cpu_lanes = 8, gpu_nodes = 200;
constexpr std::size_t executors = cpu_nodes * cpu_lanes + gpu_nodes;

class full_cluster {
public:
  full_cluster() {
    for (std::uint64_t f = 0; f < stages; ++f)
      step(function(f));
    placing::dag_registered dag{dag_id{1}, {}};
    for (stage_index s = 0; s < stages; ++s) {
      placing::stage_info info{function_id{s + 1}, {variant_id{2 * s + 1}, variant_id{2 * s + 2}}, {}};
      if (s > 0) // 0 -> 1 2 3 -> 4 -> 5 6 7 -> 8 -> 9
        for (const stage_index p : producers[s])
          info.producers.push_back(p);
      dag.stages.push_back(info);
    }
    step(dag);
    for (std::uint64_t n = 1; n <= cpu_nodes + gpu_nodes; ++n)
      step(node(n));
  }

  /// Admits calls until each executor has so many bookings, or no more are admitted. Nothing is ready, so nothing runs.
  void fill(std::size_t per_executor) {
    for (int refused = 0; policy_.booked() < per_executor * executors && refused < 1000;) {
      if (!arrive(std::chrono::seconds{60}))
        ++refused;
      if (next_call_ % 64 == 0)
        advance();
    }
  }

  /// Nanoseconds of one decision, whatever it is; the call is withdrawn again.
  double decide() {
    const bool lax = next_call_ % 2 == 0;
    const auto deadline = std::chrono::milliseconds{lax ? 60'000 : 100 + random_.below(400)};
    admitted_ = false;
    placing::call_arrived fact = call(deadline);
    const std::int64_t begin = bench::now_ns();
    policy_.step(now_, fact, out_);
    const std::int64_t end = bench::now_ns();
    note();
    if (admitted_)
      step(placing::cancel_requested{fact.id});
    work.add(admitted_ ? fact.id.value : 0);
    return static_cast<double>(end - begin);
  }

  [[nodiscard]] std::size_t booked() const { return policy_.booked(); }
  [[nodiscard]] std::size_t memory_bytes() const { return policy_.memory_bytes(); }
  fnv1a work;

private:
  static const inline std::vector<std::vector<stage_index>> producers{{},  {0}, {0}, {0},       {1, 2, 3},
                                                                      {4}, {4}, {4}, {5, 6, 7}, {8}};

  static placing::function_registered function(std::uint64_t f) {
    placing::function_registered out{function_id{f + 1}, false, {}};
    for (const bool gpu : {false, true}) {
      placing::variant_info v;
      v.id = variant_id{2 * f + (gpu ? 2 : 1)};
      v.resource = gpu ? resource_type::gpu : resource_type::cpu;
      v.max_batch = gpu ? 16 : 4;
      v.memory_bytes = 200'000'000;
      v.expected = std::chrono::milliseconds{gpu ? 2 : 20};
      v.load = std::chrono::milliseconds{50};
      v.cost = gpu ? 30 : 20;
      for (std::uint32_t b = 0; b < v.max_batch; ++b)
        v.batch_times.push_back(v.expected + v.expected * b * (gpu ? 12 : 85) / 100);
      out.variants.push_back(v);
    }
    return out;
  }
  static placing::node_joined node(std::uint64_t n) {
    const bool gpu = n > cpu_nodes;
    placing::node_joined out{node_id{n}, {}, 2'500'000'000};
    for (int l = 1; l <= (gpu ? 1 : cpu_lanes); ++l)
      out.lanes.push_back({lane_id{static_cast<std::uint64_t>(l)}, gpu ? resource_type::gpu : resource_type::cpu});
    return out;
  }
  placing::call_arrived call(duration deadline) {
    placing::call_arrived fact;
    fact.id = call_id{++next_call_};
    fact.client = client_id{1 + next_call_ % 100};
    fact.dag = dag_id{1};
    fact.deadline = now_ + deadline;
    fact.assurance_ppm = placing::firm_ppm;
    fact.priority = 8; // the price limit stands aside
    fact.preference = placing::preference::least_loaded;
    return fact;
  }
  bool arrive(duration deadline) {
    admitted_ = false;
    step(call(deadline));
    return admitted_;
  }
  void step(const placing::event& fact) {
    policy_.step(now_, fact, out_);
    note();
  }
  void note() {
    for (const placing::command& c : out_) {
      if (std::holds_alternative<placing::admit>(c))
        admitted_ = true;
      else if (const auto* l = std::get_if<placing::load_replica>(&c))
        loading_.push_back({l->node, l->replica, errc::ok});
    }
    out_.clear();
  }
  /// Time for what is loading, and for residency to be reconsidered.
  void advance() {
    step(placing::tick{});
    now_ += std::chrono::milliseconds{50};
    for (const placing::replica_loaded& l : std::exchange(loading_, {}))
      step(l);
    step(placing::tick{});
  }

  policy::calendar::calendar_policy policy_;
  random_source random_{1};
  time_point now_{};
  std::uint64_t next_call_ = 0;
  bool admitted_ = false;
  std::vector<placing::command> out_;
  std::vector<placing::replica_loaded> loading_;
};

/// Nanoseconds for ten ordered insertions, which are taken out again.
double ordered_insertions(std::map<std::uint64_t, std::uint64_t>& bookings, random_source& random, fnv1a& work) {
  std::uint64_t keys[stages];
  const std::int64_t begin = bench::now_ns();
  for (std::uint64_t& key : keys)
    bookings.emplace(key = random.next(), 1);
  const std::int64_t end = bench::now_ns();
  for (const std::uint64_t key : keys)
    bookings.erase(key);
  work.add(bookings.size());
  return static_cast<double>(end - begin);
}

} // namespace

int main(int argc, char** argv) {
  const bench::settings settings = bench::parse(argc, argv);
  bench::pin_to_one_core();
  const std::size_t decisions = settings.size(5'000, 20);
  const std::vector<std::size_t> levels =
      settings.smoke ? std::vector<std::size_t>{1} : std::vector<std::size_t>{2, 8, 32};
  full_cluster cluster;
  std::vector<std::string> lines;
  bench::comparison c;
  for (const std::size_t level : levels) {
    cluster.fill(level);
    std::vector<double> ours, reference;
    std::map<std::uint64_t, std::uint64_t> bookings;
    random_source random{2};
    while (bookings.size() < cluster.booked())
      bookings.emplace(random.next(), 1);
    for (std::size_t i = 0; i < decisions; ++i) {
      ours.push_back(cluster.decide());
      reference.push_back(ordered_insertions(bookings, random, cluster.work));
    }
    c = {bench::quantile(ours, 0.99), bench::quantile(reference, 0.99)};
    char line[200];
    std::snprintf(line, sizeof line, "%.1f bookings an executor: p50 %.1f us, p99 %.1f us; calendars take %.1f MB",
                  static_cast<double>(cluster.booked()) / static_cast<double>(executors), bench::median(ours) / 1000,
                  c.ours / 1000, static_cast<double>(cluster.memory_bytes()) / 1e6);
    lines.emplace_back(line);
  }
  bench::report(settings, "admission", c, "ns per decision, p99", cluster.work);
  if (!settings.json)
    for (const std::string& line : lines)
      std::printf("  %s\n", line.c_str());
  return 0;
}
