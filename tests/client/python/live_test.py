"""The Python client against a real server."""

import asyncio
import gc
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time
import unittest
from unittest import mock

import numpy as np
import squall
from squall import protocol
from squall.embedded import find_binary
from squall.errors import Code

echo = squall.builtin("noop", name="echo", inputs={"x": np.uint8}, outputs={"x": np.uint8})
nap = squall.builtin("sleep", name="nap", parameters={"milliseconds": 10_000})
blink = squall.builtin("sleep", name="blink", parameters={"milliseconds": 20})
enlarge = squall.builtin("resize", name="enlarge", parameters={"width": 1000, "height": 1000})
GENEROUS = 30


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.local = squall.local()
        cls.cluster = cls.local.__enter__()
        for function in (echo, nap, blink, enlarge):
            cls.cluster.register(function)

    @classmethod
    def tearDownClass(cls):
        cls.local.__exit__(None, None, None)

    def refused(self, code, pattern, action):
        with self.assertRaisesRegex(squall.SquallError, pattern) as caught:
            action()
        self.assertEqual(caught.exception.code, code, caught.exception)
        return caught.exception

    def wait_for(self, condition, what):
        end = time.monotonic() + GENEROUS
        while not condition():
            self.assertLess(time.monotonic(), end, f"waited for {what}")
            time.sleep(0.02)

    # -- calls

    def test_a_call_brings_arrays(self):
        result = self.cluster.run("echo", {"x": np.arange(5, dtype=np.uint8)})
        self.assertEqual(list(result), ["x"])
        np.testing.assert_array_equal(result["x"], np.arange(5))
        np.testing.assert_array_equal(result.value, result["x"])
        self.assertEqual(len(result.trace), 1)
        with self.assertRaisesRegex(KeyError, "no output 'y'; outputs: x"):
            result["y"]

    def test_large_values_go_through_shared_memory_and_are_given_back(self):
        big = np.random.default_rng(1).integers(0, 255, 5_000_000, dtype=np.uint8)
        result = self.cluster.run("echo", {"x": big})
        array = result["x"]
        np.testing.assert_array_equal(array, big)
        self.assertFalse(array.flags.writeable)
        view = array[10:20]
        del result, array
        gc.collect()
        np.testing.assert_array_equal(view, big[10:20])
        self.assertGreater(self.ours(), 4_000_000, "a view holds the memory")
        del view
        gc.collect()
        self.wait_for(lambda: self.ours() == 0, "our arena to be empty")

    def ours(self):
        """What the client shares; noop hands its input on, so its output lies there, too."""
        return self.cluster._engine._arena.used_bytes

    def test_outputs_in_the_clusters_memory_are_given_back(self):
        def run():
            """The picture and where it lies."""
            result = self.cluster.run("enlarge", {"image": np.full((8, 8, 3), 7, np.uint8)})
            place = tuple(result._raw["image"][2])
            return result["image"], place

        first, its_place = run()
        for _ in range(5):
            self.assertNotEqual(run()[1], its_place, "a place whose picture is still held was used again")
        self.assertEqual((first.shape, set(first.ravel()[::997].tolist())), ((1000, 1000, 3), {7}))
        del first
        gc.collect()
        self.wait_for(lambda: run()[1] == its_place, "the place to be used again")

    def test_an_input_may_be_changed_when_call_has_returned(self):
        array = np.zeros(100, np.uint8)
        calls = []
        for i in range(50):
            array[:] = i
            calls.append(self.cluster.call("echo", {"x": array}))
        for i, call in enumerate(calls):
            self.assertEqual(set(call.result()["x"].tolist()), {i})

    def test_many_calls_from_many_threads(self):
        wrong = []

        def work(seed):
            for i in range(100):
                value = (seed * 100 + i) % 251
                got = self.cluster.run("echo", {"x": [value]})["x"].tolist()
                if got != [value]:
                    wrong.append((value, got))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(wrong, [])

    def test_a_busy_connection_gets_bundles(self):
        opened = []

        def unbundle(frame):
            opened.append(protocol.unbundle(frame))
            return opened[-1]

        x = [np.array([i], np.uint8) for i in range(200)]
        with (
            mock.patch("squall.link.unbundle", unbundle),
            squall.connect(self.cluster.endpoint) as busy,
        ):
            for _ in range(5):
                calls = [busy.call("echo", {"x": one}) for one in x]
                for one, call in zip(x, calls, strict=True):
                    self.assertEqual(call.result().value.tolist(), one.tolist())
        self.assertGreater(max(map(len, opened)), 1, "several results came in one frame")

    def test_callbacks_come_once_also_when_they_are_late(self):
        seen = []
        call = self.cluster.call("echo", {"x": [1]})
        call.add_done_callback(seen.append)
        call.result()
        call.add_done_callback(seen.append)
        self.wait_for(lambda: len(seen) == 2, "two callbacks")
        self.assertEqual(seen, [call, call])

    def test_waiting_in_a_callback_is_refused_instead_of_hanging(self):
        caught = []

        def waits(_):
            try:
                self.cluster.kv.get("anything")
            except squall.SquallError as e:
                caught.append(e)

        self.cluster.call("blink", {"x": [1]}).add_done_callback(waits)
        self.wait_for(lambda: caught, "the callback")
        self.assertIn("cannot be waited for in a callback", caught[0].message)

    def test_a_call_can_be_cancelled(self):
        call = self.cluster.call("nap", {"x": [1]})
        with self.assertRaisesRegex(TimeoutError, "the call of nap has not ended"):
            call.result(timeout=0.05)
        self.assertFalse(call.done())
        self.assertTrue(call.cancel())
        self.refused(Code.CANCELLED, "", lambda: call.result(GENEROUS))
        self.assertTrue(call.cancelled())
        self.assertFalse(call.cancel())

    def test_a_deadline_ends_a_call(self):
        begin = time.monotonic()
        error = self.refused(Code.DEADLINE_EXCEEDED, "", lambda: self.cluster.run("nap", {"x": [1]}, deadline=0.2))
        self.assertLess(time.monotonic() - begin, 9, "not by the function's own end")
        self.assertIsNotNone(error.outcome)

    def test_wrong_use_is_told_before_anything_is_sent(self):
        call = self.cluster.call
        self.refused(Code.NOT_FOUND, "no function or DAG 'ecko'; did you mean 'echo'", lambda: call("ecko"))
        self.refused(Code.INVALID_ARGUMENT, "'echo' has no input 'y'", lambda: call("echo", {"y": 1}))
        self.refused(Code.INVALID_ARGUMENT, "such as echo@2", lambda: call("echo@x"))
        self.refused(Code.INVALID_ARGUMENT, "more than 0", lambda: call("echo", {"x": [1]}, deadline=0))
        self.refused(Code.INVALID_ARGUMENT, "prefer='best'", lambda: call("echo", {"x": [1]}, prefer="best"))
        self.refused(Code.INVALID_ARGUMENT, "firm", lambda: call("echo", {"x": [1]}, assurance=2))
        self.refused(Code.INVALID_ARGUMENT, "max_cost", lambda: call("echo", {"x": [1]}, max_cost=-1))
        self.refused(Code.INVALID_ARGUMENT, "need sequence", lambda: call("echo", {"x": [1]}, sequence_end=True))

    def test_what_the_server_refuses_comes_through_the_future(self):
        self.refused(Code.INVALID_ARGUMENT, "x", lambda: self.cluster.call("echo", {}).result(GENEROUS))
        self.refused(Code.NOT_FOUND, "", lambda: self.cluster.call("echo@7", {"x": [1]}).result(GENEROUS))

    # -- functions and DAGs

    def test_a_dag_with_conditions_and_maps(self):
        prime = squall.builtin("prime", parameters={"n": 100})
        with squall.Dag("branches") as d:
            x = d.input("x", np.uint8)
            first = echo(x)
            with squall.when(first.x > 5):
                counted = prime(x=first.x)
            each = echo(squall.each(d.input("many", np.uint8, list=True)))
            d.output(x=first.x, count=counted.count, each=each.x)
        many = {"many": [[1], [2, 3]]}
        result = self.cluster.run(d, {"x": [7], **many})
        self.assertEqual(result["count"].tolist(), [25])
        self.assertEqual([v.tolist() for v in result["each"]], [[1], [2, 3]])
        self.assertIsNone(d(x=[1], **many)["count"])

    def test_the_servers_errors_name_the_line_of_a_stage(self):
        unknown = squall.named("never-registered")
        with squall.Dag("broken") as d:
            d.output(y=unknown(x=d.input("x", np.uint8)).y)
        self.refused(Code.NOT_FOUND, r"never-registered.*at live_test.py:\d+", lambda: self.cluster.register(d))

    def test_another_function_under_the_same_name_needs_replace(self):
        def made(n):
            return squall.builtin("prime", name="mine", parameters={"n": n})

        self.cluster.register(made(10))
        self.cluster.register(made(10))
        self.refused(Code.ALREADY_EXISTS, "mine", lambda: self.cluster.register(made(20)))
        self.cluster.register(made(20), replace=True)
        self.assertEqual(self.cluster.run("mine", {})["count"].tolist(), [8])
        self.cluster.remove_function("mine")
        self.refused(Code.NOT_FOUND, "mine", lambda: self.cluster.call("mine"))

    def test_spec_files_are_applied(self):
        with tempfile.TemporaryDirectory() as folder:
            spec = pathlib.Path(folder) / "spec.yaml"
            head = "apiVersion: squall/v1\nkind: Function\n"
            spec.write_text(head + "metadata: {name: from-file}\nspec: {variants: [{builtin: noop}]}\n")
            self.assertIn("from-file", self.cluster.apply(spec))
            self.assertEqual(self.cluster.run("from-file", {"x": [3]})["x"].tolist(), [3])
            spec.write_text("apiVersion: squall/v1\nkind: Funktion\n")
            self.refused(Code.INVALID_ARGUMENT, "Funktion", lambda: self.cluster.apply(spec))

    def test_then_continues_with_the_outputs(self):
        done = self.cluster.call("echo", {"x": [1, 2]}).then("echo").result(GENEROUS)
        self.assertEqual(done["x"].tolist(), [1, 2])
        chained = self.cluster.call("echo", {"x": [1, 2]}).then("echo", lambda r: {"x": r["x"][:1] + 1})
        self.assertEqual(chained.result(GENEROUS)["x"].tolist(), [2])
        failing = self.cluster.call("echo", {"x": [1]}).then("echo", lambda r: r["nothing"])
        self.refused(Code.INVALID_ARGUMENT, "KeyError", lambda: failing.result(GENEROUS))
        slow = self.cluster.call("nap", {"x": [1]}).then("echo")
        slow.cancel()
        self.refused(Code.CANCELLED, "", lambda: slow.result(GENEROUS))

    # -- the store

    def test_the_store(self):
        kv = self.cluster.kv
        for size in (0, 1, 1 << 20, (1 << 20) + 1, 5_000_000):
            value = np.random.default_rng(size).bytes(size)
            kv.put("a/value", value)
            self.assertEqual(kv.get("a/value"), value)
            self.assertEqual(kv.stat("a/value").size_bytes, size)
        for i in range(5):
            kv[f"b/{i}"] = f"v{i}"
        self.assertEqual([e.key for e in kv.list("b/", after="b/1", limit=2)], ["b/2", "b/3"])
        self.assertIn("b/0", kv)
        del kv["b/0"]
        self.assertNotIn("b/0", kv)
        self.refused(Code.NOT_FOUND, "b/0", lambda: kv.get("b/0"))
        self.refused(Code.INVALID_ARGUMENT, "1 to 1024", lambda: kv.get(""))
        self.refused(Code.INVALID_ARGUMENT, "cannot be stored", lambda: kv.put("c", {}))
        kv.put(b"raw\xff", b"1")
        self.assertEqual(kv.get(b"raw\xff"), b"1")

    def test_watching_a_key(self):
        kv = self.cluster.kv
        seen = []

        def watch():
            for entry in kv.watch("watched", interval=0.02, timeout=GENEROUS):
                seen.append(entry and entry.size_bytes)
                if len(seen) == 3:
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        for step, change in enumerate((lambda: None, lambda: kv.put("watched", b"12"), lambda: kv.delete("watched"))):
            change()
            self.wait_for(lambda step=step: len(seen) > step, "the watcher")
        watcher.join()
        self.assertEqual(seen, [None, 2, None])

    # -- asyncio

    def test_asyncio(self):
        async def main():
            async with squall.aio.connect(self.cluster.endpoint) as cluster:
                results = await asyncio.gather(*(cluster.run("echo", {"x": [i]}) for i in range(50)))
                self.assertEqual([r["x"].tolist() for r in results], [[i] for i in range(50)])
                await cluster.kv.put("aio", b"1")
                self.assertEqual(await cluster.kv.get("aio"), b"1")
                with self.assertRaises(TimeoutError):
                    await asyncio.wait_for(cluster.run("nap", {"x": [1]}), 0.1)
                with self.assertRaises(squall.SquallError):
                    await cluster.run("ecko")

        asyncio.run(main())
        self.wait_for(lambda: self.cluster.query("status")["calls_running"] == 0, "the cancelled call to end")

    # -- connections

    def test_a_second_connection_and_its_end(self):
        with squall.connect(self.cluster.endpoint) as second:
            self.assertEqual(second.info.name, self.cluster.info.name)
            self.assertTrue(second.info.same_host)
            self.assertGreater(second.ping(), 0)
            call = second.call("nap", {"x": [1]})
        self.refused(Code.CANCELLED, "closed", lambda: call.result(GENEROUS))
        self.refused(Code.CANCELLED, "connect again", lambda: second.run("echo", {"x": [1]}))

    def test_nobody_there(self):
        self.refused(Code.UNAVAILABLE, "cannot connect", lambda: squall.connect("tcp://127.0.0.1:1", timeout=1))
        self.refused(Code.INVALID_ARGUMENT, "cannot connect", lambda: squall.connect("nonsense://x", timeout=5))


