"""One connection and what it takes to keep it: hello, pings, giving up on a silent server, connecting again."""

from __future__ import annotations

import errno
import socket as sockets
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from squall import arena, protocol
from squall.errors import Code, SquallError, code_of
from squall.protocol import BUNDLE_MARK, TAKES_BUNDLES, Role, Type, unbundle

PING_INTERVAL = 1.0
SILENCE_LIMIT = 5.0
RETRY_INTERVAL = 0.5
# Of several servers one that does not answer is left sooner, for the next.
NEXT_INTERVAL = 0.2
CONNECT_LIMIT = 1.0
TICK_INTERVAL = 0.25

# Requests of the link itself; all others are random and never this small.
HELLO_REQUEST = 1
PING_REQUEST = 2

_EVENTS = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)
# A connection that has carried so many messages is a busy one: the server hears that we take bundles.
_BUSY_AFTER = 128
_NOBLOCK = zmq.NOBLOCK
_SNDMORE_NOBLOCK = zmq.NOBLOCK | zmq.SNDMORE
_RCVMORE = zmq.RCVMORE
_ZMQ_EVENTS = zmq.EVENTS
_POLLIN = int(zmq.POLLIN)


def way_to(endpoint: str) -> str:
    """Where to connect for an endpoint: a server on loopback listens on a Unix socket as well, which takes less of the
    processor (docs/wire.md). The endpoint itself where somebody listens there alone: an older server, or a tunnel."""
    for host in ("tcp://127.0.0.1:", "tcp://localhost:"):
        port = endpoint.removeprefix(host)
        if endpoint.startswith(host) and port.isdecimal() and 0 < int(port) < 65536:
            break
    else:
        return endpoint
    name = f"squall/127.0.0.1:{int(port)}"
    # Any problem but a full queue: perhaps this process may not use such sockets.
    nobody = _problem_of_connecting(sockets.AF_UNIX, f"\0{name}") not in (0, errno.EAGAIN)
    if nobody and _problem_of_connecting(sockets.AF_INET, ("127.0.0.1", int(port))) != errno.ECONNREFUSED:
        return endpoint
    return f"ipc://@{name}"


def _problem_of_connecting(family: int, address: str | tuple[str, int]) -> int:
    with sockets.socket(family, sockets.SOCK_STREAM) as probe:
        probe.setblocking(False)
        problem = probe.connect_ex(address)
        if problem == errno.EINPROGRESS:  # on one host it is refused at once
            problem = probe.getsockopt(sockets.SOL_SOCKET, sockets.SO_ERROR)
        return problem


@dataclass(frozen=True)
class Keys:
    """Keys of CURVE, each as 40 characters of Z85."""

    server_public: str
    client_public: str
    client_secret: str


@dataclass
class Welcome:
    """What the server says about itself, field by field as docs/wire.md has it."""

    version: int = 1
    software: str = ""
    cluster: str = ""
    epoch: int = 0
    host: int = 0
    store_endpoint: str = ""
    default_deadline_ns: int = 0
    controllers: list[str] = field(default_factory=list)  # where the next one may be found


