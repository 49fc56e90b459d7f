#ifndef SQUALL_SANDBOX_H
#define SQUALL_SANDBOX_H

/* How a zygote forks a worker of user code (docs/workers.md, docs/security.md). Plain C, so that a Python zygote can
   call it through ctypes: libsquall-sandbox.so. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What one worker may use. No zeros. */
struct squall_bounds {
  uint64_t memory_bytes;  /* address space of each of its processes */
  uint64_t scratch_bytes; /* of /tmp */
  uint64_t open_files;    /* of each of its processes */
  uint64_t processes;     /* and threads, together */
};

/* What the child exits with when it cannot shut itself in; the reason is the last line of its log. */
#define SQUALL_SANDBOX_FAILED 125

/* Forks. In the parent: the pid, or -1 with a text in `problem`. In the child: 0; it is the first process of its own
   process namespace, without privileges and bounded, with `socket` on descriptor 3, `log` on 1 and 2, nothing else
   open, and an empty /tmp as its working folder. The caller has one thread and has flushed its streams.
   With SQUALL_UNSANDBOXED=1 in the environment the child is only bounded, and is the leader of its own session. */
int squall_sandbox_fork(const struct squall_bounds* bounds, int socket, int log, char* problem, size_t problem_size);

#ifdef __cplusplus
}
#endif

#endif
