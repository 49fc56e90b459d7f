"""How a worker gets at the code of its function, and what it says of one that failed (docs/workers.md)."""

from __future__ import annotations

import importlib
import os
import pathlib
import pickle
import sys
import traceback
from typing import Any

from squall.errors import Code, SquallError, invalid

MAX_TRACEBACK = 16 << 10
_OWN = frozenset(str(pathlib.Path(__file__).with_name(name)) for name in ("_code.py", "_worker.py"))


def imported(entry: str, code: int | None) -> Any:
    """module:name, from the zip behind the descriptor if it is one."""
    if code is not None and os.fstat(code).st_size > 0:
        sys.path.insert(0, _archive_path(code))
    module, _, name = entry.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _archive_path(code: int) -> str:
    """A path under which modules can be read as they are imported. In a sandbox the descriptor's own cannot be opened
    again: the file is another user's. Then a copy in the scratch folder, which goes with the worker, has to do."""
    own = f"/proc/self/fd/{code}"
    if os.access(own, os.R_OK):
        return own
    path = "/tmp/squall-modules.zip"
    with open(path, "wb") as copy:
        copy.write(_bytes_of(code))
    return path


def _bytes_of(file: int) -> bytes:
    """All of a file, whose position is shared by every process that was given the descriptor."""
    size = os.fstat(file).st_size
    parts, at = [], 0
    while at < size:
        part = os.pread(file, size - at, at)
        if not part:
            break
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def unpickled(code: int | None) -> Any:
    if code is None:
        raise invalid("the function came without its code")
    return pickle.loads(_bytes_of(code))


def code_of_failure(e: BaseException) -> int:
    ends = (Code.CANCELLED, Code.DEADLINE_EXCEEDED)
    return int(e.code) if isinstance(e, SquallError) and e.code in ends else int(Code.FAILED)


def described(e: BaseException) -> str:
    """For the caller: type and text in the first line, then where it happened in the user's code."""
    if isinstance(e, SystemExit):
        first = f"the function called sys.exit({e.code!r})"
    else:
        first = f"{type(e).__name__}: {e}" if str(e) else type(e).__name__
    frames = [f for f in traceback.extract_tb(e.__traceback__) if f.filename not in _OWN]
    if isinstance(e, SquallError) and not frames:
        return e.message
    lines = "".join(traceback.format_list(frames)).rstrip()
    text = f"{first}\n{lines}" if lines else first
    if len(text) <= MAX_TRACEBACK:
        return text
    return f"{first[:2000]}\n...\n{lines[-(MAX_TRACEBACK - 2100) :]}"
