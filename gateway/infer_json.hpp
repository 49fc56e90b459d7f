#pragma once

#include "gateway/serving_port.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The JSON of an inference in the Open Inference Protocol, version 2 (docs/http.md). Pure.
namespace squall::gateway {

/// Parameters beyond the protocol are ignored, so that clients of other servers work.
struct infer_request {
  std::optional<std::string> id; ///< echoed
  calls::call_options options;
  std::vector<functions::named_value> inputs;
  std::vector<std::string> outputs; ///< empty: all
};

/// Reads a request for `model`: its ports say which inputs are lists (a tensor for one is taken apart along its first
/// dimension) and which outputs exist. Whether names, datatypes and shapes of inputs fit is the cluster's to say.
/// Errors: invalid_argument, which names the input and what was expected; unsupported (binary or shared-memory tensors,
/// FP16, BF16).
[[nodiscard]] result<infer_request> read_infer(std::string_view json, const model_metadata& model);

/// The answer to a request whose call succeeded. Absent outputs are left out and named in the parameter
/// `absent_outputs`. A list whose elements are tensors of one datatype and shape is a tensor with one more dimension in
/// front; any other is a BYTES tensor with an element of JSON for each. Fails as unsupported when an output cannot be
/// put as JSON (FP16, BF16).
[[nodiscard]] result<std::string> write_infer(const infer_request& request, const model_metadata& model,
                                              const infer_reply& reply);

/// Other answers.
[[nodiscard]] std::string write_metadata(const model_metadata& model);
[[nodiscard]] std::string write_error(const error& what);

} // namespace squall::gateway
