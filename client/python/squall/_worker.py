"""The program that runs Python functions: docs/workers.md.

`python -I -B _worker.py --zygote` prepares (an interpreter with numpy, no user code) and forks a worker whenever the
node asks. `--worker` is a worker without that, for tests. Descriptor 3 is the socket in both cases. A worker has one
thread: it reads a packet, runs the function, answers. While the function runs, the socket's SIGIO tells of a packet;
if that cancels the batch, the function is ended by an exception.
"""

from __future__ import annotations

import contextlib
import fcntl
import inspect
import mmap
import os
import pathlib
import signal
import socket
import struct
import sys
import time
from typing import Any

# The function's own packages come first; numpy may be one of them.
if packages := os.environ.get("SQUALL_PACKAGES"):
    sys.path.insert(0, packages)
# The program is started in isolation: the package that it lies in is not on the path.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np

from squall import context
from squall._code import code_of_failure, described, imported, unpickled
from squall._packets import (
    CALL,
    CANCELLED_AT,
    DONE,
    FOR_EVER,
    LOAD,
    LOADED,
    MAX_PAYLOAD,
    PARTIAL,
    READY,
    RELEASE,
    RETURNED,
    RUN,
    SEGMENT,
    SHARE_THRESHOLD,
    SOCKET,
    STATE_REPLY,
    STATE_REQUEST,
    UNLOAD,
    VERSION,
    WAITING,
    Closed,
    Outbox,
    Packets,
)
from squall._zygote import Zygote, preload
from squall.calls import Result
from squall.datatypes import DataType, Port, decode_scalar, encode_for, encode_plain
from squall.errors import Code, SquallError, code_of, invalid
from squall.protocol import Reader


class Cancelled(BaseException):
    """Nobody wants the batch any more. Not an Exception, so that a function that catches those ends all the same."""


class Nested:
    """A call that a function has made."""

    def __init__(self, worker: Worker, request: int, target: str) -> None:
        self._worker = worker
        self._request = request
        self._target = target

    def done(self) -> bool:
        return self._request in self._worker.answers

    def result(self) -> Result:
        code, message, outputs, reader = self._worker.wait_for(self._request, waiting=True)
        if code:
            raise SquallError(code_of(code), f"the call of '{self._target}': {message}")
        return Result([self._request, [0], outputs], reader)


