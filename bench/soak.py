"""What a cluster holds after many calls, against what it held after few: bench-soak [--smoke] [--json] [--calls N].

Memory that is resident, descriptors, threads and shared memory of all processes of a cluster of two nodes, and what its
data folder holds, after 10^6 calls and after 10^4. Event logs and logs are bounded, and filled before.
"""

import argparse
import contextlib
import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "cluster"))
import harness
from harness import Cluster

SPEC = """
apiVersion: squall/v1
kind: Function
metadata: {name: echo}
spec: {variants: [{kind: builtin, builtin: noop}]}
---
apiVersion: squall/v1
kind: Dag
metadata: {name: pair}
spec:
  inputs: {x: {datatype: UINT8, shape: [-1]}}
  stages:
  - {name: a, function: echo, inputs: {x: $x}}
  - {name: b, function: echo, inputs: {x: a.x}}
  outputs: {x: b.x}
"""


def status_of(pid, key):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return 0


def held(cluster):
    """What all processes hold: {what: amount}."""
    amounts = {"resident KiB": 0, "descriptors": 0, "threads": 0}
    for pid in [cluster.pid, *harness.children_of(cluster.pid)]:
        with contextlib.suppress(OSError):
            amounts["resident KiB"] += status_of(pid, "VmRSS")
            amounts["threads"] += status_of(pid, "Threads")
            amounts["descriptors"] += len(os.listdir(f"/proc/{pid}/fd"))
    amounts["arena bytes"] = 1 + sum(n["arena_used_bytes"] for n in cluster.json("get", "nodes"))
    files = [p for p in (cluster.folder / "data").rglob("*") if p.is_file() and "events" not in p.parts]
    amounts["disk bytes"] = sum(p.stat().st_size for p in files)
    return amounts


def call(cluster, calls, seconds):
    """At least so many calls, a few of them large enough for shared memory, in rounds of so many seconds."""
    done = 0
    large = cluster.folder / "large.bin"
    large.write_bytes(b"\7" * 200_000)

    def load(x, concurrency, seconds):
        flags = {"--input": f"x={x}", "--arrivals": "closed", "--concurrency": concurrency, "--duration": f"{seconds}s"}
        return cluster.json("bench", "pair", *(word for flag in flags.items() for word in flag))

    while done < calls:
        small = load("[1]", 32, seconds)
        shared = load(f"@{large}", 4, seconds / 5)
        for report in (small, shared):
            if report["errors"]:
                raise harness.Failed(f"calls failed: {report['errors']} {report['examples']}")
            done += report["completed"]
    return done


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--calls", type=int, default=1_000_000)
    flags = parser.parse_args()
    with Cluster(nodes=2) as cluster:
        cluster.apply(SPEC)
        few = call(cluster, 10_000, 0.1)
        time.sleep(3)
        before = held(cluster)
        many = few + call(cluster, 10_000 if flags.smoke else flags.calls, 0.1 if flags.smoke else 5)
        time.sleep(3)
        after = held(cluster)
    for what, amount in before.items():
        figures = {"bench": f"soak, {what}", "ratio": round(after[what] / amount, 4), "ours": after[what]}
        figures |= {"reference": amount, "unit": what.split()[-1], "calls": many, "calls_before": few}
        if flags.json:
            print(json.dumps(figures))
        else:
            print(f"{figures['bench']:20} ratio {figures['ratio']:.3f}   ours {after[what]}   reference {amount}")


if __name__ == "__main__":
    main()
