"""A worker's socket, and the memory in which it puts what the node shall read (docs/workers.md)."""

from __future__ import annotations

import mmap
import socket
import struct
from typing import Any

import msgpack
import numpy as np

VERSION = 1
SOCKET = 3
FIRST_TYPE = 256
READY, LOAD, LOADED, UNLOAD, RUN, DONE, RELEASE, CANCEL, NOTE, SEGMENT = range(10)
PARTIAL, CALL, RETURNED, WAITING, STATE_REQUEST, STATE_REPLY, SPAWN, SPAWNED, KILL, EXITED = range(10, 20)

MAX_DESCRIPTORS = 64
CANCELLED_AT = 64  # in the inbox: the batch that was cancelled last
SHARE_THRESHOLD = 64 << 10
MAX_PAYLOAD = 64 << 20
ALIGNMENT = 64
FOR_EVER = 2**63 - 1
_RECEIVE = 1 << 16
_PREFIX = struct.Struct("<2I")
_ANCILLARY = socket.CMSG_SPACE(4 * MAX_DESCRIPTORS)


class Closed(Exception):
    """The node has closed the socket."""


class Packets:
    """Packets over a Unix stream socket, with descriptors."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = b""  # what was read and not taken yet
        self._descriptors: list[int] = []
        self._pack = msgpack.Packer(unicode_errors="surrogateescape").pack

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> tuple[int, int, list[Any], list[bytes]]:
        """Waits for a packet: its number, request, body and payloads."""
        buffer = self._buffer
        if len(buffer) < _PREFIX.size:
            buffer = self._filled(_PREFIX.size)
        header_size, count = _PREFIX.unpack_from(buffer)
        at = _PREFIX.size + 4 * count
        if len(buffer) < at:
            buffer = self._filled(at)
        sizes = struct.unpack_from(f"<{count}I", buffer, _PREFIX.size) if count else ()
        total = at + header_size + sum(sizes)
        if len(buffer) < total:
            buffer = self._filled(total)
        head = msgpack.unpackb(buffer[at : at + header_size], strict_map_key=False, unicode_errors="surrogateescape")
        at += header_size
        payloads = []
        for size in sizes:
            payloads.append(buffer[at : at + size])
            at += size
        self._buffer = buffer[at:]
        return head[1] - FIRST_TYPE, head[3], head[4], payloads

    def _filled(self, size: int) -> bytes:
        """The buffer, once it has so many bytes."""
        parts, have = [self._buffer], len(self._buffer)
        while have < size:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(max(_RECEIVE, min(size - have, 1 << 22)), _ANCILLARY)
            except ConnectionResetError:  # closed with something of ours unread
                raise Closed from None
            for level, kind, raw in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    self._descriptors += struct.unpack(f"{len(raw) // 4}i", raw[: len(raw) // 4 * 4])
            if not data:
                raise Closed
            parts.append(data)
            have += len(data)
        self._buffer = b"".join(parts)
        return self._buffer

    def descriptor(self) -> int | None:
        """The next one that came; those of a packet have come with its first byte."""
        return self._descriptors.pop(0) if self._descriptors else None

    def send(self, number: int, request: int, body: list[Any], payloads: list[bytes] | None = None) -> None:
        header = self._pack((VERSION, FIRST_TYPE + number, 0, request, body))
        if not payloads:
            data = _PREFIX.pack(len(header), 0) + header
        else:
            sizes = struct.pack(f"<{2 + len(payloads)}I", len(header), len(payloads), *map(len, payloads))
            data = b"".join((sizes, header, *payloads))
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None


class Outbox:
    """The memory in which a worker puts what the node shall read: free ranges, first fit."""

    def __init__(self, id: int, file: int, size: int) -> None:
        self.id = id
        self.size = size
        self.memory = np.frombuffer(mmap.mmap(file, size, mmap.MAP_SHARED), dtype=np.uint8)
        self.address = self.memory.ctypes.data
        self._free: list[tuple[int, int]] = [(0, size)]
        self._blocks: dict[int, int] = {}

    def allocate(self, size: int) -> int | None:
        rounded = (max(size, 1) + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        for i, (offset, free) in enumerate(self._free):
            if free >= rounded:
                if free == rounded:
                    del self._free[i]
                else:
                    self._free[i] = (offset + rounded, free - rounded)
                self._blocks[offset] = rounded
                return offset
        return None

    def release(self, offset: int) -> None:
        size = self._blocks.pop(offset, None)
        if size is None:
            return
        merged: list[tuple[int, int]] = []
        for start, length in sorted([*self._free, (offset, size)]):
            if merged and merged[-1][0] + merged[-1][1] == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            else:
                merged.append((start, length))
        self._free = merged

    @property
    def count(self) -> int:
        return len(self._blocks)

    def holds(self, array: np.ndarray) -> int | None:
        """The block that is just this array, if there is one."""
        offset = array.ctypes.data - self.address
        return offset if offset in self._blocks and array.flags.c_contiguous else None
