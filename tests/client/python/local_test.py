"""An embedded server leaves nothing behind, however the script ends."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import squall
from squall.errors import Code

SCRIPT = """
import squall
with squall.local() as cluster:
    print(cluster.endpoint, flush=True)
    ACTION
"""


def processes(text):
    """The pids of processes with that text in their command line."""
    found = set()
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if text in (entry / "cmdline").read_text():
                    found.add(int(entry.name))
    return found


class Leaves(unittest.TestCase):
    def script(self, action):
        script = SCRIPT.replace("ACTION", action)
        return subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "TMPDIR": self.folder},
        )

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = temporary.name

    def nothing_is_left(self):
        end = time.monotonic() + 30
        while processes(self.folder) or list(pathlib.Path(self.folder).iterdir()):
            self.assertLess(
                time.monotonic(), end, f"{processes(self.folder)} {list(pathlib.Path(self.folder).iterdir())}"
            )
            time.sleep(0.05)

    def run_to_its_end(self, action, status):
        child = self.script(action)
        _, errors = child.communicate(timeout=60)
        self.assertEqual(child.returncode, status, errors.decode())
        self.nothing_is_left()

    def test_at_the_end_of_the_block(self):
        self.run_to_its_end("pass", 0)

    def test_after_an_exception(self):
        self.run_to_its_end("raise ValueError('no')", 1)

    def test_after_an_exit_without_clean_up(self):
        self.run_to_its_end("import os; os._exit(3)", 3)

    def killed_by(self, how):
        child = self.script("import time; time.sleep(60)")
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stderr.close)
        said = child.stdout.readline()
        self.assertIn(b"tcp://", said, said or child.stderr.read())
        self.assertTrue(processes(self.folder))
        os.killpg(child.pid, how)
        child.wait(30)
        self.nothing_is_left()

    def test_after_ctrl_c(self):
        self.killed_by(signal.SIGINT)

    def test_after_kill_9(self):
        self.killed_by(signal.SIGKILL)

    def test_a_server_that_does_not_start_says_why(self):
        file = self.enterContext(tempfile.NamedTemporaryFile())
        with self.assertRaises(squall.SquallError) as caught, squall.local(data=file.name):
            pass
        self.assertEqual(caught.exception.code, Code.UNAVAILABLE)
        self.assertIn(file.name, caught.exception.message)

    def test_a_policy_that_is_none(self):
        with (
            self.assertRaisesRegex(squall.SquallError, "no policy is called 'best'; known: .*fifo"),
            squall.local(policy="best"),
        ):
            pass


if __name__ == "__main__":
    unittest.main()
