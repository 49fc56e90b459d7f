"""Calls whose work is dispatched batch by batch, and what is promised to them."""

import json
import time
import unittest

from harness import MISBEHAVE, Cluster, Failed, spec_of, wait_until

SPEC = """
apiVersion: squall/v1
kind: Function
metadata: {name: work}
spec: {variants: [{kind: builtin, builtin: sleep, parameters: {milliseconds: "10"}}]}
---
apiVersion: squall/v1
kind: Function
metadata: {name: echo}
spec: {variants: [{kind: builtin, builtin: noop}]}
---
apiVersion: squall/v1
kind: Dag
metadata: {name: fork}
spec:
  inputs: {x: {datatype: UINT8, shape: [-1]}}
  stages:
  - {name: first, function: echo, inputs: {x: $x}}
  - {name: left, function: work, inputs: {x: first.x}}
  - {name: right, function: work, inputs: {x: first.x}}
  - {name: rare, function: work, inputs: {x: first.x}, when: {value: first.x, above: 100}}
  - {name: last, function: echo, inputs: {x: left.x}}
  outputs: {x: last.x, y: right.x}
---
apiVersion: squall/v1
kind: Dag
metadata: {name: wide}
spec:
  inputs: {x: {datatype: UINT8, shape: [-1], list: true}}
  stages:
  - {name: each, function: work, map: x, max-width: 16, inputs: {x: $x}}
  outputs: {x: each.x}
"""

ENSEMBLE = """
apiVersion: squall/v1
kind: Function
metadata: {{name: member}}
spec:
  inputs:  {{x: {{datatype: FP32, shape: [-1]}}}}
  outputs: {{y: {{datatype: FP32, shape: [-1]}}}}
  variants: [{{library: {library}, parameters: {{do: doze}}}}]
---
apiVersion: squall/v1
kind: Function
metadata: {{name: vote}}
spec:
  inputs:
    a: {{datatype: FP32, shape: [-1], optional: true}}
    b: {{datatype: FP32, shape: [-1], optional: true}}
    c: {{datatype: FP32, shape: [-1], optional: true}}
    d: {{datatype: FP32, shape: [-1], optional: true}}
  outputs: {{value: {{datatype: FP32, shape: [-1]}}, which: {{datatype: INT32, shape: [1]}}}}
  variants: [{{builtin: first-present}}]
---
apiVersion: squall/v1
kind: Dag
metadata: {{name: ensemble}}
spec:
  inputs: {{x: {{datatype: FP32, shape: [-1]}}, z: {{datatype: FP32, shape: [-1]}}}}
  stages:
  - {{name: left, function: member, inputs: {{x: $z}}}}
  - {{name: middle, function: member, inputs: {{x: $x}}}}
  - {{name: right, function: member, inputs: {{x: $x}}}}
  - {{name: vote, function: vote, inputs: {{a: left.y, b: middle.y, c: right.y}}, join: {{best-effort: 2}}}}
  outputs: {{y: vote.value}}
"""

HELD = ("srtf", "mlfq", "exclusive", "calendar")


