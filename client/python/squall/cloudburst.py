"""Cloudburst's names with their meaning: a program written against them runs after changing its imports to

    from squall.cloudburst import CloudburstConnection, CloudburstReference

Functions take the user library as their first argument and whatever they like after it: `register(lambda _, x: x * x,
"square")`. On the wire each is a function with one input `args` (a pickled list), an input for each function before it
in a DAG, and one output `value` (pickled). What differs: errors of functions are raised by `get()` as SquallError
instead of being returned as text, `get()` waits without polling, and results are stored only under an `output_key` that
was named.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from squall import context
from squall.errors import Code, SquallError, invalid

NORMAL = 0
MULTI = 1

# Functions before one in a DAG.
_MAX_UPSTREAM = 16
_MAIL = "cloudburst-mail"


class CloudburstReference:
    """An argument that is read from the store where the function runs; unpickled if `deserialize`."""

    def __init__(self, key: str, deserialize: bool = True) -> None:
        self.key = key
        self.deserialize = deserialize


def _dump(value: Any) -> bytes:
    import cloudpickle

    return cloudpickle.dumps(value, protocol=5)


class UserLibrary:
    """The first argument of functions: state, and messages between running functions."""

    def __init__(self) -> None:
        self._sent = 0

    def put(self, ref: str, value: Any) -> bool:
        context.put(ref, _dump(value), durable=False)
        return True

    def get(self, ref: str | list[str], deserialize: bool = True) -> Any:
        """The value under a key, None when there is none; of a list of keys a dict."""
        if isinstance(ref, list):
            return {key: self.get(key, deserialize) for key in ref}
        try:
            data = context.get(ref)
        except SquallError as e:
            if e.code is Code.NOT_FOUND:
                return None
            raise
        return pickle.loads(data) if deserialize else data

    def getid(self) -> tuple[str, int]:
        """Where messages for this run go."""
        return ("squall", context.backend.id() if context.backend is not None else os.getpid())

    def send(self, dest: tuple[str, int], bytestr: Any) -> None:
        """Sends a message to the run whose getid() gave `dest`."""
        self._sent += 1
        key = f"{_MAIL}/{dest[1]:x}/{time.time_ns():016x}-{self.getid()[1]:x}-{self._sent:x}"
        context.put(key, _dump((self.getid(), bytestr)), durable=False)

    def recv(self) -> list[tuple[Any, Any]]:
        """The messages that came since the last time, as (sender, message), oldest first; none: an empty list."""
        messages = []
        for key in context.keys(f"{_MAIL}/{self.getid()[1]:x}/"):
            with contextlib.suppress(SquallError):
                messages.append(pickle.loads(context.get(key)))
                context.delete(key)
        return messages

    def close(self) -> None:
        self.recv()


class Generic:
    """A callable of any signature as a function of a cluster; what `register` makes. A class is made where it runs."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self._ready: Callable[..., Any] | None = None

    def __getstate__(self) -> Any:
        return self._function

    def __setstate__(self, function: Any) -> None:
        self.__init__(function)  # type: ignore[misc]
        self._prepare()

    def _prepare(self) -> Callable[..., Any]:
        if self._ready is None:
            made, arguments = self._function if isinstance(self._function, tuple) else (self._function, ())
            self._ready = made(UserLibrary(), *arguments).run if isinstance(made, type) else made
        return self._ready

    def __call__(self, args: bytes, output_key: str | None = None, **upstream: bytes | None) -> bytes:
        arguments = list(pickle.loads(args))
        for index in range(_MAX_UPSTREAM):
            result = upstream.get(f"up{index}")
            if result is not None:
                value = pickle.loads(result)
                arguments += value if isinstance(value, tuple) else [value]
        library = UserLibrary()
        value = self._prepare()(library, *[_resolved(library, argument) for argument in arguments])
        data = _dump(value)
        if output_key:
            context.put(output_key, data, durable=False)
        return data


def _resolved(library: UserLibrary, argument: Any) -> Any:
    """A reference waits for its key, which may still be on its way."""
    if not isinstance(argument, CloudburstReference):
        return argument
    pause = 0.001
    while not context.cancelled():
        try:
            data = context.get(argument.key)
            return pickle.loads(data) if argument.deserialize else data
        except SquallError as e:
            if e.code is not Code.NOT_FOUND:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 0.1)
    raise SquallError(Code.CANCELLED, f"nobody waits any more, and the key '{argument.key}' has not come")


class CloudburstFuture:
    """A result on its way."""

    def __init__(self, connection: CloudburstConnection, call: Any, key: str | None) -> None:
        self._connection = connection
        self._call = call
        self._key = key

    def get(self, timeout: float | None = None) -> Any:
        """Waits for the result; raises what went wrong."""
        return pickle.loads(_only(self._call.result(timeout)))

    def done(self) -> bool:
        return self._call.done()

    def cancel(self) -> bool:
        return self._call.cancel()

    @property
    def obj_id(self) -> str:
        """The key of the result, for references: the call's `output_key`, else it is stored now under a key of its
        own."""
        if self._key is None:
            key = f"cloudburst-result/{self._call.id:016x}"
            self._connection.cluster.kv.put(key, _only(self._call.result()), durable=False)
            self._key = key
        return self._key


