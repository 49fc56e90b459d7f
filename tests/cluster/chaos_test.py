"""A short run of chaos.py."""

import json
import os
import pathlib
import subprocess
import sys
import unittest


class Chaos(unittest.TestCase):
    def test_calls_end_as_they_should_whatever_breaks(self):
        seed = os.environ.get("SQUALL_CHAOS_SEED", "1")
        done = subprocess.run(
            [sys.executable, str(pathlib.Path(__file__).with_name("chaos.py")), "--seed", seed, "--seconds", "20"],
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