class Promises(unittest.TestCase):
    nodes = 2

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(nodes=cls.nodes, slots=2, policy="calendar")
        cls.cluster.__enter__()
        cls.cluster.apply(SPEC)
        for _ in range(5):  # profiles
            cls.cluster.run("call", "fork", "--input", "x=[1]")

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def setUp(self):
        time.sleep(0.3)  # the bookings that offers of the test before held have gone
        if self.cluster.json("policy", "get")["name"] != "calendar":
            self.cluster.run("policy", "set", "calendar")

    def test_a_call_is_promised_and_says_what_it_used(self):
        out = self.cluster.json(
            "call", "fork", "--input", "x=[7]", "--deadline", "900ms", "--max-cost", "500", "--assurance", "firm"
        )
        self.assertEqual(out["outputs"]["x"]["data"], [7])
        self.assertEqual(out["promise"]["finish_ns"], 900_000_000)
        self.assertEqual(out["promise"]["cost_micro"], 500_000_000)
        executed = sum(s["executed_ns"] for s in out["trace"])
        receipt = out["receipt"]
        self.assertEqual(receipt["cpu_ns"] + receipt["device_ns"], executed)
        self.assertGreater(receipt["cpu_ns"], 19_000_000, "two stages of 10 ms")
        self.assertLess(out["elapsed_ns"], 900_000_000)
        skipped = {s["stage"] for s in out["trace"] if s["skipped"]}
        self.assertEqual(skipped, {"rare"})

    def test_a_map_is_dispatched_and_gathered_in_order(self):
        values = [[i] for i in range(8)]
        inputs = [word for v in values for word in ("--input", f"x={v}")]
        out = self.cluster.json("call", "wide", *inputs, "--deadline", "3s")
        self.assertEqual([v["data"] for v in out["outputs"]["x"]], values)
        self.assertEqual(out["trace"][0]["width"], 8)

    def test_what_cannot_be_kept_is_refused_at_once_with_offers(self):
        begin = time.monotonic()
        out = self.cluster.json("call", "fork", "--input", "x=[1]", "--deadline", "3ms", status=1)
        self.assertLess(time.monotonic() - begin, 2)
        self.assertNotEqual(out["state"], "ok")
        self.assertTrue(out["offers"], out)
        self.assertGreater(min(o["finish_ns"] for o in out["offers"]), 9_000_000)
        text = self.cluster.run("explain", out["call"])
        self.assertIn("would have been admitted", text)

    def test_an_offer_is_taken_and_kept(self):
        out = self.cluster.json("call", "fork", "--input", "x=[5]", "--deadline", "3ms", "--accept", "earliest")
        self.assertEqual(out["state"], "ok")
        self.assertEqual(out["outputs"]["x"]["data"], [5])
        self.assertGreater(out["promise"]["finish_ns"], 9_000_000)

    def test_a_budget_below_the_cheapest_plan_is_told_the_least_cost(self):
        out = self.cluster.json("call", "fork", "--input", "x=[1]", "--deadline", "2s", "--max-cost", "0.001", status=1)
        self.assertTrue(any(o["cost_micro"] > 1_000 for o in out["offers"]), out)

    def test_what_change_was_suggested_admits_it(self):
        refused = self.cluster.json("call", "fork", "--input", "x=[1]", "--deadline", "3ms", status=1)
        wanted = max(o["finish_ns"] for o in refused["offers"]) * 2
        out = self.cluster.json("call", "fork", "--input", "x=[1]", "--deadline", f"{wanted}ns")
        self.assertEqual(out["state"], "ok")

    def test_nonsense_is_refused(self):
        for flags in (
            ("--deadline", "0"),
            ("--deadline=-3ms",),
            ("--deadline", "nan"),
            ("--max-cost", "inf"),
            ("--max-cost=-1",),
            ("--assurance", "2"),
            ("--assurance", "0"),
            ("--prefer", "best"),
        ):
            with self.assertRaises(Failed, msg=flags):
                self.cluster.run("call", "fork", "--input", "x=[1]", *flags)

    def test_the_ledger_counts_what_was_kept(self):
        before = self.cluster.json("promises")
        for _ in range(3):
            self.cluster.run("call", "fork", "--input", "x=[1]", "--deadline", "2s")
        after = self.cluster.json("promises")
        self.assertEqual(after["kept"] - before["kept"], 3)
        newest = self.cluster.json("get", "promises")[0]
        self.assertTrue(newest["kept"])
        self.assertEqual(newest["dag"], "fork")

    def test_policies_of_both_kinds_switch_under_load_without_losing_a_call(self):
        load = self.cluster.start("bench", "fork", "--input", "x=[1]", "--rate", "25", "--duration", "6s", "-o", "json")
        for policy in ("srtf", "fifo", "calendar", "mlfq", "balance", "exclusive", "calendar"):
            time.sleep(0.6)
            self.cluster.run("policy", "set", policy)
        out, err = load.communicate(timeout=90)
        self.assertEqual(load.returncode, 0, err)
        report = json.loads(out)
        self.assertEqual(report["errors"], {}, report)

    def test_an_ensemble_is_answered_in_time_without_the_member_that_stalls(self):
        self.cluster.apply(ENSEMBLE.format(library=MISBEHAVE.resolve()))
        for policy in ("calendar", "fifo"):
            self.cluster.run("policy", "set", policy)
            for _ in range(6):  # workers start, profiles settle
                whole = self.cluster.json("call", "ensemble", "-i", "x=[5]", "-i", "z=[5]", "--deadline", "20s")
                self.assertEqual(whole["receipt"]["missing"], 0, whole)
            with self.subTest(policy):
                out = self.cluster.json("call", "ensemble", "-i", "x=[5]", "-i", "z=[15000]", "--deadline", "2500ms")
                self.assertEqual(out["outputs"]["y"]["data"], [5])
                self.assertLessEqual(out["elapsed_ns"], 2_500_000_000)
                self.assertEqual(out["receipt"]["missing"], 1)
                self.assertEqual({s["stage"] for s in out["trace"] if s["late"]}, {"left"})
                self.assertIn("without left", self.cluster.run("explain", out["call"]))

    def test_a_shadow_only_computes_and_is_compared(self):
        self.cluster.run("policy", "set", "srtf", "--shadow")
        out = self.cluster.run(
            "bench", "fork", "-i", "x=[1]", "--rate", "30", "--duration", "3s", "--deadline", "2s", "-o", "json"
        )
        self.assertEqual(json.loads(out)["errors"], {})
        self.assertEqual(self.cluster.json("policy", "get")["name"], "calendar")

        def compared():
            shadow = self.cluster.json("policy", "get")["shadow"]
            return shadow if shadow["calls"] >= 40 and shadow["open"] == 0 else None

        shadow = wait_until(compared, "40 calls that are over under both")
        self.assertEqual(shadow["policy"], "srtf")
        self.assertGreater(shadow["admitted_by_both"], 30)
        self.assertIn("shadow: srtf", self.cluster.run("policy", "get"))
        self.cluster.run("policy", "set", "none", "--shadow")
        self.assertIsNone(self.cluster.json("policy", "get")["shadow"])

    def test_a_share_of_the_calls_is_decided_by_another_policy(self):
        load = self.cluster.start("bench", "fork", "-i", "x=[1]", "--rate", "20", "--duration", "8s", "-o", "json")
        self.cluster.run("policy", "set", "srtf", "--share", "40%")

        def decides():
            share = self.cluster.json("policy", "get")["share"]
            return share if share["decided"] >= 10 else None

        share = wait_until(decides, "ten calls that the second policy decided")
        self.assertEqual(share["nodes"], ["n2"])
        self.assertIn("share: srtf decides 40 %", self.cluster.run("policy", "get"))
        self.cluster.run("policy", "set", "srtf", "--share", "0")
        wait_until(lambda: self.cluster.json("policy", "get")["share"] is None, "the end of the share")
        out, err = load.communicate(timeout=90)
        self.assertEqual(load.returncode, 0, err)
        self.assertEqual(json.loads(out)["errors"], {})

    def test_unknown_policies_are_refused_with_those_that_there_are(self):
        for flags in ([], ["--shadow"], ["--share", "20%"]):
            self.cluster.run("policy", "set", "nonsense", *flags, status=1)
            self.assertIn("calendar", self.cluster.stderr)
        with self.assertRaises(Failed):
            self.cluster.run("policy", "set", "calendar", "--share", "120%")
        self.cluster.run("up", "-d", "--name", "never", "--policy", "nonsense", cluster=False, status=1)
        self.assertIn("known: ", self.cluster.stderr)

    def test_a_refusal_is_explained(self):
        out = self.cluster.json("call", "fork", "-i", "x=[1]", "--deadline", "3ms", status=1)
        decision = self.cluster.json("explain", out["call"])["decision"]
        self.assertEqual(decision["binding"], "the latency SLO")
        admitted = self.cluster.json("call", "fork", "-i", "x=[1]", "--deadline", "2s")
        decision = self.cluster.json("explain", admitted["call"])["decision"]
        self.assertEqual(decision["looked_at"][0]["came_of_it"], "taken")
        self.assertIn("before the latency SLO", decision["margin"])
        self.assertIn("binding: the latency SLO", self.cluster.run("explain", admitted["call"]))

    def test_every_held_policy_runs_the_dag(self):
        for policy in HELD:
            with self.subTest(policy):
                self.cluster.run("policy", "set", policy)
                out = self.cluster.json("call", "fork", "--input", "x=[3]")
                self.assertEqual(out["outputs"]["y"]["data"], [3])

    def test_under_twice_the_load_admitted_calls_are_in_time(self):
        out = self.cluster.run(
            "bench",
            "fork",
            "--input",
            "x=[1]",
            "--rate",
            "300",
            "--duration",
            "4s",
            "--deadline",
            "150ms",
            "-o",
            "json",
        )
        report = json.loads(out)
        ledger = self.cluster.json("promises")
        self.assertGreater(ledger["refused"], 0, report)
        self.assertLessEqual(ledger["broken"], 0.05 * (ledger["kept"] + ledger["broken"]), ledger)

    def test_the_scheduler_replays_to_the_same_commands(self):
        self.cluster.run("call", "fork", "--input", "x=[1]", "--deadline", "2s")
        time.sleep(0.3)
        logs = sorted(self.cluster.folder.glob("data/**/events/*"))
        self.assertTrue(logs)
        for log in logs:
            self.assertIn("same", self.cluster.run("replay", log, cluster=False))