def _only(result: Mapping[str, Any]) -> bytes:
    """The result of the only sink that ran to its end."""
    values = [value for value in result.values() if value is not None]
    if len(values) != 1:
        return _dump(tuple(pickle.loads(v.ravel()[0]) for v in values))
    return values[0].ravel()[0]


class CloudburstFunction:
    """A registered function; calling it gives a CloudburstFuture."""

    def __init__(self, name: str, connection: CloudburstConnection) -> None:
        self.name = name
        self._connection = connection

    def __call__(self, *args: Any) -> CloudburstFuture:
        return self._connection.exec_func(self.name, list(args))


class Continuation:
    """A call of a DAG that is not begun yet (`dry_run`), for `continuation=`."""

    def __init__(self, name: str, arguments: Mapping[str, Any], output_key: str | None, direct_response: bool) -> None:
        self.name = name
        self.arguments = arguments
        self.output_key = output_key
        self.direct_response = direct_response


class CloudburstConnection:
    """A connection. The arguments of Cloudburst's are taken; what connects is `func_addr`: an endpoint, the name of a
    cluster on this host, or a host's address as Cloudburst has it, which then means the only cluster that runs here."""

    def __init__(
        self, func_addr: str | None = None, ip: str | None = None, tid: int = 0, local: bool = False, **options: Any
    ) -> None:
        from squall.cluster import Cluster, connect
        from squall.discovery import known_clusters

        if isinstance(func_addr, Cluster):
            self.cluster = func_addr
        else:
            known = func_addr is not None and ("://" in func_addr or func_addr in known_clusters())
            self.cluster = connect(func_addr if known else None, **options)
        self._described: dict[str, Mapping[str, Any]] = {}

    # -- functions

    def register(self, function: Any, name: str) -> CloudburstFunction:
        """Registers a function, a class with a method `run`, or a tuple of such a class and its arguments."""
        from squall.functions import PythonFunction
        from squall.specs import Variant, VariantKind, Workers

        if not callable(function) and not (isinstance(function, tuple) and len(function) == 2):
            raise invalid(
                f"{function!r:.60} cannot be registered as '{name}'; give a function, a class, or (class, arguments)"
            )
        inputs, outputs, types = _ports()
        variant = Variant(
            VariantKind.PYTHON, "", parameters={f"type.{k}": v for k, v in types.items()}, workers=Workers()
        )
        self.cluster.register(PythonFunction(Generic(function), name, inputs, outputs, variant), replace=True)
        return CloudburstFunction(name, self)

    def get_function(self, name: str) -> CloudburstFunction | None:
        if name not in self._names():
            print(f"No function found with name {name}. To view all functions, use the `list` method.")
            return None
        return CloudburstFunction(name, self)

    def list(self, prefix: str | None = None) -> None:
        """Prints the names of the functions."""
        for name in self._names():
            if name.startswith(prefix or ""):
                print(name)

    def _names(self) -> Sequence[str]:
        return [f["name"] for f in self.cluster.functions()]

    def exec_func(self, name: str, args: Sequence[Any]) -> CloudburstFuture:
        return CloudburstFuture(self, self.cluster.call(name, {"args": _dump([*args])}), None)

    # -- DAGs

    def register_dag(
        self, name: str, functions: Sequence[Any], connections: Sequence[tuple[str, str]], **_: Any
    ) -> tuple[bool, str]:
        """Registers a DAG of functions by their names; True and an empty text, or False and what is wrong. What further
        arguments Cloudburst takes (GPUs, batching, places) the cluster decides by itself."""
        names = [f[0] if isinstance(f, tuple) else f for f in functions]
        known = self._names()
        for function in names:
            if function not in known:
                raise RuntimeError(f"Function {function} not registered. Please register before including it in a DAG.")
        try:
            self.cluster.register(_dag_spec(name, names, connections), replace=True)
        except SquallError as e:
            return False, e.message
        self._described.pop(name, None)
        return True, ""

    def delete_dag(self, dname: str) -> tuple[bool, str]:
        try:
            self.cluster.remove_dag(dname)
        except SquallError as e:
            return False, e.message
        self._described.pop(dname, None)
        return True, ""

    def call_dag(
        self,
        dname: str,
        arg_map: Mapping[str, Any],
        direct_response: bool = False,
        consistency: int = NORMAL,
        output_key: str | None = None,
        client_id: str | None = None,
        dry_run: bool = False,
        continuation: Continuation | None = None,
        **options: Any,
    ) -> Any:
        """Calls a DAG with {function: [arguments]}; results of the functions before one come after its own arguments.

        Gives a CloudburstFuture, or with `direct_response` the result itself. `output_key`: the result is also stored
        there. `continuation`: another call, made with dry_run=True, whose DAG begins with the result. `options` are
        those of Cluster.call, such as deadline.
        """
        if dry_run:
            return Continuation(dname, arg_map, output_key, direct_response)
        if continuation is not None and continuation.direct_response != direct_response:
            raise RuntimeError("Continuation does not have same direct response setting as current call.")
        call: Any = self.cluster.call(dname, self._inputs(dname, arg_map, output_key), **options)
        if continuation is not None:
            last = continuation
            self._describe(last.name)  # now: what continues must not wait
            call = call.then(
                last.name,
                lambda result: self._inputs(last.name, last.arguments, last.output_key, pickle.loads(_only(result))),
            )
            output_key = last.output_key
        future = CloudburstFuture(self, call, output_key)
        return future.get() if direct_response else future

    def _inputs(self, dname: str, arg_map: Mapping[str, Any], output_key: str | None, *first: Any) -> dict[str, Any]:
        """One input for each function; a continuation's functions get the result before as their last arguments."""
        names = self._functions_of(dname)
        for name in arg_map:
            if name not in names:
                raise invalid(f"the DAG '{dname}' has no function '{name}'; it has {', '.join(names)}")
        inputs: dict[str, Any] = {"output_key": output_key or ""}
        sources = self._sources(dname)
        for name in names:
            given = arg_map.get(name, [])
            arguments = [*given] if isinstance(given, list) else [given]
            inputs[name] = _dump([*arguments, *(first if name in sources else ())])
        return inputs

    def _functions_of(self, dname: str) -> Sequence[str]:
        return [s["name"] for s in self._describe(dname)["stages"]]

    def _sources(self, dname: str) -> Sequence[str]:
        return [s["name"] for s in self._describe(dname)["stages"] if not s["after"]]

    def _describe(self, dname: str) -> Mapping[str, Any]:
        if dname not in self._described:
            described = self.cluster.query("dags", dname)
            self._described[dname] = described[-1] if isinstance(described, list) else described
        return self._described[dname]

    # -- the store

    def get_object(self, key: str) -> Any:
        """The object under a key; None when there is none."""
        try:
            return pickle.loads(self.cluster.kv.get(key))
        except SquallError as e:
            if e.code is Code.NOT_FOUND:
                return None
            raise

    def put_object(self, key: str, value: Any) -> bool:
        self.cluster.kv.put(key, _dump(value))
        return True

    def close(self) -> None:
        self.cluster.close()


