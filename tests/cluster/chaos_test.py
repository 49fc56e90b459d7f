"""A short run of chaos.py."""

import json
import os
import pathlib
import subprocess
import sys
import unittest


class Chaos(unittest.TestCase):
    def test_calls_end_as_they_should_whatever_breaks(self):
        self.break_things("20")

    def test_with_a_controller_that_stands_by_and_keys(self):
        self.break_things("12", "--standby", "--keys")

    def break_things(self, seconds, *flags):
        seed = os.environ.get("SQUALL_CHAOS_SEED", "1")
        chaos = str(pathlib.Path(__file__).with_name("chaos.py"))
        done = subprocess.run(
            [sys.executable, chaos, "--seed", seed, "--seconds", seconds, *flags],
            capture_output=True,
            text=True,
            timeout=280,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        report = json.loads(done.stdout.splitlines()[-1])
        self.assertGreater(report["ended"]["ok"], 0)
        self.assertGreater(sum(report["faults"].values()), 0)


if __name__ == "__main__":
    unittest.main()
