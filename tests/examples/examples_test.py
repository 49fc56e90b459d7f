"""The example pipelines and the example clients, on a real cluster and a few easy items."""

import base64
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cluster"))

import harness
from harness import EXAMPLES, Cluster, wait_until

BIN = pathlib.Path(harness.BINARY).parent
PYTHON = pathlib.Path(os.environ.get("SQUALL_VENV", "build/venv")) / "bin" / "python"
# The specs name the models by their place below build/.
MODELS = EXAMPLES.parent / "build" / "models"
EASY = 1  # up to this level of difficulty every recogniser reads nearly everything


def content(tensor):
    """The one element of a BYTES tensor."""
    element = tensor["data"][0]
    return element if isinstance(element, str) else base64.b64decode(element["b64"])


@unittest.skipUnless((MODELS / "rec-v6-tiny.onnx").exists(), "the models are not there: run ./dev build")
class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.data = tempfile.TemporaryDirectory(prefix="squall-examples-")
        cls.addClassCleanup(cls.data.cleanup)
        cls.lines = cls.draw("lines", 24)
        cls.pages = cls.draw("pages", 4)
        cls.files = pathlib.Path(cls.data.name) / "files"
        subprocess.run(
            [PYTHON, EXAMPLES / "demo" / "files.py", "--count", "8", "--seed", "7", "--out", cls.files],
            check=True,
            capture_output=True,
        )
        cls.cluster = cls.enterClassContext(Cluster(nodes=2))

    @classmethod
    def draw(cls, kind, count):
        folder = pathlib.Path(cls.data.name) / kind
        render = [PYTHON, EXAMPLES / "demo" / "render.py", kind, "--count", str(count), "--seed", "7", "--out", folder]
        subprocess.run(render, check=True, capture_output=True)
        return folder

    def truth(self, folder):
        return json.loads((folder / "truth.json").read_text())

    def easy(self, folder, count):
        found = [t for t in self.truth(folder) if t["level"] <= EASY and not t.get("upside_down")][:count]
        self.assertEqual(len(found), count)
        return found

    def apply(self, name):
        self.cluster.run("apply", "-f", EXAMPLES / name)

    def call(self, dag, path):
        return self.cluster.json("call", dag, "--input", f"file=@{path}")

    def check_lines(self, dag):
        easy = self.easy(self.lines, 6)
        read = [content(self.call(dag, self.lines / t["file"])["outputs"]["text"]) for t in easy]
        exact = sum(text == t["text"] for text, t in zip(read, easy, strict=True))
        self.assertGreaterEqual(exact, 5, list(zip(read, [t["text"] for t in easy], strict=True)))

    def test_hello(self):
        self.apply("hello.yaml")
        out = self.call("thumbnail", self.lines / self.truth(self.lines)[0]["file"])
        picture = content(out["outputs"]["file"])
        self.assertEqual(picture[:8], b"\x89PNG\r\n\x1a\n")
        self.assertEqual(struct.unpack(">II", picture[16:24]), (64, 64))

    def test_read_line(self):
        self.apply("read-line.yaml")
        for dag in ("read-line", "read-line-bf16"):
            with self.subTest(dag):
                self.check_lines(dag)

    def test_read_line_skips_the_large_model_on_easy_lines(self):
        self.apply("read-line.yaml")
        traces = [self.call("read-line", self.lines / t["file"])["trace"] for t in self.easy(self.lines, 6)]
        self.assertTrue(any(stage["skipped"] for trace in traces for stage in trace))

    def test_read_line_vote(self):
        self.apply("read-line-vote.yaml")
        for dag in ("read-line-vote", "read-line-vote-bf16"):
            with self.subTest(dag):
                self.check_lines(dag)

    def test_single_recognisers(self):
        self.apply("read-line-vote.yaml")
        self.apply("single-recognisers.yaml")
        for dag in ("only-tiny-f32", "only-tiny-bf16", "only-small-f32", "only-small-bf16"):
            with self.subTest(dag):
                self.check_lines(dag)

    def test_document_reader(self):
        self.apply("document-reader.yaml")
        page = self.easy(self.pages, 1)[0]
        for dag in ("document-reader", "document-reader-bf16"):
            with self.subTest(dag):
                text = content(self.call(dag, self.pages / page["file"])["outputs"]["text"])
                found = sum(line["text"] in text for line in page["lines"])
                self.assertGreaterEqual(found, 9, (text, page["lines"]))

    def test_file_type(self):
        self.apply("file-type.yaml")
        source = pathlib.Path(__file__)
        picture = self.lines / next(t["file"] for t in self.truth(self.lines) if t["file"].endswith(".png"))
        for dag in ("file-type", "only-magika-f32", "only-magika-bf16"):
            with self.subTest(dag):
                self.assertEqual(content(self.call(dag, source)["outputs"]["label"]), "python")
                self.assertEqual(content(self.call(dag, picture)["outputs"]["label"]), "png")
        trusted = self.call("file-type", picture)
        self.assertGreaterEqual(sum(stage["skipped"] for stage in trusted["trace"]), 4)

    def test_speech_gate(self):
        self.apply("speech-gate.yaml")
        chunk = json.dumps({"datatype": "FP32", "shape": [1, 576], "data": [0.0] * 576})
        for i in range(3):
            marks = ["--sequence-start"] if i == 0 else ["--sequence-end"] if i == 2 else []
            out = self.cluster.json("call", "speech-gate", "--input", f"chunk={chunk}", "--sequence", "41", *marks)
            self.assertLess(out["outputs"]["speech"]["data"][0], 0.5)

    def program(self, name, *arguments):
        """Runs one of the C++ examples; returns its standard output."""
        done = subprocess.run([BIN / name, *map(str, arguments)], capture_output=True, text=True, timeout=180,
                              env=dict(self.cluster.env, SQUALL_CLUSTER=self.cluster.info["endpoint"]))  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_the_programs_in_cpp_read_lines(self):
        easy = self.easy(self.lines, 3)
        pictures = [self.lines / t["file"] for t in easy]
        for spec in ("read-line", "read-line-vote"):
            with self.subTest(spec):
                printed = self.program("example-read-lines", EXAMPLES / f"{spec}.yaml", spec, *pictures).splitlines()
                for picture, truth in zip(pictures, easy, strict=True):
                    self.assertTrue(any(line.startswith(f"{picture}: {truth['text']}  (") for line in printed), printed)

    def test_the_programs_in_cpp_read_pages_and_files(self):
        page = next(p for p in sorted(self.pages.iterdir()) if p.suffix in (".png", ".jpg"))
        self.assertTrue(
            self.program("example-read-page", EXAMPLES / "document-reader.yaml", "document-reader-bf16", page).strip()
        )
        self.assertIn(
            "png",
            self.program("example-file-types", EXAMPLES / "file-type.yaml", "file-type", *self.lines.glob("*.png")),
        )
        small = self.cluster.folder / "small.png"
        self.program("example-thumbnail", page, small)
        self.assertEqual(small.read_bytes()[:4], b"\x89PNG")

    def test_the_program_in_cpp_listens(self):
        audio = self.cluster.folder / "silence.f32"
        audio.write_bytes(bytes(4 * 512 * 5))
        heard = self.program("example-speech", EXAMPLES / "speech-gate.yaml", "speech-gate", audio)
        self.assertTrue(heard.strip())

    def test_the_demo_program(self):
        words = [BIN / "squall-demo", "--cluster", self.cluster.info["endpoint"], "--examples", EXAMPLES]
        words += ["--items", "2", "--pages", self.pages, "--lines", self.lines, "--files", self.files]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(
            [(r["pipeline"], r["precision"]) for r in rows],
            [
                ("document-reader", "bf16"),
                ("read-line", "f32"),
                ("read-line", "bf16"),
                ("read-line-vote", "bf16"),
                ("file-type", "bf16+f32"),
            ],
        )
        for row in rows:
            self.assertEqual(row["items"], 2)
            self.assertGreaterEqual(row["p99_ms"], row["p50_ms"])
            self.assertGreater(row["per_s"], 0)
            self.assertGreater(row["overhead_us"], 0)
        self.assertGreater(rows[0]["accuracy"], 0.3)


