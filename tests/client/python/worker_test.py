"""The Python worker by itself: a driver that speaks docs/workers.md as a node does."""

import contextlib
import fcntl
import mmap
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile

import cloudpickle
import msgpack
import numpy as np
import squall
from squall.datatypes import decode_tensor, encode_plain

PROGRAM = pathlib.Path(squall.__file__).with_name("_worker.py")
READY, LOAD, LOADED, UNLOAD, RUN, DONE, RELEASE, CANCEL, NOTE, SEGMENT = range(10)
PARTIAL, CALL, RETURNED, WAITING, STATE_REQUEST, STATE_REPLY, SPAWN, SPAWNED, KILL, EXITED = range(10, 20)
FOR_EVER = 2**63 - 1
SIZE = 8 << 20
F_SEAL_FUTURE_WRITE = 0x10
GENEROUS = 60
FP32, FP64, INT64, UINT8, BYTES = 12, 13, 9, 2, 14

X = ["x", FP64, [1], False, False]
Y = ["y", FP64, [1], False, False]
ARRAY = ["a", UINT8, [-1], False, False]


class Channel:
    def __init__(self, sock):
        self.sock = sock
        sock.settimeout(GENEROUS)
        self.buffer = b""

    def send(self, number, request, body, payloads=(), descriptors=()):
        header = msgpack.packb([1, 256 + number, 0, request, body])
        sizes = struct.pack(f"<{2 + len(payloads)}I", len(header), len(payloads), *map(len, payloads))
        data = b"".join([sizes, header, *payloads])
        if descriptors:
            sent = socket.send_fds(self.sock, [data], list(descriptors))
            data = data[sent:]
        self.sock.sendall(data)

    def take(self, size):
        while len(self.buffer) < size:
            more = self.sock.recv(1 << 16)
            if not more:
                raise EOFError
            self.buffer += more
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def receive(self):
        header, count = struct.unpack("<2I", self.take(8))
        sizes = struct.unpack(f"<{count}I", self.take(4 * count))
        head = msgpack.unpackb(self.take(header))
        return head[1] - 256, head[3], head[4], [self.take(size) for size in sizes]


class Node:
    """What a node does with one worker."""

    def __init__(self, channel):
        self.channel = channel
        self.memory = {}
        for id, writable in ((1, False), (2, True)):
            file = os.memfd_create("segment", os.MFD_ALLOW_SEALING)
            os.ftruncate(file, SIZE)
            self.memory[id] = mmap.mmap(file, SIZE)
            seals = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | (0 if writable else F_SEAL_FUTURE_WRITE)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
            channel.send(SEGMENT, 0, [id, SIZE, writable], descriptors=[file])
            os.close(file)
        self.batch = 0

    def load(self, code, inputs, outputs, parameters=None, function="f"):
        file = os.memfd_create("code")
        os.write(file, code if isinstance(code, bytes) else cloudpickle.dumps(code))
        os.lseek(file, 0, os.SEEK_SET)
        variant = ["default", 3, 1, "key", parameters or {}, 8, 0, 1, 0, [0] * 8 + [False]]
        self.channel.send(LOAD, 7, [7, variant, inputs, outputs, "", {}, function], descriptors=[file])
        os.close(file)
        number, _, _, _ = first = self.channel.receive()
        while number != LOADED:
            number, _, body, _ = first = self.channel.receive()
        number, request, body, _ = first
        assert request == 7
        return body

    def start(self, *items, stream=False, remaining=FOR_EVER):
        """Values above 64 KiB go through the inbox, as a node sends them."""
        self.batch += 1
        payloads, at = [], 4096
        wire = []
        for item in items:
            values = []
            for value in item:
                encoded = encode_plain(value)
                if encoded is None:
                    values.append(None)
                elif len(encoded[2]) >= 65536:
                    size = len(encoded[2])
                    self.memory[1][at : at + size] = bytes(encoded[2])
                    values.append([encoded[0], list(encoded[1]), [1, at, size]])
                    at += (size + 63) // 64 * 64
                else:
                    payloads.append(bytes(encoded[2]))
                    values.append([encoded[0], list(encoded[1]), len(payloads) - 1])
            wire.append(values)
        calls = [100 + i for i in range(len(items))]
        self.channel.send(RUN, self.batch, [self.batch, 0, 7, remaining, wire, calls, stream], payloads)

    def decode(self, value, payloads):
        if value is None:
            return None
        if value[0] == 0:
            return [self.decode(v, payloads) for v in value[1]]
        datatype, shape, place = value
        if isinstance(place, list):
            segment, offset, size = place
            assert segment == 2
            data = bytes(self.memory[2][offset : offset + size])
            self.references.append(place)
        else:
            data = b"" if place is None else payloads[place]
        return decode_tensor(datatype, shape, data)

    def receive(self):
        """The next message with its values; releases what lay in the outbox, as a node does when it has copied it."""
        number, request, body, payloads = self.channel.receive()
        self.references = []
        if number == DONE:
            body[2] = [[code, text, [self.decode(v, payloads) for v in values]] for code, text, values in body[2]]
        elif number == PARTIAL:
            body[2] = [self.decode(v, payloads) for v in body[2]]
        elif number == CALL:
            body[4] = {name: self.decode(v, payloads) for name, v in body[4]}
        elif number == STATE_REQUEST:
            body[2] = self.decode(body[2], payloads)
        if self.references:
            self.channel.send(RELEASE, 0, [self.references])
        return number, request, body

    def done(self):
        number, _, body = self.receive()
        assert number == DONE, number
        return body

    def run(self, *items, **options):
        self.start(*items, **options)
        return self.done()[2]

    def cancel(self):
        struct.pack_into("<Q", self.memory[1], 64, self.batch)
        self.channel.send(CANCEL, 0, [self.batch])


