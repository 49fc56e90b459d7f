"""Clients that never read, that read slowly, that go in the middle of a result: nobody else is worse off, what waits
for them is bounded, and they are told or cut off. Their results travel by TCP, as to another host."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

import zmtp
from harness import Cluster, wait_until

# A picture of 3 bytes becomes one of 6 MB.
WIDTH, HEIGHT = 2000, 1000
RESULT_BYTES = WIDTH * HEIGHT * 3
SPEC = f"""
apiVersion: squall/v1
kind: Function
metadata: {{name: enlarge}}
spec:
  variants:
  - {{kind: builtin, builtin: resize, parameters: {{width: "{WIDTH}", height: "{HEIGHT}"}}}}
---
apiVersion: squall/v1
kind: Function
metadata: {{name: blink}}
spec: {{variants: [{{kind: builtin, builtin: sleep, parameters: {{milliseconds: "2"}}}}]}}
"""
PIXEL = bytes([7, 8, 9])
POOL_BYTES = 1 << 30  # docs/limits.md: what may wait for all peers of a process
CALLS = 120  # their results are more than one peer's share


def resident_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


class SlowClients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(nodes=2, http=True)
        cls.enterClassContext(cls.cluster)
        cls.cluster.apply(SPEC)
        cls.cluster.json("call", "blink")
        # Both have what they need in memory.
        for _ in range(4):
            with zmtp.Peer(cls.cluster.info["endpoint"]) as peer:
                peer.say_hello()
                peer.send(zmtp.call("enlarge", "image", PIXEL, [1, 1, 3]))
                assert peer.receive_kind(zmtp.CALL_RESULT)[2][1][0] == zmtp.OK

    def metric(self, name):
        found = [m["value"] for m in self.cluster.json("get", "metrics") if m["name"] == name]
        return sum(found)

    def status(self):
        return self.cluster.json("get", "status")

    def lazy_peer(self, calls=CALLS, client=4711):
        """One that has asked for more than it gets, pings, and does not read."""
        peer = zmtp.Peer(self.cluster.info["endpoint"], receive_buffer=1 << 16)
        self.addCleanup(peer.close)
        peer.say_hello(client)
        stop = threading.Event()
        pinging = peer.keep_pinging(stop)
        self.addCleanup(lambda: (stop.set(), pinging.join()))
        for _ in range(calls):
            peer.send(zmtp.call("enlarge", "image", PIXEL, [1, 1, 3]))
        return peer

    def others(self, seconds=3):
        """A load beside it; its report."""
        flags = ("--arrivals", "poisson", "--rate", "50", "--duration", str(seconds))
        return self.cluster.json("bench", "blink", *flags)

    def others_are_served(self):
        report = self.others()
        self.assertEqual(report["errors"], {}, report)
        self.assertEqual(report["completed"], report["sent"])
        return report

    def settled(self):
        return not self.status()["calls_running"]

    def memory_is_bounded(self, of="controller"):
        pid = self.cluster.process(f"squall: {of} ")
        self.assertLess(resident_bytes(pid), POOL_BYTES + (512 << 20), of)

    def test_one_that_never_reads_is_bounded_and_cut_off(self):
        before = self.others()["latency_us"]
        dropped = self.metric("squall_results_dropped_total")
        peer = self.lazy_peer()
        self.others_are_served()  # beside the work for it
        wait_until(self.settled, "its calls to be over", 60)
        self.assertLessEqual(self.metric("squall_waiting_bytes"), POOL_BYTES)
        self.assertGreater(self.metric("squall_results_dropped_total"), dropped, "what did not fit was dropped")
        self.memory_is_bounded()
        self.memory_is_bounded("node")
        during = self.others_are_served()["latency_us"]  # beside what waits for it
        self.assertLess(during["p50"], 10 * before["p50"] + 50_000, (before, during))
        wait_until(lambda: self.metric("squall_waiting_bytes") == 0, "it to be cut off", 60)
        wait_until(peer.closed, "it to be told", 10)
        self.others_are_served()
        wait_until(lambda: self.held_bytes() == 0, "the memory of its results to be free", 60)

    def held_bytes(self):
        return sum(n["arena_used_bytes"] for n in self.cluster.json("get", "nodes"))

    def test_one_that_reads_slowly_has_its_results_or_is_told(self):
        peer = self.lazy_peer(client=4712)
        peer.pace = 4 << 20
        ends = {}

        def read():
            while len(ends) < CALLS:
                _, request, body, payloads = peer.receive_kind(zmtp.CALL_RESULT)
                assert request not in ends, f"call {request} ended twice"
                ends[request] = (body[1][0], body[1][1], payloads)

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        self.others_are_served()
        wait_until(self.settled, "its calls to be over", 60)
        self.memory_is_bounded()
        peer.pace = None
        reading.join(60)
        self.assertEqual(len(ends), CALLS, "each call ended")
        whole = PIXEL * (WIDTH * HEIGHT)
        for code, text, payloads in ends.values():
            if code == zmtp.OK:
                self.assertEqual([len(p) for p in payloads], [RESULT_BYTES])
                self.assertTrue(payloads[0] == whole, "the result is another")
            else:
                self.assertEqual(code, zmtp.OVERLOADED, text)
                self.assertIn("could not be delivered", text)
        codes = [code for code, _, _ in ends.values()]
        self.assertGreater(codes.count(zmtp.OK), 10)

    def test_one_that_goes_in_the_middle_of_a_result(self):
        for client in (4713, 4714, 4715):
            peer = self.lazy_peer(20, client)
            peer.socket.recv(1 << 20)
            peer.close()
        self.others_are_served()
        wait_until(lambda: self.metric("squall_waiting_bytes") == 0, "what waited for them to be dropped", 30)
        wait_until(lambda: self.settled() and self.held_bytes() == 0, "nothing of them to be left", 60)

    # -- by HTTP

    def http(self, body=None, receive_buffer=None):
        s = socket.socket()
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.settimeout(30)
        s.connect(("127.0.0.1", self.cluster.http_port))
        if body is not None:
            tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 3], "data": list(PIXEL)}
            text = json.dumps({"inputs": [tensor]})
            head = f"POST /v2/models/{body}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n"
            s.sendall((head + text).encode())
        return s

    def test_http_clients_that_do_not_read_or_go(self):
        lazy = [self.http("enlarge", receive_buffer=4096) for _ in range(20)]
        try:
            wait_until(self.settled, "their calls to be over", 60)
            self.others_are_served()
            with contextlib.closing(self.http()) as s:
                s.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertTrue(s.recv(100).startswith(b"HTTP/1.1 200"))
            self.memory_is_bounded()
            for s in lazy[::2]:
                s.recv(1000)
        finally:
            for s in lazy:
                s.close()
        with contextlib.closing(self.http("enlarge")) as s:
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += s.recv(4096)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer[:200])
        wait_until(lambda: self.held_bytes() == 0, "the memory of their results to be free", 60)


PYTHON_CLIENT = f"""
import json, sys, numpy as np, squall
cluster = squall.connect(sys.argv[1])
pixel = np.array([[[7, 8, 9]]], np.uint8)
print("calling", flush=True)
ends = {{}}
for i in range(int(sys.argv[2])):
    futures = [cluster.call("enlarge", {{"image": pixel}}, deadline=20) for _ in range(10)]
    for f in futures:
        try:
            whole = f.result(60)["image"].shape == ({HEIGHT}, {WIDTH}, 3)
            end = "ok" if whole else "wrong"
        except squall.SquallError as error:
            end = error.code.name.lower()
        ends[end] = ends.get(end, 0) + 1
