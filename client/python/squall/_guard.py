"""Runs a server for squall.local(), and ends it when the script that wanted it has ended, however it ended.

Started as `python -I -S _guard.py FOLDER BINARY ARGUMENTS...` with a pipe as standard input, whose other end only the
script holds: end of file means that the script is gone (also by kill -9). Then the server gets SIGTERM, later SIGKILL,
and FOLDER is removed. The server is told by the kernel (PR_SET_PDEATHSIG) when this process dies. It is a program of
its own, with nothing but the standard library, so that it starts in a few milliseconds.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys

_PR_SET_PDEATHSIG = 1
_PATIENCE_SECONDS = 10


def main():
    folder, command = sys.argv[1], sys.argv[2:]
    libc = ctypes.CDLL(None)
    # Ctrl-C goes to the whole terminal; the script decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: None)
    with open(os.path.join(folder, "server.log"), "wb") as log:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
        )
    while server.poll() is None:
        ready = select.select([0, wake_read], [], [])[0]
        if 0 in ready and not os.read(0, 4096):
            break
        if wake_read in ready and signal.SIGTERM in os.read(wake_read, 4096):
            break
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        status = 0
    else:
        # It ended by itself: the script wants to read why, and removes the folder when it has.
        status = 1
        print(server.returncode, flush=True)
        os.read(0, 4096)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(status)


main()
