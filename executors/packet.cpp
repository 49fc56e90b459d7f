#include "executors/packet.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace squall::executors {

namespace {

constexpr std::size_t word = sizeof(std::uint32_t);
constexpr std::size_t fixed_prefix = 2 * word; ///< bytes of the header, number of payloads

std::uint32_t read_word(const std::vector<std::byte>& bytes, std::size_t index) {
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < word; ++i)
    number |= std::to_integer<std::uint32_t>(bytes[index * word + i]) << (8 * i);
  return number;
}

void append_word(std::vector<std::byte>& bytes, std::size_t number) {
  for (std::size_t i = 0; i < word; ++i)
    bytes.push_back(static_cast<std::byte>(number >> (8 * i)));
}

constexpr std::size_t max_descriptors = 64;

/// Room for a control message with descriptors.
struct control_space {
  alignas(cmsghdr) std::byte bytes[CMSG_SPACE(max_descriptors * sizeof(int))];
};

void attach(msghdr& message, control_space& control, const std::vector<detail::unique_fd>& descriptors) {
  if (descriptors.empty())
    return;
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
  auto* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
  for (std::size_t i = 0; i < descriptors.size(); ++i) {
    const int fd = descriptors[i].get();
    std::memcpy(CMSG_DATA(part) + i * sizeof(int), &fd, sizeof fd);
  }
}

error beyond(errc code, const std::string& what, std::size_t is, std::size_t limit) {
  return {code, what + " of " + std::to_string(is) + " is beyond the limit of " + std::to_string(limit), {}};
}

result<> check_sizes(errc code, std::size_t header, std::span<const std::size_t> payloads,
                     const packet_limits& limits) {
  if (header > limits.header_bytes)
    return beyond(code, "a packet's header size", header, limits.header_bytes);
  auto total = header;
  for (const auto size : payloads) {
    if (size > limits.payload_bytes)
      return beyond(code, "a payload size", size, limits.payload_bytes);
    total += size;
  }
  if (total > limits.total_bytes)
    return beyond(code, "a packet's size", total, limits.total_bytes);
  return {};
}

} // namespace

result<std::vector<std::byte>> packet_prefix(const wire::frames& message, const packet_limits& limits) {
  if (message.payloads.size() > limits.payloads)
    return beyond(errc::too_large, "a packet's number of payloads", message.payloads.size(), limits.payloads);
  std::vector<std::size_t> sizes;
  for (const auto& payload : message.payloads)
    sizes.push_back(payload.size());
  SQUALL_TRY(check_sizes(errc::too_large, message.header.size(), sizes, limits));
  std::vector<std::byte> prefix;
  prefix.reserve(fixed_prefix + word * sizes.size());
  append_word(prefix, message.header.size());
  append_word(prefix, sizes.size());
  for (const auto size : sizes)
    append_word(prefix, size);
  return prefix;
}

void detail::unique_fd::reset() {
  if (fd_ >= 0)
    close(fd_);
  fd_ = -1;
}

std::span<std::byte> packet_reader::room() {
  direct_ = !pieces_.empty() && pieces_[current_].size - filled_ >= buffer_.size();
  if (direct_)
    return {pieces_[current_].data.get() + filled_, pieces_[current_].size - filled_};
  return buffer_;
}

result<> packet_reader::advance(std::size_t size) {
  if (!direct_)
    return take(std::span(buffer_).first(size));
  filled_ += size;
  finish_pieces();
  return {};
}

std::optional<wire::frames> packet_reader::next() {
  if (ready_.empty())
    return std::nullopt;
  auto packet = std::move(ready_.front());
  ready_.pop_front();
  return packet;
}

result<> packet_reader::take(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    std::size_t used = 0;
    if (pieces_.empty()) {
      SQUALL_ASSIGN(of_prefix, take_prefix(bytes));
      used = of_prefix;
    } else {
      used = fill_piece(bytes);
    }
    bytes = bytes.subspan(used);
  }
  return {};
}

result<std::size_t> packet_reader::take_prefix(std::span<const std::byte> bytes) {
  const auto wanted = prefix_.size() < fixed_prefix ? fixed_prefix : fixed_prefix + word * read_word(prefix_, 1);
  const auto used = std::min(wanted - prefix_.size(), bytes.size());
  prefix_.insert(prefix_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(used));
  if (prefix_.size() < fixed_prefix)
    return used;
  const std::size_t payloads = read_word(prefix_, 1);
  if (payloads > limits_.payloads)
    return beyond(errc::corrupt, "a packet's number of payloads", payloads, limits_.payloads);
  if (prefix_.size() == fixed_prefix + word * payloads)
    SQUALL_TRY(begin_body());
  return used;
}

