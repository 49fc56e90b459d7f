"""Checks the sources against rules.py, and rules.py against sources that break each rule."""

import os
import unittest
from pathlib import Path

import rules

ROOT = Path(__file__).resolve().parents[2]
SKIPPED_FOLDERS = {".git", ".cache", "__pycache__", "venv", "node_modules"}
READ = {".cpp", ".hpp", ".h", ".cu", ".txt", ".cmake", ".md", ".py", ".sh", ".yaml", ""}


def read_tree():
    files = {}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            f for f in folders if f not in SKIPPED_FOLDERS and not (f.startswith("build") and Path(folder) == ROOT)
        ]
        for name in names:
            path = Path(folder) / name
            readable = path.suffix in READ and path.is_file()
            files[path.relative_to(ROOT).as_posix()] = path.read_text(errors="replace") if readable else ""
    return files


class Sources(unittest.TestCase):
    """The tree keeps each rule."""


def keeps(rule):
    def test(self):
        findings = rule(FILES)
        if findings:
            self.fail("\n" + "\n".join(findings))

    test.__doc__ = rule.__doc__
    return test


FILES = read_tree()
for each in rules.RULES:
    setattr(Sources, each.__name__.replace("check_", "test_"), keeps(each))


class Rules(unittest.TestCase):
    """Each rule finds what it is for."""

    def test_an_include_that_points_up(self):
        files = {"base/a.hpp": '#include "wire/b.hpp"\n', "wire/b.hpp": '#include "base/a.hpp"\n'}
        self.assertEqual(rules.check_levels(files), ["base/a.hpp:1: base/ may not include wire/b.hpp"])

    def test_an_include_that_is_not_from_the_root(self):
        self.assertEqual(len(rules.check_levels({"base/a.cpp": '#include "a.hpp"\n', "base/a.hpp": ""})), 1)

    def test_a_header_out_of_its_home(self):
        files = {
            "client/a.cpp": "#include <caf/all.hpp>\n",
            "actors/a.cpp": "#include <caf/all.hpp>\n// #include <zmq.h>\n",
        }
        self.assertEqual(len(rules.check_homes(files)), 1)
        two = {"kvs/a.cpp": "#include <rocksdb/db.h>\n", "kvs/b.cpp": "#include <rocksdb/db.h>\n"}
        self.assertEqual(len(rules.check_homes(two)), 1)

    def test_bans_in_pure_folders(self):
        broken = [
            "auto t = std::chrono::steady_clock::now();",
            "std::this_thread::sleep_for(x);",
            "#include <fstream>",
            "std::mutex m;",
            'std::getenv("X");',
            "std::normal_distribution<> d;",
            "std::unordered_map<int, int> by_id_;\nfor (auto& e : by_id_) {}",
        ]
        for text in broken:
            self.assertTrue(rules.check_bans({"policy/a.cpp": text}), text)
            self.assertFalse(rules.check_bans({"executors/a.cpp": text}), text)
        fine = '// std::mutex\n/* sleep_for */ auto s = "getenv(";\nstd::unordered_map<int, int> m;\nm.find(1);'
        self.assertEqual(rules.check_bans({"policy/a.cpp": fine}), [])

    def test_a_folder_without_a_readme(self):
        self.assertEqual(
            len(rules.check_readmes({"base/a.hpp": "", "wire/README.md": "", "top": "", ".ci/run": ""})), 1
        )

    def test_a_source_that_nothing_builds(self):
        files = {
            "a/CMakeLists.txt": "x(SOURCES one.cpp d/two.cpp)",
            "a/one.cpp": "",
            "a/d/two.cpp": "",
            "a/d/e.cpp": "",
            "a/ne.cpp": "",
        }
        self.assertEqual(len(rules.check_targets(files)), 2)

    def test_a_leftover(self):
        self.assertEqual(len(rules.check_leftovers({"a.cpp": "// TODO(" + "now) x"})), 1)


if __name__ == "__main__":
    unittest.main()
