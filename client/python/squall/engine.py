"""The thread that owns the sockets, and the tables of what is outstanding."""

from __future__ import annotations

import os
import random
import secrets
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq

from squall import protocol
from squall.arena import DEFAULT_CAPACITY, Arena, ArenaMap, host_key
from squall.errors import Code, SquallError, code_of
from squall.futures import Request, bringing_threads
from squall.link import TICK_INTERVAL, Keys, Link, Welcome
from squall.protocol import Role, Type

if TYPE_CHECKING:
    from squall.calls import Call

# How long after its deadline a call waits for the news of its end: with the tick's interval less than 2 s.
_DELIVERY_ALLOWANCE = 1.5
_CANCEL_ALLOWANCE = 1.0
_FOREVER_NS = 3650 * 86_400 * 10**9
_CALL_RESULT = int(Type.CALL_RESULT)
_CALL_PARTIAL = int(Type.CALL_PARTIAL)
_UNAVAILABLE = int(Code.UNAVAILABLE)


class Lease:
    """Outputs in shared memory, given back when the last array over them is gone: `call` names them to the cluster (0:
    none are its own), `blocks` are inputs of ours that came back as outputs."""

    __slots__ = ("_blocks", "_call", "_give_back")

    def __init__(self, call: int, blocks: list[Any], give_back: Callable[[int, list[Any]], None]) -> None:
        self._call = call
        self._blocks = blocks
        self._give_back = give_back

    def __del__(self) -> None:
        # May run in any thread at any moment: it only appends to a queue.
        self._give_back(self._call, self._blocks)


