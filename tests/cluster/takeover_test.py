"""Controllers that stand by: the leader dies or sleeps, another takes over, and nobody's call is lost."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import harness
from basics_test import SLEEP
from harness import Cluster, wait_until

LEASE = 3.0
ONCE = """
apiVersion: squall/v1
kind: Function
metadata: {name: work}
spec: {variants: [{kind: builtin, builtin: sleep, parameters: {milliseconds: "50"}}]}
"""


class TakingOver(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(nodes=2, slots=2, extra_spec=f"  standby: [{{}}]\n  lease: {LEASE:.0f}s\n")
        self.cluster.__enter__()
        self.cluster.apply(SLEEP + "---" + ONCE)
        self.endpoints = self.cluster.info["endpoint"].split(",")

    def tearDown(self):
        self.cluster.__exit__(None, None, None)

    def log_of(self, process):
        return (self.cluster.folder / "data" / "logs" / f"{process}.log").read_text()

    def leader(self):
        """The process that leads: the one whose log says so last."""
        told = {}
        for process in ("controller", "standby-1"):
            terms = [line for line in self.log_of(process).splitlines() if " leads" in line and "term" in line]
            terms = [line for line in terms if "another" not in line]
            told[process] = int(terms[-1].split("term=")[1].split()[0]) if terms else 0
        return max(told, key=told.get), max(told.values())

    def pid_of(self, process):
        """Both serve as controllers: their data folders tell them apart."""
        return self.cluster.process(f"data/{process}")

    def load(self, seconds, *flags):
        return self.cluster.start(
            "bench", "work", "--input", "x=[1]", "--rate", "40", "--duration", str(seconds), "-o", "json", *flags
        )

    def no_call_was_lost(self, load):
        out, err = load.communicate(timeout=120)
        self.assertEqual(load.returncode, 0, err)
        report = json.loads(out)
        self.assertEqual(report["errors"], {}, report)
        return report

    def durable_keys(self):
        return [k["key"] for k in self.cluster.json("get", "keys") if k["key"].startswith("calls/durable/")]

    def test_a_killed_leader_under_load(self):
        loads = [self.load(8), self.load(8, "--durable")]
        time.sleep(2)
        leader, term = self.leader()
        os.kill(self.pid_of(leader), signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: self.leader()[1] > term, "another term", 2 * LEASE + 5)
        took = time.monotonic() - killed
        for load in loads:
            report = self.no_call_was_lost(load)
            self.assertGreater(report["sent"], 200)
        print(f"took over after {took:.2f} s with a lease of {LEASE} s")
        self.assertEqual(len(self.cluster.json("get", "nodes")), 2)

    def test_a_leader_that_sleeps_past_its_lease_steps_down(self):
        leader, term = self.leader()
        load = self.load(12, "--durable")
        time.sleep(1)
        sleeper = self.pid_of(leader)
        os.kill(sleeper, signal.SIGSTOP)
        try:
            wait_until(lambda: self.leader()[1] > term, "another term", 20)
            time.sleep(1)
        finally:
            os.kill(sleeper, signal.SIGCONT)
        wait_until(lambda: "leads no more" in self.log_of(leader), "the old one to step down")
        self.no_call_was_lost(load)
        self.assertEqual(self.pid_of(leader), sleeper, "it began anew in its process")
        # And it may lead again when it is its turn.
        leader, term = self.leader()
        os.kill(self.pid_of(leader), signal.SIGKILL)
        wait_until(lambda: self.leader()[1] > term, "a third term", 20)
        wait_until(lambda: len(self.cluster.json("get", "nodes")) == 2, "the nodes to have found it")

    def test_a_durable_call_is_run_again_without_its_client(self):
        leader, term = self.leader()
        call = self.cluster.start("call", "nap", "--durable", "--deadline", "60s", "-o", "json")
        keys = wait_until(self.durable_keys, "the call to be written down")
        call.kill()
        call.communicate()
        os.kill(self.pid_of(leader), signal.SIGKILL)
        wait_until(lambda: self.leader()[1] > term, "another term", 20)
        number = keys[0].rpartition("/")[2]
        ended = wait_until(lambda: self.described(number), "the call to be run again", 40)
        self.assertEqual(ended["state"], "ok")
        self.assertEqual(self.durable_keys(), keys, "its result is kept for its client")

    def described(self, number):
        try:
            call = self.cluster.json("describe", "call", number)
        except harness.Failed:
            return None
        return call if call["state"] in ("ok", "failed", "unavailable") else None

    def test_a_leader_that_is_asked_to_go_gives_its_lease_back(self):
        leader, term = self.leader()
        load = self.load(5)
        time.sleep(1)
        asked = time.monotonic()
        os.kill(self.pid_of(leader), signal.SIGTERM)
        wait_until(lambda: self.leader()[1] > term, "another term", 20)
        print(f"handed over after {time.monotonic() - asked:.2f} s")
        self.no_call_was_lost(load)

    def test_the_one_that_stands_by_says_who_leads(self):
        if self.leader()[0] != "controller":
            self.endpoints.reverse()
        with self.assertRaises(harness.Failed) as refused:
            self.cluster.run(
                "get", "status", "--cluster", self.endpoints[1], "--timeout", "3s", cluster=False, status=0
            )
        self.assertIn("stands by", str(refused.exception))
        self.assertIn(self.endpoints[0], str(refused.exception))

    def test_one_of_another_place_stands_by_and_takes_over(self):
        spec = self.cluster.file.read_text().replace("standby: [{}]", f"listen: {self.endpoints[0]}")
        file = self.cluster.folder / "elsewhere.yaml"
        refused = [harness.BINARY, "standby", "-f", str(file), "--listen", "tcp://127.0.0.1:*"]
        file.write_text(spec)
        done = subprocess.run(refused, capture_output=True, timeout=30, env=self.cluster.env)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"store.listen is tcp://127.0.0.1:*", done.stderr)
        log = self.log_of("up")
        at = next(line for line in log.splitlines() if "process=store" in line).split("endpoint=")[1].split()[0]
        file.write_text(spec + f"  store: {{listen: '{at}'}}\n")
        with (self.cluster.folder / "data" / "logs" / "elsewhere.log").open("w") as log:
            data = str(self.cluster.folder / "elsewhere")
            third = subprocess.Popen([*refused, "--data", data], env=self.cluster.env, stderr=log)
        try:
            wait_until(lambda: "another leads" in self.log_of("elsewhere"), "it to stand by")
            own = self.log_of("elsewhere").split("stands by endpoint=")[1].split()[0]
            wait_until(lambda: own in self.cluster.json("get", "status")["controllers"], "it to be known")
            for process in ("controller", "standby-1"):
                os.kill(self.pid_of(process), signal.SIGSTOP)
            try:
                wait_until(lambda: " leads term=" in self.log_of("elsewhere"), "it to lead", 20)
                wait_until(lambda: self.answers_at(own), "the nodes to find it", 40)
            finally:
                for process in ("controller", "standby-1"):
                    os.kill(self.pid_of(process), signal.SIGCONT)
        finally:
            third.terminate()
            self.assertEqual(third.wait(timeout=30), 0)

    def answers_at(self, endpoint):
        try:
            return self.cluster.run("call", "echo", "--input", "x=[1]", "--cluster", endpoint, cluster=False)
        except harness.Failed:
            return None

    def test_a_store_that_is_started_again_is_found_again(self):
        self.cluster.kill("store of")
        wait_until(lambda: self.stores(), "the store to take changes", 30)
        out = self.cluster.json("call", "echo", "--input", "x=[1]", "--durable")
        self.assertEqual(out["outputs"]["x"]["data"], [1])
        wait_until(lambda: self.durable_keys() == [], "the result that was taken to be erased")

    def stores(self):
        try:
            return self.cluster.apply(ONCE.replace("name: work", "name: more"))
        except harness.Failed:
            return None


ETCD = "/usr/bin/etcd"


class WithEtcd(unittest.TestCase):
    """Who leads is kept in an etcd, and everything else in the store."""

    def setUp(self):
        if not os.path.exists(ETCD):
            self.skipTest("etcd is not installed (apt-get install etcd-server)")
        self.folder = tempfile.mkdtemp(prefix="squall-etcd-")
        self.url, peer = (f"http://127.0.0.1:{harness.free_port()}" for _ in range(2))
        flags = {
            "data-dir": self.folder,
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
        }
        words = [ETCD, *(word for name, value in flags.items() for word in (f"--{name}", value))]
        self.etcd = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def tearDown(self):
        self.etcd.kill()
        self.etcd.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def test_another_takes_over(self):
        spec = f"  standby: [{{}}]\n  lease: {LEASE:.0f}s\n  etcd: {self.url}\n"
        with Cluster(nodes=1, slots=2, extra_spec=spec) as cluster:
            cluster.apply(SLEEP)
            call = cluster.start("call", "nap", "--durable", "--deadline", "60s", "-o", "json")
            wait_until(lambda: any(n["running"] for n in cluster.json("get", "nodes")), "work to run")
            keys = [k["key"] for k in cluster.json("get", "keys")]
            self.assertNotIn("cluster/leader", keys, "it is kept elsewhere")
            os.kill(cluster.process("data/controller"), signal.SIGKILL)
            out, err = call.communicate(timeout=90)
            self.assertEqual(call.returncode, 0, err)
            self.assertEqual(json.loads(out)["state"], "ok")


if __name__ == "__main__":
    unittest.main()
