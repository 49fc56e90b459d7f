#include "bench/calls/hops.hpp"

#include <chrono>
#include <cstdint>
#include <string>

namespace squall::bench {

namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

// Numbers as large as live ones are, since msgpack writes small ones shorter.
constexpr std::uint64_t random_id = 0x9e3779b97f4a7c15ULL;
constexpr request_id some_request{123'456};

wire::frames request(const std::string& target) {
  wire::call_request message;
  message.call = call_id{random_id};
  message.target = target;
  message.inputs.push_back({"x", no_op_input()});
  return wire::encode(message, some_request);
}

wire::call_context context(std::size_t stages) {
  wire::call_context out;
  out.call = call_id{random_id};
  out.dag = dag_id{12};
  for (std::size_t i = 0; i < stages; ++i)
    out.plan.stages.push_back({variant_id{i + 20}, node_id{i + 1}, {}});
  out.plan.exit = node_id{stages};
  out.remaining = seconds{60} - microseconds{123};
  out.age = microseconds{123};
  out.client_host = random_id;
  return out;
}

wire::frames start(std::size_t stages) {
  wire::start_call message;
  message.context = context(stages);
  message.inputs.push_back(no_op_input());
  return wire::encode(message, request_id{});
}

/// The traces of the first stages, as the last of them hands them on.
std::vector<calls::stage_trace> traces(std::size_t stages) {
  std::vector<calls::stage_trace> out;
  for (std::size_t i = 0; i < stages; ++i) {
    calls::stage_trace one;
    one.stage = static_cast<stage_index>(i);
    one.node = node_id{i + 1};
    one.lane = lane_id{1};
    one.begin = microseconds{130};
    one.queued = microseconds{2};
    one.executed = microseconds{2};
    one.bytes_in = no_op_input().byte_size();
    one.bytes_out = no_op_input().byte_size();
    out.push_back(one);
  }
  return out;
}

wire::frames handed_over(std::size_t stages, std::size_t ended) {
  wire::settled message;
  message.context = context(stages);
  message.stage = static_cast<stage_index>(ended - 1);
  message.outputs.push_back(no_op_input());
  message.trace = traces(ended);
  return wire::encode(message, request_id{});
}

calls::outcome outcome(std::size_t stages) {
  calls::outcome out;
  out.trace = traces(stages);
  out.elapsed = microseconds{150};
  return out;
}

wire::frames finished(std::size_t stages) {
  wire::call_finished message;
  message.call = call_id{random_id};
  message.node = node_id{stages};
  message.outcome = outcome(stages);
  message.outputs.push_back(no_op_input());
  return wire::encode(message, request_id{});
}

wire::frames result_of(std::size_t stages) {
  wire::call_result message;
  message.call = call_id{random_id};
  message.outcome = outcome(stages);
  message.outputs.push_back({"x", no_op_input()});
  return wire::encode(message, some_request);
}

} // namespace

functions::value no_op_input() {
  static const functions::value input{
      functions::tensor_of<std::uint8_t>(functions::datatype::uint8, {64}, std::vector<std::uint8_t>(64, 7))};
  return input;
}

std::vector<wire::frames> call_hops() { return {request("noop"), start(1), finished(1), result_of(1)}; }

std::vector<wire::frames> chain_hops() {
  return {request("chain3"), start(3), handed_over(3, 1), handed_over(3, 2), result_of(3)};
}

} // namespace squall::bench
