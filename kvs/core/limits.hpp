#pragma once

#include <cstddef>

namespace squall::kvs {

inline constexpr std::size_t max_key_bytes = 1024;
inline constexpr std::size_t max_value_bytes = 256ull << 20;
inline constexpr std::size_t piece_bytes = 1 << 20; ///< values are kept, read and sent in pieces of at most this

} // namespace squall::kvs
