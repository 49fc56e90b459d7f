"""The process that forks workers (docs/workers.md, "The zygote's part")."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import select
import signal
import sys
from typing import Any

from squall._packets import EXITED, KILL, READY, SPAWN, SPAWNED, VERSION, Closed, Packets
from squall.errors import Code


class Bounds(ctypes.Structure):
    _fields_ = (
        ("memory_bytes", ctypes.c_uint64),
        ("scratch_bytes", ctypes.c_uint64),
        ("open_files", ctypes.c_uint64),
        ("processes", ctypes.c_uint64),
    )


class Zygote:
    """Forks workers; the sandbox around each is the library's work."""

    def __init__(self, packets: Packets, library: str) -> None:
        self._packets = packets
        self._fork = ctypes.PyDLL(library).squall_sandbox_fork
        self._fork.argtypes = (
            ctypes.POINTER(Bounds),
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_size_t,
        )
        self._workers: dict[int, int] = {}  # pid to number

    def run(self) -> None:
        """Returns in a worker only."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(wake_read, False)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        gc.collect()
        gc.freeze()  # what is there now is not touched by collections, so its pages stay shared
        self._packets.send(READY, 0, [VERSION, os.getpid(), 0, f"Python {sys.version.split()[0]}", 0, ""])
        while True:
            ready = select.select([self._packets.fileno(), wake_read], [], [])[0]
            if wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
                self._reap()
            if self._packets.fileno() in ready and self._serve():
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return

    def _serve(self) -> bool:
        """One packet. True in a worker that was forked."""
        number, _, body, _ = self._packets.receive()
        if number == SPAWN:
            return self._spawn(*body[:2])
        if number == KILL:
            for pid, worker in self._workers.items():
                if worker == body[0]:
                    os.kill(pid, signal.SIGKILL)
        return False

    def _spawn(self, worker: int, spec: list[Any]) -> bool:
        sock, log = self._packets.descriptor(), self._packets.descriptor()
        if sock is None or log is None:
            raise Closed
        bounds = Bounds(spec[3], spec[4], spec[7], spec[6])
        problem = ctypes.create_string_buffer(512)
        ctypes.pythonapi.PyOS_BeforeFork()
        pid = self._fork(ctypes.byref(bounds), sock, log, problem, len(problem))
        if pid == 0:
            ctypes.pythonapi.PyOS_AfterFork_Child()
            return True
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        os.close(sock)
        os.close(log)
        if pid < 0:
            self._packets.send(SPAWNED, 0, [worker, 0, int(Code.UNAVAILABLE), problem.value.decode(errors="replace")])
        else:
            self._workers[pid] = worker
            self._packets.send(SPAWNED, 0, [worker, pid, 0, ""])
        return False

    def _reap(self) -> None:
        while self._workers:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            worker = self._workers.pop(pid, None)
            if worker is not None:
                self._packets.send(EXITED, 0, [worker, status])


def preload() -> None:
    """Imports what most functions want, so that workers have it from the start."""
    for name in ["cloudpickle", *os.environ.get("SQUALL_PRELOAD", "").split(",")]:
        if name:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