result<> packet_reader::begin_body() {
  const std::size_t header = read_word(prefix_, 0);
  std::vector<std::size_t> sizes;
  for (std::size_t i = fixed_prefix / word; i < prefix_.size() / word; ++i)
    sizes.push_back(read_word(prefix_, i));
  SQUALL_TRY(check_sizes(errc::corrupt, header, sizes, limits_));
  sizes.insert(sizes.begin(), header);
  // Each piece has memory of its own, so that it starts aligned for any element and lives no longer than its value.
  for (const auto size : sizes)
    pieces_.push_back({size == 0 ? nullptr : std::make_shared_for_overwrite<std::byte[]>(size), size});
  finish_pieces();
  return {};
}

std::size_t packet_reader::fill_piece(std::span<const std::byte> bytes) {
  const auto used = std::min(pieces_[current_].size - filled_, bytes.size());
  std::memcpy(pieces_[current_].data.get() + filled_, bytes.data(), used);
  filled_ += used;
  finish_pieces();
  return used;
}

/// Passes the pieces that are complete (an empty one is from the start), and the packet after its last.
void packet_reader::finish_pieces() {
  while (current_ < pieces_.size() && filled_ == pieces_[current_].size) {
    ++current_;
    filled_ = 0;
  }
  if (current_ < pieces_.size())
    return;
  const auto share = [](const piece& p) {
    return p.size == 0 ? shared_bytes{} : shared_bytes{p.data, {p.data.get(), p.size}};
  };
  wire::frames packet{share(pieces_.front()), {}};
  for (std::size_t i = 1; i < pieces_.size(); ++i)
    packet.payloads.push_back(share(pieces_[i]));
  ready_.push_back(std::move(packet));
  prefix_.clear();
  pieces_.clear();
  current_ = 0;
}

result<> packet_writer::add(wire::frames message, std::vector<detail::unique_fd> descriptors) {
  if (descriptors.size() > max_descriptors)
    return beyond(errc::too_large, "a packet's number of descriptors", descriptors.size(), max_descriptors);
  SQUALL_ASSIGN(prefix, packet_prefix(message));
  const auto push = [&](shared_bytes bytes, std::vector<detail::unique_fd> with = {}) {
    unsent_bytes_ += bytes.size();
    if (!bytes.empty())
      parts_.push_back({std::move(bytes), std::move(with)});
  };
  push(shared_bytes::take(std::move(prefix)), std::move(descriptors));
  push(std::move(message.header));
  for (auto& payload : message.payloads)
    push(std::move(payload));
  return {};
}

result<bool> packet_writer::write_to(int fd) {
  constexpr std::size_t at_once = 64;
  while (!parts_.empty()) {
    // Up to the next part that has descriptors of its own.
    std::array<iovec, at_once> places;
    std::size_t count = 0;
    do {
      places[count] = {const_cast<std::byte*>(parts_[count].bytes.data()), parts_[count].bytes.size()};
      ++count;
    } while (count < std::min(parts_.size(), at_once) && parts_[count].descriptors.empty());
    places[0].iov_base = static_cast<std::byte*>(places[0].iov_base) + offset_;
    places[0].iov_len -= offset_;
    msghdr message{};
    message.msg_iov = places.data();
    message.msg_iovlen = count;
    control_space control;
    attach(message, control, parts_.front().descriptors);
    const auto sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      return false;
    if (sent < 0)
      return {errc::unavailable, std::string("writing to the socket failed: ") + std::strerror(errno)};
    parts_.front().descriptors.clear();
    auto left = static_cast<std::size_t>(sent);
    unsent_bytes_ -= left;
    while (!parts_.empty() && left >= parts_.front().bytes.size() - offset_) {
      left -= parts_.front().bytes.size() - offset_;
      offset_ = 0;
      parts_.pop_front();
    }
    offset_ += left;
  }
  return true;
}

ssize_t receive(int socket, std::span<std::byte> room, std::deque<detail::unique_fd>& descriptors) {
  iovec place{room.data(), room.size()};
  control_space control;
  msghdr message{};
  message.msg_iov = &place;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  const auto got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (got < 0)
    return got;
  for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
      continue;
    const auto count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      descriptors.emplace_back(fd);
    }
  }
  return got;
}

} // namespace squall::executors
