#pragma once

#include "base/result.hpp"
#include "client/cluster.hpp"
#include "functions/spec.hpp"

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace squall::client::cli {

/// The inputs of a DAG or function, asked from the cluster. An unknown name is answered with the nearest one.
[[nodiscard]] result<std::vector<functions::port>> ports_of(cluster& from, std::string_view target);

/// `--input NAME=VALUE` fitted to the ports. VALUE is @FILE, - (standard input), a number, JSON, or text for BYTES; a list is given element by element,
/// by repeating its name. Errors name the input, and what is missing.
[[nodiscard]] result<std::vector<functions::named_value>> read_inputs(const std::vector<functions::port>& ports,
                                                                      const std::vector<std::string>& given, std::FILE* standard_input);

} // namespace squall::client::cli
