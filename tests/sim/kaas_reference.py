#!/usr/bin/env python3
"""The setting of the thesis, chapter 6, written down once more: step by step, as its rules are told.

    kaas_reference.py answer < VECTORS.jsonl      answers, one a line, in the format of `squall sim kaas`
    kaas_reference.py vectors COUNT SEED          random problems
    kaas_reference.py check PROGRAM COUNT SEED    runs `PROGRAM sim kaas` on random problems and compares

Slow and plain on purpose: nothing is skipped, no rule is shared with the program that is tested against it.
"""

import json
import random
import subprocess
import sys
from collections import deque
from fractions import Fraction


class Run:
    def __init__(self, problem):
        self.policy = problem["policy"]
        self.faithful = problem["mode"] == "faithful" and self.policy in ("SRTF", "MLFQS")
        self.gpus = problem["gpus"]
        self.models = problem["models"]
        self.names = list(self.models)
        self.requests = sorted((arrival, seq, model) for seq, arrival, model in problem["requests"])
        self.rebalance = problem.get("rebalance") in (None, True)
        self.warmup = problem.get("warmup", 100)
        self.draws = iter(problem.get("draws", []))
        self.ran = [set() for _ in range(self.gpus)]
        self.free = list(range(self.gpus))
        self.running = []  # (end, dispatch number, gpu)
        self.queue = []  # (arrival, seq, model), in order of arrival
        self.seen = {name: 0 for name in self.names}
        self.owner = {g: self.names[g % len(self.names)] for g in range(self.gpus)} if self.names else {}
        self.drawn = None
        self.log = []
        self.total = self.cold = self.waited = 0

    def run(self):
        """All requests are known from step 0 in the faithful mode; else they come when they come."""
        coming = deque(self.requests)
        if self.faithful:
            self.queue, coming = list(coming), deque()
        step = 0
        while coming or self.queue:
            ended = sorted((number, gpu) for end, number, gpu in self.running if end <= step)
            self.running = [entry for entry in self.running if entry[0] > step]
            self.free += [gpu for _, gpu in ended]
            while coming and coming[0][0] <= step:
                request = coming.popleft()
                self.queue.append(request)
                self.seen[request[2]] += 1
            if self.policy == "Exclusive" and self.rebalance and step >= self.warmup:
                self.move_gpus(step)
            while True:
                found = self.pick(step)
                if found is None:
                    break
                self.dispatch(step, *found)
            stuck = self.queue and not coming and not self.running and step >= self.warmup
            if stuck and self.policy == "Exclusive":
                return {"error": "a model that has no GPU waits for ever"}
            step += 1
        count = len(self.requests)
        return {
            "log": self.log,
            "total": self.total,
            "cold": self.cold,
            "wait": self.waited / count if count else 0,
        }

    def dispatch(self, step, request, gpu):
        arrival, seq, model = request
        cold_time, exec_time = self.models[model]
        cold = model not in self.ran[gpu]
        self.ran[gpu].add(model)
        end = step + exec_time + (cold_time if cold else 0)
        self.queue.remove(request)
        self.free.remove(gpu)
        self.running.append((end, len(self.log), gpu))
        self.log.append([seq, step, gpu, cold])
        self.total = max(self.total, end)
        self.cold += cold
        self.waited += step - arrival

    def pick(self, step):
        if not self.queue:
            return None
        if self.policy == "RR":
            gpu = len(self.log) % self.gpus
            return (self.queue[0], gpu) if gpu in self.free else None
        if not self.free:
            return None
        if self.policy == "Exclusive":
            for name in self.names:
                mine = [request for request in self.queue if request[2] == name]
                own = [gpu for gpu in self.free if self.owner[gpu] == name]
                if mine and own:
                    return mine[0], own[0]
            return None
        head = {"Balance": self.first, "SRTF": self.shortest, "MLFQS": self.sampled}[self.policy]()
        return (head, self.free[0]) if head[0] <= step else None

    def first(self):
        return self.queue[0]

    def shortest(self):
        return min(self.queue, key=lambda request: (self.models[request[2]][1], request[0], request[1]))

    def sampled(self):
        if self.drawn not in self.queue:
            filled = [name for name in self.names if any(request[2] == name for request in self.queue)]
            name = filled[next(self.draws) % len(filled)]
            self.drawn = next(request for request in self.queue if request[2] == name)
        return self.drawn

    def move_gpus(self, step):
        def owned(name):
            return [gpu for gpu in range(self.gpus) if self.owner[gpu] == name]

        def load(name):
            return Fraction(self.seen[name], step + 1) * self.models[name][1]

        def pressure(name):
            if owned(name):
                return load(name) / len(owned(name))
            return Fraction(10**30) if load(name) else Fraction(0)

        while True:
            high = max(self.names, key=pressure)  # the first of equals
            low = min(self.names, key=pressure)
            queued = any(request[2] == high for request in self.queue)
            own = len(owned(low))
            if not queued or not pressure(high) > Fraction(3, 2) * pressure(low):
                return
            if own < (1 if load(low) == 0 else 2):
                return
            after = load(low) / (own - 1) if own > 1 else Fraction(0)
            spare = [gpu for gpu in self.free if self.owner[gpu] == low]
            if not after < pressure(high) or not spare:
                return
            self.owner[spare[0]] = high


def random_problem(rng):
    policy = rng.choice(["RR", "Balance", "SRTF", "MLFQS", "Exclusive"])
    gpus = rng.randint(1, 6)
    models = {f"M{i}": [rng.randint(0, 9), rng.randint(1, 9)] for i in range(rng.randint(1, min(5, gpus + 1)))}
    if policy == "Exclusive":
        models = dict(list(models.items())[:gpus])
    items = list(models.items())
    rng.shuffle(items)
    models = dict(items)
    span = rng.choice([1, 10, 40, 200])
    weights = [rng.random() ** 3 + 0.01 for _ in models]
    count = rng.randint(0, 60)
    arrivals = sorted(rng.randint(0, span) for _ in range(count))
    requests = [[seq, at, rng.choices(list(models), weights)[0]] for seq, at in enumerate(arrivals)]
    return {
        "policy": policy,
        "mode": rng.choice(["wc", "faithful"]) if policy in ("SRTF", "MLFQS") else "wc",
        "gpus": gpus,
        "models": models,
        "rebalance": rng.choice([True, False]) if policy == "Exclusive" else None,
        "warmup": rng.choice([0, 5, 100]),
        "requests": requests,
        "draws": [rng.randint(0, 999) for _ in range(count)],
    }


def check(program, count, seed):
    rng = random.Random(seed)
    problems = [random_problem(rng) for _ in range(count)]
    text = "".join(json.dumps(p) + "\n" for p in problems)
    done = subprocess.run([program, "sim", "kaas"], input=text, capture_output=True, text=True, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != count:
        sys.exit(f"{len(answers)} answers to {count} problems")
    for number, (problem, answer) in enumerate(zip(problems, answers, strict=True), 1):
        expected = Run(problem).run()
        if answer != expected and not ("error" in answer and "error" in expected):
            sys.exit(f"line {number}: {json.dumps(problem)}\nexpected {expected}\n  answer {answer}")
    print(f"{count} problems, the same answers")


def main():
    match sys.argv[1:]:
        case ["answer"]:
            for line in sys.stdin:
                print(json.dumps(Run(json.loads(line)).run()))
        case ["vectors", count, seed]:
            rng = random.Random(int(seed))
            for _ in range(int(count)):
                print(json.dumps(random_problem(rng)))
        case ["check", program, count, seed]:
            check(program, int(count), int(seed))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
