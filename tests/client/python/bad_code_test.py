"""Python functions that misbehave in ways that functions_test.py leaves out. Nobody else's call is affected, and
nothing is left of them."""

import contextlib
import os
import pathlib
import signal
import tempfile
import time
import unittest

import numpy as np
import squall
from squall.errors import Code

GENEROUS = 60


def descendants(root):
    """All processes below `root`, as {pid: (command line, name)}."""
    parents, found = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    for pid in parents:
        above = pid
        while above in parents and above != root:
            above = parents[above]
        if above == root and pid != root:
            with contextlib.suppress(OSError):
                command = pathlib.Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
                found[pid] = (command, pathlib.Path(f"/proc/{pid}/comm").read_text().strip())
    return found


def wait_until(condition, what):
    end = time.monotonic() + GENEROUS
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited for {what}")
        time.sleep(0.05)


class BadCode(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(squall.local())

        @squall.function
        def good(x: int) -> int:
            return x

        cls.good = good
        cls.cluster.run(good, {"x": 1})

    def others_are_served(self):
        self.assertEqual(self.cluster.call(self.good, {"x": 5}).result(GENEROUS).value.tolist(), [5])

    def failing(self, function, inputs, **options):
        with self.assertRaises(squall.SquallError) as caught:
            self.cluster.call(function, inputs, **options).result(GENEROUS)
        return caught.exception

    def test_wrong_datatypes_shapes_and_counts_are_named(self):
        answers = {
            "datatype": np.zeros(2, np.float64),
            "shape": np.zeros((1, 2), np.float32),
            "extent": np.zeros(3, np.float32),
            "count": (np.zeros(2, np.float32), np.zeros(2, np.float32)),
            "nothing": None,
        }
        for what, answer in answers.items():
            with self.subTest(what):

                @squall.function(name=f"wrong-{what}", inputs={"x": int}, outputs={"y": (np.float32, [2])})
                def wrong(x, answer=answer):
                    return answer

                error = self.failing(wrong, {"x": 1})
                self.assertEqual(error.code, Code.FAILED, error)
                self.assertIn("'y'", error.message)
        self.others_are_served()

    def test_garbage_on_its_channel(self):
        @squall.function
        def garbage(x: int) -> int:
            os.write(3, b"\xff" * 4096)
            time.sleep(GENEROUS)
            return x

        error = self.failing(garbage, {"x": 1})
        self.assertEqual(error.code, Code.FAILED, error)
        self.others_are_served()

    def test_a_closed_channel(self):
        @squall.function
        def closing(x: int) -> int:
            os.close(3)
            time.sleep(GENEROUS)
            return x

        self.assertEqual(self.failing(closing, {"x": 1}).code, Code.FAILED)
        self.others_are_served()

    def test_a_gigabyte_of_prints_holds_nobody_up(self):
        @squall.function
        def prints(x: int) -> int:
            line = "x" * (1 << 20)
            for _ in range(1024):
                print(line)
            return x

        # Its log is read slowly on purpose, so it does not get far.
        call = self.cluster.call(prints, {"x": 3}, deadline=5)
        for _ in range(5):
            self.others_are_served()
        with self.assertRaises(squall.SquallError) as caught:
            call.result(GENEROUS)
        self.assertEqual(caught.exception.code, Code.DEADLINE_EXCEEDED)
        wait_until(lambda: not self.instances("prints", "busy"), "the end of what prints")
        self.others_are_served()

    def test_what_ignores_every_signal_is_killed(self):
        @squall.function
        def deaf(x: int) -> int:
            for number in range(1, signal.NSIG):
                with contextlib.suppress(OSError, ValueError):
                    signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
            while True:
                with contextlib.suppress(BaseException):
                    time.sleep(GENEROUS)

        error = self.failing(deaf, {"x": 1}, deadline=1)
        self.assertEqual(error.code, Code.DEADLINE_EXCEEDED, error)
        wait_until(lambda: not self.instances("deaf", "busy"), "the end of what is deaf")
        self.others_are_served()

    def instances(self, function, state):
        return [i for i in self.cluster.query("instances") if i["function"] == function and i["state"] == state]

    def test_children_that_stay_go_with_their_worker(self):
        marker = f"strays-{os.getpid()}"

        @squall.function
        def forks(ends: bool) -> int:
            if ends:
                os._exit(3)
            for _ in range(3):
                if os.fork() == 0:
                    os.setsid()
                    pathlib.Path("/proc/self/comm").write_text(marker)
                    time.sleep(600)
            return 3

        def strays():
            return [pid for pid, (_, name) in descendants(os.getpid()).items() if name == marker[:15]]

        self.cluster.run(forks, {"ends": False})
        wait_until(lambda: len(strays()) == 3, "three children")
        self.assertEqual(self.failing(forks, {"ends": True}).code, Code.FAILED)
        wait_until(lambda: not strays(), "the end of the children")
        self.others_are_served()

    def test_a_long_import_holds_nobody_up(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "slow_to_import.py").write_text(
                "import time\ntime.sleep(15)\ndef answer(x):\n    return x + 1\n"
            )
            slow = squall.function(
                entry="slow_to_import:answer", path=folder, name="slow-import", inputs={"x": int}, outputs={"y": int}
            )
            call = self.cluster.call(slow, {"x": 1})
            self.others_are_served()
            self.assertFalse(call.done())
            self.assertEqual(call.result(2 * GENEROUS).value.tolist(), [2])

    def test_nothing_leaks(self):
        @squall.function
        def crashes(really: bool) -> int:
            if really:
                os.abort()
            return 1

        def server():
            below = descendants(os.getpid())
            return next(p for p, (command, _) in below.items() if command.split()[0].endswith("/squall"))

        def descriptors():
            return len(os.listdir(f"/proc/{server()}/fd"))

        def shared():
            return len(os.listdir("/dev/shm"))

        def crash():
            self.assertEqual(self.failing(crashes, {"really": True}).code, Code.FAILED)
            self.cluster.call(crashes, {"really": False}).result(GENEROUS)

        crash()
        wait_until(lambda: self.instances("crashes", "idle"), "an idle instance")
        time.sleep(0.5)  # the worker to spare
        processes, open_before, shared_before = len(descendants(os.getpid())), descriptors(), shared()
        for _ in range(5):
            crash()
        wait_until(lambda: len(descendants(os.getpid())) <= processes, "the end of the processes that crashed")
        wait_until(lambda: descriptors() <= open_before, f"{open_before} descriptors")
        wait_until(lambda: shared() <= shared_before, "shared memory to be given back")

    def test_the_end_of_the_model_host_is_not_that_of_user_code(self):
        @squall.function
        def slow(x: int) -> int:
            time.sleep(4)
            return x

        call = self.cluster.call(slow, {"x": 7})
        wait_until(lambda: self.instances("slow", "busy"), "the function")
        hosts = [pid for pid, (command, _) in descendants(os.getpid()).items() if "squall-model-host" in command]
        self.assertTrue(hosts)
        for pid in hosts:
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(call.result(GENEROUS).value.tolist(), [7])
        again = self.cluster.call(slow, {"x": 8})  # the lane is there again
        self.assertEqual(again.result(GENEROUS).value.tolist(), [8])


if __name__ == "__main__":
    unittest.main()
