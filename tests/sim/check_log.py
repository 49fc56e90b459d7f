#!/usr/bin/env python3
"""Judges a run of `squall sim run` from its workload and its log alone (docs/simulation.md); knows nothing of Squall.

usage: check_log.py WORKLOAD.json LOG.jsonl [--no-cost-slo] [--summary SUMMARY.json] [--broken-at-most SHARE]

Prints what it counted as one JSON object. Exit status 1: something in the log cannot have happened, the summary says
otherwise, or more promises were broken than that share of the admitted.
"""

import argparse
import heapq
import json
import math
import sys


def batch_ms(variant, size, stretch):
    return math.ceil(variant["exec"] * (1 + variant["beta"] * (size - 1)) * stretch - 1e-9)


class Request:
    def __init__(self, row, dag, cost_slos):
        self.id, self.arrival, _, latency, cost, not_run = row[:6]
        extras = row[6] if len(row) > 6 else {}
        self.dag = dag
        self.deadline = self.arrival + latency
        self.max_cost = cost if cost_slos else None
        self.not_run = set(not_run)
        self.stretch = extras.get("stretch", {})
        self.width = extras.get("width", {})
        self.state = "expected"  # then admitted, refused, finished, dropped
        self.offers = []
        self.redeemed = False
        self.left = {name: None for name in dag}  # tasks that have not ended; None: not ready yet
        self.ran = {}  # (stage, element): "ready", "running", "ended"
        self.cost = 0
        self.ended = None  # when its last stage ended

    def tasks_of(self, stage):
        if stage in self.not_run:
            return 0
        return self.width.get(stage, 1) if self.dag[stage].get("map") else 1


