"""Functions of users on a real cluster: the tutorial, and code that misbehaves beside code that does not."""

import concurrent.futures
import json
import pathlib
import re
import shlex
import subprocess
import unittest

from harness import BINARY, MISBEHAVE, Cluster, children_of, spec_of, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]


def first_number(answer):
    return answer["outputs"]["y"]["data"][0]


class Tutorial(unittest.TestCase):
    """Runs docs/functions.md: writes its files, runs its commands, and compares what they print."""

    def test_every_command_does_what_the_page_says(self):
        with Cluster() as c:
            blocks = re.findall(r"```(\w+)(?: file=(\S+))?\n(.*?)```", (ROOT / "docs/functions.md").read_text(), re.S)
            commands = 0
            for kind, file, text in blocks:
                if file:
                    (c.folder / file).write_text(text)
                if kind == "console":
                    commands += self.run_console(c, text)
            self.assertGreaterEqual(commands, 7)

    def run_console(self, c, text):
        steps = re.findall(r"^\$ squall (.*)\n((?:(?!\$ ).*\n?)*)", text, re.M)
        for command, expected in steps:
            words = shlex.split(command)
            refused = expected.startswith("! ")
            near = [BINARY, *words] if words[0] == "build" else c.command(*words)

            def attempt(near=near, refused=refused, c=c):
                done = subprocess.run(near, cwd=c.folder, env=c.env, capture_output=True, text=True, timeout=120)
                self.assertEqual(done.returncode != 0, refused, done.stdout + done.stderr)
                return done.stdout + done.stderr

            wanted = expected.removeprefix("! ").strip()
            if words[0] == "get":  # what nodes report comes with their next beat
                wait_until(lambda attempt=attempt, wanted=wanted: wanted in attempt(), command)
            else:
                self.assertIn(wanted, attempt())
        return len(steps)


@unittest.skipUnless(MISBEHAVE.exists(), f"{MISBEHAVE} is not built")
class UserCode(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(Cluster(nodes=2, slots=2))
        names = ["echo", "segfault", "hang", "nested", "state", "wrong-type", "print"]
        cls.cluster.apply("---".join(spec_of(name) for name in names))

    def call(self, name, x, *flags, status=0):
        out = self.cluster.run("call", name, "-i", f"x={json.dumps(x)}", "-o", "json", *flags, status=status)
        return json.loads(out) if status == 0 else self.cluster.stderr

    def test_values_come_back(self):
        self.assertEqual(self.call("echo", [1, 2])["outputs"]["y"]["data"], [1, 2])

    def test_a_crash_says_so_and_others_go_on(self):
        said = self.call("segfault", [1], status=1)
        self.assertIn("SIGSEGV", said)
        self.assertIn("about to read address 8", said)
        self.assertEqual(first_number(self.call("echo", [3])), 3)

    def test_wrong_outputs_are_named(self):
        self.assertIn("output 'y'", self.call("wrong-type", [1], status=1))

    def test_what_hangs_ends_with_its_deadline_and_its_process_goes(self):
        self.assertIn("deadline", self.call("hang", [1], "--deadline", "300ms", status=1))

        def idle():
            found = self.cluster.json("get", "instances")
            return not [i for i in found if i["function"] == "hang" and i["state"] == "busy"]

        wait_until(idle, "the end of the function that hangs")

    def test_state_outlives_the_call(self):
        before = first_number(self.call("state", [1]))
        self.assertEqual(first_number(self.call("state", [1])), before + 1)

    def test_calls_from_functions_do_not_deadlock_at_full_load(self):
        # 12 chains of 8 calls on 4 lanes: most of what runs waits for something that has no lane of its own.
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            chains = [pool.submit(self.call, "nested", [8], "--deadline", "120s") for _ in range(12)]
            for chain in chains:
                self.assertEqual(first_number(chain.result(timeout=180)), 8)
        # The lanes that were opened for it are gone: no more run at once than before.
        self.assertEqual(first_number(self.call("nested", [2])), 2)

    def test_too_deep_is_an_error(self):
        self.assertIn("at most 16 deep", self.call("nested", [40], status=1))

    def test_nothing_is_left_when_the_cluster_goes(self):
        with Cluster() as c:
            c.apply(spec_of("echo") + "---" + spec_of("hang"))
            c.run("call", "echo", "-i", "x=[1]")
            hanging = c.start("call", "hang", "-i", "x=[1]", "--deadline", "60s")
            wait_until(lambda: any(i["state"] == "busy" for i in c.json("get", "instances")), "the function to hang")
            below = children_of(c.pid)
            self.assertTrue([p for p in below.values() if "squall-worker" in p])
        hanging.communicate(timeout=30)
        wait_until(lambda: not [p for p in below if pathlib.Path(f"/proc/{p}").exists()], "the end of all processes")


if __name__ == "__main__":
    unittest.main()
