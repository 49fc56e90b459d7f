#!/usr/bin/env python3
"""Squall doing what ray_serve.py does: a Python function, and a chain of two, called from one process.

    squall_calls.py [--calls N] [--outstanding N] [--smoke]

Prints the same JSON objects. One process per function, as on the other side (`min_instances` = `max_instances` = 1),
in its sandbox; `squall.local()` starts the server as it comes: controller, store and node, event log on. The chain is a
DAG `square(increment(x))`, whose second stage gets its input from the first without passing the client. Calls one at a
time wait for each result in the calling thread; many outstanding are futures of one thread (Ray's handles are awaited).
"""

import argparse
import json
import statistics
import sys
import time
from collections import deque

import squall


@squall.function(min_instances=1, max_instances=1)
def increment(x: int) -> int:
    return x + 1


@squall.function(min_instances=1, max_instances=1)
def square(x: int) -> int:
    return x * x


def one_at_a_time(cluster, target, expected, count):
    times = []
    for i in range(count):
        began = time.perf_counter_ns()
        got = cluster.run(target, {"x": i}).value.item()
        times.append((time.perf_counter_ns() - began) / 1000)
        assert got == expected(i), (i, got)
    return times


def many(cluster, target, expected, count, outstanding):
    waiting = deque()
    began = time.perf_counter()
    for i in range(count):
        if len(waiting) == outstanding:
            j, call = waiting.popleft()
            assert call.result().value.item() == expected(j)
        waiting.append((i, cluster.call(target, {"x": i})))
    for j, call in waiting:
        assert call.result().value.item() == expected(j)
    return count / (time.perf_counter() - began)


def measure(cluster, what, target, expected, arguments):
    one_at_a_time(cluster, target, expected, max(20, arguments.calls // 10))  # warms up
    times = sorted(one_at_a_time(cluster, target, expected, arguments.calls))
    per_second = many(cluster, target, expected, arguments.calls * 10, arguments.outstanding)
    row = {
        "system": f"Squall {squall.__version__}",
        "what": what,
        "outstanding": arguments.outstanding,
        "calls": arguments.calls,
        "p50_us": round(statistics.median(times), 1),
        "p99_us": round(times[int(len(times) * 0.99)], 1),
        "per_s": round(per_second, 1),
    }
    print(json.dumps(row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--outstanding", type=int, default=200)
    parser.add_argument("--smoke", action="store_true", help="a few calls only")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.calls, arguments.outstanding = 20, 5
    with squall.local() as cluster:
        with squall.Dag("chain") as chain:
            chain.output(y=square(increment(chain.input("x", int))))
        cluster.register(increment)
        cluster.register(chain)
        measure(cluster, "increment", "increment", lambda x: x + 1, arguments)
        measure(cluster, "chain", "chain", lambda x: (x + 1) ** 2, arguments)


if __name__ == "__main__":
    sys.exit(main())
