// What the rewrite rules are worth, each against the same DAG without it, on one running cluster:
// - tables-fuse-100, -1k, -100k: p50 of six table operators one after the other, on so many rows, one call at a time;
// 100
//   rows run in the node's own thread, more in the model host;
// - tables-compete: p95 of a stage that takes 5 ms, and 60 ms in a tenth of its runs, with two replicas on two nodes;
// - tables-locality: a pass over stored objects that no node has read yet, each asked for by six calls, six at a time.
#include "bench/calls/no_ops.hpp"
#include "bench/running_cluster.hpp"
#include "bench/support.hpp"
#include "client/apply.hpp"
#include "functions/builtin/builtin.hpp"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <string>
#include <vector>

using namespace squall;
using namespace squall::bench;

namespace {

/// `rules`: "" or "optimize: [...]".
std::string report_dag(const std::string& name, const std::string& rules) {
  return R"(
---
apiVersion: squall/v1
kind: Dag
metadata: {name: )" +
         name + R"(}
spec:
  )" + rules +
         R"(
  inputs: {t: {datatype: UINT8, shape: [-1]}}
  stages:
  - {name: paid, function: paid, inputs: {table: $t}}
  - {name: total, function: total, inputs: {table: paid.table}}
  - {name: taxed, function: taxed, inputs: {table: total.table}}
  - {name: dear, function: dear, inputs: {table: taxed.table}}
  - {name: groups, function: groups, inputs: {table: dear.table}}
  - {name: best, function: best, inputs: {table: groups.table}}
  outputs: {t: best.table}
)";
}

std::string nap_dag(const std::string& name, const std::string& rules) {
  return R"(
---
apiVersion: squall/v1
kind: Dag
metadata: {name: )" +
         name + R"(}
spec:
  )" + rules +
         R"(
  inputs: {x: {datatype: UINT8, shape: [-1]}}
  stages:
  - {name: nap, function: uneven, inputs: {x: $x}, compete: 2}
  outputs: {x: nap.x}
)";
}

std::string users_dag(const std::string& name, const std::string& rules) {
  return R"(
---
apiVersion: squall/v1
kind: Dag
metadata: {name: )" +
         name + R"(}
spec:
  )" + rules +
         R"(
  inputs: {t: {datatype: UINT8, shape: [-1]}}
  stages:
  - {name: found, function: found, inputs: {table: $t}}
  - {name: sizes, function: sizes, inputs: {table: found.table}}
  outputs: {t: sizes.table}
)";
}

std::string function(const std::string& name, const std::string& builtin, const std::string& parameters) {
  return "\n---\napiVersion: squall/v1\nkind: Function\nmetadata: {name: " + name +
         "}\nspec: {variants: [{builtin: " + builtin + ", parameters: {" + parameters + "}}]}\n";
}

std::string specs() {
  return function("paid", "table-filter", "where: price > 1") +
         function("total", "table-map", "columns: 'group, price, total = price * count'") +
         function("taxed", "table-map", "columns: '*, taxed = total * 1.22'") +
         function("dear", "table-filter", "where: taxed > 20") +
         function("groups", "table-aggregate", "by: group, columns: 'n = count(), sum = sum(taxed)'") +
         function("best", "table-filter", "where: n > 0") +
         function("uneven", "sleep", "milliseconds: 5, tail_milliseconds: 60, tail_percent: 10") +
         function("found", "table-lookup", "key: id, prefix: objects/") +
         function("sizes", "table-map", "columns: 'id, bytes = length(value)'") + report_dag("plain-report", "") +
         report_dag("fused-report", "optimize: [fuse]") + nap_dag("plain-nap", "") +
         nap_dag("raced-nap", "optimize: [compete]") + users_dag("plain-users", "") +
         users_dag("near-users", "optimize: [locality]");
}

/// What a builtin of tables makes here, without a cluster.
functions::value make(std::string_view name, const functions::builtins::parameter_map& parameters,
                      std::vector<functions::value> inputs) {
  auto made = or_fail(functions::builtins::make_instance(*functions::builtins::find(name), parameters, {}));
  return or_fail(made->run(inputs, {})).front();
}

functions::value sales(std::size_t rows) {
  std::vector<std::int64_t> groups(rows), counts(rows);
  std::vector<double> prices(rows);
  for (std::size_t i = 0; i < rows; ++i) {
    groups[i] = static_cast<std::int64_t>(i * 7 % 23);
    counts[i] = static_cast<std::int64_t>(i % 5 + 1);
    prices[i] = static_cast<double>(i % 97) / 3;
  }
  const functions::shape s{static_cast<std::int64_t>(rows)};
  return make("table-of", {{"columns", "group, count, price"}},
              {{functions::tensor_of(functions::datatype::int64, s, groups)},
               {functions::tensor_of(functions::datatype::int64, s, counts)},
               {functions::tensor_of(functions::datatype::fp64, s, prices)}});
}

