#include "executors/detail/packet_socket.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/epoll.h>

namespace squall::executors::detail {

namespace {

void control(int epoll, int operation, int fd, std::uint32_t interest, std::uint64_t tag) {
  epoll_event event{};
  event.events = interest;
  event.data.u64 = tag;
  SQUALL_CHECK(epoll_ctl(epoll, operation, fd, &event) == 0, std::strerror(errno));
}

} // namespace

packet_socket::packet_socket(unique_fd socket, int epoll, std::uint64_t tag)
    : socket_(std::move(socket)), epoll_(epoll), tag_(tag) {
  fcntl(socket_.get(), F_SETFL, O_NONBLOCK);
  control(epoll_, EPOLL_CTL_ADD, socket_.get(), EPOLLIN, tag_);
}

packet_socket::~packet_socket() { close(); }

void packet_socket::close() {
  if (socket_)
    epoll_ctl(epoll_, EPOLL_CTL_DEL, socket_.get(), nullptr);
  socket_ = {};
}

result<> packet_socket::send(wire::frames message, std::vector<unique_fd> descriptors) {
  if (!open())
    return {errc::unavailable, "the process is gone"};
  if (writer_.unsent_bytes() > max_unsent_bytes)
    return {errc::overloaded, "the process is " + std::to_string(writer_.unsent_bytes()) + " bytes behind"};
  SQUALL_TRY(writer_.add(std::move(message), std::move(descriptors)));
  if (!waits_for_room_ && !held_)
    write_out();
  return {};
}

void packet_socket::let_go() {
  held_ = false;
  if (open() && !waits_for_room_)
    write_out();
}

void packet_socket::write_out() {
  const auto written = writer_.write_to(socket_.get());
  const bool blocked = written.ok() && !*written;
  if (blocked != waits_for_room_)
    control(epoll_, EPOLL_CTL_MOD, socket_.get(), blocked ? EPOLLIN | EPOLLOUT : EPOLLIN, tag_);
  waits_for_room_ = blocked;
}

result<> packet_socket::read(std::size_t limit, const std::function<result<>(const wire::frames&)>& on_packet) {
  for (std::size_t total = 0; total < limit && open();) {
    const auto room = reader_.room();
    std::deque<unique_fd> unwanted;
    const auto got = receive(socket_.get(), room, unwanted);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
      return {};
    if (got <= 0)
      return {errc::unavailable, "it closed its socket"};
    total += static_cast<std::size_t>(got);
    if (const auto sound = reader_.advance(static_cast<std::size_t>(got)); !sound.ok())
      return {errc::corrupt, "it sent what is no packet: " + sound.error().message};
    while (const auto packet = reader_.next())
      if (const auto handled = on_packet(*packet); !handled.ok())
        return {errc::corrupt, "it sent a message that makes no sense: " + handled.error().message};
    if (static_cast<std::size_t>(got) < room.size())
      return {};
  }
  return {};
}

} // namespace squall::executors::detail
