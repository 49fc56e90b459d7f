#pragma once

#include "calls/json.hpp"
#include "functions/value.hpp"

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <string_view>

namespace squall::gateway::detail {

using json_out = rapidjson::Writer<rapidjson::StringBuffer, rapidjson::UTF8<>, rapidjson::UTF8<>,
                                   rapidjson::CrtAllocator, rapidjson::kWriteValidateEncodingFlag>;

/// One tensor {name, shape, datatype, data} of a request; `input` names it in messages. `data` is flat in row-major
/// order, or nested as the shape is.
[[nodiscard]] result<functions::tensor> read_tensor(std::string_view input, const calls::json_node& node);

/// Writes "datatype", "shape" and flat "data" as members of the object that is open. Floating-point numbers are the
/// shortest that read back the same; NaN and infinities, which JSON lacks, are the strings "NaN", "Infinity" and
/// "-Infinity" (and read_tensor() takes them).
[[nodiscard]] result<> write_tensor(json_out& out, std::string_view output, const functions::tensor& t);

/// False when the text is not UTF-8; what was written is then of no use.
bool put(json_out& out, std::string_view text);

} // namespace squall::gateway::detail
