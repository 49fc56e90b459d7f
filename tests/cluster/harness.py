"""Runs real clusters for tests: processes on loopback in a folder of their own, gone when the test is over."""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

BINARY = os.environ.get("SQUALL_BINARY", "squall")
MODELS = pathlib.Path(os.environ.get("SQUALL_MODELS", "build/models"))
EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
MISBEHAVE = pathlib.Path(os.environ.get("SQUALL_MISBEHAVE", "build/functions/misbehave.so"))

FUNCTION = """
apiVersion: squall/v1
kind: Function
metadata: {{name: {name}}}
spec:
  inputs:  {{x: {{datatype: FP32, shape: [-1]}}}}
  outputs: {{y: {{datatype: FP32, shape: [-1]}}}}
  variants:
  - library: {library}
    parameters: {{do: {what}}}
"""


def spec_of(what, name=None):
    """A function of the library that misbehaves, which does `what`."""
    return FUNCTION.format(name=name or what, what=what, library=MISBEHAVE.resolve())


class Failed(Exception):
    """A command ended with another status than the test expected."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(condition, what, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise TimeoutError(f"waited {seconds} s for {what}")


def arenas():
    """The arenas whose owners are dead: a living one holds the lock of its file, and those are none of ours."""
    dead = set()
    for path in pathlib.Path("/dev/shm").glob("squall-*"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            dead.add(path.name)
    return dead


def children_of(pid):
    """All processes below `pid`, as {pid: command line}."""
    parents, commands = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                commands[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ").strip()
    found = {}
    frontier = [pid]
    while frontier:
        parent = frontier.pop()
        for child, its_parent in parents.items():
            if its_parent == parent:
                found[child] = commands[child]
                frontier.append(child)
    return found


class Cluster:
    """`with Cluster(nodes=2) as c: c.run("get", "nodes")`. nodes=0 runs everything in one process."""

    def __init__(self, nodes=0, slots=1, http=False, policy="fifo", extra_spec="", keys=False, program=BINARY):
        self.program = program
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="squall-test-"))
        self.name = self.folder.name
        self.env = dict(
            os.environ,
            XDG_RUNTIME_DIR=str(self.folder / "run"),
            SQUALL_CONFIG=str(self.folder / "none.yaml"),
            NO_COLOR="1",
        )
        (self.folder / "run").mkdir()
        self.logs = self.folder / "data" / "logs"
        self.http_port = free_port() if http else None
        lines = [
            "apiVersion: squall/v1",
            "kind: Cluster",
            f"metadata: {{name: {self.name}}}",
            "spec:",
            f"  data: {self.folder}/data",
            f"  policy: {policy}",
        ]
        if http:
            lines.append(f"  http: 127.0.0.1:{self.http_port}")
        self.keys = None
        if keys:
            self.keys = self.folder / "keys"
            subprocess.run([self.program, "keys", "new", self.keys], env=self.env, check=True, capture_output=True)
            lines.append(f"  keys: {self.keys}")
        if nodes:
            lines.append("  nodes:")
            lines += [f"  - {{name: n{i + 1}, slots: {slots}}}" for i in range(nodes)]
        self.file = self.folder / "cluster.yaml"
        self.file.write_text("\n".join(lines) + "\n" + extra_spec)
        self.before = arenas()

    def __enter__(self):
        try:
            self.run("up", "-d", "-f", str(self.file), cluster=False)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.info = json.loads((self.folder / "run" / f"squall-{os.getuid()}" / f"{self.name}.json").read_text())
        self.pid = int(self.info["pid"])
        return self

    def __exit__(self, kind, *_):
        subprocess.run([self.program, "down", "--name", self.name], env=self.env, capture_output=True, timeout=60)
        if not hasattr(self, "info"):  # it never served: nobody but us knows of its processes
            subprocess.run(["pkill", "-KILL", "-f", str(self.folder)], capture_output=True)
        if kind is not None:
            self.show_logs()
        shutil.rmtree(self.folder, ignore_errors=True)

    def show_logs(self):
        """Prints the end of each process's log."""
        for log in sorted(self.logs.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")

    def command(self, *arguments, cluster=True):
        words = [self.program, *map(str, arguments)]
        if not cluster:
            return words
        with_keys = ["--keys", str(self.keys)] if self.keys and "--keys" not in words else []
        return [*words, "--cluster", self.info["endpoint"], *with_keys]

    def run(self, *arguments, status=0, cluster=True, timeout=90, stdin=None):
        """Runs a verb; returns its standard output. Raises when it ends with another status."""
        done = subprocess.run(
            self.command(*arguments, cluster=cluster), env=self.env, capture_output=True, timeout=timeout, input=stdin
        )
        self.stderr = done.stderr.decode(errors="replace")
        if done.returncode != status:
            said = done.stdout.decode(errors="replace") + self.stderr
            verb = " ".join(map(str, arguments))
            raise Failed(f"{verb} ended with {done.returncode}, not {status}:\n{said}")
        return done.stdout.decode(errors="replace")

    def json(self, *arguments, **options):
        return json.loads(self.run(*arguments, "-o", "json", **options))

    def start(self, *arguments):
        """Starts a verb without waiting for it."""
        return subprocess.Popen(self.command(*arguments), env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def process(self, text):
        """The pid of a process below the cluster whose command line holds `text`."""
        for pid, command in sorted(children_of(self.pid).items()):
            if text in command:
                return pid
        raise Failed(f"no process with '{text}' in {children_of(self.pid)}")

    def kill(self, text, how=signal.SIGKILL):
        pid = self.process(text)
        os.kill(pid, how)
        return pid

    def apply(self, text):
        path = self.folder / "spec.yaml"
        path.write_text(text)
        return self.run("apply", "-f", str(path))


def raw_connection(endpoint, seconds=3):
    """A TCP connection to a ZeroMQ endpoint, for sending what no client would send."""
    host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=seconds)


def zmtp_dealer(endpoint):
    """Speaks enough of ZMTP 3.0 (NULL mechanism) to send arbitrary frames as a DEALER."""
    s = raw_connection(endpoint)
    s.sendall(b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + b"\0" * 31)
    received = b""
    while len(received) < 64:
        received += s.recv(64 - len(received))
    body = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
    s.sendall(b"\x04" + bytes([len(body)]) + body)
    flags, size = s.recv(1), s.recv(1)[0]
    assert flags == b"\x04"
    while size:
        size -= len(s.recv(size))
    return s


def zmtp_send(s, *frames):
    for i, frame in enumerate(frames):
        more = 1 if i + 1 < len(frames) else 0
        s.sendall(
            (bytes([more, len(frame)]) if len(frame) < 256 else bytes([more | 2]) + struct.pack(">Q", len(frame)))
            + frame
        )
