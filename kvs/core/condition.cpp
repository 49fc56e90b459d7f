#include "kvs/core/condition.hpp"

#include "kvs/core/layout.hpp"
#include "kvs/core/limits.hpp"

#include <string>

namespace squall::kvs::core {

result<> check_version(std::string_view key, std::uint64_t expected, std::uint64_t found) {
  if (expected == found)
    return {};
  const auto shown = [](std::uint64_t version) {
    return version == 0 ? std::string{"no value"} : "version " + std::to_string(version);
  };
  return error{errc::already_exists,
               "key " + std::string{key} + " has " + shown(found) + ", not " + shown(expected) +
                   " as its writer expected; read it again",
               {}};
}

result<> check_one_piece(std::string_view key, std::size_t size_bytes) {
  if (size_bytes <= piece_bytes)
    return {};
  return error{errc::too_large,
               "key " + std::string{key} + ": a value that is written under a condition may have " +
                   std::to_string(piece_bytes) + " bytes, not " + std::to_string(size_bytes),
               {}};
}

result<> check_fence(std::uint64_t writers_term, std::string_view term_value) {
  const auto present = decode_number(term_value);
  if (writers_term == 0 || !present || *present <= writers_term)
    return {};
  return error{
      errc::permission_denied,
      "the writer led in term " + std::to_string(writers_term) + "; another leads in term " + std::to_string(*present),
      {}};
}

} // namespace squall::kvs::core
