#!/usr/bin/env python3
"""Ray Serve on this host: a Python function, and a chain of two, called through handles from one process.

    ray_serve.py [--calls N] [--outstanding N] [--smoke]

Prints one JSON object a line: {"system", "what", "outstanding", "calls", "p50_us", "p99_us", "per_s"}. `what` is
`increment` (one deployment) or `chain` (`square(increment(x))`: the answer of the first is handed to the second by
reference, as Ray's documentation composes deployments). One replica each, so each function has one process, as on the
other side; handles from the driver, the shortest way in (HTTP is slower); logging of the accesses is off. Needs
`pip install "ray[serve]==2.60.0"`, in an environment of its own; bench/peers/README.md says how this is compared.
"""

import argparse
import asyncio
import json
import logging
import statistics
import time

import ray
from ray import serve


@serve.deployment(num_replicas=1, max_ongoing_requests=10_000, ray_actor_options={"num_cpus": 0.5})
class Increment:
    def __call__(self, x: int) -> int:
        return x + 1


@serve.deployment(num_replicas=1, max_ongoing_requests=10_000, ray_actor_options={"num_cpus": 0.5})
class Square:
    def __call__(self, x: int) -> int:
        return x * x


@serve.deployment(num_replicas=1, max_ongoing_requests=10_000, ray_actor_options={"num_cpus": 0})
class Chain:
    def __init__(self, increment, square):
        self.increment = increment
        self.square = square

    async def __call__(self, x: int) -> int:
        return await self.square.remote(self.increment.remote(x))


async def one_at_a_time(call, expected, count):
    times = []
    for i in range(count):
        began = time.perf_counter_ns()
        got = await call(i)
        times.append((time.perf_counter_ns() - began) / 1000)
        assert got == expected(i), (i, got)
    return times


async def many(call, expected, count, outstanding):
    left = iter(range(count))

    async def one_after_the_other():
        for i in left:
            got = await call(i)
            assert got == expected(i), (i, got)

    began = time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(outstanding)))
    return count / (time.perf_counter() - began)


def measure(what, call, expected, arguments):
    async def everything():
        await one_at_a_time(call, expected, max(20, arguments.calls // 10))  # warms up
        times = await one_at_a_time(call, expected, arguments.calls)
        per_second = await many(call, expected, arguments.calls * 2, arguments.outstanding)
        return times, per_second

    times, per_second = asyncio.run(everything())
    times.sort()
    row = {
        "system": f"Ray Serve {ray.__version__}",
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
    ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    try:
        serve.start(http_options={"location": "NoServer"})
        quiet = serve.schema.LoggingConfig(log_level="ERROR", enable_access_log=False)
        single = serve.run(Increment.bind(), name="single", route_prefix=None, logging_config=quiet)
        chain = serve.run(
            Chain.bind(Increment.bind(), Square.bind()), name="chain", route_prefix=None, logging_config=quiet
        )

        async def call_single(x):
            return await single.remote(x)

        async def call_chain(x):
            return await chain.remote(x)

        measure("increment", call_single, lambda x: x + 1, arguments)
        measure("chain", call_chain, lambda x: (x + 1) ** 2, arguments)
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