class Checker:
    def __init__(self, workload, cost_slos=True):
        self.functions = workload["functions"]
        self.nodes = {n["id"]: n for n in workload["nodes"]}
        self.used = {n: 0 for n in self.nodes}
        self.busy = {n: 0 for n in self.nodes}
        self.alive = {n: True for n in self.nodes}
        dags = {name: {s["name"]: s for s in d["stages"]} for name, d in workload["dags"].items()}
        self.requests = {r[0]: Request(r, dags[r[2]], cost_slos) for r in workload["requests"]}
        self.changes = sorted(workload.get("events", []), key=lambda e: e[0])
        self.horizon = workload["horizon"]
        self.replicas = {}
        self.past_replicas = set()
        self.ends = []  # (time, count, replica, tasks)
        self.count = 0
        self.now = 0
        self.owed_skips = {}  # (request, stage): when
        self.owed_finishes = {}  # request: when
        self.findings = []
        self.totals = {"loads": 0, "gpu_batches": 0, "gpu_tasks": 0, "redeemed": 0}

    def wrong(self, what):
        self.findings.append(f"at {self.now} ms: {what}")

    # -- time

    def advance(self, t):
        """Lets everything happen that the log does not say: runs end, nodes leave and come back."""
        if not isinstance(t, int) or t < self.now:
            self.wrong(f"the time {t} is not a whole number that follows")
            return
        while True:
            end = self.ends[0][0] if self.ends else math.inf
            change = self.changes[0][0] if self.changes else math.inf
            if min(end, change) > t:
                break
            if min(end, change) > self.now:
                self.check_owed(min(end, change))
            self.now = max(self.now, min(end, change))
            if end <= change:
                self.end_run(*heapq.heappop(self.ends)[2:])
            else:
                self.change(*self.changes.pop(0)[1:])
        if t > self.now:
            self.check_owed(t)
        self.now = t

    def check_owed(self, before):
        for (r, stage), t in list(self.owed_skips.items()):
            if t < before:
                self.wrong(f"stage {stage} of request {r} was to be skipped at {t}")
                del self.owed_skips[r, stage]
        for r, t in list(self.owed_finishes.items()):
            if t < before:
                self.wrong(f"request {r} was to finish at {t}")
                del self.owed_finishes[r]

    def change(self, what, node):
        if what == "join":
            self.alive[node] = True
            return
        self.alive[node] = False
        self.used[node] = self.busy[node] = 0
        for name in [i for i, r in self.replicas.items() if r["node"] == node]:
            replica = self.replicas.pop(name)
            for r, stage, element in replica["running"] or []:
                self.requests[r].ran[stage, element] = "ready"
            replica["gone"] = True

    def end_run(self, replica, tasks):
        if replica.get("gone"):
            return
        self.busy[replica["node"]] -= 1
        replica["running"] = None
        for r, stage, element in tasks:
            request = self.requests[r]
            request.ran[stage, element] = "ended"
            request.cost += replica["variant"]["cost"]
            request.left[stage] -= 1
            if request.left[stage] == 0:
                self.settled(request)

    # -- requests

    def begin(self, request):
        request.state = "admitted"
        self.settled(request)

    def settled(self, request):
        """A stage ended or was skipped: which are ready now?"""
        if request.state != "admitted":
            return
        for name, stage in request.dag.items():
            if request.left[name] is None and all(request.left[p] == 0 for p in stage["after"]):
                width = request.tasks_of(name)
                if width == 0:
                    self.owed_skips[request.id, name] = self.now
                    request.left[name] = "skip"
                else:
                    request.left[name] = width
                    for element in range(width):
                        request.ran[name, element] = "ready"
        if all(left == 0 for left in request.left.values()):
            request.ended = self.now
            self.owed_finishes[request.id] = self.now

    def known(self, line):
        request = self.requests.get(line.get("request"))
        if request is None:
            self.wrong(f"there is no request {line.get('request')}")
        return request

    def on_admit(self, line):
        request = self.known(line)
        if request is None:
            return
        if request.state != "expected" or request.arrival != self.now:
            self.wrong(f"request {request.id} is admitted twice, or not at its arrival")
        self.begin(request)

    def on_refuse(self, line):
        request = self.known(line)
        if request is None:
            return
        if request.state != "expected" or request.arrival != self.now:
            self.wrong(f"request {request.id} is refused twice, or not at its arrival")
        request.state = "refused"
        request.offers = [(o["finish"], o["cost"]) for o in line["offers"]]

    def on_redeem(self, line):
        request = self.known(line)
        if request is None:
            return
        if request.state != "refused" or (line["finish"], line["cost"]) not in request.offers:
            self.wrong(f"request {request.id} redeems what it was not offered")
        request.deadline, request.max_cost = line["finish"], line["cost"]
        request.redeemed = True
        self.totals["redeemed"] += 1
        self.begin(request)

    def on_skip(self, line):
        request = self.known(line)
        if request is None:
            return
        if self.owed_skips.pop((request.id, line["stage"]), None) != self.now:
            self.wrong(f"stage {line['stage']} of request {request.id} is skipped, and that is not the moment")
            return
        request.left[line["stage"]] = 0
        self.settled(request)

    def on_finish(self, line):
        request = self.known(line)
        if request is None:
            return
        if self.owed_finishes.pop(request.id, None) != self.now or request.state != "admitted":
            self.wrong(f"request {request.id} finishes, and that is not the moment")
        if abs(line["cost"] - request.cost) > 1e-6:
            self.wrong(f"request {request.id} cost {request.cost}, not {line['cost']}")
        request.state = "finished"

    def on_drop(self, line):
        request = self.known(line)
        if request is None:
            return
        if request.state != "admitted" or request.ended is not None:
            self.wrong(f"request {request.id} is dropped and was not on its way")
        request.state = "dropped"
        self.owed_skips = {k: t for k, t in self.owed_skips.items() if k[0] != request.id}

    # -- replicas

    def on_load(self, line):
        node = self.nodes.get(line["node"])
        if node is None or not self.alive[line["node"]]:
            return self.wrong(f"node {line['node']} is not there")
        variant = self.functions.get(line["function"], {}).get(node["resource"])
        if variant is None:
            return self.wrong(f"{line['function']} does not run on {line['node']}")
        if line["replica"] in self.past_replicas:
            self.wrong(f"replica {line['replica']} is loaded twice")
        self.past_replicas.add(line["replica"])
        self.totals["loads"] += 1
        self.used[node["id"]] += variant["memory_mb"]
        if self.used[node["id"]] > node["memory_mb"] + 1e-9:
            self.wrong(f"{self.used[node['id']]} MB are used of {node['id']}, which has {node['memory_mb']}")
        self.replicas[line["replica"]] = {
            "node": node["id"],
            "function": line["function"],
            "variant": variant,
            "ready": self.now + variant["load"],
            "running": None,
        }

    def on_evict(self, line):
        replica = self.replicas.get(line["replica"])
        if replica is None:
            return self.wrong(f"replica {line['replica']} is evicted and is not there")
        if replica["running"]:
            self.wrong(f"replica {line['replica']} is evicted while it runs")
        del self.replicas[line["replica"]]
        self.used[replica["node"]] -= replica["variant"]["memory_mb"]

    def on_run(self, line):
        replica = self.replicas.get(line["replica"])
        if replica is None:
            return self.wrong(f"replica {line['replica']} runs and is not there")
        node, variant = self.nodes[replica["node"]], replica["variant"]
        name = f"the run on replica {line['replica']}"
        if replica["running"]:
            self.wrong(f"{name} begins before another one ended")
        if replica["ready"] > self.now:
            self.wrong(f"{name} begins before it is loaded, at {replica['ready']}")
        if not 1 <= len(line["tasks"]) <= variant["batch_max"]:
            self.wrong(f"{name} is a batch of {len(line['tasks'])}")
        self.busy[node["id"]] += 1
        if self.busy[node["id"]] > node["lanes"]:
            self.wrong(f"{name} is the {self.busy[node['id']]}th on {node['id']}, which has {node['lanes']} lanes")
        tasks, stretch = [], 0.0
        for task in line["tasks"]:
            tasks.append((task[0], task[1], task[2] if len(task) > 2 else 0))
            stretch = max(stretch, self.check_task(replica, *tasks[-1]))
        until = self.now + batch_ms(variant, len(tasks), stretch)
        if line["until"] != until:
            self.wrong(f"{name} ends at {until}, not at {line['until']}")
        replica["running"] = tasks
        if node["resource"] == "gpu":
            self.totals["gpu_batches"] += 1
            self.totals["gpu_tasks"] += len(tasks)
        self.count += 1
        heapq.heappush(self.ends, (until, self.count, replica, tasks))

    def check_task(self, replica, r, stage, element):
        request = self.requests.get(r)
        what = f"stage {stage} of request {r}"
        if request is None or stage not in request.dag:
            self.wrong(f"there is no {what}")
            return 1.0
        if request.state != "admitted":
            self.wrong(f"{what} runs, and the request is {request.state}")
        if request.ran.get((stage, element)) != "ready":
            self.wrong(f"{what} runs, task {element}, and is {request.ran.get((stage, element), 'not ready')}")
        request.ran[stage, element] = "running"
        if request.dag[stage]["function"] != replica["function"]:
            self.wrong(f"{what} runs as {replica['function']}")
        return request.stretch.get(stage, 1.0)

    # -- the end

    def read(self, lines):
        for number, text in enumerate(lines, 1):
            try:
                line = json.loads(text)
                handler = getattr(self, "on_" + line["do"])
                self.advance(line["t"])
                handler(line)
            except (ValueError, KeyError, AttributeError, TypeError) as e:
                self.wrong(f"line {number} cannot be read: {e!r}")
        while self.ends or self.changes:
            times = [self.ends[0][0]] if self.ends else []
            self.advance(min([*times, *(c[0] for c in self.changes[:1])]))
        self.check_owed(math.inf)
        for request in self.requests.values():
            if request.state in ("expected", "admitted"):
                self.wrong(f"request {request.id} is {request.state} when the log ends")
        return self.report()

    def report(self):
        requests = self.requests.values()
        finished = [r for r in requests if r.state == "finished"]
        in_time = [r for r in finished if r.ended is not None and r.ended <= r.deadline]
        in_budget = [r for r in finished if r.max_cost is None or r.cost <= r.max_cost + 1e-9]
        both = [r for r in in_time if r in set(in_budget)]
        admitted = [r for r in requests if r.state in ("finished", "dropped", "admitted")]
        kept = set(both)
        return {
            "offered": len(self.requests),
            "admitted": len(admitted),
            "refused": len(self.requests) - len(admitted),
            "finished": len(finished),
            "met_latency": len(in_time),
            "met_cost": len(in_budget),
            "met_both": len(both),
            "broken": len(admitted) - len(both),
            "goodput_per_s": round(len(both) * 1000 / self.horizon, 3),
            "redeemed": self.totals["redeemed"],
            "redeemed_broken": sum(1 for r in admitted if r.redeemed and r not in kept),
            "loads": self.totals["loads"],
            "mean_batch_gpu": round(self.totals["gpu_tasks"] / max(1, self.totals["gpu_batches"]), 3),
        }


