"""A connection to a cluster."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from squall.calls import Call, Result, options_body
from squall.dags import Dag
from squall.datatypes import Port, encode_for
from squall.discovery import find_cluster
from squall.engine import Engine, error_of_reply
from squall.errors import Code, SquallError, invalid
from squall.functions import Function, nearest
from squall.futures import Future
from squall.kv import Kv
from squall.link import Keys, Welcome
from squall.outcomes import Offer
from squall.protocol import MAX_VALUE_BYTES, SHARE_THRESHOLD_BYTES, Role, Type, Writer
from squall.specs import DagSpec, FunctionSpec, ports_from_json

_CALL_REQUEST = int(Type.CALL_REQUEST)
_CONTROLLER = int(Role.CONTROLLER)

Target = str | Function | Dag

# The clusters whose `with` blocks are open, innermost last.
_open: list[Cluster] = []
_open_lock = threading.Lock()


def current_cluster(purpose: str) -> Cluster:
    with _open_lock:
        for cluster in reversed(_open):
            if not cluster.closed:
                return cluster
    raise invalid(
        f"no cluster to {purpose} in: do it inside of `with squall.connect(...)` or `with squall.local()`, or use "
        "cluster.call(...)"
    )


@dataclass(frozen=True)
class ClusterInfo:
    """What the server says about itself; `epoch` changes when it restarts."""

    name: str
    software: str
    protocol_version: int
    epoch: int
    same_host: bool
    default_deadline: float


class Cluster:
    """A connection to a cluster, made by connect(). Thread-safe: one thread of its own owns the sockets.

    The server is pinged each second. When it has been silent for 5 s, when the connection breaks, or when it turns out
    to have restarted, the client connects again by itself. Calls wait for that for up to `patience`; then, and requests
    of other kinds at once, they end as UNAVAILABLE (whether a call ran is then unknown).
    """

    def __init__(self, engine: Engine, keys_folder: str | None = None) -> None:
        self._engine = engine
        self._keys_folder = keys_folder
        self._kv = Kv(engine)
        self._ports: dict[str, dict[str, Port]] = {}
        self._registered: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()
        self._registering = threading.RLock()
        self._on_close: list[Callable[[], None]] = []
        engine.on_welcome = self._on_welcome

    def _on_welcome(self, _: Welcome) -> None:
        # A server that restarted may know other functions.
        self._ports.clear()
        self._registered.clear()

    # -- life

    def __enter__(self) -> Cluster:
        with _open_lock:
            _open.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; what is outstanding ends as CANCELLED."""
        with _open_lock:
            if self in _open:
                _open.remove(self)
        self._engine.close()
        for callback in self._on_close:
            callback()
        self._on_close.clear()

    @property
    def closed(self) -> bool:
        return self._engine.closed

    @property
    def endpoint(self) -> str:
        return self._engine.endpoint

    @property
    def info(self) -> ClusterInfo:
        """As of the last welcome."""
        welcome = self._engine.info or Welcome()
        return ClusterInfo(
            welcome.cluster,
            welcome.software,
            welcome.version,
            welcome.epoch,
            self._engine.same_host,
            welcome.default_deadline_ns / 1e9,
        )

    def ping(self) -> float:
        """The seconds of a round trip to the controller."""
        begin = time.monotonic()
        self._answer(self._engine.request(Type.PING, Role.CONTROLLER, []).result(), Type.PONG)
        return time.monotonic() - begin

    # -- calls

    def call(
        self,
        target: Target,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        deadline: float | timedelta | None = None,
        max_cost: float | None = None,
        assurance: float | str | None = None,
        prefer: str = "cheapest",
        priority: int = 0,
        sequence: int | None = None,
        sequence_start: bool = False,
        sequence_end: bool = False,
        offer: Offer | None = None,
        then: str | Sequence[str] = (),
        durable: bool = False,
        on_partial: Callable[[str, Mapping[str, Any]], None] | None = None,
    ) -> Call:
        """Calls a DAG or a function: by name ("name", or "name@2" for a version), or by the object, which is
        registered if this connection has not done so. Returns at once; every failure but wrong use is in the future.

        `deadline` (seconds) and `max_cost` are SLOs: under a policy that promises, the call is admitted with a
        promise, or refused at once with `offers`. `assurance` is "firm" or a share such as 0.97. `offer` takes one of
        the offers that a refused call came back with (same target, same inputs). `then` names DAGs or functions that
        continue with the outputs, one after the other, within the same call, its deadline and its promise.
        A `durable` call is not lost when the controller is, and neither is its result.
        `on_partial(stage, outputs)` gets what stages give out before they end, in the client's thread.
        """
        options = options_body(
            deadline=deadline,
            max_cost=max_cost,
            assurance=assurance,
            prefer=prefer,
            priority=priority,
            sequence=sequence,
            sequence_start=sequence_start,
            sequence_end=sequence_end,
            offer=offer,
            stream=on_partial is not None,
            then=then,
            durable=durable,
        )
        name, version, ports = self._resolve(target)
        call = Call(self._engine, offer.call if offer else self._engine.fresh_id(), name, options[0])
        call.on_partial = on_partial
        call.then_call = self._then
        self._fill(call, name, version, ports, inputs or {}, options)
        self._engine.call(call)
        return call

    def run(self, target: Target, inputs: Mapping[str, Any] | None = None, /, **options: Any) -> Result:
        """call(), and waits for the result."""
        return self.call(target, inputs, **options).result()

    def knows(self, target: Target) -> bool:
        """Whether a call of it needs no question to the cluster first."""
        if isinstance(target, str):
            return target in self._ports
        return target.target in self._ports and (target in self._registered or type(target) is Function)

    def _resolve(self, target: Target) -> tuple[str, int, dict[str, Port]]:
        """What to call: its name, its version (0: the latest) and its inputs."""
        if not isinstance(target, str):
            if isinstance(target, Dag) or type(target) is not Function:
                self._ensure(target)
            target = target.target
        name, at, number = target.partition("@")
        if at and not (number.isdigit() and int(number) > 0):
            raise invalid(f"'{target}' is not a name with a version such as {name}@2")
        return name, int(number) if at else 0, self._signature(name, target)

    def _signature(self, name: str, target: str) -> dict[str, Port]:
        """The inputs of a function or DAG, asked once."""
        ports = self._ports.get(target)
        if ports is None:
            ports = {p.name: p for p in self._ask_ports(name)}
            self._ports[target] = ports
        return ports

    def _ask_ports(self, name: str) -> list[Port]:
        for kind in ("dags", "functions"):
            try:
                described = self.query(kind, name)
            except SquallError as e:
                if e.code is not Code.NOT_FOUND:
                    raise
                continue
            if isinstance(described, list):
                described = described[-1]
            return ports_from_json(described["inputs"])
        known = [d["name"] for kind in ("dags", "functions") for d in self.query(kind)]
        raise SquallError(Code.NOT_FOUND, f"there is no function or DAG '{name}'{nearest(name, known)}")

    def _fill(
        self,
        call: Call,
        name: str,
        version: int,
        ports: Mapping[str, Port],
        inputs: Mapping[str, Any],
        options: list[Any],
    ) -> None:
        writer = Writer()
        body: list[Any] = []
        try:
            for key, value in inputs.items():
                port = ports.get(key)
                if port is None:
                    raise invalid(f"'{name}' has no input '{key}'{nearest(key, list(ports))}")
                encoded = encode_for(f"the input '{key}' of '{name}'", port, value)
                body.append((key, writer.value(self._shared(call, key, encoded))))
            call.body = [call.id, name, version, options, body]
            call.frames = writer.frames(_CALL_REQUEST, _CONTROLLER, call.id, [call.id, name, version, options, body])
        except BaseException:
            self._engine.release(call.blocks)
            raise

    def _shared(self, call: Call, name: str, encoded: Any) -> Any:
        """The same value with large tensors in shared memory."""
        if isinstance(encoded, list):
            return [self._shared(call, name, element) for element in encoded]
        if encoded is None or len(encoded[2]) < SHARE_THRESHOLD_BYTES:
            return encoded
        datatype, shape, data = encoded
        size = len(data)
        if size > MAX_VALUE_BYTES:
            raise SquallError(
                Code.TOO_LARGE, f"the input '{name}' has {size} bytes; a value may have {MAX_VALUE_BYTES}"
            )
        shared = self._engine.share(data, size)
        if shared is None:
            return encoded
        call.blocks.append(shared.reference)
        return (datatype, shape, shared)

    def _then(
        self,
        source: Call,
        target: Target,
        inputs: Callable[[Result], Mapping[str, Any]] | None,
        options: dict[str, Any],
    ) -> Future[Result]:
        self._resolve(target)  # now, where it may wait; a callback must not
        return _Chain(self, source, target, inputs, options)

    # -- functions and DAGs

    def register(self, what: Function | Dag | FunctionSpec | DagSpec, *, replace: bool = False) -> None:
        """Registers a function or a DAG (with the functions that it uses). The same again is ok; another one under the
        same name and version is ALREADY_EXISTS, unless `replace`."""
        with self._registering:
            if isinstance(what, Dag):
                for function in what.functions.values():
                    self.register(function, replace=replace)
                try:
                    self._apply_dag(what.spec(), replace)
                except SquallError as e:
                    raise what.explain(e) from None
            elif isinstance(what, Function):
                spec, uploads = what.prepare()
                for key, data in uploads.items():
                    self._upload(key, data)
                if spec is not None:
                    self._apply_function(spec, replace)
            elif isinstance(what, FunctionSpec):
                return self._apply_function(what, replace)
            elif isinstance(what, DagSpec):
                return self._apply_dag(what, replace)
            else:
                raise invalid(f"{what!r:.60} is no function or DAG; decorate it with @squall.function")
            self._registered[what] = True

    def _ensure(self, what: Function | Dag) -> None:
        if what not in self._registered:
            with self._registering:
                if what not in self._registered:
                    self.register(what, replace=True)

    def _upload(self, key: str, data: bytes) -> None:
        # The key names the bytes, so what is there is the same.
        try:
            if self._kv.stat(key).size_bytes == len(data):
                return
        except SquallError as e:
            if e.code is not Code.NOT_FOUND:
                raise
        self._kv.put(key, data)

    def _apply_function(self, spec: FunctionSpec, replace: bool) -> None:
        self._forget(spec.name)
        self._command(Type.APPLY_FUNCTION, [spec.to_wire(), replace])

    def _apply_dag(self, spec: DagSpec, replace: bool) -> None:
        self._forget(spec.name)
        writer = Writer()
        self._command(Type.APPLY_DAG, [spec.to_wire(writer), replace], writer)

    def _forget(self, name: str) -> None:
        for target in [t for t in self._ports if t.partition("@")[0] == name]:
            self._ports.pop(target, None)

    def remove_function(self, name: str, *, version: int = 0) -> None:
        """version 0: every version. Calls that run go on."""
        self._remove("function", name, version)

    def remove_dag(self, name: str, *, version: int = 0) -> None:
        self._remove("dag", name, version)

    def _remove(self, kind: str, name: str, version: int) -> None:
        self._forget(name)
        self._registered.clear()
        self._command(Type.REMOVE, [kind, name, version])

    def functions(self) -> list[dict[str, Any]]:
        return self.query("functions")

    def dags(self) -> list[dict[str, Any]]:
        return self.query("dags")

    def nodes(self) -> list[dict[str, Any]]:
        return self.query("nodes")

    def apply(self, file: str | os.PathLike[str], *, replace: bool = False) -> str:
        """Registers what a spec file (docs/specs.md) holds, by the program `squall`; returns what it said."""
        from squall.embedded import find_binary

        if not pathlib.Path(file).is_file():
            raise invalid(f"there is no spec file {os.fspath(file)!r}")
        words = [find_binary(), "apply", "-f", os.fspath(file), "--cluster", self.endpoint]
        if replace:
            words.append("--replace")
        if self._keys_folder:
            words += ["--keys", self._keys_folder]
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
        self._ports.clear()
        if done.returncode != 0:
            raise invalid(done.stderr.strip().removeprefix("squall: ") or f"squall apply ended with {done.returncode}")
        return done.stdout

    # -- the rest

    @property
    def kv(self) -> Kv:
        return self._kv

    def query(self, kind: str, name: str = "") -> Any:
        """What the cluster says about itself: a list, or one object when `name` is given. Kinds: functions, dags,
        nodes, calls, instances, policy, status, metrics."""
        body = self._answer(self._engine.request(Type.QUERY, Role.CONTROLLER, [kind, name]).result(), Type.REPLY)
        return json.loads(body[3]) if body[3] else None

    @property
    def policy(self) -> str:
        """The rule by which calls are placed; assign to switch it."""
        return self.query("policy")["name"]

    @policy.setter
    def policy(self, name: str) -> None:
        self._command(Type.SET_POLICY, [name])

    def drain(self, node: str) -> None:
        """Nothing more is placed on the node, and it leaves when it has finished what it has. Returns at once."""
        self._command(Type.DRAIN, [node])

    def shutdown(self) -> None:
        """Stops the whole cluster."""
        self._command(Type.SHUTDOWN, [])

    def _command(self, type: Type, body: list[Any], writer: Writer | None = None) -> None:
        self._answer(self._engine.request(type, Role.CONTROLLER, body, writer).result(), Type.REPLY)

    @staticmethod
    def _answer(answer: list[Any], wanted: Type) -> list[Any]:
        type, body, _ = answer
        if type == Type.REPLY and body[0] != 0:
            raise error_of_reply(body)
        if type != wanted:
            raise SquallError(Code.CORRUPT, f"the server answered with a message of type {type}")
        return body


