#include "bench/calls/no_ops.hpp"

#include "bench/calls/caller.hpp"
#include "bench/calls/hops.hpp"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <vector>

namespace squall::bench {

namespace {

functions::function_spec builtin(const std::string& name, std::map<std::string, std::string> parameters) {
  functions::function_spec spec;
  spec.name = name;
  functions::variant_spec variant;
  variant.name = "default";
  variant.target = name;
  variant.parameters = std::move(parameters);
  spec.variants.push_back(variant);
  spec.inputs = {{"x", functions::datatype::uint8, {-1}}};
  spec.outputs = spec.inputs;
  return spec;
}

functions::stage_spec stage(const std::string& name, const std::string& after) {
  functions::binding source;
  source.port = "x";
  if (!after.empty()) {
    source.from = functions::binding::source::stage_output;
    source.stage = after;
  }
  functions::stage_spec out;
  out.name = name;
  out.function = "noop";
  out.inputs = {{"x", source}};
  return out;
}

functions::dag_spec chain_of(const functions::function_spec& no_op) {
  functions::dag_spec spec;
  spec.name = "chain3";
  spec.inputs = no_op.inputs;
  spec.stages = {stage("first", ""), stage("second", "first"), stage("third", "second")};
  spec.outputs = {{"x", {functions::binding::source::stage_output, "third", "x"}}};
  return spec;
}

client::call_result call_once(client::cluster& cluster, const std::string& target, fnv1a& work) {
  auto ended = cluster.call(target, {{"x", no_op_input()}}).get();
  if (!ended.ok())
    fail({ended.outcome.code, target + ": " + ended.outcome.message, {}});
  const auto* x = ended.find("x");
  if (!x || *x != no_op_input())
    fail({errc::internal, target + " gives back something else than it got", {}});
  work.add(x->as_tensor()->data.text());
  work.add(ended.outcome.trace.size());
  return ended;
}

} // namespace

void fail(const error& e) {
  std::fprintf(stderr, "bench: %s (%s)\n", e.message.c_str(), std::string{to_string(e.code)}.c_str());
  std::exit(1);
}

std::unique_ptr<client::cluster> connect_with_no_ops(const running_cluster& cluster) {
  client::options options;
  options.endpoint = cluster.endpoint();
  options.software = "squall bench";
  auto connected = or_fail(client::cluster::connect(options));
  const auto no_op = builtin("noop", {});
  or_fail(connected->register_function(no_op));
  or_fail(connected->register_function(builtin("sleep", {{"milliseconds", "1"}})));
  or_fail(connected->register_dag(chain_of(no_op)));
  return connected;
}

void check_no_op(client::cluster& cluster, fnv1a& work) { call_once(cluster, "noop", work); }

void check_chain(client::cluster& cluster, fnv1a& work) {
  std::set<node_id> nodes;
  const auto ended = call_once(cluster, "chain3", work);
  for (const auto& stage : ended.outcome.trace)
    nodes.insert(stage.node);
  if (nodes.size() != 3)
    fail({errc::internal, "the three stages run on " + std::to_string(nodes.size()) + " nodes", {}});
}

double call_p50_us(client::cluster& cluster, const std::string& target, std::size_t count) {
  std::vector<double> us;
  for (const duration took : or_fail(caller{cluster, target}.run(count, 1)))
    us.push_back(static_cast<double>(took.count()) * 1e-3);
  return median(std::move(us));
}

double relay_p50_us(relay& reference, std::size_t count) {
  std::vector<double> us;
  for (std::size_t i = 0; i < count; ++i) {
    const auto began = now_ns();
    reference.send_round(1, 1);
    us.push_back(static_cast<double>(now_ns() - began) * 1e-3);
  }
  return median(std::move(us));
}

} // namespace squall::bench
