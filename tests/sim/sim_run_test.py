#!/usr/bin/env python3
"""Runs `squall sim run` on small and generated workloads under every policy, and lets check_log.py judge the logs.

usage: sim_run_test.py PATH_TO_SQUALL
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

import check_log

SQUALL = "squall"


def node(name, resource, lanes, memory):
    return {"id": name, "resource": resource, "lanes": lanes, "memory_mb": memory}


def variant(exec_ms, load, memory, cost, batch, beta):
    return {"exec": exec_ms, "load": load, "memory_mb": memory, "cost": cost, "batch_max": batch, "beta": beta}


def one_function_workload(requests, **more):
    """One CPU node with one lane, one GPU node, a DAG of one stage and one of three whose second may not run."""
    return {
        "version": 1,
        "nodes": [node("c", "cpu", 1, 1000), node("g", "gpu", 1, 500)],
        "functions": {
            "f": {"cpu": variant(10, 5, 100, 10, 2, 1.0), "gpu": variant(2, 8, 200, 30, 8, 0.25)},
            "h": {"cpu": variant(4, 3, 50, 4, 4, 0.5)},
        },
        "dags": {
            "one": {"stages": [{"name": "s", "function": "f", "after": []}]},
            "three": {
                "stages": [
                    {"name": "a", "function": "h", "after": []},
                    {"name": "b", "function": "f", "after": ["a"], "chance": 0.5},
                    {"name": "c", "function": "h", "after": ["b"]},
                ]
            },
        },
        "requests": requests,
        "horizon": 1000,
        **more,
    }


def generated_workload(seed):
    """Random nodes, functions, DAGs with maps and conditional stages, stretched runs, a node that comes and goes."""
    rng = random.Random(seed)
    nodes = [node(f"c{i}", "cpu", rng.randint(1, 4), rng.choice([600, 1000, 3000])) for i in range(rng.randint(1, 4))]
    nodes += [node(f"g{i}", "gpu", 1, rng.choice([500, 900])) for i in range(rng.randint(0, 2))]
    functions = {}
    for i in range(rng.randint(2, 6)):
        base, memory = rng.randint(1, 40), rng.choice([50, 100, 250])
        functions[f"f{i}"] = {"cpu": variant(base, rng.randint(0, 30), memory, base, rng.randint(1, 4), 0.85)}
        if rng.random() < 0.7:
            functions[f"f{i}"]["gpu"] = variant(max(1, base // 8), rng.randint(0, 40), memory, 3.5 * base, 16, 0.12)
    dags = {}
    for d in range(rng.randint(1, 3)):
        stages = []
        for i in range(rng.randint(1, 6)):
            stage = {"name": f"s{i}", "function": rng.choice(sorted(functions))}
            stage["after"] = sorted({f"s{rng.randrange(i)}" for _ in range(rng.randint(0, 3))}) if i else []
            if rng.random() < 0.25:
                stage["chance"] = 0.5
            if rng.random() < 0.25:
                stage.update(map=True, width_max=6)
            stages.append(stage)
        rng.shuffle(stages)
        dags[f"d{d}"] = {"stages": stages}
    requests, t = [], 0
    for i in range(rng.randint(20, 200)):
        t += rng.choice([0, 0, 1, 3, 20])
        dag = rng.choice(sorted(dags))
        stages = dags[dag]["stages"]
        row = [1000 - i, t, dag, rng.randint(1, 400), rng.choice([None, rng.randint(1, 300)])]
        row.append([s["name"] for s in stages if "chance" in s and rng.random() < 0.5])
        extras = {"priority": rng.randint(0, 2), "prefer": rng.choice(["cheapest", "fastest", "least-loaded"])}
        extras["stretch"] = {s["name"]: rng.choice([0.5, 1.3, 3]) for s in stages if rng.random() < 0.2}
        extras["width"] = {s["name"]: rng.randint(0, 6) for s in stages if s.get("map")}
        if rng.random() < 0.5:
            extras["redeem"] = [rng.choice(["earliest", "cheapest"]), rng.randint(0, 300)]
        row.append(extras)
        requests.append(row)
    events = []
    if rng.random() < 0.5:
        lost = rng.choice(nodes)["id"]
        events = [[rng.randint(0, 200), "lose", lost], [rng.randint(200, 400), "join", lost]]
    return {
        "version": 1,
        "nodes": nodes,
        "functions": functions,
        "dags": dags,
        "requests": requests,
        "horizon": t + 1,
        "events": events,
    }


def run(workload, *flags, text=None):
    """Exit status, standard error, summary and lines of the log."""
    with tempfile.TemporaryDirectory() as folder:
        path, log = os.path.join(folder, "w.json"), os.path.join(folder, "log.jsonl")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text if text is not None else json.dumps(workload))
        done = subprocess.run(
            [SQUALL, "sim", "run", path, "--log", log, "-o", "json", *flags],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        lines = []
        if os.path.exists(log):
            with open(log, encoding="utf-8") as f:
                lines = f.read().splitlines()
        return done.returncode, done.stderr, json.loads(done.stdout or "null"), lines


def policies():
    """Names as the help lists them."""
    out = subprocess.run([SQUALL, "sim", "run", "--help"], capture_output=True, text=True, check=True).stdout
    listed = " ".join(out.split()).split("name:option=value,...: ")[1]
    names = []
    for word in listed.split(" "):
        names.append(word.rstrip(","))
        if not word.endswith(","):
            break
    return names


class SimRunTest(unittest.TestCase):
    def judge(self, workload, *flags):
        status, err, summary, lines = run(workload, *flags)
        self.assertEqual(status, 0, err)
        report, findings = check_log.check(workload, lines, "--no-cost-slo" not in flags, summary)
        self.assertEqual(findings[:3], [], flags)
        return report, [json.loads(line) for line in lines]

    def test_a_single_call_is_loaded_run_and_finished_to_the_millisecond(self):
        _, log = self.judge(one_function_workload([[7, 3, "one", 100, 40, []]]), "--policy", "fifo")
        self.assertEqual([(x["t"], x["do"]) for x in log], [(3, "admit"), (3, "load"), (11, "run"), (13, "finish")])
        self.assertEqual(log[1], {"t": 3, "do": "load", "replica": 1, "node": "g", "function": "f"})
        self.assertEqual(log[2], {"t": 11, "do": "run", "replica": 1, "tasks": [[7, "s"]], "until": 13})
        self.assertEqual(log[3], {"t": 13, "do": "finish", "request": 7, "cost": 30})

    def test_a_stage_that_does_not_run_is_skipped_in_the_moment_it_is_ready_and_costs_nothing(self):
        _, log = self.judge(one_function_workload([[1, 0, "three", 100, None, ["b"]]]), "--policy", "fifo")
        end = next(x["until"] for x in log if x["do"] == "run")
        self.assertIn({"t": end, "do": "skip", "request": 1, "stage": "b"}, log)
        self.assertEqual(log[-1], {"t": end + 4, "do": "finish", "request": 1, "cost": 8})

    def test_a_stretched_stage_takes_longer_than_its_profile(self):
        workload = one_function_workload([[1, 0, "one", 100, None, [], {"stretch": {"s": 2.6}}]])
        _, log = self.judge(workload, "--policy", "fifo")
        self.assertEqual([x["until"] - x["t"] for x in log if x["do"] == "run"], [6])  # ceil(2 * 2.6)

    def test_every_policy_keeps_to_the_physics_on_generated_workloads(self):
        for policy in policies():
            for seed in range(12):
                with self.subTest(policy=policy, seed=seed):
                    self.judge(generated_workload(seed), "--policy", policy, "--seed", str(seed))

    def test_cost_slos_can_be_left_out(self):
        workload = one_function_workload([[1, 0, "one", 100, 1, []]])
        self.assertEqual(self.judge(workload)[0]["met_both"], 0)
        self.assertEqual(self.judge(workload, "--no-cost-slo")[0]["met_both"], 1)

    def test_the_same_seed_gives_the_same_log(self):
        for policy in policies():
            first, second = (run(generated_workload(5), "--policy", policy, "--seed", "9")[3] for _ in range(2))
            self.assertEqual(first, second, policy)

    def test_skewed_clocks_change_nothing_as_messages_carry_durations(self):
        for policy in policies():
            plain = run(generated_workload(6), "--policy", policy)[3]
            self.assertEqual(run(generated_workload(6), "--policy", policy, "--skew", "5000")[3], plain, policy)

    def test_a_delayed_network_is_still_physics(self):
        for policy in policies():
            for seed in range(140, 146):
                workload = generated_workload(seed)
                status, err, _, lines = run(workload, "--policy", policy, "--delay", "4", "--skew", "7")
                self.assertEqual(status, 0, err)
                findings = check_log.check(workload, lines)[1]
                # An abandoned request may still have an order on its way.
                self.assertEqual([f for f in findings if "the request is dropped" not in f][:3], [], (policy, seed))


class WorkloadTest(unittest.TestCase):
    """The generator's files, and the picture of a run."""

    def workload(self, *flags):
        done = subprocess.run([SQUALL, "sim", "workload", *flags], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def test_every_policy_keeps_to_the_physics_on_the_known_kinds(self):
        kinds = [(a, d) for a in ("steady", "bursty", "heavy") for d in ("ensemble", "cascade")]
        for i, policy in enumerate(policies()):
            arrivals, dags = kinds[i % len(kinds)]
            with self.subTest(policy=policy, arrivals=arrivals, dags=dags):
                workload = self.workload(arrivals, "--kind", dags, "--seed", "3")
                workload["requests"] = workload["requests"][:2500]
                status, err, summary, lines = run(workload, "--policy", policy)
                self.assertEqual(status, 0, err)
                self.assertEqual(check_log.check(workload, lines, True, summary)[1][:3], [])

    def test_the_same_seed_gives_the_same_file(self):
        self.assertEqual(self.workload("bursty", "--seed", "5"), self.workload("bursty", "--seed", "5"))
        self.assertNotEqual(self.workload("bursty", "--seed", "5"), self.workload("bursty", "--seed", "6"))

    def test_the_picture_has_every_batch_and_load_of_its_span(self):
        workload = self.workload("steady", "--kind", "cascade")
        workload["requests"] = workload["requests"][:300]
        with tempfile.TemporaryDirectory() as folder:
            picture = os.path.join(folder, "p.svg")
            _, _, _, lines = run(workload, "--policy", "fifo", "--plot", picture, "--plot-to", "400")
            titles = [
                t.text or "" for t in xml.etree.ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}title")
            ]
        log = [json.loads(line) for line in lines]
        drawn = [x for x in log if x["do"] == "run" and x["t"] < 400]
        self.assertEqual(sum("batch of" in t for t in titles), len(drawn))
        self.assertEqual(sum("load of" in t for t in titles), sum(x["do"] == "load" and x["t"] < 400 for x in log))
        self.assertGreater(sum(t.endswith("late") for t in titles), 0)