def _ports() -> tuple[list[Any], list[Any], dict[str, str]]:
    from squall.datatypes import DataType, Port

    def one(name: str, optional: bool = False) -> Port:
        return Port(name, DataType.BYTES, (1,), optional=optional)

    upstream = [one(f"up{i}", True) for i in range(_MAX_UPSTREAM)]
    inputs = [one("args"), one("output_key", True), *upstream]
    types = {"args": "bytes", "output_key": "str", **{port.name: "bytes" for port in upstream}}
    return inputs, [one("value")], types


def _dag_spec(name: str, functions: Sequence[str], connections: Sequence[tuple[str, str]]) -> Any:
    from squall.datatypes import DataType, Port
    from squall.specs import Binding, DagSpec, Source, StageSpec

    stages = {f: StageSpec(f, f, {"args": Binding(Source.DAG_INPUT, port=f)}) for f in functions}
    for source, sink in connections:
        for end in (source, sink):
            if end not in stages:
                raise invalid(
                    f"the connection {source} -> {sink} of the DAG '{name}' names '{end}', which is not among its "
                    "functions"
                )
        taken = sum(1 for port in stages[sink].inputs if port.startswith("up"))
        if taken == _MAX_UPSTREAM:
            raise invalid(f"'{sink}' in the DAG '{name}' has more than {_MAX_UPSTREAM} functions before it")
        stages[sink].inputs[f"up{taken}"] = Binding(Source.STAGE_OUTPUT, source, "value")
    sinks = [f for f in functions if all(f != source for source, _ in connections)]
    for sink in sinks:
        stages[sink].inputs["output_key"] = Binding(Source.DAG_INPUT, port="output_key")
    inputs = [Port(f, DataType.BYTES, (1,)) for f in functions] + [
        Port("output_key", DataType.BYTES, (1,), optional=True)
    ]
    return DagSpec(
        name, inputs, list(stages.values()), {sink: Binding(Source.STAGE_OUTPUT, sink, "value") for sink in sinks}
    )


def connect(
    func_addr: str | None = None, ip: str | None = None, tid: int = 0, local: bool = False
) -> CloudburstConnection:
    return CloudburstConnection(func_addr, ip, tid, local)


__all__ = [
    "MULTI",
    "NORMAL",
    "CloudburstConnection",
    "CloudburstFunction",
    "CloudburstFuture",
    "CloudburstReference",
    "UserLibrary",
    "connect",
]
