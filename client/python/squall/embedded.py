"""A server for the length of a `with` block."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from squall.errors import Code, SquallError, invalid

_GUARD = pathlib.Path(__file__).with_name("_guard.py")


def find_binary() -> str:
    """The program `squall`: $SQUALL_BINARY, else on the PATH, else in the checkout that this package lies in."""
    named = os.environ.get("SQUALL_BINARY")
    if named:
        if not os.access(named, os.X_OK):
            raise SquallError(Code.NOT_FOUND, f"SQUALL_BINARY={named} is not a program; set it to the program `squall`")
        return named
    found = shutil.which("squall")
    if found:
        return found
    for parent in pathlib.Path(__file__).resolve().parents:
        built = parent / "build" / "bin" / "squall"
        if os.access(built, os.X_OK):
            return str(built)
    raise SquallError(
        Code.NOT_FOUND,
        "the program `squall` is neither on the PATH nor built here; build it (./dev build) or set SQUALL_BINARY",
    )


class Local:
    """A server in a folder of its own, on a free port of this host, which nobody else finds. It ends with this process.

    A guard process holds the server: it ends it and removes its folder when the block is left, when an exception or
    Ctrl-C ends the script, and when the script is killed (the guard then reads the end of a pipe that only the script,
    and what it forked, holds open).
    """

    def __init__(self, policy: str, spec: str, data: str | os.PathLike[str] | None, timeout: float) -> None:
        self._timeout = timeout
        self._name = f"local-{os.getpid()}-{os.urandom(4).hex()}"
        self._binary = find_binary()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="squall-local-"))
        self._pid = os.getpid()
        self._guard: subprocess.Popen[bytes] | None = None
        try:
            self._start(policy, spec, data)
        except BaseException:
            self.stop()
            raise

    def _start(self, policy: str, spec: str, data: str | os.PathLike[str] | None) -> None:
        (self.folder / "run").mkdir()
        file = self.folder / "cluster.yaml"
        where = self.folder / "data" if data is None else pathlib.Path(data).resolve()
        head = f"apiVersion: squall/v1\nkind: Cluster\nmetadata: {{name: {self._name}}}\nspec:\n"
        file.write_text(f"{head}  data: {json.dumps(str(where))}\n  policy: {json.dumps(policy)}\n{spec}")
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.folder / "run"), "SQUALL_CONFIG": "/nonexistent"}
        for name in ("SQUALL_CLUSTER", "SQUALL_NAME", "SQUALL_DATA", "SQUALL_LISTEN", "SQUALL_POLICY", "SQUALL_KEYS"):
            environment.pop(name, None)
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), str(self.folder), self._binary, "up", "-f", str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )

    def wait(self) -> str:
        """The endpoint, when the server listens."""
        assert self._guard is not None and self._guard.stdout is not None
        info = self.folder / "run" / f"squall-{os.getuid()}" / f"{self._name}.json"
        os.set_blocking(self._guard.stdout.fileno(), False)
        end = time.monotonic() + self._timeout
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError, KeyError):
                return str(json.loads(info.read_text())["endpoint"])
            if self._guard.poll() is not None or self._guard.stdout.read(100):
                raise SquallError(Code.UNAVAILABLE, f"the embedded server did not start:\n{self.log_tail()}")
            time.sleep(0.005)
        raise SquallError(
            Code.UNAVAILABLE, f"the embedded server does not listen after {self._timeout:g} s:\n{self.log_tail()}"
        )

    def log_tail(self, lines: int = 15) -> str:
        try:
            return "\n".join((self.folder / "server.log").read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"

    def stop(self) -> None:
        if os.getpid() != self._pid:  # a forked child: the server is not its own
            return
        guard, self._guard = self._guard, None
        if guard is not None:
            assert guard.stdin is not None and guard.stdout is not None
            guard.stdin.close()
            guard.wait()
            guard.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def local(
    *, policy: str = "fifo", spec: str = "", data: str | os.PathLike[str] | None = None, timeout: float = 30.0
) -> Iterator[Any]:
    """Starts a server for the length of the block and connects to it: `with squall.local() as cluster:`.

    `spec` is more lines of the `spec` of a cluster file (docs/cluster.md), indented by two spaces; `data` a folder
    that is kept, for functions and keys that are to be there the next time.
    """
    from squall.cluster import connect

    if not isinstance(policy, str):
        raise invalid(f"policy={policy!r}; it is a name such as 'fifo' or 'calendar'")
    server = Local(policy, spec, data, timeout)
    try:
        endpoint = server.wait()
        deadline = time.monotonic() + timeout
        cluster = connect(endpoint, timeout=timeout)
        with cluster:
            _wait_for_node(cluster, deadline)
            if cluster.policy != policy:
                raise invalid(f"there is no policy '{policy}'; docs/policies.md names them")
            yield cluster
    finally:
        server.stop()


def _wait_for_node(cluster: Any, deadline: float) -> None:
    """The server listens a little before it can run something."""
    while True:
        with contextlib.suppress(SquallError):
            status = cluster.query("status")
            if status["ready"] and status["nodes"] > 0:
                return
        if time.monotonic() > deadline:
            raise SquallError(Code.UNAVAILABLE, "the embedded server has no node that is ready")
        time.sleep(0.01)
