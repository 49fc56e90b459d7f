"""The clock of a host is set while it serves: calls, leases and promises run on the monotonic clock and do not mind."""

import json
import time
import unittest

import faults
from basics_test import SLEEP
from harness import Cluster, wait_until

STEPS = (3600, -7200, 86_400, 0)


@unittest.skipIf(faults.no_clocks(), faults.no_clocks())
class Clocks(unittest.TestCase):
    def start(self, **options):
        """A cluster whose host has a clock of its own."""
        cluster = Cluster(**options)
        self.clock = cluster.folder / "clock"
        faults.set_clock(self.clock, 0)
        true = cluster.env
        cluster.env = faults.with_clock(true, self.clock)
        self.enterContext(cluster)
        cluster.env = true  # of clients, on hosts of theirs
        cluster.apply(SLEEP)
        return cluster

    def load(self, cluster, seconds, target, *flags):
        words = ("--arrivals", "poisson", "--rate", "40", "--duration", str(seconds), "-o", "json")
        return cluster.start("bench", target, *words, *flags)

    def ended_well(self, load):
        out, err = load.communicate(timeout=120)
        self.assertEqual(load.returncode, 0, err)
        report = json.loads(out)
        self.assertEqual(report["errors"], {}, report)
        self.assertGreater(report["completed"], 100)

    def step_clock(self, cluster):
        for seconds in STEPS:
            faults.set_clock(self.clock, seconds)
            time.sleep(1.5)
            wait_until(lambda step=seconds: self.seen(cluster, step), "the cluster to live in another time", 20)

    def elapsed_s(self, cluster):
        return next(c["elapsed_ns"] for c in cluster.json("get", "calls") if c["dag"] == "nap") / 1e9

    def seen(self, cluster, seconds):
        ahead = cluster.json("get", "status")["wall_clock_ns"] / 1e9 - time.time()
        return abs(ahead - seconds) < 10

    def test_nodes_leader_calls_and_deadlines_stay(self):
        cluster = self.start(nodes=2, extra_spec="  standby: [{}]\n  lease: 3s\n")
        before = [(n["name"], n["id"]) for n in cluster.json("get", "nodes")]
        term = cluster.json("get", "status")["term"]
        loads = [
            self.load(cluster, 10, "chain3", "--input", "x=[1]"),
            self.load(cluster, 10, "blink", "--durable"),
        ]
        nap = cluster.start("call", "nap", "--deadline", "2s", "-o", "json")  # takes 5 s
        self.step_clock(cluster)
        out, err = nap.communicate(timeout=60)
        self.assertEqual(nap.returncode, 1, err)
        self.assertIn(b"deadline", out + err)
        self.assertGreater(self.elapsed_s(cluster), 1.9, "the clock's step forward did not end it")
        for load in loads:
            self.ended_well(load)
        self.assertEqual([(n["name"], n["id"]) for n in cluster.json("get", "nodes")], before, "none was lost")
        self.assertEqual(cluster.json("get", "status")["term"], term, "nobody else led")

    def test_promises_stay(self):
        cluster = self.start(nodes=2, policy="calendar")
        for _ in range(20):
            cluster.json("call", "blink")
        load = self.load(cluster, 10, "blink", "--deadline", "2s", "--assurance", "firm")
        self.step_clock(cluster)
        self.ended_well(load)
        broken = [m for m in cluster.json("get", "metrics") if m["name"] == "squall_promises_total"]
        self.assertEqual([m["value"] for m in broken if m["labels"]["result"] == "broken"], [0])


if __name__ == "__main__":
    unittest.main()
