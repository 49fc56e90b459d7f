#pragma once

#include "wire/message_types.hpp"

#include <string_view>

namespace squall::wire {

/// Whose key it takes to send a message of this type (docs/keys.md). Of types that are not known: an admin's.
[[nodiscard]] access needed_for(message_type type);

[[nodiscard]] std::string_view to_string(access role);

} // namespace squall::wire