class Promises(unittest.TestCase):
    def test_a_refusal_carries_offers_and_one_is_taken(self):
        with squall.local(policy="calendar") as cluster:
            cluster.register(blink)
            for _ in range(5):  # profiles
                cluster.run("blink", {"x": [1]})
            kept = cluster.run("blink", {"x": [2]}, deadline=20, max_cost=1000, assurance="firm")
            self.assertEqual(kept.promise.assurance, 1.0)
            self.assertEqual(kept.promise.finish, 20.0)
            self.assertGreater(kept.receipt.cpu_ns, 15_000_000)
            with self.assertRaises(squall.SquallError) as caught:
                cluster.run("blink", {"x": [3]}, deadline=0.002)
            offers = caught.exception.offers
            self.assertTrue(offers, caught.exception)
            self.assertGreater(offers[0].finish, 0.01)
            taken = cluster.run("blink", {"x": [3]}, offer=offers[0])
            self.assertEqual(taken["x"].tolist(), [3])
            self.assertEqual(taken.id, offers[0].call)


class WithKeys(unittest.TestCase):
    def setUp(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.keys = folder / "keys"
        for words in (("new", self.keys), ("new", self.keys, "alice")):
            subprocess.run([find_binary(), "keys", *words], check=True, capture_output=True)
        runtime = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
        words = ["up", "--name", "locked", "--data", folder / "data", "--keys", self.keys]
        self.server = subprocess.Popen(
            [find_binary(), *words], env=runtime, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.addCleanup(self.server.wait)
        self.addCleanup(self.server.terminate)
        info = folder / f"squall-{os.getuid()}" / "locked.json"
        end = time.monotonic() + GENEROUS
        while not info.exists() or not info.read_text():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        self.endpoint = json.loads(info.read_text())["endpoint"]

    def test_keys_open_the_door_and_say_what_their_holder_may(self):
        with squall.connect(self.endpoint, keys=self.keys) as admin:
            admin.register(echo)
        with squall.connect(self.endpoint, keys=self.keys / "alice", patience=GENEROUS) as alice:
            self.assertEqual(alice.run("echo", {"x": [3]})["x"].tolist(), [3])
            with self.assertRaises(squall.SquallError) as caught:
                alice.register(blink)
            self.assertEqual(caught.exception.code, Code.PERMISSION_DENIED)
        with self.assertRaises(squall.SquallError) as caught:
            squall.connect(self.endpoint, timeout=2)
        self.assertEqual(caught.exception.code, Code.UNAVAILABLE)

    def test_secrets_that_others_may_read_are_refused(self):
        secret = self.keys / "client.secret"
        secret.chmod(0o644)
        with self.assertRaisesRegex(squall.SquallError, "chmod 600"):
            squall.connect(self.endpoint, keys=self.keys)
        with self.assertRaisesRegex(squall.SquallError, "squall keys new"):
            squall.connect(self.endpoint, keys=self.keys / "nothing")


class Restarts(unittest.TestCase):
    def test_the_client_connects_again_when_the_server_comes_back(self):
        with tempfile.TemporaryDirectory() as folder, squall.local(data=folder) as outer:
            outer.register(nap)
            outer.register(echo)
            port = outer.endpoint.rpartition(":")[2]
            self.enterContext(impatient := squall.connect(outer.endpoint, patience=0))
            outer.run("echo", {"x": [1]})  # what its inputs are is asked once
            running = impatient.call("nap", {"x": [1]})
            time.sleep(0.2)
            outer.shutdown()
            with self.assertRaises(squall.SquallError) as caught:
                running.result(GENEROUS)
            self.assertIn(caught.exception.code, (Code.UNAVAILABLE, Code.CANCELLED))
            waiting = outer.call("echo", {"x": [4]})  # nobody is there to take it yet
            words = [find_binary(), "up", "--name", f"again{port}", "--data", folder]
            words += ["--listen", f"tcp://127.0.0.1:{port}"]
            again = None
            try:
                end = time.monotonic() + GENEROUS
                while True:
                    if again is None or again.poll() is not None:  # the first may still hold the store
                        again = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    try:
                        self.assertEqual(outer.run("echo", {"x": [5]}, deadline=5)["x"].tolist(), [5])
                        break
                    except squall.SquallError as e:
                        self.assertLess(time.monotonic(), end, e)
                        time.sleep(0.1)
                self.assertEqual(waiting.result(GENEROUS)["x"].tolist(), [4])
            finally:
                if again is not None:
                    again.terminate()
                    again.wait()


if __name__ == "__main__":
    unittest.main()