class CheckerTest(unittest.TestCase):
    """The checker notices what cannot have happened."""

    def setUp(self):
        requests = [[i, 2 * i, "three" if i % 2 else "one", 90, 200, ["b"] if i % 4 == 1 else []] for i in range(12)]
        self.workload = one_function_workload(requests)
        self.log = [json.loads(line) for line in run(self.workload, "--policy", "fifo")[3]]
        self.assertEqual(self.findings(self.log), [])

    def findings(self, log):
        return check_log.check(self.workload, [json.dumps(x) for x in log])[1]

    def damaged(self, do, change, which=0):
        log = json.loads(json.dumps(self.log))
        change([x for x in log if x["do"] == do][which])
        return self.findings(log)

    def test_a_run_that_is_too_short(self):
        self.assertIn("ends at", self.damaged("run", lambda x: x.update(until=x["until"] - 1))[0])

    def test_a_run_before_its_load_ended(self):
        log = [dict(x) for x in self.log]
        run_at = next(i for i, x in enumerate(log) if x["do"] == "run")
        load_at = next(i for i, x in enumerate(log) if x["do"] == "load" and x["replica"] == log[run_at]["replica"])
        early = log.pop(run_at)
        length = early["until"] - early["t"]
        early.update(t=log[load_at]["t"], until=log[load_at]["t"] + length)
        log.insert(load_at + 1, early)
        self.assertTrue(any("before it is loaded" in f for f in self.findings(log)))

    def test_a_task_that_runs_twice(self):
        self.assertTrue(any("is ended" in f or "is running" in f for f in self.findings(self.repeated("run"))))

    def repeated(self, do):
        """The log with its last line of a kind once more, when nothing else happens."""
        log = [dict(x) for x in self.log]
        again = dict(next(x for x in reversed(log) if x["do"] == do))
        if do == "run":
            again.update(t=log[-1]["t"] + 100, until=again["until"] - again["t"] + log[-1]["t"] + 100)
        else:
            again["t"] = log[-1]["t"] + 100
        return [*log, again]

    def test_a_request_that_finishes_twice(self):
        self.assertTrue(self.findings(self.repeated("finish")))

    def test_a_wrong_cost(self):
        self.assertIn("cost", self.damaged("finish", lambda x: x.update(cost=x["cost"] + 1))[0])

    def test_a_finish_that_is_late(self):
        self.assertTrue(self.damaged("finish", lambda x: x.update(t=x["t"] + 1), -1))

    def test_a_skip_of_a_stage_that_runs(self):
        self.assertTrue(self.damaged("skip", lambda x: x.update(request=3)))

    def test_memory_that_is_overbooked(self):
        log = [dict(x) for x in self.log]
        at = next(i for i, x in enumerate(log) if x["do"] == "load")
        more = [{"t": log[at]["t"], "do": "load", "replica": 900 + i, "node": "g", "function": "f"} for i in range(3)]
        self.assertTrue(any("MB are used" in f for f in self.findings(log[: at + 1] + more + log[at + 1 :])))

    def test_a_second_batch_on_one_lane(self):
        log = [dict(x) for x in self.log]
        at = next(i for i, x in enumerate(log) if x["do"] == "run")
        self.assertTrue(any("begins before another one ended" in f for f in self.findings([*log[: at + 1], *log[at:]])))

    def test_a_line_that_is_lost(self):
        for do in ("admit", "load", "run", "skip", "finish"):
            log = [dict(x) for x in self.log]
            log.remove(next(x for x in log if x["do"] == do))
            self.assertTrue(self.findings(log), do)

    def test_time_that_goes_back(self):
        self.assertTrue(self.damaged("finish", lambda x: x.update(t=0), -1))

    def test_a_summary_that_says_otherwise(self):
        _, _, summary, lines = run(self.workload, "--policy", "fifo")
        summary["met_both"] += 1
        self.assertTrue(check_log.check(self.workload, lines, True, summary)[1])