VARYING = """
apiVersion: squall/v1
kind: Function
metadata: {name: quick}
spec:
  variants:
  - {builtin: sleep, parameters: {milliseconds: "3", tail_milliseconds: "12", tail_percent: "15"}}
---
apiVersion: squall/v1
kind: Function
metadata: {name: steady}
spec: {variants: [{builtin: sleep, parameters: {milliseconds: "8"}}]}
---
apiVersion: squall/v1
kind: Dag
metadata: {name: two}
spec:
  inputs: {x: {datatype: UINT8, shape: [-1]}}
  stages:
  - {name: a, function: quick, inputs: {x: $x}}
  - {name: b, function: steady, inputs: {x: a.x}}
  outputs: {x: b.x}
"""


class Drift(unittest.TestCase):
    def test_a_function_that_becomes_ten_times_slower_breaks_only_its_own_promises_and_is_noticed(self):
        with Cluster(nodes=2, slots=2, policy="calendar") as cluster:
            for name in ("steady", "drifting"):
                cluster.apply(spec_of("doze", name))

            def load(name, milliseconds, deadline="3s"):
                return cluster.start(
                    *("bench", name, "-i", f"x=[{milliseconds}]", "--rate", "25", "--duration", "3s"),
                    *("--deadline", deadline, "--assurance", "firm", "-o", "json"),
                )

            def both(milliseconds, **options):
                """What the two loads report when they have ended."""
                loads = [load("steady", 8), load("drifting", milliseconds, **options)]
                steady, drifting = (json.loads(one.communicate(timeout=60)[0]) for one in loads)
                self.assertEqual(steady["errors"], {}, steady)
                return drifting["errors"]

            def drift():
                return {f["name"]: f["drift"] for f in cluster.json("get", "functions")}

            for _ in range(2):
                self.assertEqual(both(8), {})
            self.assertEqual(drift(), {"steady": "", "drifting": ""})

            # None of these ends in time; that they ran for so long is all that can be learned.
            errors = both(80, deadline="60ms")
            self.assertGreater(errors["deadline_exceeded"], 0, errors)
            self.assertGreater(errors["invalid_argument"], errors["deadline_exceeded"], "it must learn, and refuse")
            blamed = cluster.json("promises")["broken_by"]
            self.assertEqual(max(blamed, key=blamed.get), "execution", blamed)

            def noticed(milliseconds, begins):
                both(milliseconds)
                return bool(drift()["drifting"]) == begins

            wait_until(lambda: noticed(80, True), "the drift to be noticed", 40)
            self.assertEqual(drift()["steady"], "")
            broken = [p for p in cluster.json("get", "promises") if not p["kept"]]
            self.assertEqual({p["dag"] for p in broken}, {"drifting"}, broken)
            said = (cluster.folder / "data/logs/controller.log").read_text()
            self.assertRegex(said, "no longer takes what its profile said.* function=drifting")
            wait_until(lambda: noticed(8, False), "the drift to be over", 40)


