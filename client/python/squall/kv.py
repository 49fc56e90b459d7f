"""The cluster's store."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from squall import protocol
from squall.datatypes import DataType
from squall.engine import Engine, error_of_reply
from squall.errors import Code, SquallError, invalid
from squall.futures import Request
from squall.protocol import MAX_PIECE_BYTES, Role, Type

# Pieces on their way at once: enough to keep the store busy, few enough for any queue.
_PIECES_IN_FLIGHT = 4
_READ_ATTEMPTS = 3
_UINT8 = int(DataType.UINT8)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Entry:
    """What is known of a key without reading its value. `version` is of the last write: larger is later."""

    key: str
    size_bytes: int
    version: int


def _check_key(key: str | bytes) -> str:
    if not isinstance(key, (str, bytes)):
        raise invalid(f"a key is text or bytes, not {type(key).__name__}")
    text = key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else key
    size = len(text.encode("utf-8", "surrogateescape"))
    if not 0 < size <= protocol.MAX_KEY_BYTES:
        raise invalid(f"the key {text[:40]!r} has {size} bytes; a key has 1 to {protocol.MAX_KEY_BYTES}")
    return text


def _check(answer: list[Any], key: str) -> list[Any]:
    """The body of the store's reply, or its error."""
    type, body, _ = answer
    if type not in (Type.STORE_REPLY, Type.REPLY):
        raise SquallError(Code.CORRUPT, f"the store answered about {key!r} with a message of type {type}")
    if body[0] != 0:
        raise error_of_reply(body)
    return body


