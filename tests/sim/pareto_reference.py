#!/usr/bin/env python3
"""Fronts of DAGs by listing every plan, to compare `squall sim pareto` with.

pareto_reference.py check PROGRAM COUNT SEED [EPSILON]
"""

import itertools
import json
import random
import subprocess
import sys
from fractions import Fraction


def exact(number):
    return Fraction(str(number))


def front_of(problem):
    deps, opts = problem["deps"], problem["opts"]
    best = {}
    for plan in itertools.product(*opts):
        ends = []
        for stage, (latency, _) in enumerate(plan):
            ends.append(max((ends[d] for d in deps[stage]), default=0) + exact(latency))
        cost = sum(exact(c) for _, c in plan)
        latency = max(ends, default=Fraction(0))
        best[latency] = min(best.get(latency, cost), cost)
    front = []
    for latency in sorted(best):
        if not front or best[latency] < front[-1][1]:
            front.append((latency, best[latency]))
    return front


def random_problem(rng):
    count = rng.randint(0, 9)
    most = rng.choice([3, 20, 1000])
    decimals = rng.choice([0, 0, 1, 3])
    density = rng.random()

    def number():
        n = rng.randint(0, most)
        return n if decimals == 0 else round(n / 10**decimals, decimals)

    return {
        "deps": [[d for d in range(s) if rng.random() < density] for s in range(count)],
        "opts": [[[number(), number()] for _ in range(rng.randint(1, 3))] for _ in range(count)],
    }


def check(program, count, seed, epsilon):
    rng = random.Random(seed)
    problems = [random_problem(rng) for _ in range(count)]
    text = "".join(json.dumps(p) + "\n" for p in problems)
    command = [program, "sim", "pareto"] + (["--epsilon", str(epsilon)] if epsilon else [])
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{program} failed: {done.stderr}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for number, (problem, answer) in enumerate(zip(problems, answers, strict=True), 1):
        expected = front_of(problem)
        got = [(exact(latency), exact(cost)) for latency, cost in answer["front"]]
        if epsilon:
            loose = 1 + exact(epsilon)
            good = all(any(a <= loose * latency and c <= cost for a, c in got) for latency, cost in expected)
        else:
            good = got == expected
        if not good:
            sys.exit(f"line {number}: {json.dumps(problem)}\nexpected {expected}\n  answer {got}")
    print(f"{count} problems, the fronts of all plans")


def main():
    match sys.argv[1:]:
        case ["check", program, count, seed]:
            check(program, int(count), int(seed), 0)
        case ["check", program, count, seed, epsilon]:
            check(program, int(count), int(seed), float(epsilon))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
