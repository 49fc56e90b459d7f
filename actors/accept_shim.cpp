#include "actors/accept_shim.hpp"

#include <cerrno>

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/// In place of the C library's, for the shared libraries of this process as well.
extern "C" int accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
  const auto got = static_cast<int>(::syscall(SYS_accept4, fd, address, size, flags));
  if (got >= 0 || errno != EMFILE)
    return got;
  int domain = 0;
  socklen_t bytes = sizeof domain;
  errno = ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) == 0 && domain == AF_UNIX ? ENFILE : EMFILE;
  return got;
}

namespace squall::actors {

void survive_lack_of_descriptors() {}

} // namespace squall::actors
