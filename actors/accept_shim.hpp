#pragma once

namespace squall::actors {

/// libzmq (4.3.4) ends the process where a Unix socket cannot accept a connection since the process's descriptors ran
/// out; over TCP it tries again, as it does on Unix sockets when the host's ran out. So it is told that those did.
/// Called once before the first server socket; it is there for the linker.
void survive_lack_of_descriptors();

} // namespace squall::actors
