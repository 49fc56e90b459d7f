"""Processes are killed in the middle of calls: every call ends, and what was started again is found again."""

import json
import os
import signal
import unittest

import harness
from basics_test import SLEEP
from harness import Cluster, wait_until


def answers(cluster, name="echo"):
    try:
        return cluster.json("call", name, "--input", "x=[1]", "--deadline", "2s")["outputs"]["x"]["data"] == [1]
    except harness.Failed:
        return False


class Faults(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(nodes=2)
        self.cluster.__enter__()
        self.cluster.apply(SLEEP)

    def tearDown(self):
        self.cluster.__exit__(None, None, None)

    def nap(self):
        return self.cluster.start("call", "nap", "--deadline", "20s", "-o", "json")

    def ends(self, call, expect):
        _, err = call.communicate(timeout=40)
        self.assertEqual(call.returncode, 1, err)
        self.assertIn(expect, err.decode())

    def node_of_running_work(self):
        def busy():
            return [n["name"] for n in self.cluster.json("get", "nodes") if n["running"] > 0]

        return wait_until(busy, "work to run")[0]

    def test_a_killed_model_host(self):
        call = self.nap()
        node = self.node_of_running_work()
        below = harness.children_of(self.cluster.process(f'"node_name":"{node}"'))
        host = next(pid for pid, command in below.items() if "model-host" in command)
        os.kill(host, signal.SIGKILL)
        self.ends(call, "model host")
        wait_until(lambda: answers(self.cluster, "blink"), "the model host to be back")

    def test_a_killed_node(self):
        call = self.nap()
        node = self.node_of_running_work()
        self.cluster.kill(f'"node_name":"{node}"')
        self.ends(call, node)
        self.assertTrue(answers(self.cluster), "the other node serves")
        wait_until(lambda: len(self.cluster.json("get", "nodes")) == 2, "the node to be back")

    def test_a_killed_controller(self):
        call = self.nap()
        self.node_of_running_work()
        self.cluster.kill('"roles":"controller"')
        self.ends(call, "the server is gone")
        wait_until(lambda: answers(self.cluster), "the new controller to have the catalogue and the nodes", 30)

    def test_a_killed_store(self):
        self.cluster.run("kv", "put", "k", "before")
        self.cluster.kill('"roles":"store"')
        self.assertTrue(answers(self.cluster), "what is resident is served without the store")
        wait_until(lambda: self.reads("k") == "before", "the store to be back with what was acknowledged", 30)

    def reads(self, key):
        try:
            return self.cluster.run("kv", "get", key, "--timeout", "2s").strip()
        except harness.Failed:
            return None

    def test_a_stopped_node_is_lost_and_found(self):
        pid = self.cluster.process('"node_name":"n1"')
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: len(self.cluster.json("get", "nodes")) == 1, "the silent node to be lost")
            self.assertTrue(answers(self.cluster))
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: len(self.cluster.json("get", "nodes")) == 2, "the node to be back")

    def test_a_client_that_vanishes_costs_nobody_anything(self):
        call = self.nap()
        self.node_of_running_work()
        call.kill()
        call.communicate()
        self.assertTrue(answers(self.cluster))

    def test_killing_everything_leaves_nothing_that_down_does_not_remove(self):
        os.kill(self.cluster.pid, signal.SIGKILL)
        wait_until(lambda: not harness.children_of(self.cluster.pid), "the processes to follow their launcher")
        self.cluster.run("down", "--name", self.cluster.name, status=1, cluster=False)
        wait_until(
            lambda: (
                harness.arenas() <= self.cluster.before
                or self.cluster.run("down", "--name", self.cluster.name, status=1, cluster=False) is None
            ),
            "the arenas to be swept",
            5,
        )


class Replacing(unittest.TestCase):
    def test_a_function_is_replaced_under_load(self):
        with Cluster(nodes=2) as cluster:
            cluster.apply(SLEEP)
            load = cluster.start(
                "bench", "chain3", "--input", "x=[1]", "--rate", "200", "--duration", "3", "-o", "json"
            )
            for mebibytes in (2, 4, 1):
                cluster.folder.joinpath("f.yaml").write_text(
                    "apiVersion: squall/v1\nkind: Function\nmetadata: {name: echo}\n"
                    f"spec: {{variants: [{{kind: builtin, builtin: noop, memory: {mebibytes}MiB}}]}}\n"
                )
                cluster.run("apply", "--replace", "-f", cluster.folder / "f.yaml")
            out, err = load.communicate(timeout=60)
            self.assertEqual(load.returncode, 0, err)
            self.assertEqual(json.loads(out)["errors"], {})


if __name__ == "__main__":
    unittest.main()
