"""What faults cost, measured on a cluster of real processes: bench-faults [--smoke] [--json].

replacement   from kill -9 of the node that runs a call to the call's result from the other node, less the time of the
              call itself; the reference is twice the lease (3.5 s) after which a silent node is lost
restart       results a second while every process is asked to go, one after the other; the reference is before
flood         p99 of a well-behaved client while another has 2000 calls on their way all the time; the reference is
              without the other
"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "cluster"))
import harness
from harness import Cluster, wait_until

LEASE_S = 3.5
SPEC = """
apiVersion: squall/v1
kind: Function
metadata: {name: second}
spec: {variants: [{kind: builtin, builtin: sleep, parameters: {milliseconds: "1000"}}]}
---
apiVersion: squall/v1
kind: Function
metadata: {name: short}
spec: {variants: [{kind: builtin, builtin: sleep, parameters: {milliseconds: "2"}}]}
"""


def load(cluster, *flags):
    return cluster.start("bench", *flags, "-o", "json")


def result_of(process):
    out, err = process.communicate(timeout=300)
    if process.returncode != 0:
        raise harness.Failed(err.decode())
    return json.loads(out)


def replacement(rounds):
    """Seconds from the kill to the result, less what the call takes by itself."""
    times = []
    with Cluster(nodes=2) as cluster:
        cluster.apply(SPEC)
        for _ in range(rounds):
            wait_until(lambda: len(cluster.json("get", "nodes")) == 2, "both nodes", 60)
            cluster.json("call", "second", "--deadline", "30s")
            cluster.json("call", "second", "--deadline", "30s")  # each of them has it loaded
            call = cluster.start("call", "second", "--deadline", "30s", "-o", "json")
            busy = wait_until(lambda: [n["name"] for n in cluster.json("get", "nodes") if n["running"]], "work to run")
            killed = time.monotonic()
            cluster.kill(f"node {busy[0]} of")
            result_of(call)
            times.append(time.monotonic() - killed - 1.0)
    return statistics.median(times), 2 * LEASE_S


def restart(seconds):
    """Results a second: while all processes go one after the other, and before."""
    with Cluster(nodes=2) as cluster:
        cluster.apply(SPEC)
        closed = ("short", "--arrivals", "closed", "--concurrency", "8")
        result_of(load(cluster, *closed, "--duration", "2"))
        before = result_of(load(cluster, *closed, "--duration", str(seconds)))
        during = load(cluster, *closed, "--duration", str(4 * seconds))
        for process in ("node n1 of", "node n2 of", "store of", "controller of"):
            time.sleep(seconds * 0.6)
            old = cluster.kill(process, signal.SIGTERM)
            wait_until(lambda old=old: not os.path.exists(f"/proc/{old}"), "it to be gone", 60)
            wait_until(lambda: complete(cluster), "it to be back", 60)
        report = result_of(during)
        if report["errors"]:
            raise harness.Failed(f"calls were lost: {report['errors']} {report['examples']}")
        return report["achieved_per_s"], before["achieved_per_s"]


def complete(cluster):
    try:
        return cluster.json("get", "status", "--timeout", "1s")["nodes"] == 2
    except harness.Failed:
        return False


def flood(seconds, rounds):
    """Microseconds: p99 of few calls, with and without a client that floods; taking turns."""
    with_flood, without = [], []
    with Cluster(nodes=2) as cluster:
        cluster.apply(SPEC)
        few = ("short", "--arrivals", "poisson", "--rate", "50", "--duration", str(seconds))
        result_of(load(cluster, *few))
        for _ in range(rounds):
            without.append(result_of(load(cluster, *few))["latency_us"]["p99"])
            flooding = load(
                cluster, "short", "--arrivals", "closed", "--concurrency", "2000", "--duration", str(seconds + 4)
            )
            time.sleep(2)
            report = result_of(load(cluster, *few))
            if report["errors"]:
                raise harness.Failed(f"the well-behaved client had errors: {report['errors']} {report['examples']}")
            with_flood.append(report["latency_us"]["p99"])
            result_of(flooding)
    return statistics.median(with_flood), statistics.median(without)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=["replacement", "restart", "flood"])
    flags = parser.parse_args()
    small = flags.smoke
    measured = {
        "replacement": (lambda: replacement(1 if small else 5), "s"),
        "restart": (lambda: restart(1 if small else 5), "results/s"),
        "flood": (lambda: flood(2 if small else 8, 1 if small else 5), "us"),
    }
    for name, (measure, unit) in measured.items():
        if flags.only not in (None, name):
            continue
        ours, reference = measure()
        figures = {"bench": f"faults-{name}", "ratio": round(ours / reference, 4), "ours": round(ours, 3)}
        figures |= {"reference": round(reference, 3), "unit": unit}
        if flags.json:
            print(json.dumps(figures))
        else:
            print(f"{figures['bench']:20} ratio {ours / reference:.3f}   ours {ours:.1f}   ", end="")
            print(f"reference {reference:.1f} {unit}")


if __name__ == "__main__":
    main()
