"""What waits for an answer: results arrive without polling."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from squall.errors import Code, SquallError, invalid

T = TypeVar("T")

_callbacks_lock = threading.Lock()

# The threads that bring answers: none may come while one of these waits.
bringing_threads: set[int] = set()


class Future(Generic[T]):
    """An answer on its way. Any thread may wait; `await` works in asyncio."""

    __slots__ = ("__weakref__", "_callbacks", "_done", "_error", "_latch", "_value")

    def __init__(self) -> None:
        self._done = False
        self._value: Any = None
        self._error: SquallError | None = None
        self._callbacks: list[Callable[[Any], None]] | None = None
        self._latch = threading.Lock()  # held until the answer is there
        self._latch.acquire()

    # -- for whoever brings the answer

    def _finish(self, value: Any, error: SquallError | None = None) -> None:
        with _callbacks_lock:
            if self._done:
                return
            self._value = value
            self._error = error
            self._done = True
            callbacks, self._callbacks = self._callbacks, None
        self._latch.release()
        for callback in callbacks or ():
            self._run(callback)

    def _run(self, callback: Callable[[Any], None]) -> None:
        try:
            callback(self)
        except Exception as e:  # as concurrent.futures: a broken callback harms nobody else
            threading.excepthook(threading.ExceptHookArgs((type(e), e, e.__traceback__, threading.current_thread())))

    # -- for whoever wants it

    def done(self) -> bool:
        return self._done

    def wait(self, timeout: float | None = None) -> bool:
        """Whether the answer is there within that many seconds."""
        if self._done:
            return True
        if threading.get_ident() in bringing_threads:
            raise invalid(
                f"{self._what()} cannot be waited for in a callback, whose thread would bring the answer; use call() "
                "with "
                "a callback of its own or then(), or wait in another thread"
            )
        if self._latch.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            self._latch.release()
            return True
        return self._done

    def result(self, timeout: float | None = None) -> T:
        """Waits for the answer, and raises its error. TimeoutError: not there yet; it goes on."""
        if not self._done and not self.wait(timeout):
            raise TimeoutError(f"{self._what()} has not ended within {timeout} s")
        if self._error is not None:
            raise self._error
        return self._value

    def exception(self, timeout: float | None = None) -> SquallError | None:
        if not self._done and not self.wait(timeout):
            raise TimeoutError(f"{self._what()} has not ended within {timeout} s")
        return self._error

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Calls `callback(self)` once: from the client's thread when the answer comes, or at once when it is there. It
        must be short and not wait for another answer."""
        with _callbacks_lock:
            if not self._done:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(callback)
                return
        self._run(callback)

    def cancel(self) -> bool:
        """False: what is no call cannot be withdrawn."""
        return False

    def cancelled(self) -> bool:
        return self._done and self._error is not None and self._error.code is Code.CANCELLED

    def __await__(self) -> Generator[Any, None, T]:
        if not self._done:
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            self.add_done_callback(lambda _: _wake(loop, waiter))
            try:
                yield from waiter.__await__()
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()

    def _what(self) -> str:
        return "the request"


def _wake(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended; nobody waits any more
        loop.call_soon_threadsafe(_set, waiter)


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Request(Future[list[Any]]):
    """A request other than a call: its answer is [type, body, payloads]."""

    __slots__ = ("frames", "give_up", "id", "to")

    def __init__(self, id: int, to: int, frames: list[Any], give_up: float) -> None:
        super().__init__()
        self.id = id
        self.to = to
        self.frames: list[Any] | None = frames
        self.give_up = give_up


class Mapped(Future[T]):
    """The answer of another future, through a function."""

    __slots__ = ("_source",)

    def __init__(self, source: Future[Any], function: Callable[[Any], T]) -> None:
        super().__init__()
        self._source = source

        def then(done: Future[Any]) -> None:
            if done._error is not None:
                return self._finish(None, done._error)
            try:
                self._finish(function(done._value))
            except SquallError as e:
                self._finish(None, e)
            except Exception as e:
                self._finish(None, SquallError(Code.INTERNAL, f"the answer cannot be read: {type(e).__name__}: {e}"))

        source.add_done_callback(then)

    def cancel(self) -> bool:
        return self._source.cancel()


def failed(error: SquallError) -> Future[Any]:
    future: Future[Any] = Future()
    future._finish(None, error)
    return future


def deadline_after(seconds: float) -> float:
    return time.monotonic() + seconds
