#include "calls/json.hpp"
#include "sim/verbs/run_log.hpp"
#include "sim/verbs/workload_file.hpp"

#include <string>

namespace squall::sim {

namespace {

using functions::resource_type;

std::string quoted(std::string_view s) {
  calls::json_writer w;
  w.string(s);
  return w.take();
}

std::string shown(double n) {
  calls::json_writer w;
  if (n == std::floor(n))
    w.number(static_cast<std::int64_t>(n));
  else
    w.number(n);
  return w.take();
}

std::string megabytes(std::uint64_t bytes) { return shown(static_cast<double>(bytes) / 1e6); }

std::string variant_text(const char* name, const workload_variant& v) {
  return std::string{"\""} + name + "\": {\"exec\": " + shown(v.exec) + ", \"load\": " + std::to_string(v.load) +
         ", \"memory_mb\": " + megabytes(v.memory_bytes) + ", \"cost\": " + cost_text(v.cost) +
         ", \"batch_max\": " + std::to_string(v.batch_max) + ", \"beta\": " + shown(v.beta) + "}";
}

std::string stage_text(const workload& w, const workload_dag& dag, const workload_stage& s) {
  std::string out =
      "{\"name\": " + quoted(s.name) + ", \"function\": " + quoted(w.functions[s.function].name) + ", \"after\": [";
  for (std::size_t i = 0; i < s.after.size(); ++i)
    out += (i > 0 ? ", " : "") + quoted(dag.stages[s.after[i]].name);
  out += "]";
  if (s.chance_ppm)
    out += ", \"chance\": " + shown(*s.chance_ppm / 1e6);
  if (s.map)
    out += ", \"map\": true, \"width_max\": " + std::to_string(s.width_max);
  if (s.best_effort > 0)
    out += ", \"best_effort\": " + std::to_string(s.best_effort);
  return out + "}";
}

/// The extras that a request has; empty without any.
std::string extras_text(const workload_dag& dag, const workload_request& r) {
  std::string stretch;
  std::string width;
  for (const stage_truth& t : r.truths) {
    if (t.stretch != 1)
      stretch += (stretch.empty() ? "" : ", ") + quoted(dag.stages[t.stage].name) + ": " + shown(t.stretch);
    if (t.width != 1)
      width += (width.empty() ? "" : ", ") + quoted(dag.stages[t.stage].name) + ": " + std::to_string(t.width);
  }
  std::string out;
  const auto add = [&](const std::string& what) { out += (out.empty() ? "" : ", ") + what; };
  if (!stretch.empty())
    add("\"stretch\": {" + stretch + "}");
  if (!width.empty())
    add("\"width\": {" + width + "}");
  if (r.priority > 0)
    add("\"priority\": " + std::to_string(r.priority));
  if (r.prefer == calls::placing::preference::fastest)
    add("\"prefer\": \"fastest\"");
  if (r.prefer == calls::placing::preference::cheapest)
    add("\"prefer\": \"cheapest\"");
  if (r.redeem)
    add(std::string{"\"redeem\": [\""} + (r.redeem->cheapest ? "cheapest" : "earliest") + "\", " +
        std::to_string(r.redeem->delay) + "]");
  return out;
}

std::string request_text(const workload& w, const workload_request& r) {
  const workload_dag& dag = w.dags[r.dag];
  std::string out = "[" + std::to_string(r.id) + ", " + std::to_string(r.arrival) + ", " + quoted(dag.name) + ", " +
                    std::to_string(r.latency_slo) + ", " + (r.cost_slo ? cost_text(*r.cost_slo) : "null") + ", [";
  bool first = true;
  for (const stage_truth& t : r.truths)
    if (!t.runs) {
      out += (first ? "" : ", ") + quoted(dag.stages[t.stage].name);
      first = false;
    }
  const std::string extras = extras_text(dag, r);
  return out + "]" + (extras.empty() ? "" : ", {" + extras + "}") + "]";
}

/// Lines, a comma after each but the last.
class lines {
public:
  void add(const std::string& line) { text_ += (text_.empty() ? "" : ",\n ") + line; }
  [[nodiscard]] const std::string& text() const { return text_; }

private:
  std::string text_;
};

} // namespace

std::string workload_json(const workload& w) {
  lines nodes;
  for (const workload_node& n : w.nodes)
    nodes.add("{\"id\": " + quoted(n.name) + ", \"resource\": \"" + (n.resource == resource_type::gpu ? "gpu" : "cpu") +
              "\", \"lanes\": " + std::to_string(n.lanes) + ", \"memory_mb\": " + megabytes(n.memory_bytes) + "}");
  lines functions;
  for (const workload_function& f : w.functions)
    functions.add(quoted(f.name) + ": {" + (f.cpu ? variant_text("cpu", *f.cpu) : "") + (f.cpu && f.gpu ? ", " : "") +
                  (f.gpu ? variant_text("gpu", *f.gpu) : "") + "}");
  lines dags;
  for (const workload_dag& d : w.dags) {
    lines stages;
    for (const workload_stage& s : d.stages)
      stages.add(stage_text(w, d, s));
    dags.add(quoted(d.name) + ": {\"stages\": [" + stages.text() + "]}");
  }
  lines requests;
  for (const workload_request& r : w.requests)
    requests.add(request_text(w, r));
  lines events;
  for (const workload_change& c : w.changes)
    events.add("[" + std::to_string(c.at) + ", \"" + (c.lose ? "lose" : "join") + "\", " +
               quoted(w.nodes[c.node].name) + "]");
  return "{\"version\": 1,\n\"nodes\": [" + nodes.text() + "],\n\"functions\": {" + functions.text() +
         "},\n\"dags\": {" + dags.text() + "},\n\"horizon\": " + std::to_string(w.horizon) +
         (w.changes.empty() ? "" : ",\n\"events\": [" + events.text() + "]") + ",\n\"requests\": [" + requests.text() +
         "]}\n";
}

} // namespace squall::sim