class Worker:
    """Runs one function for its whole life; also what `squall.call` and the like mean inside of it."""

    def __init__(self, packets: Packets) -> None:
        self._packets = packets
        self._flags = fcntl.fcntl(packets.fileno(), fcntl.F_GETFL)  # of the socket, but for a function that runs
        self._inbox: np.ndarray | None = None
        self._inbox_id = 0
        self._outbox: Outbox | None = None
        self._function: Any = None
        self._name = "?"
        self._inputs: list[Port] = []
        self._outputs: list[Port] = []
        self._types: list[str] = []
        self._batched = False
        self._batch = 0
        self._item = 0
        self._calls: list[int] = []
        self._deadline: float | None = None
        self._waited = 0.0
        self._running = False
        self._requests = 0
        self._sent: list[int] = []  # blocks of the outbox that the packet being made refers to
        self._payloads: list[bytes] = []
        self._made: list[int] = []  # blocks that the function has got by empty()
        self.answers: dict[int, Any] = {}

    # -- the loop

    def run(self) -> None:
        context.backend = self
        signal.signal(signal.SIGIO, self._on_signal)
        with contextlib.suppress(OSError):  # where it is not allowed, functions ask by themselves
            fcntl.fcntl(self._packets.fileno(), fcntl.F_SETOWN, os.getpid())
        runtime = f"Python {sys.version.split()[0]}, numpy {np.__version__}"
        self._packets.send(READY, 0, [VERSION, os.getpid(), 0, runtime, 0, ""])
        while True:
            number, request, body, payloads = self._packets.receive()
            if number == RUN:
                self._run_batch(body, payloads)
            elif number == LOAD:
                self._load(body)
            elif number == UNLOAD:
                return
            else:
                self._on_other(number, request, body, payloads)

    def _on_other(self, number: int, request: int, body: list[Any], payloads: list[bytes]) -> None:
        """What may come at any time."""
        if number == SEGMENT:
            self._map(*body[:3])
        elif number == RELEASE and self._outbox is not None:
            for _, offset, _ in body[0]:
                self._outbox.release(offset)
        elif number == RUN:  # it was sent ahead, and must not wait behind a function that waits
            self._packets.send(DONE, request, [request, 0, [], int(Code.OVERLOADED), "the function before it waits"])
        elif number in (RETURNED, STATE_REPLY):
            self.answers[request] = (body[0], body[1], body[2], Reader(payloads, self._resolve))

    def _map(self, id: int, size: int, writable: bool) -> None:
        file = self._packets.descriptor()
        if file is None:
            raise Closed  # nothing that this node sends can be trusted
        try:
            if writable:
                self._outbox = Outbox(id, file, size)
            else:
                memory = mmap.mmap(file, size, mmap.MAP_SHARED, mmap.PROT_READ)
                self._inbox = np.frombuffer(memory, dtype=np.uint8)
                self._inbox_id = id
        finally:
            os.close(file)

    def _resolve(self, place: Any) -> np.ndarray:
        segment, offset, size = place
        if self._inbox is None or segment != self._inbox_id or offset + size > self._inbox.size:
            raise SquallError(Code.CORRUPT, f"the node refers to memory that was not shared: {place}")
        return self._inbox[offset : offset + size]

    # -- loading

    def _load(self, body: list[Any]) -> None:
        variant = body[0]
        begin = time.monotonic_ns()
        code, message = 0, ""
        try:
            self._prepare(*body[1:4], body[6] if len(body) > 6 else "")
        except SquallError as e:
            code, message = int(e.code), e.message
        except BaseException as e:
            code, message = int(Code.FAILED), described(e)
        with open("/proc/self/statm", "rb") as file:
            memory = int(file.read().split()[1]) * mmap.PAGESIZE
        self._packets.send(LOADED, variant, [variant, code, message, memory, time.monotonic_ns() - begin, []])

    def _prepare(self, spec: list[Any], inputs: list[Any], outputs: list[Any], name: str) -> None:
        parameters = spec[4]
        self._name = name or spec[3]
        self._inputs = [Port(p[0], DataType(p[1]), tuple(p[2]), p[3], p[4]) for p in inputs]
        self._outputs = [Port(p[0], DataType(p[1]), tuple(p[2]), p[3], p[4]) for p in outputs]
        self._types = [parameters.get(f"type.{port.name}", "") for port in self._inputs]
        self._batched = parameters.get("batched") == "true"
        entry = parameters.get("entry", "")
        code = self._packets.descriptor()
        loaded = imported(entry, code) if entry else unpickled(code)
        self._function = loaded() if inspect.isclass(loaded) else loaded
        if not callable(self._function):
            raise invalid(
                f"'{self._name}' is a {type(self._function).__name__} that cannot be called; a class needs __call__"
            )

    # -- running

    def _run_batch(self, body: list[Any], payloads: list[bytes]) -> None:
        batch, _, _, remaining, items = body[:5]
        self._calls = body[5] if len(body) > 5 else []
        stream = len(body) > 6 and body[6]
        self._batch = batch
        self._deadline = None if remaining >= FOR_EVER else time.monotonic() + remaining / 1e9
        self._waited = 0.0
        self._sent, self._payloads = [], []
        begin = time.monotonic()
        try:
            reader = Reader(payloads, self._resolve)
            given = [self._arguments(reader, values) for values in items]
            results = (
                self._run_together(given)
                if self._batched
                else [self._run_one(i, a, stream) for i, a in enumerate(given)]
            )
            executed = max(0.0, time.monotonic() - begin - self._waited)
            answer = [batch, round(executed * 1e9), results, 0, ""]
        except Cancelled:
            self._drop_unsent()
            answer = [batch, 0, [], int(Code.CANCELLED), "cancelled"]
        except (SquallError, ValueError, IndexError, TypeError) as e:
            self._drop_unsent()
            answer = [batch, 0, [], int(Code.CORRUPT), described(e)]
        self.answers.clear()
        given = reader = None
        _flush()
        self._packets.send(DONE, batch, answer, self._payloads)
        for offset in self._made:
            if offset not in self._sent and self._outbox is not None:
                self._outbox.release(offset)
        self._sent, self._payloads, self._made = [], [], []

    def _arguments(self, reader: Reader, values: list[Any]) -> dict[str, Any]:
        """What the function gets for one item."""
        arguments = {}
        for port, kind, value in zip(self._inputs, self._types, values, strict=True):
            if kind and value is not None:
                scalar = decode_scalar(value[0], reader.raw(value[2])) if value[1] == [1] else None
                arguments[port.name] = _as_python(kind, reader.value(value)) if scalar is None else scalar
            else:
                arguments[port.name] = reader.value(value)
        return arguments

    def _run_one(self, item: int, arguments: dict[str, Any], stream: bool) -> list[Any]:
        self._item = item
        try:
            value = self._guarded(lambda: self._call(arguments, stream))
            return [0, "", self._encoded(value)]
        except Exception as e:
            return [code_of_failure(e), described(e), []]
        except (SystemExit, KeyboardInterrupt, GeneratorExit) as e:
            return [int(Code.FAILED), described(e), []]

    def _call(self, arguments: dict[str, Any], stream: bool) -> Any:
        value = self._function(**arguments)
        if inspect.isgenerator(value):
            return self._drain(value, stream)
        if inspect.iscoroutine(value):
            import asyncio

            return asyncio.run(value)
        return value

    def _drain(self, generator: Any, stream: bool) -> Any:
        """All but the last are partial results; what the function returns at the end does not count."""
        last, any_yet = None, False
        for value in generator:
            if any_yet and stream:
                self._send_partial(last)
            last, any_yet = value, True
        if not any_yet:
            raise invalid(f"the generator '{self._name}' has yielded nothing; its last value is the result")
        return last

    def _send_partial(self, value: Any) -> None:
        outer = self._sent, self._payloads
        self._sent, self._payloads = [], []
        self._packets.send(PARTIAL, 0, [self._batch, self._item, self._encoded(value)], self._payloads)
        self._sent, self._payloads = outer

    def _run_together(self, given: list[dict[str, Any]]) -> list[Any]:
        self._item = 0
        lists = {port.name: [arguments[port.name] for arguments in given] for port in self._inputs}
        try:
            values = self._guarded(lambda: self._call(lists, False))
            if not isinstance(values, (list, tuple)) or len(values) != len(given):
                got = f"{len(values)} results" if isinstance(values, (list, tuple)) else f"a {type(values).__name__}"
                raise invalid(
                    f"'{self._name}' is batched: it returns a list with a result for each of the {len(given)} items, "
                    f"not {got}"
                )
        except Exception as e:
            return [[code_of_failure(e), described(e), []]] * len(given)
        except (SystemExit, KeyboardInterrupt, GeneratorExit) as e:
            return [[int(Code.FAILED), described(e), []]] * len(given)
        return [self._encoded_item(value) for value in values]

    def _encoded_item(self, value: Any) -> list[Any]:
        try:
            return [0, "", self._encoded(value)]
        except Exception as e:
            return [int(Code.FAILED), described(e), []]

    # -- cancelling

    def _guarded(self, run: Any) -> Any:
        """Runs user code so that news on the socket can end it."""
        fd, flags = self._packets.fileno(), self._flags
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_ASYNC)
        self._running = True
        try:
            if self.cancelled():
                raise Cancelled
            return run()
        finally:
            self._running = False
            fcntl.fcntl(fd, fcntl.F_SETFL, flags)

    def _on_signal(self, *_: Any) -> None:
        if self._running and self.cancelled():
            self._running = False
            raise Cancelled

    def cancelled(self) -> bool:
        if self._inbox is None:
            return False
        return struct.unpack_from("<Q", self._inbox.data, CANCELLED_AT)[0] == self._batch

    def remaining(self) -> float | None:
        return None if self._deadline is None else self._deadline - time.monotonic()

    def id(self) -> int:
        return self._calls[self._item] if self._item < len(self._calls) else os.getpid()

    # -- values for the node

    def _encoded(self, value: Any) -> list[Any]:
        """One value for each output port, of what a function returned."""
        names = [port.name for port in self._outputs]
        if isinstance(value, dict) and set(value) <= set(names) and value:
            values = [value.get(name) for name in names]
        elif len(names) == 1:
            values = [value]
        elif isinstance(value, (tuple, list)) and len(value) == len(names):
            values = list(value)
        else:
            raise invalid(
                f"'{self._name}' has the outputs {', '.join(names)}: it returns a tuple of them, or a dict by name, "
                "not "
                f"{value!r:.80}"
            )
        return [
            self._placed(encode_for(f"the output '{port.name}' of '{self._name}'", port, v))
            for port, v in zip(self._outputs, values, strict=True)
        ]

    def _placed(self, encoded: Any) -> Any:
        """An encoded value as a packet mentions it; large ones lie in the outbox."""
        if encoded is None:
            return None
        if isinstance(encoded, list):
            return [0, [self._placed(element) for element in encoded]]
        datatype, shape, data = encoded
        size = len(data)
        if size == 0:
            return [datatype, shape, None]
        if size >= SHARE_THRESHOLD and self._outbox is not None:
            array = np.frombuffer(data, dtype=np.uint8)
            offset = self._outbox.holds(array)
            if offset is None:
                offset = self._space(size)
                if offset is not None:
                    self._outbox.memory[offset : offset + size] = array
            if offset is not None:
                self._sent.append(offset)
                return [datatype, shape, [self._outbox.id, offset, size]]
        if size > MAX_PAYLOAD:
            raise SquallError(
                Code.TOO_LARGE, f"a value of {size} bytes from '{self._name}'; there is no room to send it"
            )
        self._payloads.append(bytes(data))
        return [datatype, shape, len(self._payloads) - 1]

    def _space(self, size: int) -> int | None:
        """A block of the outbox; waits for the node to release others if that helps."""
        assert self._outbox is not None
        while (offset := self._outbox.allocate(size)) is None:
            if size > self._outbox.size or self._outbox.count <= len(self._sent):
                return None
            self._on_other(*self._packets.receive())
        return offset

    def _drop_unsent(self) -> None:
        if self._outbox is not None:
            for offset in self._sent:
                self._outbox.release(offset)
        self._sent, self._payloads = [], []

    def empty(self, shape: Any, dtype: Any) -> np.ndarray:
        """An array in the outbox: returned as an output, it is not copied."""
        array = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * array.itemsize
        offset = self._space(size) if self._outbox is not None and size >= SHARE_THRESHOLD else None
        if offset is None or self._outbox is None:
            return np.empty(shape, dtype)
        self._made.append(offset)
        return self._outbox.memory[offset : offset + size].view(array).reshape(shape)

    # -- what a function may ask for

    def _ask(self, number: int, make: Any) -> int:
        """Sends a request; `make` gives its body while values are collected for it."""
        self._requests += 1
        outer = self._sent, self._payloads
        self._sent, self._payloads = [], []
        try:
            self._packets.send(number, self._requests, make(), self._payloads)
        finally:
            self._sent, self._payloads = outer
        return self._requests

    def wait_for(self, request: int, *, waiting: bool) -> Any:
        """The answer to a request; what comes meanwhile is dealt with."""
        begin = time.monotonic()
        if waiting and request not in self.answers:
            self._packets.send(WAITING, 0, [self._batch])
        while request not in self.answers:
            number, other, body, payloads = self._packets.receive()
            self._on_other(number, other, body, payloads)
            if self.cancelled():
                raise Cancelled
        self._waited += time.monotonic() - begin
        return self.answers.pop(request)

    def submit(self, target: str, inputs: Any, deadline: float | None) -> Nested:
        name, at, version = target.partition("@")
        if at and not (version.isdigit() and int(version) > 0):
            raise invalid(f"'{target}' is not a name with a version such as {name}@2")
        ns = 0 if deadline is None else max(1, round(deadline * 1e9))
        request = self._ask(
            CALL,
            lambda: [
                self._batch,
                self._item,
                name,
                int(version) if at else 0,
                [[key, self._placed(encode_plain(value))] for key, value in inputs.items()],
                ns,
            ],
        )
        return Nested(self, request, target)

    def _state(self, operation: str, key: str, value: bytes | None = None, durable: bool = True) -> Any:
        encoded = None if value is None else (int(DataType.UINT8), (len(value),), value)
        request = self._ask(STATE_REQUEST, lambda: [operation, key, self._placed(encoded), durable])
        code, message, answer, reader = self.wait_for(request, waiting=False)
        if code:
            raise SquallError(code_of(code), message)
        return reader.value(answer)

    def get(self, key: str) -> bytes:
        value = self._state("get", key)
        return b"" if value is None else value.tobytes()

    def put(self, key: str, value: bytes, durable: bool) -> None:
        self._state("put", key, value, durable)

    def delete(self, key: str) -> None:
        self._state("delete", key)

    def keys(self, prefix: str) -> list[str]:
        value = self._state("list", prefix)
        return [] if value is None else [raw.decode("utf-8", "surrogateescape") for raw in value.ravel().tolist()]


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it, or the function has closed it
            stream.flush()


def _as_python(kind: str, array: Any) -> Any:
    """A tensor of one element as the scalar that the function was declared with."""
    value = array.ravel()[0]
    if kind == "str":
        return value.decode("utf-8", "surrogateescape")
    return value if kind == "bytes" else value.item()


def work() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # the sandbox has set all to their defaults
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with contextlib.suppress(Closed):
        Worker(Packets(socket.socket(fileno=SOCKET))).run()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(0)  # threads and exit handlers of user code do not keep the process


def main() -> None:
    # Pickles name what they need by its module; this one has the name of the program.
    sys.modules["squall._worker"] = sys.modules["__main__"]
    if sys.argv[1:] == ["--zygote"]:
        preload()
        control = socket.socket(fileno=SOCKET)
        with contextlib.suppress(Closed):
            Zygote(Packets(control), os.environ["SQUALL_SANDBOX_LIBRARY"]).run()
            control.detach()  # the library has put the worker's socket in its place
            work()
        os._exit(0)
    elif sys.argv[1:] == ["--worker"]:
        preload()
        work()
    else:
        sys.exit("usage: _worker.py --zygote, with the node's socket as descriptor 3")


if __name__ == "__main__":
    main()
