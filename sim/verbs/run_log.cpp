#include "sim/verbs/run_log.hpp"

#include "calls/json.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace squall::sim {

std::string cost_text(calls::placing::micro_cost c) {
  std::string out = std::to_string(c / 1'000'000);
  if (c % 1'000'000 != 0) {
    std::string fraction = std::to_string(c % 1'000'000);
    fraction.insert(0, 6 - fraction.size(), '0');
    fraction.erase(fraction.find_last_not_of('0') + 1);
    out += "." + fraction;
  }
  return out;
}

// -- lines
// ---------------------------------------------------------------------------------------------------------------------

void run_log::begin(std::int64_t t, const char* what) {
  line_ += "{\"t\": ";
  number(t);
  line_ += ", \"do\": \"";
  line_ += what;
  line_ += '"';
}
void run_log::key(const char* name) {
  line_ += ", \"";
  line_ += name;
  line_ += "\": ";
}
void run_log::number(std::int64_t n) {
  std::array<char, 24> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), n).ptr;
  line_.append(text.data(), end);
}
void run_log::quoted(std::string_view s) {
  calls::json_writer w;
  w.string(s);
  line_ += w.take();
}
void run_log::cost(calls::placing::micro_cost c) { line_ += cost_text(c); }
void run_log::request(std::size_t index) {
  key("request");
  line_ += std::to_string(input_.requests[index].id);
}
void run_log::end() {
  line_ += "}\n";
  if (line_.size() > (std::size_t{1} << 16)) {
    std::fwrite(line_.data(), 1, line_.size(), out_);
    line_.clear();
  }
}
bool run_log::flush() {
  std::fwrite(line_.data(), 1, line_.size(), out_);
  line_.clear();
  return std::fflush(out_) == 0 && std::ferror(out_) == 0;
}

void run_log::admitted(std::int64_t t, std::size_t r, std::optional<std::int64_t> expected,
                       calls::placing::micro_cost c) {
  begin(t, "admit");
  request(r);
  key("expected");
  if (expected)
    number(*expected);
  else
    line_ += "null";
  key("cost");
  cost(c);
  end();
}

void run_log::refused(std::int64_t t, std::size_t r, std::span<const offered> offers) {
  begin(t, "refuse");
  request(r);
  key("offers");
  line_ += '[';
  for (std::size_t i = 0; i < offers.size(); ++i) {
    line_ += i == 0 ? "{\"finish\": " : ", {\"finish\": ";
    number(offers[i].finish);
    key("cost");
    cost(offers[i].cost);
    line_ += '}';
  }
  line_ += ']';
  end();
}

void run_log::redeemed(std::int64_t t, std::size_t r, const offered& offer) {
  begin(t, "redeem");
  request(r);
  key("finish");
  number(offer.finish);
  key("cost");
  cost(offer.cost);
  end();
}

void run_log::loading(std::int64_t t, replica_id replica, node_id node, variant_id variant) {
  begin(t, "load");
  key("replica");
  number(static_cast<std::int64_t>(replica.value));
  key("node");
  quoted(input_.nodes[index_of(node)].name);
  key("function");
  quoted(input_.functions[function_of(variant)].name);
  end();
}

void run_log::evicted(std::int64_t t, replica_id replica) {
  begin(t, "evict");
  key("replica");
  number(static_cast<std::int64_t>(replica.value));
  end();
}

void run_log::running(std::int64_t t, replica_id replica, std::span<const calls::placing::task> tasks,
                      std::int64_t until) {
  begin(t, "run");
  key("replica");
  number(static_cast<std::int64_t>(replica.value));
  key("tasks");
  line_ += '[';
  for (const calls::placing::task& task : tasks) {
    const workload_request& r = input_.requests[index_of(task.call)];
    const workload_stage& stage = input_.dags[r.dag].stages[task.stage];
    line_ += line_.back() == '[' ? "[" : ", [";
    line_ += std::to_string(r.id);
    line_ += ", ";
    quoted(stage.name);
    if (stage.map) {
      line_ += ", ";
      number(task.element);
    }
    line_ += ']';
  }
  line_ += ']';
  key("until");
  number(until);
  end();
}

