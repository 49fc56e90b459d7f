#include "wire/bundle.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace squall::wire {

namespace {

// Larger bundles win little more, and their first message would wait longer.
constexpr std::size_t most_messages = 32;
constexpr std::size_t most_bytes = 16 << 10;
constexpr std::size_t largest_part = 2 << 10;

/// A whole header: [1, type, 0, 0, []].
constexpr std::array<std::byte, 6> head_of(message_type type) {
  return {std::byte{0x95}, std::byte{1}, static_cast<std::byte>(type), std::byte{0}, std::byte{0}, std::byte{0x90}};
}
constexpr auto notice = head_of(message_type::takes_bundles);
constexpr auto mark = head_of(message_type::bundle);

void put(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void put_number(std::vector<std::byte>& to, std::size_t number) {
  std::array<std::byte, 4> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(number >> (8 * i));
  put(to, bytes);
}

} // namespace

std::size_t size_of(const frames& message) {
  std::size_t size = message.header.size();
  for (const auto& payload : message.payloads)
    size += payload.size();
  return size;
}

std::span<const std::byte> takes_bundles() { return notice; }

bool is_takes_bundles(std::span<const std::byte> header) { return std::ranges::equal(header, notice); }

bool bundle_writer::fits(const frames& message) { return size_of(message) <= largest_part; }

void bundle_writer::add(const frames& message) {
  if (messages_++ == 0)
    put(bytes_, mark);
  put_number(bytes_, message.header.size());
  put_number(bytes_, message.payloads.size());
  put(bytes_, message.header.span());
  for (const auto& payload : message.payloads) {
    put_number(bytes_, payload.size());
    put(bytes_, payload.span());
  }
}

bool bundle_writer::full() const { return messages_ >= most_messages || bytes_.size() >= most_bytes; }

void bundle_writer::clear() {
  bytes_.clear();
  messages_ = 0;
}

bool bundle_reader::is_bundle(std::span<const std::byte> header) {
  return header.size() > mark.size() && std::ranges::equal(header.first(mark.size()), mark);
}

void bundle_reader::open(shared_bytes frame) {
  frame_ = std::move(frame);
  rest_ = frame_.span().subspan(mark.size());
}

result<bool> bundle_reader::next(frames& out) {
  out.payloads.clear();
  if (rest_.empty()) {
    frame_ = {};
    return false;
  }
  if (take_message(out))
    return true;
  rest_ = {};
  return {errc::corrupt, "a bundle of messages is cut short"};
}

bool bundle_reader::take(std::size_t size, std::span<const std::byte>& out) {
  if (size > rest_.size())
    return false;
  out = rest_.first(size);
  rest_ = rest_.subspan(size);
  return true;
}

bool bundle_reader::take_number(std::uint32_t& out) {
  std::span<const std::byte> bytes;
  if (!take(4, bytes))
    return false;
  out = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    out |= static_cast<std::uint32_t>(bytes[i]) << (8 * i);
  return true;
}

bool bundle_reader::take_message(frames& out) {
  std::uint32_t header = 0;
  std::uint32_t payloads = 0;
  std::span<const std::byte> bytes;
  if (!take_number(header) || !take_number(payloads) || !take(header, bytes) || header == 0)
    return false;
  out.header = {frame_.owner(), bytes};
  for (; payloads > 0; --payloads) {
    std::uint32_t size = 0;
    if (!take_number(size) || !take(size, bytes))
      return false;
    out.payloads.push_back(payloads_.copy(bytes));
  }
  return true;
}

} // namespace squall::wire
