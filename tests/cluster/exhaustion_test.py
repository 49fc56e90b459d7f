"""What is used up: descriptors, of each process; shared memory. Those who are served go on, others wait or are told,
and nothing of it lasts."""

import json
import os
import pathlib
import unittest

import faults
import harness
from basics_test import SLEEP
from harness import Cluster, wait_until


class Descriptors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(nodes=2)
        cls.cluster.__enter__()
        cls.cluster.apply(SLEEP)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def go_on_without(self, pid):
        """A client that is connected does not notice; one that comes is served when there are some again."""
        load = self.cluster.start(
            "bench", "chain3", "--input", "x=[1]", "--rate", "50", "--duration", "3", "-o", "json"
        )
        wait_until(lambda: self.cluster.json("get", "status")["calls_running"] >= 0, "the cluster")
        with faults.no_descriptors(pid):
            newcomer = self.cluster.start("call", "echo", "--input", "x=[7]", "--timeout", "20s", "-o", "json")
            out, err = load.communicate(timeout=60)
        self.assertEqual(load.returncode, 0, err)
        self.assertEqual(json.loads(out)["errors"], {}, err)
        out, err = newcomer.communicate(timeout=60)
        self.assertEqual(newcomer.returncode, 0, err)
        self.assertEqual(json.loads(out)["outputs"]["x"]["data"], [7])
        self.assertTrue(os.path.exists(f"/proc/{pid}"), "it is the same process")

    def test_of_the_controller(self):
        self.go_on_without(self.cluster.process("controller of"))

    def test_of_a_node(self):
        self.go_on_without(self.cluster.process("node n1 of"))

    def test_of_a_model_host(self):
        below = harness.children_of(self.cluster.process("node n1 of"))
        self.go_on_without(next(pid for pid, command in below.items() if "model-host" in command))

    def test_of_the_store(self):
        pid = self.cluster.process("store of")
        self.cluster.run("kv", "put", "kept", "yes")
        self.go_on_without(pid)
        self.assertEqual(self.cluster.run("kv", "get", "kept").strip(), "yes")


@unittest.skipUnless(os.geteuid() == 0, "needs root for a mount namespace")
class SharedMemory(unittest.TestCase):
    def test_values_travel_inline_when_it_is_full(self):
        cluster = Cluster(nodes=2)
        mounts = faults.OwnMounts({"/dev/shm": "256m"})
        self.addCleanup(mounts.close)
        faults.enter_all(cluster, mounts)
        with cluster:
            cluster.apply(SLEEP)
            data = os.urandom(3 << 20)
            path = cluster.folder / "large.bin"
            path.write_bytes(data)
            with faults.filled(mounts.inside(pathlib.Path("/dev/shm"))):
                for _ in range(3):
                    out = cluster.json("call", "chain3", "--input", f"x=@{path}", "--deadline", "60s")
                    self.assertTrue(bytes(out["outputs"]["x"]["data"]) == data, "the value is another")
            out = cluster.json("call", "chain3", "--input", f"x=@{path}")
            self.assertTrue(bytes(out["outputs"]["x"]["data"]) == data, "the value is another")


if __name__ == "__main__":
    unittest.main()
