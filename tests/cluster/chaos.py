"""Breaks a cluster on purpose, at random, under load, and checks every call (chaos_load.cpp says how).

    python chaos.py --seed 7 --seconds 600 --standby --keys

Calls come from the C++ client and over HTTP, from the gateways of all controllers. The same seed breaks the same things
in the same order. Runs in namespaces of its own (mounts and network), so that a full disk, used-up shared memory and
lost packets concern nobody else; without the rights for that, it does without those faults and says so.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import faults
import harness
from basics_test import SLEEP
from harness import wait_until

SPREAD = """
---
apiVersion: squall/v1
kind: Dag
metadata: {name: spread}
spec:
  inputs: {x: {datatype: UINT8, shape: [-1]}}
  stages:
  - {name: a, function: echo, inputs: {x: $x}}
  - {name: b, function: echo, inputs: {x: $x}}
  - {name: c, function: echo, inputs: {x: a.x}}
  - {name: d, function: echo, inputs: {x: b.x}}
  outputs: {x: c.x, y: d.x}
"""
# The load expects every target to give its input back.
BLINK = SLEEP.replace(
    'metadata: {name: blink}\nspec: {variants: [{kind: builtin, builtin: sleep, parameters: {milliseconds: "1"}}]}',
    "metadata: {name: blink}\nspec: {variants: [{kind: builtin, builtin: noop}]}",
)


def sh(*words):
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, check=True).stdout


class HttpCalls(threading.Thread):
    """Calls over HTTP, from one gateway after the other, and what came of them."""

    deadline, bound = 4.0, 5.0  # seconds: of a call; and after it, with a busy machine

    def __init__(self, ports, seed):
        super().__init__(daemon=True)
        self.ports, self.random = ports, random.Random(seed)
        self.over = threading.Event()
        self.ended, self.wrong = {}, []

    def run(self):
        for n in range(1 << 30):
            if self.over.wait(0.02):
                return
            self.call(self.ports[n % len(self.ports)], [self.random.randrange(256) for _ in range(8)])

    def call(self, port, data):
        tensor = {"name": "x", "datatype": "UINT8", "shape": [len(data)], "data": data}
        body = {"inputs": [tensor], "parameters": {"timeout": int(self.deadline * 1e6)}}
        target = self.random.choice(["echo", "chain3", "spread"])
        url = f"http://127.0.0.1:{port}/v2/models/{target}/infer"
        began = time.monotonic()
        try:
            with urllib.request.urlopen(url, json.dumps(body).encode(), timeout=self.deadline + self.bound) as got:
                said = "ok"
                answer = {o["name"]: o["data"] for o in json.load(got)["outputs"]}
                if answer.get("x") != data:
                    self.wrong.append(f"over HTTP {target} gave {answer} for {data}")
        except urllib.error.HTTPError as refused:
            said = f"status {refused.code}"
            if refused.code not in (429, 500, 503, 504) or not refused.read():
                self.wrong.append(f"over HTTP {target} ended with {refused.code}")
        except TimeoutError:
            said = "no answer"
        except (OSError, ValueError):  # the gateway died, or is not there yet
            said = "connection lost"
        if time.monotonic() - began > self.deadline + self.bound + 1:
            self.wrong.append(f"over HTTP {target} took {time.monotonic() - began:.1f} s")
        self.ended[said] = self.ended.get(said, 0) + 1

    def stop(self):
        self.over.set()
        self.join(30)


class Chaos:
    def __init__(self, seed, nodes, isolated, quiet=False, standby=False, keys=False):
        self.random = random.Random(seed)
        self.seed, self.isolated, self.quiet = seed, isolated, quiet
        spec, self.http_ports = "", []
        if standby:
            self.http_ports.append(harness.free_port())
            spec = f"  standby: [{{http: '127.0.0.1:{self.http_ports[0]}'}}]\n  lease: 2s\n"
        self.tcp_alone = seed % 2 == 0  # packets can be dropped there
        if self.tcp_alone:
            spec += "  unix-sockets: false\n"
        self.cluster = harness.Cluster(nodes=nodes, http=True, extra_spec=spec, keys=keys)
        self.http_ports.append(self.cluster.http_port)
        self.nodes = [f"n{i + 1}" for i in range(nodes)]
        self.done = {}
        self.clock = None
        if faults.no_clocks():
            print(f"without clocks that are set: {faults.no_clocks()}")
        else:
            self.clock = self.cluster.folder / "clock"
            faults.set_clock(self.clock, 0)
        self.started = time.monotonic()

    def say(self, text):
        if not self.quiet:
            print(f"[{time.monotonic() - self.started:6.1f}] {text}", flush=True)

    # -- the cluster

    def pids(self):
        """{name: pid} of every process that runs now."""
        found = {}
        for pid, command in harness.children_of(self.cluster.pid).items():
            if "controller of" in command:
                found["controller of standby" if "data/standby" in command else "controller"] = pid
            elif "store of" in command:
                found["store"] = pid
            elif match := re.search(r"node (\w+) of", command):
                found[match[1]] = pid
                for child, below in harness.children_of(pid).items():
                    if "model-host" in below:
                        found[f"host of {match[1]}"] = child
        return found

    def complete(self):
        try:
            status = self.cluster.json("get", "status", "--timeout", "2s")
            return status["ready"] and status["nodes"] == len(self.nodes) and "store" in self.pids()
        except (harness.Failed, subprocess.TimeoutExpired):
            return False

    def port_of(self, name):
        pid = self.pids().get(name)
        if not pid:
            return None
        match = re.search(r" at tcp://127\.0\.0\.1:(\d+)", harness.children_of(self.cluster.pid).get(pid, ""))
        if match:
            return int(match[1])
        # A process that was never started again was told to take any port: ask the kernel.
        listing = sh("ss", "-Hltnp")
        for line in listing.splitlines():
            if f"pid={pid}," in line:
                return int(line.split()[3].rpartition(":")[2])
        return None

    # -- faults

    def pick(self, kinds):
        names = sorted(n for n in self.pids() if any(n.startswith(k) for k in kinds))
        return self.random.choice(names) if names else None

    def signal(self, name, number):
        pid = self.pids().get(name) if name else None
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pid

    def kill(self):
        name = self.pick(["controller", "store", "n", "host"])
        self.signal(name, signal.SIGKILL)
        return f"killed {name}"

    def stop(self):
        name = self.pick(["controller", "store", "n", "host"])
        pid = self.signal(name, signal.SIGSTOP)
        pause = self.random.choice([0.2, 1, 4.5, 6])
        time.sleep(pause)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        return f"stopped {name} for {pause} s"

    def ask_to_go(self):
        name = self.pick(["controller", "store", "n"])
        self.signal(name, signal.SIGTERM)
        return f"asked {name} to go"

    def use_up_descriptors(self):
        name = self.pick(["controller", "store", "n", "host"])
        pid = self.pids().get(name)
        with contextlib.suppress(FileNotFoundError, subprocess.CalledProcessError, TypeError):
            used = len(os.listdir(f"/proc/{pid}/fd"))
            before = sh("prlimit", "--pid", pid, "--nofile", "--noheadings", "--output", "SOFT").strip()
            sh("prlimit", "--pid", pid, f"--nofile={used}:")
            time.sleep(1.5)
            sh("prlimit", "--pid", pid, f"--nofile={before}:")
        return f"gave {name} no more descriptors for 1.5 s"

    def fill(self, folder):
        """Uses up a file system for a while."""
        path = pathlib.Path(folder) / "chaos.filling"
        try:
            with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * (1 << 16))
            time.sleep(2)
        finally:
            path.unlink(missing_ok=True)

    def fill_disk(self):
        self.fill(self.cluster.folder / "data")
        return "filled the disk for 2 s"

    def fill_memory(self):
        self.fill("/dev/shm")
        return "filled the shared memory for 2 s"

    def cut_off(self):
        name = self.pick(["controller", "store", "n"])
        port, share, pause = self.port_of(name), self.random.choice([20, 100]), self.random.choice([1, 3, 7])
        if not port:
            return f"could not find the port of {name}"
        chance = "" if share == 100 else f"numgen random mod 100 < {share}"
        try:
            sh("nft", "add table inet chaos")
            sh("nft", "add chain inet chaos in { type filter hook input priority 0 ; }")
            sh("nft", f"add rule inet chaos in tcp dport {port} {chance} drop")
            sh("nft", f"add rule inet chaos in tcp sport {port} {chance} drop")
            time.sleep(pause)
        finally:
            sh("nft", "delete table inet chaos")
        return f"dropped {share} % of the packets from and to {name} for {pause} s"

    def step_clock(self):
        step = self.random.choice([-86_400, -3600, 0, 60, 3600, 86_400])
        faults.set_clock(self.clock, step)
        return f"set the clock {step:+d} s from the true time"

    def faults(self):
        out = [self.kill, self.kill, self.stop, self.ask_to_go, self.use_up_descriptors]
        out += [self.step_clock] if self.clock else []
        if self.isolated:
            out += [self.fill_disk, self.fill_memory]
        return [*out, self.cut_off] if self.isolated and self.tcp_alone else out

    # -- the run

    def run(self, seconds):
        true = self.cluster.env
        self.cluster.env = faults.with_clock(true, self.clock) if self.clock else true
        with self.cluster as cluster:
            cluster.env = true  # of the clients
            cluster.apply(BLINK + SPREAD)
            load = subprocess.Popen(
                [
                    os.environ.get("SQUALL_CHAOS_LOAD", pathlib.Path(harness.BINARY).with_name("chaos_load")),
                    cluster.info["endpoint"],
                    str(self.seed),
                    *([str(cluster.keys)] if cluster.keys else []),
                ],
                env=cluster.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert load.stdout.readline() == b"calling\n"
            http = HttpCalls(self.http_ports, self.seed)
            http.start()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(self.random.uniform(0.2, 2.0))
                fault = self.random.choice(self.faults())
                self.say(fault())
                self.done[fault.__name__] = self.done.get(fault.__name__, 0) + 1
                if self.random.random() < 0.4:  # else the next one comes into the recovery
                    wait_until(self.complete, "the cluster to be whole again", 60)
            wait_until(self.complete, "the cluster to be whole again", 60)
            time.sleep(1)
            http.stop()
            out, _ = load.communicate(timeout=120)
            report = json.loads(out)
            report["faults"] = self.done
            report["http"] = http.ended
            if http.wrong or not http.ended.get("ok"):
                print("WRONG:", *(http.wrong or ["no call over HTTP succeeded"]), sep="\n", file=sys.stderr)
                return 1, report
            if load.returncode == 0:
                self.check_serving(cluster)
            return load.returncode, report

    def check_serving(self, cluster):
        for target in ("echo", "chain3", "spread"):
            data = cluster.json("call", target, "--input", "x=[4,2]", "--deadline", "10s")["outputs"]["x"]["data"]
            assert data == [4, 2], data


def isolate():
    """Goes on in namespaces of this process's own; False without the rights."""
    if os.environ.get("SQUALL_CHAOS_ISOLATED"):
        return True
    if os.geteuid() != 0 or subprocess.run(["unshare", "-mn", "true"], capture_output=True).returncode != 0:
        return False
    os.environ["SQUALL_CHAOS_ISOLATED"] = "1"
    os.execvp("unshare", ["unshare", "-mn", "--", sys.executable, *sys.argv])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--standby", action="store_true", help="a second controller, which takes over")
    parser.add_argument("--keys", action="store_true", help="CURVE on every connection")
    flags = parser.parse_args()
    isolated = isolate()
    if isolated:
        sh("ip", "link", "set", "lo", "up")
        sh("mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", "/dev/shm")
    else:
        print("no rights for namespaces: without full disks, used-up shared memory and lost packets")
    chaos = Chaos(flags.seed, flags.nodes, isolated, standby=flags.standby, keys=flags.keys)
    if isolated:
        data = chaos.cluster.folder / "data"
        data.mkdir()
        sh("mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", data)
    code, report = 1, {}
    try:
        code, report = chaos.run(flags.seconds)
    finally:
        if isolated:
            subprocess.run(["umount", "-l", chaos.cluster.folder / "data"], capture_output=True)
            subprocess.run(["rm", "-rf", chaos.cluster.folder])
    print(json.dumps({"seed": flags.seed, **report}))
    sys.exit(code)


if __name__ == "__main__":
    main()
