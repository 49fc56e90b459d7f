"""Two hosts: network namespaces with a mount namespace and a /dev/shm of their own, so that values really cross.

Needs root.
"""

import json
import os
import subprocess
import time
import unittest

import harness
from basics_test import SLEEP
from harness import BINARY, wait_until


def sh(*words, check=True):
    return subprocess.run(words, check=check, capture_output=True, text=True)


class Host:
    """A network namespace, and a process in it that holds the mount namespace."""

    def __init__(self, name, address):
        self.name, self.address = name, address
        sh("ip", "netns", "add", name)
        sh("ip", "-n", name, "link", "set", "lo", "up")
        self.holder = subprocess.Popen(
            [
                "ip",
                "netns",
                "exec",
                name,
                "unshare",
                "-m",
                "sh",
                "-c",
                "mount -t tmpfs -o size=2g tmpfs /dev/shm && echo ready && exec sleep 1000",
            ],
            stdout=subprocess.PIPE,
        )
        assert self.holder.stdout.readline() == b"ready\n"
        self.enter = ["nsenter", "-t", str(self.holder.pid), "-m", "-n"]

    def drop(self, share):
        """Loses so many percent of what comes, until heal()."""
        chance = "" if share == 100 else f"numgen random mod 100 < {share}"
        self.nft("add table inet test")
        self.nft("add chain inet test in { type filter hook input priority 0 ; }")
        self.nft(f"add rule inet test in iifname eth0 {chance} drop")

    def heal(self):
        self.nft("delete table inet test", check=False)

    def nft(self, rule, check=True):
        sh("ip", "netns", "exec", self.name, "nft", rule, check=check)

    def close(self):
        self.holder.kill()
        self.holder.wait()
        sh("ip", "netns", "del", self.name, check=False)


@unittest.skipUnless(os.geteuid() == 0, "needs root for network namespaces")
class TwoHosts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        tag = str(os.getpid())
        cls.hosts, cls.node = [], None
        cls.cluster = harness.Cluster(nodes=1)  # made here, started below inside the first host
        try:
            for i in (1, 2):
                cls.hosts.append(Host(f"sq{i}-{tag}", f"10.213.7.{i}"))
            a, b = cls.hosts
            sh("ip", "-n", a.name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", b.name)
            for host in cls.hosts:
                sh("ip", "-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
                sh("ip", "-n", host.name, "link", "set", "eth0", "up")
            cls.start()
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def start(cls):
        a, b = cls.hosts
        c = cls.cluster
        keys = c.folder / "keys"
        c.run("keys", "new", keys, cluster=False)
        c.file.write_text(f"""apiVersion: squall/v1
kind: Cluster
metadata: {{name: {c.name}}}
spec:
  data: {c.folder}/data
  listen: tcp://{a.address}:7700
  store: {{listen: "tcp://{a.address}:7701"}}
  keys: {keys}
  policy: rr
  nodes: [{{name: here, slots: 1, listen: "tcp://{a.address}:7702"}}]
""")
        command = c.command
        c.command = lambda *words, cluster=True: (
            [*a.enter, *command(*words, cluster=cluster), *(["--keys", str(keys)] if cluster else [])]
        )
        c.__enter__()
        with (c.logs / "there.log").open("wb") as log:
            cls.node = subprocess.Popen(
                [
                    *b.enter,
                    BINARY,
                    "node",
                    "--join",
                    f"tcp://{a.address}:7700",
                    "--listen",
                    f"tcp://{b.address}:7703",
                    "--keys",
                    str(keys),
                    "--name",
                    "there",
                    "--data",
                    str(c.folder / "there"),
                    "--slots",
                    "1",
                ],
                env=c.env,
                stderr=log,
            )
        wait_until(lambda: len(c.json("get", "nodes")) == 2, "the second host's node")
        c.apply(SLEEP)

    @classmethod
    def tearDownClass(cls):
        if cls.node:
            cls.node.terminate()
            cls.node.wait(timeout=30)
        if hasattr(cls.cluster, "info"):
            cls.cluster.run("down", "--name", cls.cluster.name, cluster=False)
        cls.cluster.__exit__(None, None, None)
        for host in cls.hosts:
            host.close()

    def run(self, result=None):
        problems = len(result.errors) + len(result.failures)
        super().run(result)
        if len(result.errors) + len(result.failures) > problems:
            self.cluster.show_logs()

    def test_the_hosts_do_not_share_memory(self):
        nodes = {n["name"]: n for n in self.cluster.json("get", "nodes")}
        self.assertTrue(nodes["here"]["same_host"])
        self.assertFalse(nodes["there"]["same_host"])

    def test_values_cross(self):
        data = os.urandom(2 << 20)
        path = self.cluster.folder / "value.bin"
        path.write_bytes(data)
        moved, nodes = 0, set()
        for _ in range(4):
            out = self.cluster.json("call", "chain3", "--input", f"x=@{path}")
            self.assertEqual(bytes(out["outputs"]["x"]["data"]), data)
            nodes |= {stage["node"] for stage in out["trace"]}
            moved += sum(stage["bytes_moved"] for stage in out["trace"])
        self.assertEqual(nodes, {"here", "there"}, "rr uses both hosts")
        self.assertGreaterEqual(moved, len(data))

    def test_a_load_crosses_without_errors(self):
        call = self.cluster.start(
            "bench", "chain3", "--input", "x=[1]", "--rate", "50", "--duration", "2", "-o", "json"
        )
        out, err = call.communicate(timeout=60)
        self.assertEqual(json.loads(out)["errors"], {}, err)

    # -- a network that does not carry what it should

    def load(self, seconds):
        return self.cluster.start(
            "bench", "chain3", "--input", "x=[1]", "--rate", "40", "--duration", str(seconds), "-o", "json"
        )

    def no_call_was_lost(self, load):
        out, err = load.communicate(timeout=120)
        self.assertEqual(load.returncode, 0, err)
        report = json.loads(out)
        self.assertEqual(report["errors"], {}, report)
        self.assertEqual(report["completed"], report["sent"])

    def nodes(self):
        return {n["name"]: n["id"] for n in self.cluster.json("get", "nodes")}

    def test_a_host_that_is_cut_off_is_lost_and_comes_back(self):
        before = self.nodes()
        load = self.load(10)
        time.sleep(1)
        self.hosts[1].drop(100)
        try:
            wait_until(lambda: list(self.nodes()) == ["here"], "the host to be lost")
        finally:
            self.hosts[1].heal()
        wait_until(lambda: len(self.nodes()) == 2, "the host to be back", 40)
        self.no_call_was_lost(load)
        self.assertNotEqual(self.nodes()["there"], before["there"], "as a new node")
        out = self.cluster.json("call", "chain3", "--input", "x=[1]")
        self.assertEqual(out["outputs"]["x"]["data"], [1])

    def test_lost_packets_lose_no_calls(self):
        load = self.load(6)
        time.sleep(1)
        for host in self.hosts:
            host.drop(10)
        try:
            time.sleep(4)
        finally:
            for host in self.hosts:
                host.heal()
        self.no_call_was_lost(load)
        wait_until(lambda: len(self.nodes()) == 2, "both hosts", 40)


if __name__ == "__main__":
    unittest.main()
