"""Installs the client, builds examples/installed against it by CMake and pkg-config, and runs it on a cluster."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/cluster"))

from harness import Cluster  # noqa: E402


def run(*words, env=None):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=600, env=env)
    assert done.returncode == 0, f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="squall-installed-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.prefix = cls.folder / "prefix"
        run("cmake", "--install", os.environ["SQUALL_BUILD"], "--component", "client", "--prefix", cls.prefix)
        cls.built = cls.folder / "build"
        run(
            "cmake",
            "-S",
            ROOT / "examples/installed",
            "-B",
            cls.built,
            "-G",
            "Ninja",
            f"-DCMAKE_PREFIX_PATH={cls.prefix}",
        )
        run("cmake", "--build", cls.built)

    def test_the_program_runs_on_a_cluster(self):
        with Cluster() as cluster:
            env = {**os.environ, "SQUALL_CLUSTER": cluster.info["endpoint"]}
            said = run(self.built / "hello", self.built / "functions/shout.so", env=env)
        self.assertEqual(said, "HELLO ANNA\nHELLO OTTO\nHELLO FROM A THREAD\n")

    def test_pkg_config_knows_how_to_build_it(self):
        libraries = next(self.prefix.rglob("squall.pc")).parent
        env = {**os.environ, "PKG_CONFIG_PATH": str(libraries)}
        flags = run("pkg-config", "--cflags", "--libs", "squall", env=env).split()
        program = self.folder / "by-hand"
        run("g++", ROOT / "examples/installed/hello.cpp", *flags, f"-Wl,-rpath,{libraries.parent}", "-o", program)
        done = subprocess.run([program], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("usage: hello LIBRARY", done.stderr)

    def test_the_python_package_is_there(self):
        packages = next(self.prefix.rglob("site-packages"))
        env = {**os.environ, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"}
        said = run(sys.executable, "-c", "import squall; print(squall.__file__, squall.__version__)", env=env)
        self.assertTrue(said.startswith(str(packages / "squall")), said)
        self.assertEqual({p.suffix for p in (packages / "squall").iterdir()}, {".py", ".typed"})

    def test_no_header_needs_more_than_the_standard_library(self):
        for header in sorted((self.prefix / "include/squall").rglob("*.h*")):
            for line in header.read_text().splitlines():
                if not line.startswith("#include <"):
                    continue
                name = line.split("<")[1].split(">")[0]
                self.assertNotIn("/", name, f"{header.name} includes {name}")

    def test_another_version_is_not_taken(self):
        project = self.folder / "newer"
        project.mkdir()
        (project / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.25)\nproject(newer CXX)\nfind_package(squall 99 REQUIRED)\n"
        )
        done = subprocess.run(
            ["cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("99", done.stderr)


if __name__ == "__main__":
    unittest.main()