print(json.dumps(ends), flush=True)
"""


@unittest.skipUnless(os.geteuid() == 0, "needs root for a mount namespace, so that values travel by TCP")
class PythonClients(unittest.TestCase):
    """The Python client, with a /dev/shm of its own: as on another host."""

    def client(self, cluster, rounds):
        python = os.environ.get("SQUALL_PYTHON", sys.executable)
        script = cluster.folder / "client.py"
        script.write_text(PYTHON_CLIENT)
        mount = 'mount -t tmpfs -o size=256m tmpfs /dev/shm && exec "$@"'
        started = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", mount, "sh", python, str(script), cluster.info["endpoint"], str(rounds)],
            env=dict(cluster.env, PYTHONPATH=str(pathlib.Path(__file__).resolve().parents[2] / "client/python")),
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(lambda: (started.kill(), started.communicate()))
        self.assertEqual(started.stdout.readline(), "calling\n")
        return started

    def test_one_that_stands_still_and_one_that_is_killed(self):
        with Cluster(nodes=1) as cluster:
            cluster.apply(SPEC)
            still, killed = self.client(cluster, 6), self.client(cluster, 1000)
            time.sleep(1)
            os.kill(still.pid, signal.SIGSTOP)
            killed.kill()
            try:
                flags = ("--arrivals", "poisson", "--rate", "50", "--duration", "2")
                report = cluster.json("bench", "blink", *flags)
                self.assertEqual(report["errors"], {}, report)
            finally:
                os.kill(still.pid, signal.SIGCONT)
            out, _ = still.communicate(timeout=120)
            ends = json.loads(out)
            self.assertEqual(sum(ends.values()), 60, ends)
            self.assertGreater(ends["ok"], 10, ends)
            self.assertEqual(set(ends) - {"ok", "overloaded", "unavailable", "deadline_exceeded"}, set(), ends)

            def held_bytes():
                return sum(n["arena_used_bytes"] for n in cluster.json("get", "nodes"))

            wait_until(lambda: held_bytes() == 0, "the memory of their results to be free", 60)


if __name__ == "__main__":
    unittest.main()
