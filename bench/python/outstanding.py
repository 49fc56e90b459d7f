#!/usr/bin/env python3
"""Many outstanding calls of a Python function: how many a second, and what processor time each takes.

    outstanding.py [--calls N] [--outstanding N] [--rounds N] [--profile]

The server is that of `squall.local()`; SQUALL_BINARY names it. Prints one JSON object a line: {"what", "outstanding",
"calls", "per_s", "client_us", "server_us", "worker_us"}, the last three processor time a call (user and system) of this
process, of the server's, and of the function's worker. `what` is `increment` (one function) or `chain` (two, as a DAG).
`--profile` prints where this process's threads spent theirs in the last round.
"""

import argparse
import cProfile
import json
import os
import pathlib
import pstats
import sys
import threading
import time
from collections import deque

import squall

TICK = os.sysconf("SC_CLK_TCK")


@squall.function(min_instances=1, max_instances=1)
def increment(x: int) -> int:
    return x + 1


@squall.function(min_instances=1, max_instances=1)
def square(x: int) -> int:
    return x * x


def processor_time():
    """Seconds of processor time by kind of process, of all processes below this one."""
    parents, seconds, kinds = {}, {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_text()
        except OSError:
            continue
        pid = int(entry.name)
        parents[pid] = int(fields[1])
        seconds[pid] = (int(fields[11]) + int(fields[12])) / TICK
        kinds[pid] = "worker" if "_worker.py" in words else "server"
    out = {"client": 0.0, "server": 0.0, "worker": 0.0}
    for pid, spent in seconds.items():
        above = pid
        while above not in (0, os.getpid()):
            above = parents.get(above, 0)
        if above:
            out["client" if pid == os.getpid() else kinds[pid]] += spent
    return out


def many(cluster, target, expected, count, outstanding):
    waiting = deque()
    for i in range(count):
        if len(waiting) == outstanding:
            j, call = waiting.popleft()
            assert call.result().value.item() == expected(j)
        waiting.append((i, cluster.call(target, {"x": i})))
    for j, call in waiting:
        assert call.result().value.item() == expected(j)


def measure(cluster, what, expected, arguments):
    many(cluster, what, expected, arguments.calls // 5 + 1, arguments.outstanding)  # warms up
    for _ in range(arguments.rounds):
        before, began = processor_time(), time.perf_counter()
        many(cluster, what, expected, arguments.calls, arguments.outstanding)
        took, after = time.perf_counter() - began, processor_time()
        row = {
            "what": what,
            "outstanding": arguments.outstanding,
            "calls": arguments.calls,
            "per_s": round(arguments.calls / took, 1),
        }
        for kind in before:
            row[f"{kind}_us"] = round((after[kind] - before[kind]) * 1e6 / arguments.calls, 1)
        print(json.dumps(row), flush=True)


def profiled(run):
    """Runs with a profile of every thread that begins in it and of this one."""
    profiles = []

    def attach(*_):
        profile = cProfile.Profile()
        profiles.append(profile)
        profile.enable()

    threading.setprofile(attach)
    attach()
    run()
    profiles[0].disable()
    for profile in profiles:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--outstanding", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()

    def run():
        with squall.local() as cluster:
            with squall.Dag("chain") as chain:
                chain.output(y=square(increment(chain.input("x", int))))
            cluster.register(increment)
            cluster.register(chain)
            measure(cluster, "increment", lambda x: x + 1, arguments)
            measure(cluster, "chain", lambda x: (x + 1) ** 2, arguments)

    profiled(run) if arguments.profile else run()


if __name__ == "__main__":
    sys.exit(main())