class _Chain(Future[Result]):
    """A call that begins with the results of another."""

    __slots__ = ("_at", "_withdrawn")

    def __init__(
        self,
        cluster: Cluster,
        source: Call,
        target: Target,
        inputs: Callable[[Result], Mapping[str, Any]] | None,
        options: dict[str, Any],
    ) -> None:
        super().__init__()
        self._at: Future[Any] = source
        self._withdrawn = False

        def begin(done: Future[Result]) -> None:
            if done._error is not None:
                return self._finish(None, done._error)
            if self._withdrawn:
                return self._finish(None, SquallError(Code.CANCELLED, "cancelled before it continued"))
            try:
                given = dict(done._value) if inputs is None else inputs(done._value)
                self._at = cluster.call(target, given, **options)
            except SquallError as e:
                return self._finish(None, e)
            except Exception as e:
                why = f"what makes the inputs of the next call raised {type(e).__name__}: {e}"
                return self._finish(None, SquallError(Code.INVALID_ARGUMENT, why))
            self._at.add_done_callback(lambda last: self._finish(last._value, last._error))

        source.add_done_callback(begin)

    def cancel(self) -> bool:
        self._withdrawn = True
        return self._at.cancel() if not self._done else False


def connect(
    endpoint: str | None = None,
    *,
    keys: Keys | str | os.PathLike[str] | None = None,
    timeout: float = 10.0,
    patience: float = 10.0,
    max_outstanding: int = 10_000,
    software: str = "squall python",
) -> Cluster:
    """Connects to a cluster: an endpoint ("tcp://10.0.0.1:7700"), the name of a cluster of yours on this host, or
    nothing for "squall" or the only one that runs here. `keys` is a folder that `squall keys new` made. `timeout` is
    of connecting and of every request but calls. `patience` is how long calls wait for a controller that is gone, or
    for nodes that are to come, before they end as UNAVAILABLE: those that were sent are sent again when it is back, and
    it runs them again only if that is safe; 0: they end at once."""
    if timeout <= 0:
        raise invalid(f"timeout={timeout}; it is in seconds and more than 0")
    where, loaded = find_cluster(endpoint, keys)
    engine = Engine(where, loaded, timeout, patience, max_outstanding, software)
    engine.start()
    return Cluster(engine, None if keys is None or isinstance(keys, Keys) else os.fspath(keys))
