#!/usr/bin/env python3
"""Real models under more load than they can bear, with and without promises.

A cluster of its own (two nodes of one slot) serves the cascade `read-line-bf16` on one picture of a line. Its capacity
is measured with calls that follow each other, then open-loop load of 60 %, 100 % and 200 % of it is put on it: under
`calendar`, which promises the deadline or refuses, and under `fifo`, which takes all.

    overload.py --squall build/bin/squall --line line.png [--seconds 10] [--deadline-ms 250]
                [--plot overload.svg] [--json]
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

EXAMPLES = pathlib.Path(__file__).resolve().parents[1]


class Cluster:
    def __init__(self, squall):
        self.squall = squall
        self.folder = tempfile.TemporaryDirectory(prefix="squall-overload-")
        root = pathlib.Path(self.folder.name)
        self.name = root.name
        (root / "run").mkdir()
        self.env = dict(os.environ, XDG_RUNTIME_DIR=str(root / "run"), NO_COLOR="1")
        self.file = root / "cluster.yaml"
        self.file.write_text(
            f"apiVersion: squall/v1\nkind: Cluster\nmetadata: {{name: {self.name}}}\nspec:\n  data: {root}/data\n"
            "  nodes:\n  - {name: n1, slots: 1}\n  - {name: n2, slots: 1}\n"
        )

    def __enter__(self):
        subprocess.run([self.squall, "up", "-d", "-f", self.file], env=self.env, check=True, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        subprocess.run([self.squall, "down", "--name", self.name], env=self.env, capture_output=True)
        self.folder.cleanup()

    def run(self, *words, check=True):
        done = subprocess.run(
            [self.squall, *map(str, words), "--cluster", self.name], env=self.env, capture_output=True, text=True
        )
        if check and done.returncode != 0:
            sys.exit(f"overload.py: squall {words[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def bench(self, line, *words):
        out = self.run("bench", "read-line-bf16", "--input", f"file=@{line}", *words, "-o", "json", check=False)
        return json.loads(out) if out.strip().startswith("{") else {}

    def ledger(self):
        return json.loads(self.run("promises", "-o", "json"))


def latencies_in_time(report):
    """Calls that ended well; of open-loop load without promises the client's deadline has cut off the late ones."""
    return report.get("completed", 0)


def measure(cluster, line, policy, rate, seconds, deadline_ms):
    cluster.run("policy", "set", policy)
    before = cluster.ledger()
    report = cluster.bench(
        line,
        "--arrivals",
        "poisson",
        "--rate",
        f"{rate:.1f}",
        "--duration",
        f"{seconds}s",
        "--deadline",
        f"{deadline_ms}ms",
    )
    after = cluster.ledger()
    kept, broken = after["kept"] - before["kept"], after["broken"] - before["broken"]
    offered = report.get("sent", 0)
    in_time = kept if policy == "calendar" else latencies_in_time(report)
    return {
        "policy": policy,
        "offered_per_s": round(offered / seconds, 1),
        "admitted": kept + broken if policy == "calendar" else offered,
        "late": broken if policy == "calendar" else offered - in_time,
        "goodput_per_s": round(in_time / seconds, 1),
    }


def plot(rows, capacity, path):
    width, height, left, bottom = 560, 320, 60, 270
    most = max(max(r["offered_per_s"], r["goodput_per_s"]) for r in rows) * 1.05

    def x(rate):
        return left + rate / most * (width - left - 120)

    def y(rate):
        return bottom - rate / most * (bottom - 30)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="60" y="18" font-size="14">Calls that ended within their deadline, by load offered</text>',
        f'<path d="M{left} 30 V{bottom} H{width - 110}" fill="none" stroke="black"/>',
        f'<text x="{left}" y="{bottom + 34}">offered, calls/s</text>',
        f'<line x1="{x(capacity):.1f}" y1="30" x2="{x(capacity):.1f}" y2="{bottom}" stroke="#999"'
        ' stroke-dasharray="4 3"/>',
        f'<text x="{x(capacity) + 4:.1f}" y="42" fill="#666">capacity</text>',
    ]
    for step in range(0, 5):
        rate = most * step / 4
        parts.append(f'<text x="{left - 8}" y="{y(rate) + 4:.1f}" text-anchor="end">{rate:.0f}</text>')
        parts.append(f'<text x="{x(rate):.1f}" y="{bottom + 16}" text-anchor="middle">{rate:.0f}</text>')
    for policy, colour in (("calendar", "#2266aa"), ("fifo", "#cc5522")):
        points = [(x(r["offered_per_s"]), y(r["goodput_per_s"])) for r in rows if r["policy"] == policy]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{colour}"/>' for a, b in points]
        parts.append(f'<text x="{points[-1][0] + 8:.1f}" y="{points[-1][1] + 4:.1f}" fill="{colour}">{policy}</text>')
    pathlib.Path(path).write_text("\n".join(parts) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--squall", default="build/bin/squall")
    parser.add_argument("--line", required=True, help="picture of a line of text")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--deadline-ms", type=int, default=250)
    parser.add_argument("--plot")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with Cluster(options.squall) as cluster:
        cluster.run("apply", "-f", EXAMPLES / "read-line.yaml")
        cluster.bench(options.line, "--arrivals", "closed", "--concurrency", "2", "--duration", "5s")
        cluster.run("policy", "set", "calendar")
        cluster.bench(options.line, "--arrivals", "closed", "--concurrency", "2", "--duration", "5s")  # profiles
        report = cluster.bench(options.line, "--arrivals", "closed", "--concurrency", "8", "--duration", "6s")
        capacity = latencies_in_time(report) / 6
        rows = [
            measure(cluster, options.line, policy, capacity * load, options.seconds, options.deadline_ms)
            for policy in ("calendar", "fifo")
            for load in (0.6, 1.0, 2.0)
        ]
    if options.plot:
        plot(rows, capacity, options.plot)
    if options.json:
        for row in rows:
            print(json.dumps(row))
        return
    print(f"capacity: {capacity:.1f} calls/s, deadline {options.deadline_ms} ms")
    print(f"{'policy':<10}{'offered/s':>10}{'admitted':>10}{'late':>7}{'goodput/s':>11}")
    for r in rows:
        print(f"{r['policy']:<10}{r['offered_per_s']:>10}{r['admitted']:>10}{r['late']:>7}{r['goodput_per_s']:>11}")


if __name__ == "__main__":
    main()