functions::value one_key(std::int64_t id) {
  return make("table-of", {{"columns", "id"}}, {functions::scalar_value(id)});
}

client::call_result ended(client::call_result r, const std::string& dag) {
  if (!r.ok())
    fail({r.outcome.code, dag + ": " + r.outcome.message, {}});
  return r;
}

/// Microseconds of each call, one at a time.
std::vector<double> one_at_a_time(client::cluster& c, const std::string& dag, const std::string& input,
                                  const functions::value& v, std::size_t count) {
  std::vector<double> took;
  for (std::size_t i = 0; i < count; ++i) {
    const auto began = now_ns();
    (void)ended(c.call(dag, {{input, v}}).get(), dag);
    took.push_back(static_cast<double>(now_ns() - began) / 1e3);
  }
  return took;
}

void measure_fusing(client::cluster& c, const settings& s, const std::string& name, std::size_t rows,
                    std::size_t count) {
  const auto table = sales(rows);
  fnv1a work;
  for (const auto* dag : {"plain-report", "fused-report"}) { // the same result from both
    const auto out = ended(c.call(dag, {{"t", table}}).get(), dag);
    work.add(out.find("t")->as_tensor()->data.text());
    (void)one_at_a_time(c, dag, "t", table, count / 10 + 2);
  }
  const auto p50 = [&](const std::string& dag) { return median(one_at_a_time(c, dag, "t", table, count)); };
  report(s, name,
         compare(
             s.size(9, 2), [&] { return p50("fused-report"); }, [&] { return p50("plain-report"); }),
         "us", work);
}

void measure_competing(client::cluster& c, const settings& s) {
  const functions::value x{functions::tensor_of(functions::datatype::uint8, {1}, std::vector<std::uint8_t>{7})};
  fnv1a work;
  for (const auto* dag : {"plain-nap", "raced-nap"})
    work.add(ended(c.call(dag, {{"x", x}}).get(), dag).find("x")->as_tensor()->data.text());
  const auto p95 = [&](const std::string& dag) {
    return quantile(one_at_a_time(c, dag, "x", x, s.size(200, 5)), 0.95);
  };
  report(s, "tables-compete",
         compare(
             s.size(5, 2), [&] { return p95("raced-nap"); }, [&] { return p95("plain-nap"); }),
         "us", work);
}

/// Milliseconds for `objects` fresh ones, asked for six times each.
double pass(client::cluster& c, const std::string& dag, std::int64_t& next_key, std::size_t objects, fnv1a& work) {
  constexpr std::size_t uses = 6, outstanding = 6;
  const auto first = next_key;
  const auto content = shared_bytes::take(std::string(1 << 20, 'o'));
  for (std::size_t i = 0; i < objects; ++i)
    if (auto put = c.kv().put("objects/" + std::to_string(next_key++), content); !put)
      fail(put.error());
  std::deque<client::call_handle> running;
  const auto began = now_ns();
  for (std::size_t i = 0; i < objects * uses; ++i) {
    if (running.size() == outstanding) {
      (void)ended(running.front().get(), dag);
      running.pop_front();
    }
    running.push_back(c.call(dag, {{"t", one_key(first + static_cast<std::int64_t>(i / uses))}}));
  }
  for (auto& r : running)
    work.add(ended(r.get(), dag).find("t")->as_tensor()->data.size());
  return static_cast<double>(now_ns() - began) / 1e6;
}

void measure_locality(client::cluster& c, const settings& s) {
  std::int64_t next_key = 1;
  fnv1a work;
  const auto objects = s.size(40, 3);
  (void)pass(c, "plain-users", next_key, 3, work); // warms up
  (void)pass(c, "near-users", next_key, 3, work);
  report(s, "tables-locality",
         compare(
             s.size(5, 2), [&] { return pass(c, "near-users", next_key, objects, work); },
             [&] { return pass(c, "plain-users", next_key, objects, work); }),
         "ms", work);
}

} // namespace

int main(int argc, char** argv) {
  const settings s = parse(argc, argv);
  const running_cluster cluster{3, "fifo"};
  client::options options;
  options.endpoint = cluster.endpoint();
  const auto c = or_fail(client::cluster::connect(options));
  if (auto applied = client::apply(*c, or_fail(client::parse_specs(specs(), "the specs of this benchmark", ".")));
      !applied)
    fail(applied.error());
  measure_fusing(*c, s, "tables-fuse-100", 100, s.size(300, 10));
  measure_fusing(*c, s, "tables-fuse-1k", 1000, s.size(200, 5));
  measure_fusing(*c, s, "tables-fuse-100k", s.size(100'000, 5000), s.size(20, 3));
  measure_competing(*c, s);
  measure_locality(*c, s);
}
