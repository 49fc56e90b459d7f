"""Python functions on a real server."""

import os
import pathlib
import tempfile
import time
import unittest
import unittest.mock

import numpy as np
import squall
from environment_test import wheel
from squall.cloudburst import CloudburstConnection, CloudburstReference
from squall.errors import Code

GENEROUS = 60
U8 = (np.uint8, [-1])


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.local = squall.local()
        cls.cluster = cls.local.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.local.__exit__(None, None, None)

    def failing(self, function, inputs, **options):
        with self.assertRaises(squall.SquallError) as caught:
            self.cluster.call(function, inputs, **options).result(GENEROUS)
        return caught.exception


class Functions(Live):
    def test_numbers_text_and_arrays(self):
        @squall.function(outputs={"text": str, "n": int})
        def describe(x: float, flag: bool, raw: bytes, name: str):
            return f"{name} {x} {flag} {raw!r}", len(raw)

        result = self.cluster.run(describe, {"x": 1.5, "flag": True, "raw": b"\0\1", "name": "hé"})
        self.assertEqual(result.text("text"), "hé 1.5 True b'\\x00\\x01'")
        self.assertEqual(result["n"].tolist(), [2])

    def test_large_arrays(self):
        @squall.function(inputs={"x": U8}, outputs={"y": U8})
        def plus(x):
            out = squall.empty(x.shape, x.dtype)
            np.add(x, 1, out=out)
            return out

        x = np.random.default_rng(0).integers(0, 250, 3_000_000, dtype=np.uint8)
        for _ in range(5):
            np.testing.assert_array_equal(self.cluster.run(plus, {"x": x})["y"], x + 1)

    def test_a_dag_of_python_functions(self):
        @squall.function(inputs={"n": int}, outputs={"xs": (np.int64, [1], "list")})
        def split(n):
            return [np.array([i]) for i in range(n)]

        @squall.function
        def square(x: int) -> int:
            return x * x

        @squall.function(inputs={"xs": (np.int64, [1], "list")}, outputs={"sum": int})
        def total(xs):
            return int(sum(x[0] for x in xs if x is not None))

        with squall.Dag("squares") as d:
            xs = split(d.input("n", int))
            odd = square(squall.each(xs))
            d.output(total(odd))
        self.assertEqual(d(n=5)["sum"].tolist(), [30])

    def test_a_class_is_warm_and_batches_come_together(self):
        @squall.function(inputs={"x": float}, outputs={"y": float, "made": int}, max_instances=1)
        class Model:
            def __init__(self):
                self.calls = 0

            def __call__(self, x):
                self.calls += 1
                return x, self.calls

        made = [int(self.cluster.run(Model, {"x": 1.0})["made"][0]) for _ in range(3)]
        self.assertEqual(made, [1, 2, 3])

        @squall.function(
            inputs={"x": float}, outputs={"n": int}, batched=True, max_batch=16, max_delay=0.2, max_instances=1
        )
        def together(x):
            return [len(x)] * len(x)

        self.cluster.run(together, {"x": 1.0})
        calls = [self.cluster.call(together, {"x": float(i)}) for i in range(16)]
        self.assertGreater(max(int(c.result(GENEROUS)["n"][0]) for c in calls), 1)

    def test_generators_stream(self):
        @squall.function
        def count(n: int) -> int:
            yield from range(n)

        seen = []
        result = self.cluster.run(
            count, {"n": 5}, on_partial=lambda stage, outputs: seen.append((stage, int(outputs["value"][0])))
        )
        self.assertEqual(seen, [("run", i) for i in range(4)])
        self.assertEqual(result.value.tolist(), [4])

    def test_modules_that_are_sent_along(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "package").mkdir()
            (pathlib.Path(folder) / "package" / "__init__.py").write_text("from package.inner import answer\n")
            (pathlib.Path(folder) / "package" / "inner.py").write_text("def answer(x):\n    return x + 42\n")
            answer = squall.function(
                entry="package:answer", path=folder, name="answer", inputs={"x": int}, outputs={"y": int}
            )
            self.assertEqual(self.cluster.run(answer, {"x": 1})["y"].tolist(), [43])

    def test_calls_from_functions_at_full_load(self):
        @squall.function
        def leaf(x: int) -> int:
            return x + 1

        @squall.function
        def inner(x: int) -> int:
            return int(squall.call("leaf", {"x": np.array([x])}).value[0])

        @squall.function
        def outer(x: int) -> int:
            both = [squall.submit("inner", {"x": np.array([x + i])}) for i in range(2)]
            return sum(int(c.result().value[0]) for c in both)

        for function in (leaf, inner):
            self.cluster.register(function)
        # Many more than there are lanes: each waits for one that waits for a third.
        calls = [self.cluster.call(outer, {"x": i}) for i in range(24)]
        self.assertEqual([int(c.result(GENEROUS).value[0]) for c in calls], [2 * i + 3 for i in range(24)])

    def test_state(self):
        @squall.function
        def remember(key: str, value: bytes) -> bytes:
            try:
                old = squall.get(key)
            except squall.SquallError as e:
                assert e.code is squall.Code.NOT_FOUND, e
                old = b"(none)"
            squall.put(key, value)
            return old

        self.assertEqual(self.cluster.run(remember, {"key": "r", "value": b"1"}).value.tolist(), [b"(none)"])
        self.assertEqual(self.cluster.run(remember, {"key": "r", "value": b"2"}).value.tolist(), [b"1"])
        self.assertEqual(self.cluster.kv["r"], b"2")
        for key in ("squall/x", "models/x", "catalogue/function/x"):
            error = self.failing(remember, {"key": key, "value": b"2"})
            self.assertIn("belongs to the system", error.message)

        @squall.function
        def listed(prefix: str) -> str:
            return ",".join(squall.keys(prefix))

        self.cluster.kv["list/b"] = self.cluster.kv["list/a"] = b""
        self.assertEqual(self.cluster.run(listed, {"prefix": "list/"}).text(), "list/a,list/b")
        self.assertEqual(self.cluster.run(listed, {"prefix": "models/"}).text(), "")