def check(workload, lines, cost_slos=True, summary=None):
    """The counts, and what is wrong with the log or the summary."""
    checker = Checker(workload, cost_slos)
    report = checker.read(lines)
    for name, value in report.items():
        if summary is not None and abs(summary[name] - value) > 2e-3:
            checker.findings.append(f"the summary says {name} = {summary[name]}, the log says {value}")
    return report, checker.findings


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workload")
    parser.add_argument("log")
    parser.add_argument("--no-cost-slo", action="store_true")
    parser.add_argument("--summary")
    parser.add_argument("--broken-at-most", type=float, metavar="SHARE")
    args = parser.parse_args()
    with open(args.workload, encoding="utf-8") as f:
        workload = json.load(f)
    summary = None
    if args.summary:
        with open(args.summary, encoding="utf-8") as f:
            summary = json.load(f)
    with open(args.log, encoding="utf-8") as f:
        report, findings = check(workload, f, not args.no_cost_slo, summary)
    if args.broken_at_most is not None and report["broken"] > args.broken_at_most * report["admitted"]:
        findings.append(f"{report['broken']} of {report['admitted']} promises were broken")
    print(json.dumps(report))
    for finding in findings[:20]:
        print(finding, file=sys.stderr)
    if len(findings) > 20:
        print(f"and {len(findings) - 20} more", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