class Engine:
    """All methods but those below "the engine's thread" may be called from any thread."""

    def __init__(
        self,
        endpoint: str,
        keys: Keys | None,
        timeout: float,
        patience: float,
        max_outstanding: int,
        software: str,
    ) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self.patience = patience
        self._lost_at: float | None = None  # when the controller went; None: it is there
        self._lost_why = SquallError(Code.UNAVAILABLE, "not connected yet")
        self.max_outstanding = max_outstanding
        self.arenas = ArenaMap()
        self.same_host = False
        self.info: Welcome | None = None
        self.on_welcome: Callable[[Welcome], None] | None = None
        self._arena: Arena | None = None
        self._arena_lock = threading.Lock()
        self._arena_failed = False
        self._commands: deque[tuple[Any, ...]] = deque()
        self._sleeping = False
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._context: zmq.Context[Any] = zmq.Context()
        self._ids = random.Random(secrets.randbits(256))  # no two engines have the same, also after a fork
        client = self.fresh_id()
        self._controller = Link(self._context, Role.CONTROLLER, client, software, keys)
        self._store = Link(self._context, Role.STORE, client, software, keys)
        self._separate_store = False
        self._calls: dict[int, Call] = {}
        self._requests: dict[int, Request] = {}
        self._stopping = False
        self._closed = False
        self._readiness = threading.Condition()
        self._trouble: SquallError | None = None
        self._poll = select.poll()
        self._polled: list[int] = []
        self._polled_generation = -1
        self._thread = threading.Thread(target=self._run, name="squall client", daemon=True)
        self._pid = os.getpid()

    def start(self) -> None:
        self._thread.start()
        with self._readiness:
            self._readiness.wait_for(
                lambda: (
                    self.info is not None or (self._trouble is not None and self._trouble.code is not Code.UNAVAILABLE)
                ),
                self.timeout,
            )
            if self.info is not None:
                return
            trouble = self._trouble
        self.close()
        code = trouble.code if trouble else Code.UNAVAILABLE
        why = trouble.message if trouble else f"no answer within {self.timeout:g} s; does a cluster listen there?"
        raise SquallError(code, f"cannot connect to {self.endpoint}: {why}")

    def close(self) -> None:
        """Ends everything that is outstanding as cancelled, and the thread."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._push(("stop",))
            self._thread.join()
        closed = SquallError(Code.CANCELLED, "the client was closed")
        while self._commands:
            command = self._commands.popleft()
            if command[0] in ("call", "request"):
                command[1]._finish(None, closed)
        self._context.destroy(linger=200)
        os.close(self._wake_fd)
        self._wake_fd = -1
        if self._arena is not None:
            self._arena.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def fresh_id(self) -> int:
        while True:
            number = self._ids.getrandbits(64)
            if number > 0xFFFF:  # small numbers are the links' own requests
                return number

    # -- hand over

    def _push(self, command: tuple[Any, ...]) -> None:
        self._commands.append(command)
        if self._sleeping:
            self._sleeping = False
            os.eventfd_write(self._wake_fd, 1)

    def call(self, call: Call) -> None:
        if self._closed or os.getpid() != self._pid:
            call._finish(None, self._gone())
        elif len(self._calls) >= self.max_outstanding:
            call._finish(
                None,
                SquallError(
                    Code.OVERLOADED,
                    f"{self.max_outstanding} calls are outstanding, this client's limit (max_outstanding of connect())",
                    retry_after=0.001,
                ),
            )
        else:
            self._push(("call", call))

    def cancel(self, call: int) -> None:
        if not self._closed:
            self._push(("cancel", call))

    def request(self, type: int, to: Role, body: list[Any], writer: protocol.Writer | None = None) -> Request:
        """Sends a request; its end comes within the timeout."""
        id = self.fresh_id()
        frames = (writer or protocol.Writer()).frames(type, to, id, body)
        request = Request(id, to, frames, time.monotonic() + self.timeout)
        if self._closed or os.getpid() != self._pid:
            request._finish(None, self._gone())
        else:
            self._push(("request", request))
        return request

    def _gone(self) -> SquallError:
        if os.getpid() != self._pid:
            return SquallError(Code.UNAVAILABLE, "a connection does not survive fork(); connect in the child process")
        return SquallError(Code.CANCELLED, "the client was closed; connect again")

    def give_back(self, call: int, blocks: list[Any]) -> None:
        # From a finaliser: no locks, and nothing when the interpreter or the client has ended.
        if not self._closed:
            self._commands.append(("taken", call, blocks))
            if self._sleeping and self._wake_fd >= 0:
                self._sleeping = False
                os.eventfd_write(self._wake_fd, 1)

    def share(self, data: Any, size: int) -> protocol.InArena | None:
        """A large input in shared memory, if the server is on this host and there is room."""
        if not self.same_host or size > protocol.MAX_VALUE_BYTES:
            return None
        arena = self._arena
        if arena is None:
            with self._arena_lock:
                if self._arena is None and not self._arena_failed:
                    try:
                        self._arena = Arena(DEFAULT_CAPACITY)
                    except OSError:
                        self._arena_failed = True  # values then travel inline
                arena = self._arena
            if arena is None:
                return None
        reference = arena.put(data, size)
        return None if reference is None else protocol.InArena(reference)

    def release(self, blocks: list[Any]) -> None:
        if self._arena is not None:
            for block in blocks:
                self._arena.release(block)

    # -- the engine's thread

    def _run(self) -> None:
        bringing_threads.add(threading.get_ident())
        try:
            self._loop()
            end = SquallError(Code.CANCELLED, "the client was closed")
        except Exception as e:
            # A fault of ours. Whoever waits must hear of it; threading.excepthook shows where it was.
            end = SquallError(Code.INTERNAL, f"the client's thread ended with {type(e).__name__}: {e}; connect again")
            self._closed = True
            raise
        finally:
            bringing_threads.discard(threading.get_ident())
            self._lose_requests(None, end)
            self._lose_calls(end)
            self._controller.close()
            self._store.close()

    def _loop(self) -> None:
        now = time.monotonic()
        self._controller.open(self.endpoint, now)
        next_tick = now
        while not self._stopping:
            now = time.monotonic()
            busy = self._serve(now)
            if now >= next_tick or self._controller.failed or self._store.failed:
                self._tick(now)
                next_tick = now + TICK_INTERVAL
            elif not busy:
                self._sleep(next_tick)

    def _serve(self, now: float) -> bool:
        """Whether there is more: a part of it is served at a time, so that no flood of one kind holds the others up."""
        commands = self._commands
        for _ in range(256):
            if not commands:
                break
            self._on_command(commands.popleft(), now)
        busy = bool(commands)
        links = (self._controller, self._store) if self._separate_store else (self._controller,)
        for link in links:
            for _ in range(256):
                got = link.receive(now)
                if got is None:
                    break
                self._on_answer(*got, now)
            else:
                busy = True
        welcome = self._controller.welcome
        if welcome is not None:
            self._controller.welcome = None
            self._on_welcome(welcome, now)
        return busy

    def _sleep(self, until: float) -> None:
        generation = self._controller.generation + self._store.generation
        if generation != self._polled_generation:
            for fd in self._polled:
                self._poll.unregister(fd)
            self._polled = [self._wake_fd, *self._controller.descriptors(), *self._store.descriptors()]
            for fd in self._polled:
                self._poll.register(fd, select.POLLIN)
            self._polled_generation = generation
        if not (self._controller.quiet() and self._store.quiet()):
            return
        self._sleeping = True
        if not self._commands:
            ready = self._poll.poll(max(0.0, until - time.monotonic()) * 1000)
            for fd, _ in ready:
                if fd == self._wake_fd:
                    os.eventfd_read(fd)
                else:
                    self._controller.woken(fd)
                    self._store.woken(fd)
        self._sleeping = False

    def _on_command(self, command: tuple[Any, ...], now: float) -> None:
        kind = command[0]
        if kind == "call":
            self._begin_call(command[1], now)
        elif kind == "request":
            self._begin_request(command[1])
        elif kind == "cancel":
            self._begin_cancel(command[1], now)
        elif kind == "taken":
            self._give_back_all(command)
        else:
            self._stopping = True

    def _give_back_all(self, command: tuple[Any, ...]) -> None:
        taken = []
        while True:
            self.release(command[2])
            if command[1]:
                taken.append(command[1])
            if not self._commands or self._commands[0][0] != "taken":
                break
            command = self._commands.popleft()
        if taken:
            # When the connection is gone the server knows that as well, and gives everything back by itself.
            self._controller.send(protocol.frames(Type.RESULT_TAKEN, Role.CONTROLLER, 0, [taken]))

    def _begin_call(self, call: Call, now: float) -> None:
        ready = self._controller.ready
        if not ready and not self._patient(now):
            return self._end_call(call, self._not_connected(self._controller))
        refused = self._controller.send(call.frames) if ready else None
        if refused is not None:
            return self._end_call(call, refused)
        call.sent = ready  # else it goes out with the next welcome
        deadline_ns = call.deadline_ns or (self.info.default_deadline_ns if self.info else 0)
        if 0 < deadline_ns < _FOREVER_NS:
            call.give_up = now + deadline_ns / 1e9 + _DELIVERY_ALLOWANCE
        self._calls[call.id] = call

    def _patient(self, now: float) -> bool:
        """Calls may wait for a controller that is to come back."""
        return self._lost_at is not None and now - self._lost_at < self.patience

    def _waits(self, id: int, outcome: list[Any], now: float) -> bool:
        """A call that was not begun because the cluster is changing may find it settled soon."""
        call = self._calls.get(id)
        retry_after_ns, trace = outcome[2], outcome[3]
        if call is None or call.withdrawn or not retry_after_ns or trace:
            return False
        if call.first_refused is None:
            call.first_refused = now
        again_at = now + retry_after_ns / 1e9
        if again_at >= call.give_up or again_at - call.first_refused > self.patience:
            return False
        call.again_at = again_at
        call.sent = call.doubtful
        return True

    def _send_again(self, call: Call, now: float) -> None:
        call.again_at = float("inf")
        options = list(call.body[3])
        if options[0] > 0 and call.give_up != float("inf"):
            options[0] = round((call.give_up - _DELIVERY_ALLOWANCE - now) * 1e9)
            if options[0] <= 0:
                return  # the sweep ends it
        call.doubtful = call.sent
        body = [*call.body[:3], options, call.body[4], call.sent]
        header = protocol.frames(Type.CALL_REQUEST, Role.CONTROLLER, call.id, body)
        if self._controller.send([*header, *call.frames[1:]]) is None:
            call.sent = True
        else:
            call.again_at = now + 0.1

    def _begin_request(self, request: Request) -> None:
        link = self._link_to(request.to)
        if not link.ready:
            return request._finish(None, self._not_connected(link))
        assert request.frames is not None
        refused = link.send(request.frames)
        if refused is not None:
            return request._finish(None, refused)
        request.frames = None
        self._requests[request.id] = request

    def _begin_cancel(self, id: int, now: float) -> None:
        call = self._calls.get(id)
        if call is None or call.withdrawn:
            return
        call.withdrawn = True
        call.give_up = min(call.give_up, now + _CANCEL_ALLOWANCE)
        # If it cannot be sent, the call ends here all the same, by the time-out just set.
        self._controller.send(protocol.frames(Type.CANCEL_REQUEST, Role.CONTROLLER, 0, [id]))

    def _on_answer(self, head: list[Any], payloads: list[bytes], now: float) -> None:
        type, request, body = head[1], head[3], head[4]
        if type == _CALL_RESULT:
            if body[1][0] == _UNAVAILABLE and self._waits(body[0], body[1], now):
                return
            call = self._calls.pop(body[0], None)
            taken_wanted = len(body) > 3 and body[3]
            kept = []
            if call is not None and call.blocks:
                if self._mentions_ours(body[2]):
                    kept, call.blocks = call.blocks, []
                self._release_blocks(call)
            lease = Lease(body[0] if taken_wanted else 0, kept, self.give_back) if taken_wanted or kept else None
            if call is not None:  # else it is late, and the lease gives its outputs back
                call._arrive(body, payloads, lease)
            return
        if type == _CALL_PARTIAL:
            if (call := self._calls.get(body[0])) is not None:
                call._arrive_partial(body, payloads)
            return
        waiting = self._requests.pop(request, None)
        if waiting is not None:
            return waiting._finish([type, body, payloads])
        if type == Type.REPLY and request in self._calls:  # refused before anybody looked into it
            self._end_call(self._calls.pop(request), error_of_reply(body))

    def _mentions_ours(self, outputs: list[Any]) -> bool:
        """Whether a function handed an input of ours on, so that an output lies in our own arena."""

        def ours(value: Any) -> bool:
            if value is None:
                return False
            if value[0] == 0:
                return any(ours(element) for element in value[1])
            return isinstance(value[2], list) and self._arena is not None and value[2][0] == self._arena.id

        return any(ours(value) for _, value in outputs)

    def _release_blocks(self, call: Call) -> None:
        if call.blocks:
            self.release(call.blocks)
            call.blocks = []

    def _end_call(self, call: Call, why: SquallError) -> None:
        self._release_blocks(call)
        call._finish(None, why)

    def _on_welcome(self, welcome: Welcome, now: float) -> None:
        self.same_host = welcome.host == host_key()
        self._separate_store = bool(welcome.store_endpoint)
        if not self._separate_store:
            self._store.close()
        elif not self._store.is_open or self._store.endpoint != welcome.store_endpoint:
            self._store.open(welcome.store_endpoint, now)
        self.arenas.forget_all()
        with self._readiness:
            self.info = welcome
            self._readiness.notify_all()
        if self.on_welcome is not None:
            self.on_welcome(welcome)
        if self._lost_at is not None:
            self._lost_at = None
            for call in list(self._calls.values()):
                self._send_again(call, now)

    def _tick(self, now: float) -> None:
        links = (self._controller, self._store) if self._separate_store else (self._controller,)
        for link in links:
            why = link.tick(now)
            if why is None:
                continue
            lost = SquallError(
                Code.UNAVAILABLE,
                f"lost {link.endpoint}: {why.message}; whether what was outstanding has run is not known",
            )
            self._lose_requests(link, lost)
            if link is self._controller and self.patience <= 0:
                self._lose_calls(lost)
            elif link is self._controller:
                self._lost_at, self._lost_why = now, lost
        if self._lost_at is not None and not self._patient(now):
            self._lose_calls(self._lost_why)
        if self._controller.ready:
            for call in [c for c in self._calls.values() if c.again_at <= now]:
                self._send_again(call, now)
        if not self._controller.ready and not self._controller.is_open:
            with self._readiness:
                self._trouble = self._controller.trouble
                self._readiness.notify_all()
        self._sweep(now)

    def _lose_requests(self, link: Link | None, why: SquallError) -> None:
        requests, self._requests = self._requests, {}
        for id, request in requests.items():
            if link is not None and self._link_to(request.to) is not link:
                self._requests[id] = request
            else:
                request._finish(None, why)

    def _lose_calls(self, why: SquallError) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            self._end_call(call, why)

    def _sweep(self, now: float) -> None:
        for call in [c for c in self._calls.values() if now >= c.give_up]:
            del self._calls[call.id]
            if call.withdrawn:
                why = SquallError(Code.CANCELLED, "cancelled; the cluster did not confirm it")
            else:
                ms = (call.deadline_ns or (self.info.default_deadline_ns if self.info else 0)) / 1e6
                why = SquallError(Code.DEADLINE_EXCEEDED, f"no result came by the deadline of {ms:g} ms")
            self._end_call(call, why)
        for request in [r for r in self._requests.values() if now >= r.give_up]:
            del self._requests[request.id]
            where = self._link_to(request.to).endpoint
            request._finish(None, SquallError(Code.UNAVAILABLE, f"no answer from {where} within {self.timeout:g} s"))

    def _link_to(self, to: int) -> Link:
        return self._store if to == Role.STORE and self._separate_store else self._controller

    @staticmethod
    def _not_connected(link: Link) -> SquallError:
        if link.trouble.code not in (Code.UNAVAILABLE, Code.OK):
            return SquallError(link.trouble.code, f"not connected to {link.endpoint}: {link.trouble.message}")
        return SquallError(
            Code.UNAVAILABLE, f"not connected to {link.endpoint}: {link.trouble.message}; trying again", retry_after=0.5
        )


def error_of_reply(body: list[Any]) -> SquallError:
    """A reply or store_reply that is not ok."""
    return SquallError(code_of(body[0]), body[1], retry_after=body[2] / 1e9)