class Kv:
    """Bytes under keys. Calls wait for the answer, at most the client's timeout for each piece. Values of more than 1
    MiB travel in pieces, and become visible as a whole. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(
        self,
        key: str | bytes,
        value: bytes | str | np.ndarray,
        *,
        durable: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """Durable: on the disk when this returns. Text is stored as UTF-8, an array as its raw bytes."""
        name = _check_key(key)
        data = _raw(value)
        total = len(data)
        if total > protocol.MAX_VALUE_BYTES:
            raise SquallError(
                Code.TOO_LARGE, f"the value of {name!r} has {total} bytes; the limit is {protocol.MAX_VALUE_BYTES}"
            )
        upload = self._engine.fresh_id() if total > MAX_PIECE_BYTES else 0
        in_flight: deque[tuple[int, Request]] = deque()

        def settle() -> None:
            end, request = in_flight.popleft()
            _check(request.result(), name)
            if progress is not None:
                progress(end, total)

        for offset in range(0, max(total, 1), MAX_PIECE_BYTES):
            piece = data[offset : offset + MAX_PIECE_BYTES]
            writer = protocol.Writer()
            body = [name, total, offset, upload, durable, writer.value((_UINT8, (len(piece),), piece))]
            if len(in_flight) == _PIECES_IN_FLIGHT:
                settle()
            in_flight.append((offset + len(piece), self._engine.request(Type.STORE_PUT, Role.STORE, body, writer)))
        while in_flight:
            settle()

    def get(self, key: str | bytes, *, progress: Progress | None = None) -> bytes:
        """NOT_FOUND when there is none; DATA_LOSS when it was replaced so often while it was read that no whole
        version came."""
        name = _check_key(key)
        for attempt in range(1, _READ_ATTEMPTS + 1):
            try:
                return self._read(name, progress)
            except SquallError as e:
                if e.code is not Code.DATA_LOSS or attempt == _READ_ATTEMPTS:
                    raise
        raise AssertionError  # the loop returns or raises

    def _read(self, name: str, progress: Progress | None) -> bytes:
        entry, first = self._piece(name, self._ask(name, 0))
        if entry.size_bytes > protocol.MAX_VALUE_BYTES:
            raise SquallError(Code.CORRUPT, f"the store claims {entry.size_bytes} bytes for {name!r}")
        if entry.size_bytes <= MAX_PIECE_BYTES:
            return bytes(first)
        value = bytearray(entry.size_bytes)
        value[: len(first)] = first
        offsets = deque(range(MAX_PIECE_BYTES, entry.size_bytes, MAX_PIECE_BYTES))
        in_flight: deque[tuple[int, Request]] = deque()
        while offsets or in_flight:
            if offsets and len(in_flight) < _PIECES_IN_FLIGHT:
                offset = offsets.popleft()
                in_flight.append((offset, self._ask(name, offset)))
                continue
            offset, request = in_flight.popleft()
            now, piece = self._piece(name, request)
            if now.version != entry.version:
                raise SquallError(
                    Code.DATA_LOSS, f"{name!r} was replaced while it was read; read it again when its writer is done"
                )
            value[offset : offset + len(piece)] = piece
            if progress is not None:
                progress(offset + len(piece), entry.size_bytes)
        return bytes(value)

    def _ask(self, name: str, offset: int, length: int = MAX_PIECE_BYTES) -> Request:
        return self._engine.request(Type.STORE_GET, Role.STORE, [name, offset, length])

    def _piece(self, name: str, request: Request) -> tuple[Entry, Any]:
        answer = request.result()
        body = _check(answer, name)
        if len(body[3]) != 1:
            raise SquallError(Code.CORRUPT, f"the store answered with {len(body[3])} entries for {name!r}")
        value = protocol.Reader(answer[2], self._engine.arenas.reader(None)).value(body[4])
        return Entry(*body[3][0][:3]), b"" if value is None else value.tobytes()

    def stat(self, key: str | bytes) -> Entry:
        name = _check_key(key)
        return self._piece(name, self._ask(name, 0, 0))[0]

    def delete(self, key: str | bytes) -> None:
        name = _check_key(key)
        _check(self._engine.request(Type.STORE_DELETE, Role.STORE, [name]).result(), name)

    def list(self, prefix: str = "", *, after: str = "", limit: int = 0) -> list[Entry]:
        """Keys with the prefix, ascending, after `after`, at most `limit` (0: all)."""
        entries: list[Entry] = []
        more = True
        while more and (not limit or len(entries) < limit):
            page = min(1000, limit - len(entries)) if limit else 1000
            body = _check(
                self._engine.request(Type.STORE_LIST, Role.STORE, [prefix, after, page]).result(),
                prefix or "(all keys)",
            )
            entries += [Entry(*fields[:3]) for fields in body[3]]
            more = bool(body[5]) and bool(body[3])
            after = entries[-1].key if entries else after
        return entries

    def watch(self, key: str | bytes, *, interval: float = 0.1, timeout: float | None = None) -> Iterator[Entry | None]:
        """Each change of a key as it is seen: its entry, or None when it was deleted. The first is how it is now.

        The store is asked every `interval` seconds, so of changes that follow each other faster only the last is seen.
        """
        name = _check_key(key)
        end = None if timeout is None else time.monotonic() + timeout
        last: tuple[Entry | None] | None = None
        while end is None or time.monotonic() < end:
            entry: Entry | None
            try:
                entry = self.stat(name)
            except SquallError as e:
                if e.code is not Code.NOT_FOUND:
                    raise
                entry = None
            if last is None or last[0] != entry:
                last = (entry,)
                yield entry
            time.sleep(interval)

    def __getitem__(self, key: str) -> bytes:
        return self.get(key)

    def __setitem__(self, key: str, value: bytes | str | np.ndarray) -> None:
        self.put(key, value)

    def __delitem__(self, key: str) -> None:
        self.delete(key)

    def __contains__(self, key: str) -> bool:
        try:
            self.stat(key)
        except SquallError as e:
            if e.code is Code.NOT_FOUND:
                return False
            raise
        return True


def _raw(value: Any) -> bytes | memoryview:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.tobytes()
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    raise invalid(f"a {type(value).__name__} cannot be stored; give bytes, text or an array of numbers (or pickle it)")
