"""Messages as frames: docs/wire.md, version 1. Nothing here knows sockets."""

from __future__ import annotations

import enum
import functools
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import numpy as np

from squall.datatypes import decode_tensor
from squall.errors import Code, SquallError

VERSION = 1
MAX_HEADER_BYTES = 1 << 20
MAX_PAYLOAD_BYTES = 64 << 20
MAX_PAYLOAD_FRAMES = 4096
MAX_MESSAGE_BYTES = 256 << 20
MAX_VALUE_BYTES = 256 << 20
MAX_PIECE_BYTES = 1 << 20
SHARE_THRESHOLD_BYTES = 64 << 10
MAX_KEY_BYTES = 1024


class Role(enum.IntEnum):
    ANY = 0
    CONTROLLER = 1
    NODE = 2
    STORE = 3
    CLIENT = 4


class Type(enum.IntEnum):
    HELLO = 1
    WELCOME = 2
    PING = 3
    PONG = 4
    REPLY = 5
    CALL_REQUEST = 16
    CALL_RESULT = 17
    CANCEL_REQUEST = 18
    RESULT_TAKEN = 19
    APPLY_FUNCTION = 20
    APPLY_DAG = 21
    REMOVE = 22
    QUERY = 23
    SET_POLICY = 24
    SHUTDOWN = 25
    CALL_PARTIAL = 26
    DRAIN = 27
    STORE_PUT = 64
    STORE_GET = 65
    STORE_DELETE = 66
    STORE_LIST = 67
    STORE_REPLY = 68


class InArena:
    """Bytes that lie in shared memory already: they travel as a reference."""

    __slots__ = ("reference", "size")

    def __init__(self, reference: tuple[int, int, int]) -> None:
        self.reference = reference
        self.size = reference[2]


_local = threading.local()


def pack(message: Any) -> bytes:
    """Text may hold any bytes (keys do): those that are no UTF-8 are surrogates in Python's strings."""
    try:
        packer = _local.packer
    except AttributeError:
        packer = _local.packer = msgpack.Packer(unicode_errors="surrogateescape")
    return packer.pack(message)


unpack: Callable[[Any], Any] = functools.partial(
    msgpack.unpackb,
    raw=False,
    strict_map_key=False,
    unicode_errors="surrogateescape",
)


class Writer:
    """Collects the payload frames of one message."""

    __slots__ = ("bytes", "payloads")

    def __init__(self) -> None:
        self.payloads: list[Any] = []
        self.bytes = 0

    def value(self, encoded: Any) -> Any:
        """An encoded value (datatypes.py) as the body mentions it."""
        if encoded is None:
            return None
        if isinstance(encoded, list):
            return [0, [self.value(element) for element in encoded]]
        datatype, shape, data = encoded
        if isinstance(data, InArena):
            return [datatype, shape, data.reference]
        size = len(data)
        if size == 0:
            return [datatype, shape, None]
        if size > MAX_PAYLOAD_BYTES:
            raise SquallError(
                Code.TOO_LARGE,
                f"a value of {size} bytes cannot travel in a message; up to {MAX_PAYLOAD_BYTES} bytes can (between "
                "processes "
                "of one host larger ones go through shared memory); split it, or put it into the store",
            )
        # A copy: the caller may change its array before the message is out.
        self.payloads.append(data if isinstance(data, bytes) else bytes(data))
        self.bytes += size
        return [datatype, shape, len(self.payloads) - 1]

    def frames(self, type: int, to: int, request: int, body: list[Any]) -> list[Any]:
        if len(self.payloads) > MAX_PAYLOAD_FRAMES or self.bytes > MAX_MESSAGE_BYTES:
            raise SquallError(
                Code.TOO_LARGE,
                f"a message of {len(self.payloads)} tensors and {self.bytes} bytes; one may have {MAX_PAYLOAD_FRAMES} "
                "tensors "
                f"and {MAX_MESSAGE_BYTES} bytes",
            )
        header = pack((VERSION, type, to, request, body))
        if len(header) > MAX_HEADER_BYTES:
            raise SquallError(
                Code.TOO_LARGE, f"the header of a message has {len(header)} bytes; the limit is {MAX_HEADER_BYTES}"
            )
        return [header, *self.payloads]


def frames(type: int, to: int, request: int, body: Sequence[Any]) -> list[Any]:
    """A message without payloads."""
    return [pack((VERSION, type, to, request, body))]


# Whole headers: they have no fields, and are no messages for anybody but the other end of a connection.
TAKES_BUNDLES = pack((VERSION, 6, 0, 0, []))
BUNDLE_MARK = pack((VERSION, 7, 0, 0, []))
_NUMBER = struct.Struct("<I")
_TWO_NUMBERS = struct.Struct("<II")


def unbundle(frame: bytes) -> list[tuple[bytes, list[bytes]]]:
    """The messages of a frame that begins with BUNDLE_MARK, each as its header and its payloads; of one that is cut
    short those before the cut."""
    messages: list[tuple[bytes, list[bytes]]] = []
    at, size = len(BUNDLE_MARK), len(frame)
    try:
        while at < size:
            length, count = _TWO_NUMBERS.unpack_from(frame, at)
            at += 8 + length
            header = frame[at - length : at]
            payloads = []
            for _ in range(count):
                (length,) = _NUMBER.unpack_from(frame, at)
                at += 4 + length
                payloads.append(frame[at - length : at])
            if at > size:
                break
            messages.append((header, payloads))
    except struct.error:
        pass
    return messages


class Reader:
    """Resolves the values of one message. `map_reference` turns a reference into an array of bytes."""

    __slots__ = ("_map_reference", "_payloads")

    def __init__(
        self, payloads: Sequence[Any], map_reference: Callable[[Sequence[int]], np.ndarray] | None = None
    ) -> None:
        self._payloads = payloads
        self._map_reference = map_reference

    def value(self, value: Any) -> Any:
        """None, a list, or an array."""
        if value is None:
            return None
        if value[0] == 0:
            return [self.value(element) for element in value[1]]
        datatype, shape, place = value[0], value[1], value[2]
        return decode_tensor(datatype, shape, self.raw(place))

    def raw(self, place: Any) -> Any:
        if place is None:
            return b""
        if isinstance(place, int):
            if place >= len(self._payloads):
                raise SquallError(Code.CORRUPT, f"a message mentions payload {place} and has {len(self._payloads)}")
            return self._payloads[place]
        if self._map_reference is None:
            raise SquallError(Code.CORRUPT, "a message refers to shared memory where it must not")
        return self._map_reference(place)


# ---- bodies, in the order of wire/client_messages.hpp and wire/store_messages.hpp


def hello(software: str, client: int, host: int) -> list[Any]:
    # The last: results come from the controller alone, for which one connection is enough.
    return [VERSION, VERSION, software, client, host, False]


def options_body(
    deadline_ns: int,
    priority: int,
    sequence: tuple[int, bool, bool],
    max_cost_micro: int,
    assurance_ppm: int,
    prefer: int,
    ticket: int = 0,
    redeems: int = 0,
    stream: bool = False,
    then: Sequence[str] = (),
    durable: bool = False,
) -> list[Any]:
    slos = [deadline_ns, priority, sequence, max_cost_micro, assurance_ppm, prefer]
    return [*slos, ticket, redeems, stream, 0, then, durable]
