#include "kvs/core/layout.hpp"

#include "kvs/core/limits.hpp"

namespace squall::kvs::core {

namespace {

constexpr std::size_t number_bytes = 8;
constexpr char record_format = 1;
constexpr std::size_t record_head_bytes = 1 + 3 * number_bytes;

void append_number(std::string& out, std::uint64_t number) {
  for (int shift = 56; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>((number >> shift) & 0xff));
}

std::uint64_t number_at(std::string_view bytes) {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < number_bytes; ++i)
    number = (number << 8) | static_cast<unsigned char>(bytes[i]);
  return number;
}

} // namespace

std::string encode(const record& r) {
  std::string out;
  out.reserve(record_head_bytes + r.inline_value.size());
  out.push_back(record_format);
  append_number(out, r.version);
  append_number(out, r.size_bytes);
  append_number(out, r.pieces);
  out.append(r.inline_value);
  return out;
}

result<record> decode_record(std::string_view bytes) {
  if (bytes.size() < record_head_bytes)
    return {errc::corrupt, "a record of " + std::to_string(bytes.size()) + " bytes is too short"};
  if (bytes[0] != record_format)
    return {errc::corrupt, "a record of the unknown format " + std::to_string(static_cast<unsigned char>(bytes[0]))};
  bytes.remove_prefix(1);
  const record r{number_at(bytes), number_at(bytes.substr(number_bytes)), number_at(bytes.substr(2 * number_bytes)),
                 bytes.substr(3 * number_bytes)};
  if (r.inline_value.size() != (r.pieces == 0 ? r.size_bytes : 0))
    return {errc::corrupt, "a record whose value has " + std::to_string(r.inline_value.size()) +
                               " bytes beside a size of " + std::to_string(r.size_bytes)};
  if (r.size_bytes > max_value_bytes)
    return {errc::corrupt, "a record of a value of " + std::to_string(r.size_bytes) + " bytes"};
  return r;
}

std::string record_key(std::string_view user_key) {
  std::string key{first_record_key};
  key.append(user_key);
  return key;
}

std::string_view user_key(std::string_view record_key) { return record_key.substr(first_record_key.size()); }

std::string upload_key(std::uint64_t pieces) {
  std::string key{first_upload_key};
  append_number(key, pieces);
  return key;
}

std::optional<std::uint64_t> pieces_of_upload_key(std::string_view key) {
  if (!key.starts_with(first_upload_key))
    return std::nullopt;
  return decode_number(key.substr(first_upload_key.size()));
}

std::string piece_key(std::uint64_t pieces, std::uint64_t index) {
  std::string key;
  key.reserve(2 * number_bytes);
  append_number(key, pieces);
  append_number(key, index);
  return key;
}

std::uint64_t piece_count(std::uint64_t size_bytes) { return (size_bytes + piece_bytes - 1) / piece_bytes; }

std::string encode_number(std::uint64_t number) {
  std::string out;
  append_number(out, number);
  return out;
}

std::optional<std::uint64_t> decode_number(std::string_view bytes) {
  if (bytes.size() != number_bytes)
    return std::nullopt;
  return number_at(bytes);
}

} // namespace squall::kvs::core
