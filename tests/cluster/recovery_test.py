"""The controller dies while calls run: they go on at the nodes, and the next one has them, and their promises."""

import json
import os
import pathlib
import signal
import time
import unittest

import harness
from harness import Cluster, wait_until

MISBEHAVE = pathlib.Path(os.environ.get("SQUALL_MISBEHAVE", "build/functions/misbehave.so"))
LEASE = 2.0
MILLISECONDS = 1500

# A function that must not run twice: it counts its runs in the store, and takes its time.
SPEC = """
apiVersion: squall/v1
kind: Function
metadata: {{name: tally}}
spec:
  inputs:  {{x: {{datatype: FP32, shape: [-1]}}}}
  outputs: {{y: {{datatype: FP32, shape: [-1]}}}}
  variants: [{{library: {library}, parameters: {{do: tally}}}}]
---
apiVersion: squall/v1
kind: Dag
metadata: {{name: twice}}
spec:
  inputs: {{x: {{datatype: FP32, shape: [-1]}}}}
  stages:
  - {{name: one, function: tally, inputs: {{x: $x}}}}
  - {{name: two, function: tally, inputs: {{x: one.y}}}}
  outputs: {{y: two.y}}
"""


@unittest.skipUnless(MISBEHAVE.exists(), f"{MISBEHAVE} is not built")
class Recovery(unittest.TestCase):
    def cluster_of(self, policy, standby, longest=MILLISECONDS, lease=LEASE):
        spec = f"  standby: [{{}}]\n  lease: {lease:.0f}s\n" if standby else ""
        self.cluster = self.enterContext(Cluster(nodes=2, slots=2, policy=policy, extra_spec=spec))
        self.cluster.apply(SPEC.format(library=MISBEHAVE.resolve()))
        # Profiles of what it will take: the calendar does not believe a function that is suddenly much slower.
        for milliseconds in (4, 12, 36, 100, 300, 800, MILLISECONDS):
            if milliseconds <= longest:
                self.ended(self.start("tally", 1000 + milliseconds, milliseconds, None))

    def start(self, target, number, milliseconds=MILLISECONDS, deadline="30s"):
        # Long work of low priority is refused while others might come.
        slo = ["--deadline", deadline, "--priority", "8"] if deadline else []
        return self.cluster.start("call", target, "-i", f"x=[{milliseconds}, {number}]", "-o", "json", *slo)

    def runs(self, number):
        try:
            return int(self.cluster.run("kv", "get", f"tests/tally/{number}").strip() or 0)
        except (harness.Failed, ValueError):
            return 0

    def kill_leader(self):
        """Both controllers serve: who leads says so last."""
        logs = self.cluster.folder / "data" / "logs"
        terms = {}
        for process in ("controller", "standby-1"):
            path = logs / f"{process}.log"
            said = path.read_text().splitlines() if path.exists() else []
            led = [line for line in said if " leads" in line and "term=" in line and "another" not in line]
            terms[process] = int(led[-1].split("term=")[1].split()[0]) if led else 0
        leader = max(terms, key=terms.get)
        os.kill(self.cluster.process(f"data/{leader}"), signal.SIGKILL)

    def ended(self, call):
        out, err = call.communicate(timeout=60)
        self.assertEqual(call.returncode, 0, err.decode())
        return json.loads(out)

    def promises(self):
        return {str(p["call"]): p for p in self.cluster.json("get", "promises")}

    def metric(self, name):
        return sum(m["value"] for m in self.cluster.json("get", "metrics") if m["name"] == name)

    def go_on_and_end_once(self, policy, standby, target, stages):
        self.cluster_of(policy, standby)
        numbers = range(1, 4)
        calls = [self.start(target, n) for n in numbers]
        wait_until(lambda: all(self.runs(n) for n in numbers), "all of them to run")
        self.kill_leader()
        killed = time.monotonic()
        answers = [self.ended(call) for call in calls]
        print(f"{policy}, {target}: answers {time.monotonic() - killed:.2f} s after the kill")
        for n, answer in zip(numbers, answers, strict=True):
            self.assertEqual(answer["outputs"]["y"]["data"], [MILLISECONDS, n])
            self.assertEqual(self.runs(n), stages, f"call {n} ran each stage once")
        self.assertGreaterEqual(self.metric("squall_calls_adopted_total"), len(calls))
        return answers

    def test_a_standby_goes_on_with_placed_calls(self):
        self.go_on_and_end_once("fifo", True, "twice", 2)

    def test_a_standby_goes_on_with_promised_calls(self):
        answers = self.go_on_and_end_once("calendar", True, "tally", 1)
        kept = self.promises()
        for answer in answers:
            promise = kept[str(answer["call"])]
            self.assertTrue(promise["kept"], promise)
            self.assertEqual(promise["promise"]["assurance_ppm"], 1_000_000)

    def test_a_standby_dispatches_what_is_left_of_promised_calls(self):
        answers = self.go_on_and_end_once("calendar", True, "twice", 2)
        kept = self.promises()
        self.assertTrue(all(kept[str(a["call"])]["kept"] for a in answers), kept)

    def test_the_same_controller_started_again_goes_on_with_promised_calls(self):
        answers = self.go_on_and_end_once("calendar", False, "twice", 2)
        kept = self.promises()
        self.assertTrue(all(kept[str(a["call"])]["kept"] for a in answers), kept)

    def test_a_promise_that_the_change_takes_too_long_for_is_broken_with_its_reason(self):
        self.cluster_of("calendar", True, longest=300, lease=4.0)  # nobody leads for 2.6 s at least
        call = self.start("tally", 7, milliseconds=800, deadline="2s")
        wait_until(lambda: self.runs(7), "it to run")
        self.kill_leader()
        _, err = call.communicate(timeout=60)
        self.assertIn(call.returncode, (0, 1), err.decode())

        def settled():
            ended = [p for p in self.promises().values() if not p["kept"]]
            return ended and ended[-1]

        broken = wait_until(settled, "the promise to be settled", 40)
        self.assertEqual(broken["why"], "controller lost")
        self.assertEqual(self.runs(7), 1)

    def test_a_call_that_nobody_asks_for_is_cancelled(self):
        self.cluster_of("fifo", False)
        call = self.start("tally", 8, milliseconds=40_000, deadline=None)
        wait_until(lambda: self.runs(8), "it to run")
        self.kill_leader()
        call.kill()
        call.communicate()
        wait_until(lambda: self.metric("squall_calls_adopted_total") == 1, "it to be taken over")
        wait_until(lambda: not any(n["running"] for n in self.cluster.json("get", "nodes")), "it to be cancelled", 30)


class StoreLease(unittest.TestCase):
    """A store that hangs keeps its connection: its silence is what tells."""

    def test_a_store_that_hangs_is_said_to_be_lost_until_it_answers_again(self):
        with Cluster(nodes=1) as cluster:
            store = cluster.process("store of")

            def lost():
                return cluster.json("get", "status")["store_lost"]

            def metric():
                return [m["value"] for m in cluster.json("get", "metrics") if m["name"] == "squall_store_up"]

            self.assertFalse(lost())
            self.assertEqual(metric(), [1])
            os.kill(store, signal.SIGSTOP)
            try:
                wait_until(lost, "the lease of the store to end")
                self.assertEqual(metric(), [0])
                self.assertEqual(len(cluster.json("get", "nodes")), 1)
                self.assertIn("the store is lost", cluster.stderr)
                self.assertIn(
                    "its lease is over", cluster.run("doctor", "--cluster", cluster.name, cluster=False, status=1)
                )
            finally:
                os.kill(store, signal.SIGCONT)
            wait_until(lambda: not lost(), "the store to answer again")


if __name__ == "__main__":
    unittest.main()
