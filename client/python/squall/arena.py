"""Shared memory for large values: docs/data-plane.md, format version 1."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
import stat
import struct
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from squall.errors import Code, SquallError

_FOLDER = "/dev/shm"
_MAGIC = b"SQARENA1"
_FORMAT = 1
_HEADER_BYTES = 4096
_ALIGNMENT = 64
_RESERVE_STEP = 16 << 20
_MAP_NORESERVE = 0x4000
_MADV_POPULATE_WRITE = 23
DEFAULT_CAPACITY = 512 << 20
_FIELDS = struct.Struct("<8sIIQQQ36s4x")  # magic, version, owner, id, capacity, reserved, boot id


def _path(arena: int) -> str:
    return f"{_FOLDER}/squall-{arena:016x}"


def _boot_id() -> bytes:
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read(36)
    except OSError:
        return b""


def host_key() -> int:
    """Equal for processes that can map each other's arenas."""
    device = inode = 0
    with contextlib.suppress(OSError):
        info = os.stat(_FOLDER)
        device, inode = info.st_dev, info.st_ino
    key = 0xCBF29CE484222325
    for byte in _boot_id() + struct.pack("<QQ", device, inode):
        key = ((key ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return key


def _round_up(number: int, step: int) -> int:
    return (number + step - 1) // step * step


class Arena:
    """An arena that this process owns. Thread-safe. Its file goes with it, also when the process dies (others sweep
    it)."""

    def __init__(self, capacity: int) -> None:
        info = os.statvfs(_FOLDER)
        quarter = info.f_blocks * info.f_frsize // 4
        if quarter:
            capacity = min(capacity, quarter)
        self._capacity = max(_round_up(capacity, mmap.PAGESIZE), _HEADER_BYTES + mmap.PAGESIZE)
        self.id, self._file = _create(self._capacity)
        self._unlink = weakref.finalize(self, _remove, _path(self.id), self._file, os.getpid())
        self._memory = mmap.mmap(
            self._file, self._capacity, mmap.MAP_SHARED | _MAP_NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
        )
        self._view = memoryview(self._memory)
        self._lock = threading.Lock()
        self._free: list[tuple[int, int]] = [(_HEADER_BYTES, self._capacity - _HEADER_BYTES)]
        self._blocks: dict[int, int] = {}
        self._reserved = 0
        self._reserve(_HEADER_BYTES, _HEADER_BYTES)
        _FIELDS.pack_into(
            self._memory, 0, _MAGIC, _FORMAT, os.getpid(), self.id, self._capacity, self._reserved, _boot_id()
        )

    def put(self, data: Any, size: int) -> tuple[int, int, int] | None:
        """Copies bytes into a block and returns its reference; None when there is no room."""
        rounded = _round_up(max(size, 1), _ALIGNMENT)
        with self._lock:
            offset = self._take(rounded)
        if offset is None:
            return None
        self._view[offset : offset + size] = data
        return (self.id, offset, size)

    def _take(self, size: int) -> int | None:
        for i, (offset, free) in enumerate(self._free):
            if free < size:
                continue
            try:
                self._reserve(offset + size, _RESERVE_STEP)
            except OSError:
                return None
            if free == size:
                del self._free[i]
            else:
                self._free[i] = (offset + size, free - size)
            self._blocks[offset] = size
            return offset
        return None

    def release(self, reference: Sequence[int]) -> None:
        """Gives a block back."""
        with self._lock:
            size = self._blocks.pop(reference[1], None)
            if size is None:
                return
            self._free.append((reference[1], size))
            self._free.sort()
            merged: list[tuple[int, int]] = []
            for offset, free in self._free:
                if merged and merged[-1][0] + merged[-1][1] == offset:
                    merged[-1] = (merged[-1][0], merged[-1][1] + free)
                else:
                    merged.append((offset, free))
            self._free = merged

    @property
    def used_bytes(self) -> int:
        with self._lock:
            return sum(self._blocks.values())

    def _reserve(self, end: int, step: int) -> None:
        """Gives pages to the first `end` bytes: a write to a page that /dev/shm has no room for would be a SIGBUS."""
        if end <= self._reserved:
            return
        target = min(_round_up(end, step), self._capacity)
        os.posix_fallocate(self._file, self._reserved, target - self._reserved)
        with contextlib.suppress(OSError, ValueError):  # older kernels: costs only page faults
            self._memory.madvise(_MADV_POPULATE_WRITE, self._reserved, target - self._reserved)
        self._reserved = target
        struct.pack_into("<Q", self._memory, 32, target)

    def close(self) -> None:
        self._unlink()


def _create(capacity: int) -> tuple[int, int]:
    # A sweeper that runs between open and flock takes the file for that of a dead owner; then another is made.
    for _ in range(16):
        arena = secrets.randbits(64) or 1
        path = _path(arena)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_nlink:
                os.ftruncate(file, capacity)
                return arena, file
        except BlockingIOError:
            pass
        os.close(file)
    raise OSError("no new file in /dev/shm survives: something keeps deleting them")


def _remove(path: str, file: int, owner: int) -> None:
    if os.getpid() != owner:  # a forked child must not take the parent's file away
        return
    with contextlib.suppress(OSError):
        os.unlink(path)
    with contextlib.suppress(OSError):
        os.close(file)


class _Bytes:
    """Bytes of a foreign arena as numpy sees them; `lease` lives as long as the last array over them."""

    __slots__ = ("__array_interface__", "lease", "memory")

    def __init__(self, address: int, size: int, memory: np.ndarray, lease: Any) -> None:
        self.__array_interface__ = {"data": (address, True), "shape": (size,), "typestr": "|u1", "version": 3}
        self.memory = memory
        self.lease = lease


class ArenaMap:
    """The arenas of other processes that this one has mapped to read. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mapped: dict[int, np.ndarray] = {}

    def reader(self, lease: Any) -> Callable[[Sequence[int]], np.ndarray]:
        return lambda reference: self.resolve(reference, lease)

    def resolve(self, reference: Sequence[int], lease: Any = None) -> np.ndarray:
        """The bytes of a reference, as an array that may not be written."""
        arena, offset, size = (int(number) for number in reference)
        memory = self._mapped.get(arena)
        if memory is None:
            memory = self._map(arena)
        (reserved,) = struct.unpack_from("<Q", memory.data, 32)
        limit = min(reserved, memory.size)
        if offset < _HEADER_BYTES or offset > limit or size > limit - offset:
            raise SquallError(Code.CORRUPT, f"offset {offset}, size {size} is outside the arena {_path(arena)}")
        return np.asarray(_Bytes(memory.ctypes.data + offset, size, memory, lease))

    def _map(self, arena: int) -> np.ndarray:
        path = _path(arena)
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise SquallError(
                Code.DATA_LOSS, f"the arena {path} is gone: its owner died, or is on another host"
            ) from None
        except OSError as e:
            raise SquallError(Code.PERMISSION_DENIED, f"cannot read {path}: {e.strerror}") from None
        try:
            info = os.fstat(file)
            if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
                raise SquallError(Code.PERMISSION_DENIED, f"{path} is not a file of this user")
            if info.st_size < _HEADER_BYTES:
                raise SquallError(Code.CORRUPT, f"{path} is too short for an arena")
            memory = np.frombuffer(
                mmap.mmap(file, info.st_size, mmap.MAP_SHARED | _MAP_NORESERVE, mmap.PROT_READ), dtype=np.uint8
            )
        finally:
            os.close(file)
        magic, version, _, owner, capacity, _, _ = _FIELDS.unpack_from(memory.data, 0)
        if (magic, version, owner, capacity) != (_MAGIC, _FORMAT, arena, info.st_size):
            raise SquallError(Code.CORRUPT, f"{path} is no arena of format version {_FORMAT}")
        with self._lock:
            return self._mapped.setdefault(arena, memory)

    def forget_all(self) -> None:
        """After a restart of the cluster; arrays over the old mappings stay valid."""
        with self._lock:
            self._mapped.clear()