class Tables(unittest.TestCase):
    """What needs no models."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(Cluster(nodes=2, slots=2))

    def report(self, dag, output, **tables):
        inputs = []
        for name, text in tables.items():
            path = self.cluster.folder / f"{name}.csv"
            path.write_text(text)
            inputs += ["--input", f"{name}=@{path}"]
        out = self.cluster.json("call", dag, *inputs)
        rows = content(out["outputs"][output])
        return (rows if isinstance(rows, str) else rows.decode()).splitlines(), out

    def test_visits_looks_users_up_and_lets_replicas_compete(self):
        for key, name in (("users/7", "Ann"), ("users/9", "Bo")):
            self.cluster.run("kv", "put", key, name)
        self.cluster.run("apply", "-f", EXAMPLES / "visits.yaml")
        # 200 is nobody: the example says that such a name is empty.
        visits = "user,page\n7,start\n9,prices\n200,start\n7,prices\n"
        rows, out = self.report("visits", "visits", visits=visits)
        self.assertEqual(rows[0].split(","), ["user", "page", "name"])
        self.assertEqual([row.split(",")[2] for row in rows[1:]], ["Ann", "Bo", "", "Ann"])
        self.assertEqual([row.split(",")[:2] for row in rows[1:]], [line.split(",") for line in visits.split()[1:]])
        # Two replicas of the stage that varies competed, and the answer waited for one of them.
        replicas = [stage for stage in out["trace"] if stage["stage"].startswith("model--")]
        self.assertEqual(len(replicas), 2, out["trace"])
        self.assertTrue(any(replica["executed_ns"] > 0 for replica in replicas), replicas)

    def test_a_user_who_is_renamed_soon_has_the_new_name_in_the_report(self):
        self.cluster.run("apply", "-f", EXAMPLES / "visits.yaml")
        for name in ("Cy", "Di"):
            self.cluster.run("kv", "put", "users/11", name)

            def renamed(name=name):
                rows, _ = self.report("visits", "visits", visits="user,page\n11,start\n")
                return rows[1:] == [f"11,start,{name}"]

            wait_until(renamed, f"{name} in the report")  # a lookup may be a second old


if __name__ == "__main__":
    unittest.main()