class BadFilesTest(unittest.TestCase):
    """What is wrong with a file is said with its place, and the exit status is 1."""

    def error_of(self, change=None, text=None):
        workload = one_function_workload([[1, 0, "one", 100, 40, []]])
        if change:
            change(workload)
        status, err, _, _ = run(workload, text=text)
        self.assertEqual(status, 1, err)
        self.assertIn("w.json", err)
        return err

    def test_text_that_is_no_json_is_named_by_line(self):
        self.assertIn("line 2", self.error_of(text='{"version": 1,\n "nodes": oops}'))

    def test_mistakes_are_named_by_field(self):
        def put(*path):
            def change(workload):
                at = workload
                for key in path[:-2]:
                    at = at[key]
                at[path[-2]] = path[-1]

            return change

        cases = [
            (put("version", 2), "version"),
            (put("horizon", 0), "horizon"),
            (put("horizn", 5), "horizn"),
            (put("nodes", 0, "lanes", 0), "nodes[0].lanes"),
            (put("nodes", 0, "lanes", 1.5), "nodes[0].lanes"),
            (put("nodes", 1, "id", "c"), "nodes[1].id"),
            (put("nodes", 0, "resource", "tpu"), "nodes[0].resource"),
            (put("nodes", 0, "memory_mb", -1), "nodes[0].memory_mb"),
            (put("nodes", []), "nodes"),
            (put("functions", "f", "cpu", "exec", 0), "functions.f.cpu.exec"),
            (put("functions", "f", "cpu", "exec", 1e300), "functions.f.cpu.exec"),
            (put("functions", "f", "cpu", "beta", "1"), "functions.f.cpu.beta"),
            (put("functions", "f", "fpga", {}), "functions.f.fpga"),
            (put("dags", "one", "stages", 0, "function", "g"), "dags.one.stages[0].function"),
            (put("dags", "three", "stages", 0, "after", ["c"]), "dags.three.stages"),
            (put("dags", "three", "stages", 0, "after", ["nope"]), "dags.three.stages[0].after[0]"),
            (put("dags", "three", "stages", 1, "name", "a"), "dags.three.stages[1]"),
            (put("dags", "three", "stages", 1, "chance", 1.5), "dags.three.stages[1].chance"),
            (put("requests", 0, 1, -5), "requests[0][1]"),
            (put("requests", 0, 2, "on"), "requests[0][2]"),
            (put("requests", 0, 3, 0), "requests[0][3]"),
            (put("requests", 0, 3, None), "requests[0][3]"),
            (put("requests", 0, 4, -1), "requests[0][4]"),
            (put("requests", 0, 5, ["zz"]), "requests[0][5][0]"),
            (put("requests", 0, [1, 2, 3]), "requests[0]"),
            (put("requests", [[1, 0, "one", 9, 9, []], [1, 0, "one", 9, 9, []]]), "requests[1][0]"),
            (put("requests", [[1, 0, "one", 9, 9, [], {"stretch": {"q": 2}}]]), "requests[0][6].stretch.q"),
            (put("requests", [[1, 0, "one", 9, 9, [], {"stretch": {"s": -2}}]]), "requests[0][6].stretch.s"),
            (put("requests", [[1, 0, "one", 9, 9, [], {"width": {"s": 2}}]]), "requests[0][6].width.s"),
            (put("requests", [[1, 0, "one", 9, 9, [], {"redeem": ["soon", 2]}]]), "requests[0][6].redeem[0]"),
            (put("events", [[5, "explode", "c"]]), "events[0][1]"),
            (put("events", [[5, "lose", "x"]]), "events[0][2]"),
        ]
        for change, place in cases:
            with self.subTest(place=place):
                self.assertIn(f" {place} ", self.error_of(change))

    def test_numbers_that_are_none_are_refused(self):
        workload = json.dumps(one_function_workload([[1, 0, "one", 100, 40, []]]))
        for number in ("NaN", "Infinity", "1e999"):
            self.error_of(text=workload.replace("100, 40", f"{number}, 40"))

    def test_an_unknown_policy_is_refused_with_the_list(self):
        status, err, _, _ = run(one_function_workload([]), "--policy", "fiffo")
        self.assertEqual(status, 1)
        self.assertIn("fifo", err)

    def test_an_unknown_option_of_a_policy_is_refused(self):
        status, err, _, _ = run(one_function_workload([]), "--policy", "fifo:size=3")
        self.assertEqual(status, 1)
        self.assertIn("size", err)


if __name__ == "__main__":
    SQUALL = os.path.abspath(sys.argv.pop(1))
    unittest.main()
