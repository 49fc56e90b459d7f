"""Processes are killed in the middle of calls: every call ends, and what was started again is found again."""

import json
import os
import pathlib
import shutil
import signal
import tempfile
import time
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

    def ends_well(self, call):
        out, err = call.communicate(timeout=60)
        self.assertEqual(call.returncode, 0, err)
        return json.loads(out)

    def node_of_running_work(self):
        def busy():
            return [n["name"] for n in self.cluster.json("get", "nodes") if n["running"] > 0]

        return wait_until(busy, "work to run")[0]

    def test_a_killed_model_host(self):
        call = self.nap()
        node = self.node_of_running_work()
        below = harness.children_of(self.cluster.process(f"node {node} of"))
        host = next(pid for pid, command in below.items() if "model-host" in command)
        os.kill(host, signal.SIGKILL)
        self.ends_well(call)
        wait_until(lambda: answers(self.cluster, "blink"), "the model host to be back")

    def test_a_killed_node(self):
        call = self.nap()
        node = self.node_of_running_work()
        self.cluster.kill(f"node {node} of")
        ended = self.ends_well(call)
        self.assertNotEqual(ended["trace"][0]["node"], "")
        log = self.cluster.run("logs", "--name", self.cluster.name, "--call", ended["call"], cluster=False)
        self.assertIn("placed again", log)
        self.assertEqual([line for line in log.splitlines() if str(ended["call"]) not in line], [])
        self.assertTrue(answers(self.cluster), "the other node serves")
        wait_until(lambda: len(self.cluster.json("get", "nodes")) == 2, "the node to be back")

    def test_a_killed_controller(self):
        call = self.nap()
        self.node_of_running_work()
        self.cluster.kill("controller of")
        self.ends_well(call)
        wait_until(lambda: answers(self.cluster), "the new controller to have the catalogue and the nodes", 30)

    def test_a_killed_store(self):
        self.cluster.run("kv", "put", "k", "before")
        self.cluster.kill("store of")
        self.assertTrue(answers(self.cluster), "what is resident is served without the store")
        wait_until(lambda: self.reads("k") == "before", "the store to be back with what was acknowledged", 30)

    def reads(self, key):
        try:
            return self.cluster.run("kv", "get", key, "--timeout", "2s").strip()
        except harness.Failed:
            return None

    def test_a_stopped_node_is_lost_and_found(self):
        pid = self.cluster.process("node n1 of")
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: len(self.cluster.json("get", "nodes")) == 1, "the silent node to be lost")
            self.assertTrue(answers(self.cluster))
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: len(self.cluster.json("get", "nodes")) == 2, "the node to be back")

    def test_the_doctor_sees_a_process_that_dies_again_and_again(self):
        healthy = self.cluster.run("doctor", "--cluster", self.cluster.name, cluster=False)
        self.assertIn("node n2", healthy)
        for _ in range(3):
            old = self.cluster.kill("node n1 of")
            wait_until(lambda old=old: self.pid_of_n1() not in (None, old), "the node to be started again")
            wait_until(lambda: len(self.cluster.json("get", "nodes")) == 2, "the node to be back", 30)
        sick = self.cluster.run("doctor", "--cluster", self.cluster.name, cluster=False, status=1)
        self.assertIn("node-n1", sick)
        self.assertIn("was started 4 times", sick)

    def pid_of_n1(self):
        try:
            return self.cluster.process("node n1 of")
        except harness.Failed:
            return None

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


class Leaving(unittest.TestCase):
    """Processes that are asked to go, under load: no call is lost."""

    def load(self, cluster, seconds, rate=100):
        return cluster.start(
            "bench", "chain3", "--input", "x=[1]", "--rate", str(rate), "--duration", str(seconds), "-o", "json"
        )

    def no_call_was_lost(self, load):
        out, err = load.communicate(timeout=120)
        self.assertEqual(load.returncode, 0, err)
        self.assertEqual(json.loads(out)["errors"], {})

    def test_a_drained_node_leaves_and_stays_away(self):
        with Cluster(nodes=2) as cluster:
            cluster.apply(SLEEP)
            load = self.load(cluster, 4)
            time.sleep(1)
            self.assertIn("has left", cluster.run("drain", "n1"))
            self.assertEqual([n["name"] for n in cluster.json("get", "nodes")], ["n2"])
            self.no_call_was_lost(load)
            self.assertEqual([n["name"] for n in cluster.json("get", "nodes")], ["n2"])
            self.assertIn("no node 'n9'", self.refused(cluster, "drain", "n9"))

    def refused(self, cluster, *arguments):
        cluster.run(*arguments, status=1)
        return cluster.stderr

    def test_a_node_finishes_what_it_has(self):
        with Cluster(nodes=1) as cluster:
            cluster.apply(SLEEP)
            call = cluster.start("call", "nap", "--deadline", "30s", "-o", "json")
            wait_until(lambda: any(n["running"] for n in cluster.json("get", "nodes")), "work to run")
            pid = cluster.kill("node n1 of", signal.SIGTERM)
            _, err = call.communicate(timeout=60)
            self.assertEqual(call.returncode, 0, err)
            wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the node to be gone")

    def test_a_second_signal_ends_a_process_at_once(self):
        with Cluster(nodes=2) as cluster:
            cluster.apply(SLEEP)
            call = cluster.start("call", "nap", "--deadline", "30s")
            self.addCleanup(lambda: (call.kill(), call.communicate()))
            busy = wait_until(lambda: [n["name"] for n in cluster.json("get", "nodes") if n["running"]], "work to run")[
                0
            ]
            pid = cluster.process(f"node {busy} of")
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.3)
            self.assertTrue(os.path.exists(f"/proc/{pid}"), "it finishes what it has")
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the node to be gone", 4)

    def test_a_rolling_restart_loses_no_call(self):
        with Cluster(nodes=2) as cluster:
            cluster.apply(SLEEP)
            load = self.load(cluster, 12)
            time.sleep(1)
            for process in ("node n1 of", "node n2 of", "controller of", "store of"):
                old = cluster.kill(process, signal.SIGTERM)
                wait_until(lambda old=old: not os.path.exists(f"/proc/{old}"), "it to be gone")
                wait_until(lambda: self.complete(cluster), "it to be back")
            self.no_call_was_lost(load)

    def test_a_process_that_starts_again_runs_the_program_that_is_there_then(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "squall"
            shutil.copy2(harness.BINARY, program)
            with Cluster(nodes=2, program=program) as cluster:
                cluster.apply(SLEEP)
                fresh = program.with_name("fresh")
                shutil.copy2(harness.BINARY, fresh)
                fresh.rename(program)
                for process in ("node n1 of", "node n2 of", "controller of", "store of"):
                    old = cluster.kill(process, signal.SIGTERM)
                    wait_until(lambda old=old: not os.path.exists(f"/proc/{old}"), "it to be gone")
                    wait_until(lambda: self.complete(cluster), "it to be back")
                    runs = os.stat(f"/proc/{cluster.process(process)}/exe")
                    self.assertEqual(runs.st_ino, program.stat().st_ino, process)
                self.assertTrue(answers(cluster))

    def complete(self, cluster):
        try:
            status = cluster.json("get", "status", "--timeout", "2s")
            return status["ready"] and status["nodes"] == 2 and cluster.process("store of")
        except harness.Failed:
            return False


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
