"""The Python client when the controller dies and another one takes over."""

import os
import pathlib
import signal
import sys
import unittest

import numpy as np
import squall

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "cluster"))

from harness import Cluster, wait_until

work = squall.builtin("sleep", name="work", parameters={"milliseconds": 1500})
echo = squall.builtin("noop", name="echo", inputs={"x": np.uint8}, outputs={"x": np.uint8})


class Failover(unittest.TestCase):
    def test_calls_in_flight_end_and_later_ones_are_served(self):
        with Cluster(nodes=2, slots=2, extra_spec="  standby: [{}]\n  lease: 2s\n") as servers:
            endpoints = servers.info["endpoint"]
            self.assertIn(",", endpoints)
            with squall.connect(endpoints) as cluster:
                for function in (work, echo):
                    cluster.register(function)
                cluster.run("work", {})  # it is resident
                futures = [cluster.call("work", {}, deadline=30) for _ in range(3)]
                wait_until(lambda: any(n["running"] for n in servers.json("get", "nodes")), "work to run")
                for line in self.logs(servers):
                    if " leads" in line and "another" not in line:
                        leader = line.split(":", 1)[0]
                os.kill(servers.process(f"data/{leader}"), signal.SIGKILL)
                for future in futures:
                    self.assertEqual(len(future.result(timeout=60).trace), 1)
                np.testing.assert_array_equal(cluster.run("echo", {"x": np.arange(3, dtype=np.uint8)})["x"], [0, 1, 2])
            metrics = servers.json("get", "metrics")
            adopted = next(m["value"] for m in metrics if m["name"] == "squall_calls_adopted_total")
            self.assertGreaterEqual(adopted, 1, "they went on, and were not begun again")

    def logs(self, servers):
        for process in ("controller", "standby-1"):
            for line in (servers.folder / "data" / "logs" / f"{process}.log").read_text().splitlines():
                yield f"{process}:{line}"


if __name__ == "__main__":
    unittest.main()
