"""What a function may do while it runs: call other functions, use the store, see how much time is left.

The same names work outside of functions, where they mean the cluster whose `with` block this is; so code can be tried
out before workers run it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from squall.errors import invalid


class Backend(Protocol):
    """What a worker offers to the function that it runs."""

    def submit(self, target: str, inputs: Mapping[str, Any], deadline: float | None) -> Any: ...
    def get(self, key: str) -> bytes: ...
    def put(self, key: str, value: bytes, durable: bool) -> None: ...
    def delete(self, key: str) -> None: ...
    def keys(self, prefix: str) -> list[str]: ...
    def cancelled(self) -> bool: ...
    def remaining(self) -> float | None: ...
    def id(self) -> int: ...
    def empty(self, shape: Any, dtype: Any) -> Any: ...


backend: Backend | None = None


def _cluster(purpose: str) -> Any:
    from squall.cluster import current_cluster

    return current_cluster(purpose)


def submit(target: Any, inputs: Mapping[str, Any] | None = None, /, *, deadline: float | None = None) -> Any:
    """Begins a call of a function or a DAG; `.result()` of what this returns waits for its outputs."""
    if backend is None:
        return _cluster("call it").call(target, inputs, deadline=deadline)
    name = target if isinstance(target, str) else getattr(target, "target", None)
    if not isinstance(name, str):
        raise invalid(f"{target!r:.60} is no function or DAG of the cluster; give its name")
    return backend.submit(name, inputs or {}, deadline)


def call(target: Any, inputs: Mapping[str, Any] | None = None, /, *, deadline: float | None = None) -> Any:
    """Calls a function or a DAG and waits for its outputs. Within a function, its place is given to others
    meanwhile."""
    return submit(target, inputs, deadline=deadline).result()


def get(key: str) -> bytes:
    """The bytes under a key of the store."""
    return _cluster("read the store").kv.get(key) if backend is None else backend.get(key)


def put(key: str, value: bytes | str, *, durable: bool = True) -> None:
    data = value.encode() if isinstance(value, str) else bytes(value)
    if backend is None:
        _cluster("write to the store").kv.put(key, data, durable=durable)
    else:
        backend.put(key, data, durable)


def delete(key: str) -> None:
    if backend is None:
        _cluster("delete from the store").kv.delete(key)
    else:
        backend.delete(key)


def keys(prefix: str) -> list[str]:
    """The keys that begin with a text, ascending."""
    if backend is None:
        return [entry.key for entry in _cluster("list the store").kv.list(prefix)]
    return backend.keys(prefix)


def cancelled() -> bool:
    """Whether nobody wants the result of this run any more: a long function asks from time to time, and returns."""
    return backend is not None and backend.cancelled()


def remaining() -> float | None:
    """Seconds until the deadline of this run; None: there is none."""
    return None if backend is None else backend.remaining()


def empty(shape: Any, dtype: Any) -> Any:
    """As numpy.empty, but large arrays lie where the cluster reads results, so that returning one copies nothing."""
    if backend is None:
        import numpy

        return numpy.empty(shape, dtype)
    return backend.empty(shape, dtype)
