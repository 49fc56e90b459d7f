#pragma once

#include <cstdint>

namespace squall {

/// The finaliser of splitmix64 (Steele, Lea and Flood 2014): a permutation in which every bit of the number moves every
/// bit of the result.
[[nodiscard]] constexpr std::uint64_t mixed_bits(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

} // namespace squall
