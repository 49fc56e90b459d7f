#include "gateway/infer_json.hpp"
#include "input.hpp"

/// The body of an inference over HTTP: refused, or inputs whose tensors are valid; what comes back can be written.
namespace squall {
namespace {

gateway::model_metadata model() {
  using functions::datatype;
  gateway::model_metadata out;
  out.name = "m";
  out.version = 1;
  out.versions = {1};
  out.inputs = {{"x", datatype::fp32, {-1, 2}}, {"t", datatype::bytes, {-1}}, {"b", datatype::boolean, {1}}};
  out.inputs.push_back({"l", datatype::int64, {2}});
  out.inputs.back().list = true;
  out.outputs = out.inputs;
  return out;
}

void fuzz(fuzzing::input& in) {
  static const auto m = model();
  const auto request = gateway::read_infer(in.rest(), m);
  if (!request.ok()) {
    (void)gateway::write_error(request.error());
    return;
  }
  gateway::infer_reply reply;
  for (const auto& input : request->inputs) {
    if (const auto* t = input.value.as_tensor(); t != nullptr && !functions::validate(*t).ok())
      fuzzing::broken("an invalid tensor was accepted");
    for (const auto& port : m.outputs)
      if (port.name == input.name)
        reply.outputs.push_back(input);
  }
  (void)gateway::write_infer(*request, m, reply);
}

} // namespace
} // namespace squall

SQUALL_FUZZ_TARGET(squall::fuzz)