class Link:
    """Used by one thread; nothing here waits. The controller's link is ready when it was welcomed; a store's link,
    which has no welcome of its own, as soon as it said hello."""

    def __init__(self, context: zmq.Context[Any], peer: Role, client: int, software: str, keys: Keys | None) -> None:
        self._context = context
        self._peer = peer
        self._client = client
        self._software = software
        self._keys = keys
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._monitor_fd = -1
        self._monitor_news = True  # it is to be looked at
        self._up = False
        self._received = 0  # on this connection, bundles left out
        self._opened: deque[tuple[bytes, list[bytes]]] = deque()  # of a bundle, not yet given out
        self._retry_at = float("inf")
        self._heard = self._pinged = 0.0
        self._lost = False
        self._epoch = 0
        self.endpoint = ""
        self._given: list[str] = []  # where to connect
        self._endpoints: list[str] = [""]  # and where the server says that others are
        self.ready = False
        self.trouble = SquallError(Code.UNAVAILABLE, "not connected yet")
        self.welcome: Welcome | None = None  # that nobody has taken yet
        self.generation = 0  # counts sockets, for whoever polls their descriptors

    # -- the connection

    def open(self, endpoints: str, now: float) -> None:
        """Begins to connect to a server, or to one of several (with commas between them)."""
        self._given = self._endpoints = [one.strip() for one in endpoints.split(",") if one.strip()] or [endpoints]
        self.endpoint = self._endpoints[0]
        self._connect(now)

    def _connect(self, now: float) -> None:
        self._retry_at = float("inf")
        self._drop_socket()
        try:
            self._socket = self._make_socket()
        except (zmq.ZMQError, ValueError) as e:
            self._fail(SquallError(Code.INVALID_ARGUMENT, f"cannot connect to {self.endpoint}: {e}"), now)
            return
        self.generation += 1
        self._heard = self._pinged = now
        self.send(
            protocol.frames(
                Type.HELLO,
                self._peer,
                HELLO_REQUEST,
                protocol.hello(self._software, self._client, arena.host_key()),
            )
        )
        self.ready = self._peer is not Role.CONTROLLER

    def _make_socket(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        try:
            for option, value in (
                (zmq.LINGER, 200),
                (zmq.SNDHWM, 10_000),
                (zmq.RCVHWM, 10_000),
                (zmq.HEARTBEAT_IVL, 1_000),
                (zmq.HEARTBEAT_TIMEOUT, 5_000),
                (zmq.HEARTBEAT_TTL, 5_000),
                (zmq.HANDSHAKE_IVL, 10_000),
                (zmq.MAXMSGSIZE, protocol.MAX_PAYLOAD_BYTES),
                (zmq.TCP_KEEPALIVE, 1),
                (zmq.TCP_KEEPALIVE_IDLE, 10),
                (zmq.TCP_KEEPALIVE_INTVL, 5),
                (zmq.TCP_KEEPALIVE_CNT, 3),
                (zmq.RECONNECT_IVL, 50),
                (zmq.RECONNECT_IVL_MAX, 1_000),
                (zmq.CONNECT_TIMEOUT, 3_000),
                (zmq.IPV6, int("[" in self.endpoint)),
            ):
                socket.setsockopt(option, value)
            if self._keys is not None:
                socket.setsockopt_string(zmq.CURVE_SERVERKEY, self._keys.server_public)
                socket.setsockopt_string(zmq.CURVE_PUBLICKEY, self._keys.client_public)
                socket.setsockopt_string(zmq.CURVE_SECRETKEY, self._keys.client_secret)
            self._monitor = socket.get_monitor_socket(_EVENTS)
            self._monitor_fd = self._monitor.getsockopt(zmq.FD)
            self._monitor_news = True
            self._up = False
            socket.connect(way_to(self.endpoint))
        except BaseException:
            socket.disable_monitor()
            if self._monitor is not None:
                self._monitor.close(0)
                self._monitor = None
            socket.close(0)
            raise
        return socket

    def close(self) -> None:
        self._drop_socket()
        self.ready = False
        self._retry_at = float("inf")

    def _drop_socket(self) -> None:
        self._received = 0
        self._opened.clear()
        if self._socket is not None:
            self._socket.disable_monitor()
            if self._monitor is not None:
                self._monitor.close(0)
            self._socket.close()
            self._socket = self._monitor = None
            self.generation += 1

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def descriptors(self) -> list[int]:
        if self._socket is None or self._monitor is None:
            return []
        return [self._socket.getsockopt(zmq.FD), self._monitor_fd]

    def woken(self, fd: int) -> None:
        """One of the descriptors woke whoever polls them."""
        if fd == self._monitor_fd:
            self._monitor_news = True

    # -- messages

    def send(self, frames: list[Any]) -> SquallError | None:
        socket = self._socket
        if socket is None:
            return self.trouble
        try:
            last = len(frames) - 1
            for i, frame in enumerate(frames):
                # Large frames are not copied: they are immutable.
                socket.send(frame, _NOBLOCK if i == last else _SNDMORE_NOBLOCK, len(frame) < 65536)
        except zmq.Again:
            return SquallError(Code.OVERLOADED, f"the queue to {self.endpoint} is full", retry_after=0.1)
        except zmq.ZMQError as e:
            return SquallError(Code.UNAVAILABLE, f"the connection to {self.endpoint} fails: {e}")
        return None

    def receive(self, now: float) -> tuple[list[Any], list[bytes]] | None:
        """The next message that is not the link's own, as its header [version, type, to, request, body] and its
        payloads; None when there is none now."""
        opened = self._opened
        while (socket := self._socket) is not None:
            if opened:
                header, payloads = opened.popleft()
            else:
                try:
                    header = socket.recv(_NOBLOCK)  # zmq.Again: there is none
                    payloads = []
                    while socket.getsockopt(_RCVMORE):
                        payloads.append(socket.recv(_NOBLOCK))
                except zmq.ZMQError:
                    break
                self._heard = now
                if header.startswith(BUNDLE_MARK):
                    opened.extend(unbundle(header))
                    continue
                self._received += 1
                if self._received == _BUSY_AFTER:
                    self.send([TAKES_BUNDLES])
            try:
                head = protocol.unpack(header)
                _, type, _, request, body = head[:5]
            except (ValueError, IndexError):
                continue  # it cannot be matched with a request either: its time-out will end that
            if request > 0xFFFF or type == Type.CALL_PARTIAL:
                return head, payloads
            self._on_own(type, request, body, now)
        if self._monitor_news:
            self._monitor_news = False
            self._check_monitor(now)
        return None

    def _on_own(self, type: int, request: int, body: list[Any], now: float) -> None:
        if self._peer is not Role.CONTROLLER:
            return
        if type == Type.WELCOME:
            self.welcome = Welcome(*body[:8])
            self._endpoints = list(dict.fromkeys([*self._given, self.endpoint, *self.welcome.controllers]))
            self._epoch = self.welcome.epoch
            self.ready = True
        elif type == Type.PONG and request == PING_REQUEST:
            if self.ready and body and body[0] != self._epoch:
                self._fail(SquallError(Code.UNAVAILABLE, "the cluster has restarted"), now)
        elif type == Type.REPLY and body and body[0] != 0:
            # Somebody answered, but does not take us for a client it knows.
            self._fail(SquallError(code_of(body[0]), body[1]), now)

    def _check_monitor(self, now: float) -> None:
        while (monitor := self._monitor) is not None and monitor.getsockopt(zmq.EVENTS) & zmq.POLLIN:
            event = recv_monitor_message(monitor, zmq.NOBLOCK)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._up = True
            elif event == zmq.EVENT_DISCONNECTED and self._up:
                # ZeroMQ would connect again by itself, to a server that does not know us.
                self._fail(SquallError(Code.UNAVAILABLE, "the server is gone"), now)
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._fail(SquallError(Code.UNAVAILABLE, "the server does not allow our key"), now)
            elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._fail(
                    SquallError(Code.UNAVAILABLE, "the server does not speak as we do (keys on one side only?)"), now
                )

    def quiet(self) -> bool:
        """Whether the descriptors can be trusted to tell of the next message: they tell once of what is new, and using
        a socket can swallow that."""
        if self._socket is None or self._monitor is None:
            return True
        return not (self._monitor_news or self._socket.getsockopt(_ZMQ_EVENTS) & _POLLIN)

    # -- time

    def tick(self, now: float) -> SquallError | None:
        """Pings, and finds out whether the server is still there. When the link was ready and is no more, says why."""
        limit = CONNECT_LIMIT if len(self._endpoints) > 1 and not self._up else SILENCE_LIMIT
        if self._socket is not None and now - self._heard >= limit and self._peer is Role.CONTROLLER:
            why = f"no word from it for {SILENCE_LIMIT:.0f} s" if self._up else "nobody answers there"
            self._fail(SquallError(Code.UNAVAILABLE, why), now)
        if self._socket is not None and self.ready and now - self._pinged >= PING_INTERVAL:
            self._pinged = now
            # A full queue is no reason to give up; silence is.
            self.send(protocol.frames(Type.PING, self._peer, PING_REQUEST, []))
        self._monitor_news = True  # in case that something was missed
        lost, self._lost = self._lost, False
        if self._socket is None and now >= self._retry_at:
            self._connect(now)
        return self.trouble if lost else None

    def _fail(self, why: SquallError, now: float) -> None:
        was_ready, self.ready = self.ready, False
        self._lost = self._lost or was_ready
        self.trouble = why
        self._drop_socket()
        self._retry_at = now if was_ready else now + (NEXT_INTERVAL if len(self._endpoints) > 1 else RETRY_INTERVAL)
        at = self._endpoints.index(self.endpoint) if self.endpoint in self._endpoints else -1
        self.endpoint = self._endpoints[(at + 1) % len(self._endpoints)]

    @property
    def failed(self) -> bool:
        """Something is to be told by tick() at once."""
        return self._lost
