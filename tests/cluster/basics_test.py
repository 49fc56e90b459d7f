"""One process and several: up, apply, call, describe, down; and what wrong input gets."""

import json
import os
import subprocess
import unittest
from pathlib import Path

import harness
from harness import Cluster

SLEEP = """
apiVersion: squall/v1
kind: Function
metadata: {name: nap}
spec: {variants: [{kind: builtin, builtin: sleep, parameters: {milliseconds: "5000"}}]}
---
apiVersion: squall/v1
kind: Function
metadata: {name: blink}
spec: {variants: [{kind: builtin, builtin: sleep, parameters: {milliseconds: "1"}}]}
---
apiVersion: squall/v1
kind: Function
metadata: {name: echo}
spec: {variants: [{kind: builtin, builtin: noop}]}
---
apiVersion: squall/v1
kind: Dag
metadata: {name: chain3}
spec:
  inputs: {x: {datatype: UINT8, shape: [-1]}}
  stages:
  - {name: a, function: echo, inputs: {x: $x}}
  - {name: b, function: echo, inputs: {x: a.x}}
  - {name: c, function: echo, inputs: {x: b.x}}
  outputs: {x: c.x}
"""


class Basics:
    nodes = 0

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(nodes=cls.nodes)
        cls.cluster.__enter__()
        cls.cluster.apply(SLEEP)

    @classmethod
    def tearDownClass(cls):
        pid = cls.cluster.pid
        below = harness.children_of(pid)
        cls.cluster.__exit__(None, None, None)
        alive = [
            p
            for p in [pid, *below]
            if os.path.exists(f"/proc/{p}") and "Z" not in Path(f"/proc/{p}/stat").read_text().rpartition(")")[2][:3]
        ]
        assert not alive, f"processes are left: {alive}"
        assert harness.arenas() <= cls.cluster.before, "arenas are left"

    def test_calls_a_dag(self):
        out = self.cluster.json("call", "chain3", "--input", "x=[1,2,3]")
        self.assertEqual(out["outputs"]["x"]["data"], [1, 2, 3])
        self.assertEqual(len(out["trace"]), 3)
        described = self.cluster.json("describe", "call", out["call"])
        self.assertEqual(described["state"], "ok")

    def test_calls_a_function_directly(self):
        out = self.cluster.json("call", "echo", "--input", "x=[7]")
        self.assertEqual(out["outputs"]["x"]["data"], [7])

    def test_a_large_value_comes_back_whole(self):
        data = os.urandom(3 << 20)
        path = self.cluster.folder / "large.bin"
        path.write_bytes(data)
        out = self.cluster.json("call", "chain3", "--input", f"x=@{path}")
        self.assertEqual(bytes(out["outputs"]["x"]["data"]), data)

    def test_lists_what_there_is(self):
        self.assertEqual([d["name"] for d in self.cluster.json("get", "dags")], ["chain3"])
        self.assertEqual({f["name"] for f in self.cluster.json("get", "functions")}, {"echo", "nap", "blink"})
        self.assertEqual(len(self.cluster.json("get", "nodes")), max(1, self.nodes))

    def test_a_deadline_ends_a_call(self):
        self.cluster.run("call", "nap", "--deadline", "200ms", status=1)
        self.assertIn("deadline", self.cluster.stderr)

    def test_unknown_names_are_named(self):
        self.cluster.run("call", "chian3", "--input", "x=[1]", status=1)
        self.assertIn("chain3", self.cluster.stderr)
        self.cluster.run("describe", "dag", "nothing", status=1)
        self.assertIn("nothing", self.cluster.stderr)

    def test_wrong_inputs_are_named(self):
        self.cluster.run("call", "chain3", "--input", "y=[1]", status=1)
        self.assertIn("y", self.cluster.stderr)
        self.cluster.run("call", "chain3", status=1)
        self.assertIn("x", self.cluster.stderr)

    def test_a_dag_of_10000_stages_is_refused(self):
        stages = "\n".join(f"  - {{name: s{i}, function: echo, inputs: {{x: $x}}}}" for i in range(10000))
        path = self.cluster.folder / "big.yaml"
        path.write_text(
            "apiVersion: squall/v1\nkind: Dag\nmetadata: {name: big}\nspec:\n"
            "  inputs: {x: {datatype: UINT8, shape: [-1]}}\n  stages:\n" + stages + "\n  outputs: {x: s0.x}\n"
        )
        self.cluster.run("apply", "-f", path, status=1)
        self.assertIn("1000", self.cluster.stderr)

    def test_wrong_yaml_is_named_with_its_line(self):
        path = self.cluster.folder / "wrong.yaml"
        path.write_text("apiVersion: squall/v1\nkind: Dag\nmetadata: {name: d}\nspec:\n  stagse: []\n")
        self.cluster.run("apply", "-f", path, status=1)
        self.assertIn("wrong.yaml:5", self.cluster.stderr)
        self.assertIn("stages", self.cluster.stderr)

    def test_wrong_usage_ends_with_2(self):
        self.cluster.run("frobnicate", status=2, cluster=False)
        self.cluster.run("call", status=2)

    def test_keys_are_kept(self):
        self.cluster.run("kv", "put", "greeting", "hello")
        self.assertEqual(self.cluster.run("kv", "get", "greeting").strip(), "hello")
        self.cluster.run("kv", "delete", "greeting")
        self.cluster.run("kv", "get", "greeting", status=1)

    def test_a_value_of_300_mib_is_refused(self):
        path = self.cluster.folder / "huge.bin"
        with open(path, "wb") as f:
            f.truncate(300 << 20)
        self.cluster.run("kv", "put", "huge", f"@{path}", status=1)
        self.assertIn("256", self.cluster.stderr)

    def test_garbage_on_the_socket_harms_nobody(self):
        with harness.raw_connection(self.cluster.info["endpoint"]) as s:
            s.sendall(os.urandom(4096))
        s = harness.zmtp_dealer(self.cluster.info["endpoint"])
        for frames in (
            [b""],
            [b"\x95\x01\x03\x01\x07\x90"],
            [b"\xc1" * 100],
            [b"\x95\x63\x03\x01\x07\x90"],
            [b"\x95\x01\xcd\x03\xe7\x01\x07\x90"],
            [os.urandom(100), os.urandom(1000)],
            [b"\x95\x01\x10\x01\x09\x95\x01\x02\x03\x04\x05"],
        ):
            harness.zmtp_send(s, *frames)
        answer = s.recv(4096)
        self.assertTrue(answer, "a message with a request id is answered")
        s.close()
        self.test_calls_a_function_directly()

    def test_policies_switch_under_load(self):
        load = self.cluster.start(
            "bench", "chain3", "--input", "x=[1]", "--rate", "200", "--duration", "3", "-o", "json"
        )
        for policy in ("rr", "balance", "fifo", "rr", "fifo"):
            self.cluster.run("policy", "set", policy)
        self.assertEqual(self.cluster.json("policy", "get")["name"], "fifo")
        self.cluster.run("policy", "set", "magic", status=1)
        self.assertIn("balance", self.cluster.stderr)
        out, err = load.communicate(timeout=60)
        self.assertEqual(load.returncode, 0, err)
        report = json.loads(out)
        self.assertEqual(report["errors"], {}, report)

    def test_the_event_log_replays(self):
        self.test_calls_a_dag()
        logs = sorted(self.cluster.folder.glob("data/**/events/*"))
        self.assertGreaterEqual(len(logs), 2, "one of the scheduler and one of each node")
        harness.time.sleep(0.2)
        for log in logs:
            out = self.cluster.run("replay", log, cluster=False)
            self.assertIn("same", out)

    def test_the_doctor_finds_a_runtime_and_a_taken_port(self):
        out = self.cluster.run("doctor", cluster=False)
        self.assertIn("OpenVINO", out)
        self.assertIn("workers of user code can be shut in", out)
        with harness.socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            out = self.cluster.run("doctor", "--http", f"127.0.0.1:{taken.getsockname()[1]}", cluster=False, status=1)
        self.assertIn("choose another port", out)

    def test_logs_are_shown_by_process(self):
        self.assertIn("serving", self.cluster.run("logs", "--name", self.cluster.name, cluster=False))
        self.cluster.run("logs", "nobody", "--name", self.cluster.name, cluster=False, status=1)
        self.assertIn("there are", self.cluster.stderr)

    def test_a_second_cluster_of_that_name_is_refused(self):
        self.cluster.run("up", "-d", "-f", self.cluster.file, status=1, cluster=False)
        self.assertIn("runs already", self.cluster.stderr)