class WhatIf(unittest.TestCase):
    def test_on_an_unchanged_configuration_the_model_attains_what_the_cluster_did(self):
        with Cluster(nodes=2, slots=2, policy="calendar") as cluster:
            cluster.apply(VARYING)
            load = ("bench", "two", "-i", "x=[1]", "--arrivals", "poisson", "--deadline", "60ms")
            cluster.run(*load[:-2], "--rate", "30", "--duration", "3s")  # profiles
            cluster.run(*load, "--rate", "350", "--duration", "4s")
            log = cluster.folder / "data/controller/events/scheduler"
            self.assertTrue(log.is_dir(), sorted(cluster.folder.glob("data/**/events/*")))

            def report(*changes):
                rows = json.loads(cluster.run("whatif", log, *changes, "-o", "json", cluster=False))
                return next(row for row in rows if row["dag"] == "all")

            def written():
                row = report()
                return row if row["live"]["offered"] > 1000 else None

            row = wait_until(written, "the end of the run in the log")
            live, model = row["live"], row["as_recorded"]
            self.assertEqual(live["offered"], model["offered"])
            self.assertLess(live["met"], 0.95 * live["offered"], "there was too little load for a comparison")
            self.assertLess(abs(live["met"] - model["met"]), 0.02 * live["offered"], row)
            cost = [one["cost_sum_micro"] / one["ended"] for one in (live, model)]
            self.assertLess(abs(cost[0] - cost[1]), 0.03 * cost[0], row)
            more = report("--set", "nodes.cpu+=2")["changed"]
            self.assertGreater(more["met"], live["met"])


if __name__ == "__main__":
    unittest.main()
