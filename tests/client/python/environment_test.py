"""The packages of a function's requirements: made once, from wheels, and errors that say which name is wrong."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile

import squall

PROGRAM = pathlib.Path(squall.__file__).with_name("_environment.py")


def wheel(folder, name, version):
    """A wheel with one module."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder) / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


class Environments(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        wheel(self.folder, "thing", "1.0")
        wheel(self.folder, "thing", "2.0")

    def start(self, name, *requirements):
        return subprocess.Popen(
            [sys.executable, "-I", str(PROGRAM), str(self.folder / "envs" / name), *requirements],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.folder)},
        )

    def make(self, name, *requirements):
        process = self.start(name, *requirements)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err.strip()

    def test_packages_are_installed_once(self):
        status, out, err = self.make("a", "thing==1.0")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("installing thing==1.0", out)
        folder = self.folder / "envs" / "a"
        self.assertIn("1.0", (folder / "thing.py").read_text())
        self.assertEqual(self.make("a", "thing==1.0"), (0, "", ""))

    def test_several_at_once_wait_for_the_first(self):
        several = [self.start("a", "thing>=1,<2") for _ in range(3)]
        outs = [p.communicate(timeout=120)[0] for p in several]
        self.assertEqual([p.returncode for p in several], [0, 0, 0])
        self.assertEqual(sum("installing" in out for out in outs), 1, outs)

    def test_what_does_not_exist_is_named_and_nothing_is_left(self):
        status, _, err = self.make("a", "nothing-like-it")
        self.assertEqual(status, 1)
        self.assertIn("there is no package 'nothing-like-it'", err)
        status, _, err = self.make("a", "thing==3")
        self.assertEqual(status, 1)
        self.assertIn("there are versions 1.0, 2.0", err)
        left = [p.name for p in (self.folder / "envs").iterdir() if not p.name.endswith(".lock")]
        self.assertEqual(left, [])

    def test_options_paths_and_addresses_are_refused(self):
        for wrong in (
            "-r /etc/passwd",
            "--index-url=http://x",
            "/etc",
            "./thing",
            "thing @ file:///etc",
            "git+https://x/y",
        ):
            with self.subTest(wrong):
                status, _, err = self.make("a", wrong)
                self.assertEqual(status, 1)
                self.assertIn("is no requirement", err)


if __name__ == "__main__":
    unittest.main()
