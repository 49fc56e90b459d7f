#pragma once

#include "functions/value.hpp"

namespace squall::functions {

/// The value with each tensor at an address that fits its elements, so that they can be read in place (elements_of).
/// What came in a frame of its own or through shared memory is aligned already; a slice of something else, such as of a
/// bundle of messages, may not be, and is copied.
[[nodiscard]] value aligned(value v);

/// Whether it is so already.
[[nodiscard]] bool is_aligned(const value& v);

} // namespace squall::functions