void run_log::skipped(std::int64_t t, std::size_t r, stage_index stage) {
  begin(t, "skip");
  request(r);
  key("stage");
  quoted(input_.dags[input_.requests[r].dag].stages[stage].name);
  end();
}

void run_log::dropped(std::int64_t t, std::size_t r, const std::string& why) {
  begin(t, "drop");
  request(r);
  key("why");
  quoted(why);
  end();
}

void run_log::finished(std::int64_t t, std::size_t r, calls::placing::micro_cost c, bool) {
  begin(t, "finish");
  request(r);
  key("cost");
  cost(c);
  end();
}

// -- the summary
// ---------------------------------------------------------------------------------------------------------------

namespace {

/// Nearest rank, in microseconds; 0 without any.
double percentile_us(std::vector<std::int64_t> sorted, double share) {
  if (sorted.empty())
    return 0;
  std::sort(sorted.begin(), sorted.end());
  const auto rank = static_cast<std::size_t>(share * static_cast<double>(sorted.size()));
  return static_cast<double>(sorted[std::min(rank, sorted.size() - 1)]) / 1000;
}

double rounded(double n, double steps) { return std::round(n * steps) / steps; }

/// Name and value, in the order of the page.
struct figure {
  const char* name;
  double value;
};

std::vector<figure> figures(const dag_run_summary& s, std::int64_t horizon_ms, double wall_s) {
  const auto d = [](std::uint64_t n) { return static_cast<double>(n); };
  return {{"offered", d(s.offered)},
          {"admitted", d(s.admitted)},
          {"refused", d(s.refused)},
          {"finished", d(s.finished)},
          {"met_latency", d(s.met_latency)},
          {"met_cost", d(s.met_cost)},
          {"met_both", d(s.met_both)},
          {"broken", d(s.broken)},
          {"goodput_per_s", rounded(d(s.met_both) * 1000 / static_cast<double>(horizon_ms), 1000)},
          {"redeemed", d(s.redeemed)},
          {"redeemed_broken", d(s.redeemed_broken)},
          {"loads", d(s.loads)},
          {"mean_batch_gpu", s.batches_gpu == 0 ? 0 : rounded(d(s.tasks_gpu) / d(s.batches_gpu), 1000)},
          {"decisions", d(s.decision_ns.size())},
          {"decision_us_p50", rounded(percentile_us(s.decision_ns, 0.50), 100)},
          {"decision_us_p99", rounded(percentile_us(s.decision_ns, 0.99), 100)},
          {"events_per_s", wall_s > 0 ? std::round(d(s.facts) / wall_s) : 0}};
}

} // namespace

std::string summary_json(const dag_run_summary& s, std::int64_t horizon_ms, double wall_s) {
  calls::json_writer w;
  w.begin_object();
  for (const figure& f : figures(s, horizon_ms, wall_s)) {
    w.key(f.name);
    if (f.value == std::floor(f.value) && std::abs(f.value) < 1e15)
      w.number(static_cast<std::int64_t>(f.value));
    else
      w.number(f.value);
  }
  w.end_object();
  return w.take() + "\n";
}

std::string summary_table(const dag_run_summary& s, std::int64_t horizon_ms, double wall_s) {
  std::string out;
  for (const figure& f : figures(s, horizon_ms, wall_s)) {
    calls::json_writer w;
    if (f.value == std::floor(f.value) && std::abs(f.value) < 1e15)
      w.number(static_cast<std::int64_t>(f.value));
    else
      w.number(f.value);
    std::string name = f.name;
    std::string value = w.take();
    name.resize(20, ' ');
    value.insert(0, value.size() < 12 ? 12 - value.size() : 0, ' ');
    out += name + value + "\n";
  }
  return out;
}

} // namespace squall::sim
