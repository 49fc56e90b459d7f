"""Ways to trouble processes that several tests share: clocks that are set, file systems of one's own."""

import contextlib
import glob
import os
import pathlib
import signal
import subprocess
import threading
import time

import harness

CLOCKS = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")


def no_clocks():
    """Why clocks cannot be set here, or None."""
    return None if CLOCKS else "libfaketime is not installed (apt-get install faketime)"


def with_clock(env, file):
    """The environment of a process whose wall clock is as far from the true one as `file` says: "+3600" for an hour
    ahead. It may be written again while the process runs; within a second or so that counts. The monotonic clock stays
    as it is, as it does on a host whose clock is set."""
    return dict(
        env,
        LD_PRELOAD=CLOCKS[0],
        FAKETIME_TIMESTAMP_FILE=str(file),
        FAKETIME_CACHE_DURATION="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        FAKETIME_DISABLE_SHM="1",
    )


def set_clock(file, seconds):
    """In one step, so that nobody reads half of it."""
    fresh = pathlib.Path(f"{file}.new")
    fresh.write_text(f"{seconds:+d}\n")
    fresh.rename(file)


class OwnMounts:
    """A mount namespace with a tmpfs at each of these places: {path: size}. Commands get there by `enter`."""

    def __init__(self, places):
        script = "".join(
            f"mkdir -p '{p}' && mount -t tmpfs -o size={size} tmpfs '{p}' && " for p, size in places.items()
        )
        self.holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script + "echo ready && exec sleep 1000"], stdout=subprocess.PIPE
        )
        if self.holder.stdout.readline() != b"ready\n":
            self.close()
            raise harness.Failed(f"no file systems at {list(places)}")
        self.enter = ["nsenter", "-t", str(self.holder.pid), "-m"]

    def inside(self, path):
        """As it is seen from outside."""
        return pathlib.Path(f"/proc/{self.holder.pid}/root{path}")

    def close(self):
        self.holder.kill()
        self.holder.communicate()


def enter_all(cluster, mounts):
    """Runs what the cluster runs, itself included, in there."""
    command = cluster.command
    cluster.command = lambda *words, cluster=True: [*mounts.enter, *command(*words, cluster=cluster)]


@contextlib.contextmanager
def filled(folder):
    """A file system without room, until the end."""
    path = pathlib.Path(folder) / "filling"
    try:
        with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"\0" * size)
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def no_descriptors(pid):
    """The process opens nothing more, until the end."""
    used = len(os.listdir(f"/proc/{pid}/fd"))
    prlimit = ["prlimit", "--pid", str(pid)]
    shown = subprocess.run([*prlimit, "--nofile", "--noheadings", "--output", "SOFT"], capture_output=True, check=True)
    try:
        subprocess.run([*prlimit, f"--nofile={used}:"], check=True)
        yield
    finally:
        subprocess.run([*prlimit, f"--nofile={shown.stdout.decode().strip()}:"], check=False)


@contextlib.contextmanager
def halting(pids, stopped=0.3, running=0.1):
    """These processes stand still most of the time, until the end."""
    end = threading.Event()

    def signal_all(number):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def halt():
        while not end.wait(running):
            signal_all(signal.SIGSTOP)
            time.sleep(stopped)
            signal_all(signal.SIGCONT)

    thread = threading.Thread(target=halt)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        signal_all(signal.SIGCONT)
