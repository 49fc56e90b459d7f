#!/usr/bin/env python3
"""Squall and Ray Serve in turns on this host: the same Python function, and the same chain of two.

    compare.py --ray PYTHON [--python PYTHON] [--rounds N] [--calls N] [--outstanding N]

`--ray` is the interpreter of an environment with `ray[serve]==2.60.0`, `--python` one with Squall's client (that of
`./dev build` by default). Prints the settings, the median of the rounds for each, and the ratios.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def rows_of(python, program, arguments):
    environment = dict(os.environ)
    environment["PYTHONPATH"] = str(ROOT / "client/python")
    command = [
        python,
        str(HERE / program),
        "--calls",
        str(arguments.calls),
        "--outstanding",
        str(arguments.outstanding),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or len(rows) != 2:
        sys.exit(f"{program} failed:\n{done.stderr[-2000:]}")
    return rows


def medians(rounds, what):
    rows = [row for rows in rounds for row in rows if row["what"] == what]
    return {key: statistics.median(row[key] for row in rows) for key in ("p50_us", "p99_us", "per_s")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ray", required=True, metavar="PYTHON")
    parser.add_argument("--python", default=str(ROOT / "build/venv/bin/python"), metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--outstanding", type=int, default=200)
    arguments = parser.parse_args()
    print(
        f"{platform.system()} {platform.release()}, {os.cpu_count()} cores; {arguments.rounds} rounds in turns, "
        f"{arguments.calls} calls one at a time, then with {arguments.outstanding} outstanding; one process a function"
    )
    sides = {"Squall": [], "Ray Serve": []}
    for _ in range(arguments.rounds):
        sides["Squall"].append(rows_of(arguments.python, "squall_calls.py", arguments))
        sides["Ray Serve"].append(rows_of(arguments.ray, "ray_serve.py", arguments))
    for what in ("increment", "chain"):
        ours, theirs = medians(sides["Squall"], what), medians(sides["Ray Serve"], what)
        for name, figures in (("Squall", ours), ("Ray Serve", theirs)):
            system = sides[name][0][0]["system"]
            print(
                f"{what:10} {system:18} p50 {figures['p50_us']:8.0f} us   p99 {figures['p99_us']:8.0f} us   "
                f"{figures['per_s']:8.0f} calls/s"
            )
        print(
            f"{what:10} {'ratio':18} p50 {theirs['p50_us'] / ours['p50_us']:8.1f} x    p99 "
            f"{theirs['p99_us'] / ours['p99_us']:8.1f} x    {ours['per_s'] / theirs['per_s']:8.1f} x"
        )


if __name__ == "__main__":
    main()
