#pragma once

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "functions/spec.hpp"
#include "functions/value.hpp"

#include <span>
#include <string>
#include <string_view>

/// Values out of what users have: files, numbers and JSON.
namespace squall::client {

/// The bytes of a file. Errors: not_found, too_large (more than a value may have).
[[nodiscard]] result<shared_bytes> read_file(const std::string& path);

/// A BYTES tensor of shape [1] that holds a file, for inputs such as pictures.
[[nodiscard]] result<functions::value> file_value(const std::string& path);

/// Raw bytes as a port wants them: one element of BYTES, or the little-endian elements of a tensor whose free dimension (one at most) follows from the
/// number of bytes.
[[nodiscard]] result<functions::value> value_of_bytes(const functions::port& port, const shared_bytes& bytes);

/// A value as people write it: a number, true, false, a JSON array (nested as the port's shape, or flat if that leaves one free dimension), the JSON of
/// a value ({"datatype", "shape", "data"}, or null), or for BYTES any text. Numbers take the port's datatype if they fit in it. For a list port this is
/// one element, or an array of JSON values for all.
[[nodiscard]] result<functions::value> value_of_text(const functions::port& port, std::string_view text);

/// As much of a value as fits into a line: "FP32 [2] 0.5, 1", "BYTES [1] hello", "absent".
[[nodiscard]] std::string summary(const functions::value& value, std::size_t width = 100);

} // namespace squall::client
