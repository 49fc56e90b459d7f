#pragma once

#include "base/mix.hpp"

#include <cmath>
#include <cstdint>

namespace squall {

/// Seeded random numbers (xoshiro256**, Blackman and Vigna 2018) with distributions of our own, because those of the
/// standard library differ between implementations. The same seed gives the same numbers everywhere.
class random_source {
public:
  explicit random_source(std::uint64_t seed) {
    for (auto& word : state_)
      word = mixed_bits(seed += 0x9e3779b97f4a7c15ULL);
  }

  /// Uniform over all 64-bit numbers.
  std::uint64_t next() {
    const std::uint64_t out = rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotl(state_[3], 45);
    return out;
  }

  /// Uniform in [0, bound); bound must be positive. Unbiased (Lemire 2019).
  std::uint64_t below(std::uint64_t bound) {
    for (;;) {
      const auto product = static_cast<unsigned __int128>(next()) * bound;
      const auto low = static_cast<std::uint64_t>(product);
      if (low >= bound || low >= (0 - bound) % bound)
        return static_cast<std::uint64_t>(product >> 64);
    }
  }

  /// Uniform in [0, 1) with 53 bits.
  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  /// Exponential with the given mean.
  double exponential(double mean) { return -mean * std::log1p(-unit()); }

private:
  static constexpr std::uint64_t rotl(std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

  std::uint64_t state_[4];
};

} // namespace squall