class TwoNodes(unittest.TestCase):
    """Elements of a map run on both nodes; its call lives on one."""

    @classmethod
    def setUpClass(cls):
        nodes = "  nodes:\n  - {name: a, slots: 1}\n  - {name: b, slots: 1}\n"
        cls.cluster = cls.enterClassContext(squall.local(spec=nodes))
        end = time.monotonic() + GENEROUS
        while len(cls.cluster.query("nodes")) < 2:
            assert time.monotonic() < end, "waited for two nodes"
            time.sleep(0.05)

    def each(self, function, count, **options):
        """The function's results for 0, 1, ..."""
        with squall.Dag(f"each-{function.name}") as dag:
            xs = dag.input("xs", (np.int64, [1], "list"))
            dag.output(ys=function(squall.each(xs)))
        for _ in range(3):  # until the width is known by which it is spread
            self.cluster.call(dag, {"xs": [[n] for n in range(count)]}).result(GENEROUS)
        result = self.cluster.call(dag, {"xs": [[n] for n in range(count)]}, **options).result(GENEROUS)
        return [y.tolist()[0] for y in result["ys"]]

    def test_elements_call_others(self):
        @squall.function
        def double(x: int) -> int:
            return 2 * x

        @squall.function
        def asks(x: int) -> int:
            return int(squall.call("double", {"x": x}).value[0])

        self.cluster.register(double)
        self.assertEqual(self.each(asks, 16), [2 * n for n in range(16)])

    def test_elements_stream(self):
        @squall.function(inputs={"x": int}, outputs={"y": int})
        def counts(x):
            for n in range(3):
                time.sleep(0.02)
                yield 10 * x + n

        seen = []
        ys = self.each(counts, 12, on_partial=lambda _, outputs: seen.append(int(outputs["y"][0])))
        self.assertEqual(ys, [10 * n + 2 for n in range(12)])
        # Those of one element come in order; the last of all may be overtaken by the result.
        for n in range(12):
            of_n = [y for y in seen if y // 10 == n]
            self.assertEqual(of_n, [10 * n, 10 * n + 1][: len(of_n)])
        self.assertGreaterEqual(len(seen), 20)


class BadCode(Live):
    def setUp(self):
        @squall.function
        def good(x: int) -> int:
            return x

        self.good = good

    def others_are_served(self):
        self.assertEqual(self.cluster.call(self.good, {"x": 5}).result(GENEROUS).value.tolist(), [5])

    def test_an_exception_comes_with_its_traceback(self):
        def helper():
            raise KeyError("no such thing")

        @squall.function
        def broken(x: int) -> int:
            return helper()

        error = self.failing(broken, {"x": 1})
        self.assertEqual(error.code, Code.FAILED)
        self.assertIn("KeyError: 'no such thing'", error.message)
        self.assertIn("in helper", error.message)
        self.others_are_served()

    def test_what_ends_its_process(self):
        import ctypes

        def exits():
            os._exit(7)

        def crashes():
            ctypes.string_at(0)

        def floods():
            memory = []
            while True:
                memory.append(bytearray(64 << 20))

        # The address sanitizer counts less as too much, and says so by ending the process.
        too_much = "" if "ASAN_OPTIONS" in os.environ else "MemoryError"
        for how, expected in ((exits, "7"), (crashes, ""), (floods, too_much)):
            with self.subTest(how.__name__):

                @squall.function(name=how.__name__, inputs={"x": int}, outputs={"y": int})
                def bad(x, how=how):
                    print("about to go", flush=True)
                    how()
                    return x

                error = self.failing(bad, {"x": 1})
                self.assertEqual(error.code, Code.FAILED, error)
                self.assertIn(expected, error.message)
                self.others_are_served()

    def test_a_hanging_function_ends_with_its_deadline(self):
        @squall.function
        def hangs(x: int) -> int:
            while True:
                pass

        begin = time.monotonic()
        error = self.failing(hangs, {"x": 1}, deadline=1)
        self.assertEqual(error.code, Code.DEADLINE_EXCEEDED, error)
        self.assertLess(time.monotonic() - begin, 30)
        self.others_are_served()

    def test_a_running_function_is_cancelled(self):
        @squall.function
        def sleeps(x: int) -> int:
            time.sleep(600)
            return x

        call = self.cluster.call(sleeps, {"x": 1})
        time.sleep(1)
        call.cancel()
        with self.assertRaises(squall.SquallError) as caught:
            call.result(GENEROUS)
        self.assertEqual(caught.exception.code, Code.CANCELLED)
        self.others_are_served()

    def test_what_cannot_be_loaded_says_why(self):
        @squall.function(inputs={"x": int}, outputs={"y": int})
        class Broken:
            def __init__(self):
                raise OSError("the weights are not there")

            def __call__(self, x):
                return x

        self.assertIn("the weights are not there", self.failing(Broken, {"x": 1}).message)
        missing = squall.function(entry="no_such_module:f", name="missing", inputs={"x": int}, outputs={"y": int})
        self.assertIn("no_such_module", self.failing(missing, {"x": 1}).message)

    def test_wrong_outputs_are_named(self):
        @squall.function(inputs={"x": int}, outputs={"y": (np.float32, [2])})
        def wrong(x):
            return np.zeros(3, np.float32)

        self.assertIn("'y'", self.failing(wrong, {"x": 1}).message)


class Requirements(unittest.TestCase):
    """Packages come from a folder of wheels here, by pip's own variables."""

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        wheel(folder, "thing", "1.0")
        wheel(folder, "thing", "2.0")
        self.enterContext(unittest.mock.patch.dict(os.environ, PIP_NO_INDEX="1", PIP_FIND_LINKS=folder))
        self.cluster = self.enterContext(squall.local())

    def test_each_function_has_its_own(self):
        def version(_: int) -> str:
            import thing

            return thing.VERSION

        functions = [
            squall.function(name=f"needs-{n}", requirements=[f"thing=={n}.0"], inputs={"_": int}, outputs={"v": str})(
                version
            )
            for n in (1, 2)
        ]
        for function, expected in zip(functions, ("1.0", "2.0"), strict=True):
            self.assertEqual(self.cluster.run(function, {"_": 0}, deadline=GENEROUS).text(), expected)
        without = squall.function(name="without", inputs={"_": int}, outputs={"v": str})(version)
        with self.assertRaisesRegex(squall.SquallError, "No module named 'thing'"):
            self.cluster.run(without, {"_": 0})

    def test_a_package_that_does_not_exist(self):
        @squall.function(requirements=["no-such-thing"])
        def never(x: int) -> int:
            return x

        with self.assertRaises(squall.SquallError) as caught:
            self.cluster.run(never, {"x": 0}, deadline=GENEROUS)
        self.assertIn("there is no package 'no-such-thing'", caught.exception.message)


class Cloudburst(Live):
    def setUp(self):
        self.cloud = CloudburstConnection(self.cluster.endpoint, "127.0.0.1", tid=3, local=True)
        self.addCleanup(self.cloud.close)

    def test_functions_and_dags(self):
        square = self.cloud.register(lambda _, x: x * x, "square")
        self.cloud.register(lambda _, x: x + 1, "increment")
        self.assertEqual(square(4).get(), 16)
        self.assertEqual(self.cloud.get_function("increment")(1).get(), 2)
        self.assertIsNone(self.cloud.get_function("nothing"))
        self.assertEqual(self.cloud.register_dag("dag", ["increment", "square"], [("increment", "square")]), (True, ""))
        self.assertEqual(self.cloud.call_dag("dag", {"increment": [2]}, direct_response=True), 9)
        future = self.cloud.call_dag("dag", {"increment": [3]}, output_key="out")
        self.assertEqual((future.get(), self.cloud.get_object("out")), (16, 16))
        again = self.cloud.call_dag("dag", {"increment": [1]}, dry_run=True)
        self.assertEqual(self.cloud.call_dag("dag", {"increment": 1}, continuation=None).get(), 4)
        again.arguments = {}
        self.assertEqual(self.cloud.call_dag("dag", {"increment": [1]}, continuation=again).get(), 25)
        with self.assertRaises(RuntimeError):
            self.cloud.register_dag("bad", ["nobody"], [])
        self.assertTrue(self.cloud.delete_dag("dag")[0])
        self.assertFalse(self.cloud.delete_dag("dag")[0])

    def test_joins_references_classes_and_state(self):
        class Adder:
            def __init__(self, cloudburst, start):
                self.start = start

            def run(self, cloudburst, *numbers):
                return self.start + sum(numbers)

        self.cloud.register((Adder, (100,)), "adder")
        self.cloud.register(lambda _, x: (x, x + 1), "pair")
        self.assertTrue(self.cloud.register_dag("join", ["pair", "adder"], [("pair", "adder")])[0])
        self.assertEqual(self.cloud.call_dag("join", {"pair": [1], "adder": [1000]}).get(), 1103)
        self.cloud.put_object("five", 5)
        self.assertEqual(self.cloud.call_dag("join", {"pair": [CloudburstReference("five", True)]}).get(), 111)

        def keep(cloudburst, key, value):
            cloudburst.put(key, value)
            return cloudburst.get([key, "no-such-key"])

        self.assertEqual(self.cloud.register(keep, "keep")("k", {"a": 1}).get(), {"k": {"a": 1}, "no-such-key": None})
        self.assertEqual(self.cloud.get_object("k"), {"a": 1})

    def test_messages_between_running_functions(self):
        def waits(cloudburst, key):
            cloudburst.put(key, cloudburst.getid())
            for _ in range(2000):
                for sender, message in cloudburst.recv():
                    return message, sender != cloudburst.getid()
                time.sleep(0.01)

        def sends(cloudburst, to, text):
            cloudburst.send(to, text)
            return True

        waiting = self.cloud.register(waits, "waits")("address")
        end = time.monotonic() + GENEROUS
        while (to := self.cloud.get_object("address")) is None:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        self.assertTrue(self.cloud.register(sends, "sends")(to, b"hello").get())
        self.assertEqual(waiting.get(GENEROUS), (b"hello", True))

    def test_errors_are_raised(self):
        broken = self.cloud.register(lambda _, x: 1 / x, "broken")
        with self.assertRaisesRegex(squall.SquallError, "ZeroDivisionError"):
            broken(0).get()


if __name__ == "__main__":
    unittest.main()
