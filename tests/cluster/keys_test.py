"""Keys with roles: what each may do, and that a list changes while the cluster runs."""

import os
import stat
import subprocess
import unittest

import harness
from basics_test import SLEEP
from harness import Cluster, wait_until


class Keys(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(nodes=1, keys=True)
        cls.cluster.__enter__()
        cls.cluster.apply(SLEEP)
        for role in ("user", "admin"):
            cls.cluster.run("keys", "new", cls.cluster.keys, f"the-{role}", "--role", role, cluster=False)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.__exit__(None, None, None)

    def as_client(self, name, *arguments, timeout="5s"):
        """The status and the error of a verb with the keys of that client."""
        done = subprocess.run(
            self.cluster.command(*arguments, "--timeout", timeout, "--keys", self.cluster.keys / name),
            env=self.cluster.env,
            capture_output=True,
            timeout=60,
        )
        return done.returncode, done.stderr.decode()

    def let_in(self, name):
        wait_until(lambda: self.as_client(name, "get", "nodes", timeout="1s")[0] == 0, f"{name} to be let in")

    def test_a_user_calls_and_stores_but_changes_nothing(self):
        self.let_in("the-user")
        for allowed in (("call", "echo", "--input", "x=[1]"), ("get", "dags"), ("kv", "put", "mine", "1")):
            self.assertEqual(self.as_client("the-user", *allowed)[0], 0, allowed)
        spec = self.cluster.folder / "spec.yaml"
        for refused in (
            ("apply", "-f", str(spec)),
            ("delete", "function", "nap"),
            ("policy", "set", "rr"),
            ("drain", "n1"),
            ("kv", "put", "catalogue/function/echo/1", "x"),
            ("kv", "delete", "catalogue/function/echo/1"),
            ("kv", "put", "models/x", "x"),
        ):
            code, error = self.as_client("the-user", *refused)
            self.assertEqual(code, 1, refused)
            self.assertIn("permission_denied", error, refused)

    def test_an_admin_may_do_everything(self):
        self.let_in("the-admin")
        self.assertEqual(self.as_client("the-admin", "policy", "set", "fifo")[0], 0)
        self.assertEqual(self.as_client("the-admin", "apply", "-f", str(self.cluster.folder / "spec.yaml"))[0], 0)

    def test_a_revoked_key_is_out_without_a_restart(self):
        self.cluster.run("keys", "new", self.cluster.keys, "leaver", cluster=False)
        self.let_in("leaver")
        listed = self.cluster.run("keys", "list", self.cluster.keys, cluster=False)
        self.assertRegex(listed, r"leaver +user ")
        self.cluster.run("keys", "revoke", self.cluster.keys, "leaver", cluster=False)
        wait_until(lambda: self.as_client("leaver", "get", "nodes", timeout="1s")[0] == 1, "the leaver to be out")
        self.assertNotIn("leaver", self.cluster.run("keys", "list", self.cluster.keys, cluster=False))
        self.assertIn("fifo", self.cluster.run("get", "policy"), "others are served as before")

    def test_wrong_uses_are_refused(self):
        for arguments, expected in (
            (("new", self.cluster.keys), "cannot make"),
            (("new", self.cluster.keys, "x", "--role", "king"), "no role"),
            (("new", self.cluster.keys, "../x"), "no name"),
            (("new", self.cluster.keys, "the-user"), "there is a key"),
            (("revoke", self.cluster.keys, "nobody"), "there is no key"),
        ):
            self.cluster.run("keys", *arguments, status=1, cluster=False)
            self.assertIn(expected, self.cluster.stderr)

    def test_nobody_else_reads_secrets(self):
        for path in [self.cluster.keys, *self.cluster.keys.rglob("*")]:
            if path.name.endswith(".secret") or path.is_dir():
                self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)
        for path in (self.cluster.folder / "data").rglob("*"):
            if path.is_dir() and path.parent.name == "data" and path.name != "logs":
                self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o700, path)

    def test_no_secret_is_in_a_log_or_a_command_line(self):
        secrets = [p.read_text().strip() for p in self.cluster.keys.rglob("*.secret")]
        self.assertGreaterEqual(len(secrets), 2)
        texts = [p.read_text(errors="replace") for p in (self.cluster.folder / "data" / "logs").glob("*.log")]
        texts += harness.children_of(self.cluster.pid).values()
        for secret in secrets:
            self.assertFalse([t for t in texts if secret in t])

    def test_a_stranger_gets_no_word(self):
        code, error = 0, ""
        with_no_keys = subprocess.run(
            [harness.BINARY, "get", "nodes", "--cluster", self.cluster.info["endpoint"], "--timeout", "2s"],
            env=dict(self.cluster.env, XDG_RUNTIME_DIR=str(self.cluster.folder / "elsewhere")),
            capture_output=True,
            timeout=60,
        )
        code, error = with_no_keys.returncode, with_no_keys.stderr.decode()
        self.assertEqual(code, 1, error)
        with harness.raw_connection(self.cluster.info["endpoint"]) as s:
            # A peer of the right protocol with the wrong mechanism.
            s.sendall(b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + b"\0" * 31)
            s.settimeout(3)
            received = b""
            try:
                while block := s.recv(4096):
                    received += block
            except OSError:
                pass
            self.assertLessEqual(len(received), 64, "the greeting and no more")


if __name__ == "__main__":
    os.umask(0o022)
    unittest.main()