class OneProcess(Basics, unittest.TestCase):
    def test_a_data_folder_that_is_held_is_refused(self):
        self.cluster.run("up", "--name", "other", "--data", self.cluster.folder / "data", status=1, cluster=False)
        self.assertIn(str(self.cluster.pid), self.cluster.stderr)

    def test_a_taken_port_is_refused(self):
        self.cluster.run(
            "up",
            "--name",
            "other",
            "--data",
            self.cluster.folder / "other",
            "--listen",
            self.cluster.info["endpoint"],
            status=1,
            cluster=False,
        )
        self.assertIn(self.cluster.info["endpoint"], self.cluster.stderr)

    def test_listening_beyond_loopback_needs_keys(self):
        self.cluster.run(
            "up",
            "--name",
            "other",
            "--data",
            self.cluster.folder / "other",
            "--listen",
            "tcp://0.0.0.0:*",
            status=1,
            cluster=False,
        )
        self.assertIn("squall keys new", self.cluster.stderr)


class SeveralProcesses(Basics, unittest.TestCase):
    nodes = 2


class Keys(unittest.TestCase):
    def test_a_cluster_with_keys_lets_only_their_holders_in(self):
        cluster = Cluster()
        keys = cluster.folder / "keys"
        cluster.run("keys", "new", keys, cluster=False)
        cluster.run("keys", "new", keys, status=1, cluster=False)
        cluster.file.write_text(cluster.file.read_text() + f"  keys: {keys}\n")
        cluster.env["SQUALL_KEYS"] = str(keys)
        with cluster:
            cluster.apply(SLEEP)
            out = cluster.json("call", "echo", "--input", "x=[7]")
            self.assertEqual(out["outputs"]["x"]["data"], [7])
            done = subprocess.run(
                cluster.command("call", "echo", "--input", "x=[7]", "--timeout", "2s"),
                env={k: v for k, v in cluster.env.items() if k != "SQUALL_KEYS"},
                capture_output=True,
                timeout=30,
            )
            self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