class WorkerCase(unittest.TestCase):
    def setUp(self):
        self.start()
        self.addCleanup(lambda: self.end())

    def start(self):
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-B", str(PROGRAM), "--worker"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(3, theirs.fileno()),
                preexec_fn=lambda: os.dup2(theirs.fileno(), 3),
            )
        self.channel = Channel(ours)
        self.node = Node(self.channel)

    def end(self):
        self.channel.sock.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GENEROUS)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def loaded(self, *arguments, **options):
        number, _, body, _ = self.channel.receive()
        self.assertEqual((number, body[4]), (READY, 0))
        code, message = self.node.load(*arguments, **options)[1:3]
        self.assertEqual(code, 0, message)
        return self.node


class Functions(WorkerCase):
    def test_numbers_text_and_bytes_come_as_they_were_declared(self):
        def f(n, t, b, absent):
            assert (type(n), type(t), type(b), absent) == (int, str, bytes, None)
            return f"{t} {n}", b[::-1]

        ports = [
            ["n", INT64, [1], False, False],
            ["t", BYTES, [1], False, False],
            ["b", BYTES, [1], False, False],
            ["absent", BYTES, [1], False, True],
        ]
        types = {"type.n": "int", "type.t": "str", "type.b": "bytes", "type.absent": "str"}
        outputs = [["s", BYTES, [1], False, False], ["r", BYTES, [1], False, False]]
        node = self.loaded(f, ports, outputs, types)
        (code, message, values) = node.run([3, "hé", b"\0ab", None])[0]
        self.assertEqual((code, message), (0, ""))
        self.assertEqual([v.tolist() for v in values], [["hé 3".encode()], [b"ba\0"]])

    def test_large_arrays_come_without_a_copy_and_go_through_the_outbox(self):
        def f(a):
            assert not a.flags.owndata and not a.flags.writeable
            return a + 1

        node = self.loaded(f, [ARRAY], [["b", UINT8, [-1], False, False]])
        big = np.arange(1 << 20, dtype=np.uint8)
        for _ in range(30):  # more than the outbox holds
            node.start([big])
            done = node.done()
            self.assertEqual(done[2][0][0], 0, done)
            np.testing.assert_array_equal(done[2][0][2][0], big + 1)
            self.assertTrue(node.references)

    def test_an_array_made_by_empty_is_not_copied(self):
        def f(x):
            out = squall.empty((1 << 18,), np.float64)
            kept = squall.empty((1 << 18,), np.float64)
            out[:] = x
            kept[:] = 0
            return {"a": out, "address": out.ctypes.data % 4096}

        outputs = [["a", FP64, [-1], False, False], ["address", INT64, [1], False, False]]
        node = self.loaded(f, [X], outputs, {"type.x": "float"})
        for i in range(30):
            code, message, values = node.run([float(i)])[0]
            self.assertEqual(code, 0, message)
            self.assertEqual(set(values[0].tolist()), {float(i)})
            self.assertEqual(node.references[0][1] % 4096, int(values[1][0]))

    def test_a_class_is_made_once(self):
        class Counter:
            def __init__(self):
                self.n = 0

            def __call__(self, x):
                self.n += 1
                return float(self.n)

        node = self.loaded(Counter, [X], [Y], {"type.x": "float"})
        self.assertEqual([node.run([1.0])[0][2][0].tolist() for _ in range(3)], [[1.0], [2.0], [3.0]])

    def test_batches(self):
        def f(x):
            return [v * 2 for v in x]

        node = self.loaded(f, [X], [Y], {"batched": "true", "type.x": "float"})
        self.assertEqual([r[2][0].tolist() for r in node.run([1.0], [2.0], [3.0])], [[2.0], [4.0], [6.0]])

    def test_a_batch_with_too_few_results_fails_and_says_so(self):
        node = self.loaded(lambda x: x[:1], [X], [Y], {"batched": "true", "type.x": "float"}, "halve")
        results = node.run([1.0], [2.0])
        self.assertEqual([r[0] for r in results], [13, 13])
        self.assertIn("'halve' is batched", results[0][1])

    def test_lists_in_and_out(self):
        many = ["m", FP64, [-1], True, False]
        node = self.loaded(lambda m: [v + 1 for v in m], [many], [["r", FP64, [-1], True, False]])
        node.batch = 1
        payload = np.array([1.0, 2.0]).tobytes()
        node.channel.send(
            RUN, 1, [1, 0, 7, FOR_EVER, [[[0, [[FP64, [2], 0], [FP64, [0], None]]]]], [5], False], [payload]
        )
        values = node.done()[2][0][2][0]
        self.assertEqual([v.tolist() for v in values], [[2.0, 3.0], []])

    def test_modules_by_name_also_from_a_zip(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "code.zip"
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("mymodule.py", "import helper\ndef f(x): return helper.twice(x)\n")
                archive.writestr("helper.py", "def twice(x): return 2 * x\n")
            node = self.loaded(path.read_bytes(), [X], [Y], {"entry": "mymodule:f", "type.x": "float"})
        self.assertEqual(node.run([4.0])[0][2][0].tolist(), [8.0])

    def test_async_functions(self):
        async def f(x):
            import asyncio

            await asyncio.sleep(0)
            return x

        self.assertEqual(self.loaded(f, [X], [Y], {"type.x": "float"}).run([4.0])[0][2][0].tolist(), [4.0])

    def test_generators_stream_if_somebody_wants_it(self):
        def f(x):
            for i in range(4):
                yield x + i

        node = self.loaded(f, [X], [Y], {"type.x": "float"})
        node.start([1.0], stream=True)
        seen = []
        while (got := node.receive())[0] == PARTIAL:
            self.assertEqual(got[2][:2], [node.batch, 0])
            seen.append(got[2][2][0].tolist())
        self.assertEqual((seen, got[2][2][0][2][0].tolist()), ([[1.0], [2.0], [3.0]], [4.0]))
        self.assertEqual(node.run([1.0])[0][2][0].tolist(), [4.0])

    def test_what_a_function_prints_reaches_the_log(self):
        def f(x):
            print("a line", x)
            return x

        self.loaded(f, [X], [Y], {"type.x": "float"}).run([4.0])
        self.assertEqual(self.process.stdout.readline(), b"a line 4.0\n")


class Failures(WorkerCase):
    def failing(self, f, outputs=(Y,)):
        code, message, values = self.loaded(f, [X], list(outputs), {"type.x": "float"}, "f").run([1.0])[0]
        self.assertEqual((code, values), (13, []))
        return message

    def test_an_exception_comes_with_its_place_in_the_users_code(self):
        def inner(x):
            raise KeyError("nothing here")

        first, *rest = self.failing(lambda x: inner(x)).splitlines()
        self.assertEqual(first, "KeyError: 'nothing here'")
        self.assertIn("worker_test.py", rest[0])
        self.assertTrue(any("in inner" in line for line in rest))
        self.assertFalse(any("_worker.py" in line for line in rest))

    def test_exits_and_interrupts_end_only_the_call(self):
        def f(x):
            if x == 1:
                sys.exit(3)
            if x == 2:
                raise KeyboardInterrupt
            return x

        node = self.loaded(f, [X], [Y], {"type.x": "float"})
        self.assertIn("sys.exit(3)", node.run([1.0])[0][1])
        self.assertIn("KeyboardInterrupt", node.run([2.0])[0][1])
        self.assertEqual(node.run([3.0])[0][0], 0)

    def test_wrong_outputs_name_the_port(self):
        def f(x):
            return [None, "text", np.zeros((2, 2)), (1.0, 2.0), {"z": 1}][int(x)]

        node = self.loaded(f, [X], [["y", FP32, [-1], False, False]], {"type.x": "float"}, "f")
        for x, pattern in ((1, "output 'y' of 'f' wants FP32"), (2, "astype"), (4, "wants FP32")):
            code, message, _ = node.run([float(x)])[0]
            self.assertEqual(code, 13)
            self.assertIn(pattern, message)

    def test_too_few_outputs(self):
        self.assertIn("has the outputs y, z", self.failing(lambda x: x, [Y, ["z", FP64, [1], False, False]]))

    def test_a_long_traceback_is_cut(self):
        def f(x):
            raise ValueError("x" * 100_000)

        self.assertLess(len(self.failing(f)), 17 << 10)

    def test_loading_fails_with_the_reason(self):
        class Broken:
            def __init__(self):
                raise OSError("no such weights")

        for code, parameters, pattern in (
            (Broken, {}, "no such weights"),
            (b"nonsense", {}, "UnpicklingError"),
            (b"", {"entry": "no_such_module:f"}, "no_such_module"),
            (cloudpickle.dumps(3), {}, "cannot be called"),
        ):
            with self.subTest(pattern):
                self.end()
                self.start()
                self.channel.receive()
                body = self.node.load(code, [X], [Y], parameters)
                self.assertNotEqual(body[1], 0)
                self.assertIn(pattern, body[2])

    def test_a_running_function_is_cancelled(self):
        def f(x):
            if x:
                import time

                time.sleep(60)
            return x

        node = self.loaded(f, [X], [Y], {"type.x": "float"})
        node.start([1.0])
        time.sleep(0.3)
        node.cancel()
        done = node.done()
        self.assertEqual((done[0], done[2], done[3]), (node.batch, [], 6))
        self.assertEqual(node.run([0.0])[0][0], 0, "the worker lives on")

    def test_a_function_that_catches_everything_can_ask(self):
        def f(x):
            import contextlib
            import time

            while not squall.cancelled():
                with contextlib.suppress(BaseException):
                    time.sleep(0.01)
            return 5.0

        node = self.loaded(f, [X], [Y], {"type.x": "float"})
        node.start([1.0])
        time.sleep(0.2)
        node.cancel()
        self.assertEqual(node.done()[2][0][2][0].tolist(), [5.0])

    def test_the_worker_ends_with_its_socket_whatever_threads_run(self):
        def f(x):
            import threading
            import time

            threading.Thread(target=time.sleep, args=(600,)).start()
            return x

        self.loaded(f, [X], [Y], {"type.x": "float"}).run([1.0])
        self.channel.sock.close()
        self.assertEqual(self.process.wait(GENEROUS), 0)


class Library(WorkerCase):
    def test_calls_from_a_function(self):
        def f(x):
            both = [squall.submit("double", {"x": x}), squall.submit("double@2", {"x": x + 1}, deadline=0.5)]
            try:
                squall.call("broken", {})
            except squall.SquallError as e:
                assert e.code is squall.Code.NOT_FOUND, e
            return float(sum(c.result()["y"][0] for c in both))

        node = self.loaded(f, [X], [Y], {"type.x": "float"})
        node.start([1.0])
        calls = []
        for _ in range(3):
            number, request, body = node.receive()
            self.assertEqual(number, CALL)
            calls.append((request, body))
        self.assertEqual([b[2:4] for _, b in calls], [["double", 0], ["double", 2], ["broken", 0]])
        self.assertEqual(calls[1][1][5], 500_000_000)
        self.assertEqual(calls[0][1][4]["x"].tolist(), [1.0])
        self.assertEqual(node.receive()[0], WAITING)
        node.channel.send(RETURNED, calls[2][0], [2, "there is none", []])
        self.assertEqual(node.receive()[0], WAITING)
        for request, body in reversed(calls[:2]):
            value = [FP64, [1], 0]
            node.channel.send(RETURNED, request, [0, "", [["y", value]]], [(body[4]["x"] * 2).tobytes()])
        self.assertEqual(node.done()[2][0][2][0].tolist(), [6.0])

    def test_state(self):
        def f(x):
            squall.put("k", b"value")
            assert squall.get("k") == b"stored", squall.get("k")
            try:
                squall.delete("missing")
            except squall.SquallError as e:
                return float(e.code)

        node = self.loaded(f, [X], [Y], {"type.x": "float"})
        node.start([1.0])
        number, request, body = node.receive()
        self.assertEqual(
            (number, body[0], body[1], body[2].tobytes(), body[3]), (STATE_REQUEST, "put", "k", b"value", True)
        )
        node.channel.send(STATE_REPLY, request, [0, "", None])
        number, request, body = node.receive()
        self.assertEqual(body[:2], ["get", "k"])
        node.channel.send(STATE_REPLY, request, [0, "", [UINT8, [6], 0]], [b"stored"])
        number, request, body = node.receive()
        self.assertEqual(body[:2], ["delete", "missing"])
        node.channel.send(STATE_REPLY, request, [2, "no such key", None])
        self.assertEqual(node.done()[2][0][2][0].tolist(), [2.0])

    def test_waiting_for_a_call_does_not_count_as_running(self):
        node = self.loaded(lambda x: float(len(squall.call("g", {}))), [X], [Y], {"type.x": "float"})
        node.start([1.0])
        _, request, _ = node.receive()
        self.assertEqual(node.receive()[0], WAITING)
        time.sleep(1)
        node.channel.send(RETURNED, request, [0, "", []])
        self.assertLess(node.done()[1], 900_000_000)

    def test_what_was_sent_ahead_is_refused_while_the_function_waits(self):
        node = self.loaded(lambda x: float(len(squall.call("g", {}))) + x, [X], [Y], {"type.x": "float"})
        node.start([1.0])
        first = node.batch
        node.start([2.0])
        number, request, body = node.receive()
        self.assertEqual((number, body[0]), (CALL, first))
        self.assertEqual(node.receive()[0], WAITING)
        refused = node.done()
        self.assertEqual((refused[0], refused[2], refused[3]), (node.batch, [], 4))
        node.channel.send(RETURNED, request, [0, "", []])
        done = node.done()
        self.assertEqual((done[0], done[2][0][2][0].tolist()), (first, [1.0]))
        # It comes again when its turn has come.
        node.start([3.0])
        _, request, body = node.receive()
        self.assertEqual((body[0], node.receive()[0]), (node.batch, WAITING))
        node.channel.send(RETURNED, request, [0, "", []])
        self.assertEqual(node.done()[2][0][2][0].tolist(), [3.0])

    def test_what_was_sent_ahead_runs_in_its_turn(self):
        node = self.loaded(lambda x: x, [X], [Y], {"type.x": "float"})
        for x in (1.0, 2.0, 3.0):
            node.start([x])
        for batch, x in enumerate((1.0, 2.0, 3.0), 1):
            done = node.done()
            self.assertEqual((done[0], done[2][0][2][0].tolist()), (batch, [x]))

    def test_the_time_that_is_left(self):
        node = self.loaded(lambda x: squall.remaining() or -1.0, [X], [Y], {"type.x": "float"})
        left = node.run([1.0], remaining=100 * 10**9)[0][2][0][0]
        self.assertTrue(0 < left <= 100, left)
        self.assertEqual(node.run([1.0])[0][2][0].tolist(), [-1.0])


STUB = """
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
struct squall_bounds { unsigned long memory_bytes, scratch_bytes, open_files, processes; };
int squall_sandbox_fork(const struct squall_bounds* bounds, int sock, int log, char* problem, unsigned long size) {
  if (bounds->memory_bytes == 13) { snprintf(problem, size, "no room for it"); return -1; }
  const int pid = fork();
  if (pid != 0) return pid;
  const int s = fcntl(sock, F_DUPFD, 100), l = fcntl(log, F_DUPFD, 100);
  dup2(s, 3); dup2(l, 1); dup2(l, 2);
  close_range(4, ~0U, 0);
  return 0;
}
"""


@unittest.skipUnless(shutil.which("cc"), "there is no C compiler")
class Zygote(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        source = pathlib.Path(self.folder) / "stub.c"
        source.write_text("#define _GNU_SOURCE\n" + STUB)
        library = pathlib.Path(self.folder) / "stub.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-B", str(PROGRAM), "--zygote"],
                stdin=subprocess.DEVNULL,
                env={"SQUALL_SANDBOX_LIBRARY": str(library), "SQUALL_PRELOAD": "numpy,no_such_module", "HOME": "/tmp"},
                pass_fds=(3, theirs.fileno()),
                preexec_fn=lambda: os.dup2(theirs.fileno(), 3),
            )
        self.control = Channel(ours)
        self.assertEqual(self.control.receive()[0], READY)
        self.addCleanup(self.end)

    def end(self):
        self.control.sock.close()
        self.assertEqual(self.process.wait(GENEROUS), 0)

    def spawn(self, number, memory=1 << 30):
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        spec = [0, 1, 0, memory, 1 << 20, 0, 16, 64, False]
        self.control.send(SPAWN, 0, [number, spec], descriptors=[theirs.fileno(), write])
        theirs.close()
        os.close(write)
        self.addCleanup(os.close, read)
        self.addCleanup(ours.close)
        kind, _, body, _ = self.control.receive()
        self.assertEqual(kind, SPAWNED)
        return Channel(ours), read, body

    def test_workers_are_forked_and_their_ends_reported(self):
        first, log, body = self.spawn(1)
        second, _, _ = self.spawn(2)
        for channel in (first, second):
            self.assertEqual(channel.receive()[0], READY)
        node = Node(first)

        def f(x):
            print("hello", flush=True)
            return x + 1

        self.assertEqual(node.load(f, [X], [Y], {"type.x": "float"})[1], 0)
        self.assertEqual(node.run([1.0])[0][2][0].tolist(), [2.0])
        self.assertEqual(os.read(log, 100), b"hello\n")
        self.control.send(KILL, 0, [2])
        kind, _, body, _ = self.control.receive()
        self.assertEqual((kind, body[0], os.WTERMSIG(body[1])), (EXITED, 2, signal.SIGKILL))
        first.sock.close()
        kind, _, body, _ = self.control.receive()
        self.assertEqual((kind, body), (EXITED, [1, 0]))

    def test_a_failed_fork_is_told(self):
        _, _, body = self.spawn(3, memory=13)
        self.assertEqual(body[0], 3)
        self.assertNotEqual(body[2], 0)
        self.assertEqual(body[3], "no room for it")


if __name__ == "__main__":
    unittest.main()
