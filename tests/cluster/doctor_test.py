"""`squall doctor --cluster` says what is wrong: a node that is slow, a clock that is off, a disk that is full. (A
process that dies again and again: faults_test.py.) The full disk itself, too: what fails then, and that it goes on."""

import os
import subprocess
import unittest

import faults
import harness
from basics_test import SLEEP
from harness import BINARY, Cluster, wait_until

WORK = """
apiVersion: squall/v1
kind: Function
metadata: {name: work}
spec: {variants: [{kind: builtin, builtin: sleep, parameters: {milliseconds: "20"}}]}
"""


def examined(cluster):
    """What the doctor prints, whatever it finds."""
    words = cluster.command("doctor", "--cluster", cluster.name, cluster=False)
    return subprocess.run(words, env=cluster.env, capture_output=True, timeout=60).stdout.decode()


def line_with(cluster, *texts):
    return next((line for line in examined(cluster).splitlines() if all(t in line for t in texts)), None)


class Doctor(unittest.TestCase):
    def test_a_healthy_cluster(self):
        with Cluster(nodes=2) as cluster:
            cluster.apply(WORK)
            wait_until(lambda: all(n["clock_ahead_ns"] is not None for n in cluster.json("get", "nodes")), "two beats")
            found = examined(cluster)
            self.assertNotIn("clock", found)
            self.assertNotIn("times as long", found)
            self.assertIn("node n1", found)

    def test_a_slow_node(self):
        with Cluster(nodes=2, policy="rr") as cluster:
            cluster.apply(WORK)
            cluster.json("call", "work")
            pid = cluster.process("node n2 of")
            load = ("work", "--arrivals", "closed", "--concurrency", "4", "--duration", "12")
            with faults.halting([pid, *harness.children_of(pid)]):
                load = cluster.start("bench", *load)
                try:
                    wait_until(
                        lambda: line_with(cluster, "poor", "node n2", "times as long"), "the doctor to see it", 40
                    )
                    self.assertIsNone(line_with(cluster, "node n1", "times as long"))
                finally:
                    load.kill()
                    load.communicate()

    @unittest.skipIf(faults.no_clocks(), faults.no_clocks())
    def test_a_skewed_clock(self):
        with Cluster(nodes=1) as cluster:
            cluster.apply(SLEEP)
            clock = cluster.folder / "clock"
            faults.set_clock(clock, 3600)
            words = [BINARY, "node", "--join", cluster.info["endpoint"], "--name", "early", "--slots", "1"]
            node = subprocess.Popen(
                [*words, "--data", str(cluster.folder / "early")],
                env=faults.with_clock(cluster.env, clock),
                stderr=subprocess.PIPE,
            )
            try:
                wait_until(lambda: line_with(cluster, "poor", "node early", "ahead of the controller's"), "it", 30)
                found = line_with(cluster, "node early", "ahead of the controller's")
                self.assertRegex(found, r"its clock is (3599|3600)\.\d s ahead")
                self.assertIsNone(line_with(cluster, "node n1", "clock"))
                faults.set_clock(clock, -120)
                wait_until(lambda: line_with(cluster, "node early", "behind the controller's"), "it to be set", 40)
                faults.set_clock(clock, 0)
                wait_until(lambda: not line_with(cluster, "node early", "clock"), "it to be right", 40)
                self.assertEqual(len(cluster.json("get", "nodes")), 2, "it was never lost")
            finally:
                node.terminate()
                node.communicate(timeout=30)

    @unittest.skipUnless(os.geteuid() == 0, "needs root for a mount namespace")
    def test_a_full_disk(self):
        cluster = Cluster(nodes=1)
        data = cluster.folder / "data"
        mounts = faults.OwnMounts({data: "200m"})
        self.addCleanup(mounts.close)
        faults.enter_all(cluster, mounts)
        with cluster:
            cluster.apply(SLEEP)
            cluster.run("kv", "put", "k", "before")
            self.assertTrue(line_with(cluster, "disk", "free"))
            value = cluster.folder / "value.bin"
            value.write_bytes(os.urandom(1 << 20))
            with faults.filled(mounts.inside(data)):
                wait_until(lambda: line_with(cluster, "BAD", "disk", "0 % free"), "the doctor to see it")
                self.refuses_writes(cluster, value)
                self.assertEqual(cluster.run("kv", "get", "k").strip(), "before")
                out = cluster.json("call", "chain3", "--input", "x=[4]")
                self.assertEqual(out["outputs"]["x"]["data"], [4], "what is resident is served")
            wait_until(lambda: self.writes(cluster, value), "writes to go on", 30)
            self.assertIsNone(line_with(cluster, "BAD", "disk"))
            self.assertEqual(cluster.run("kv", "get", "k").strip(), "before")

    def refuses_writes(self, cluster, value):
        """Sooner or later: what is free in files that the store has already is used first."""
        for i in range(64):
            words = cluster.command("kv", "put", f"large-{i}", f"@{value}", "--timeout", "5s")
            done = subprocess.run(words, env=cluster.env, capture_output=True, timeout=60)
            if done.returncode != 0:
                self.assertIn(b"unavailable", done.stderr)
                return
        self.fail("64 MiB were written to a disk that is full")

    def writes(self, cluster, value):
        try:
            cluster.run("kv", "put", "after", f"@{value}", "--timeout", "5s")
            return True
        except harness.Failed:
            return False


if __name__ == "__main__":
    unittest.main()
