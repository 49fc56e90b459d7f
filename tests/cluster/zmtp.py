"""A peer of our own making: ZMTP 3.0 and the protocol of docs/wire.md over a plain TCP socket, decoded by nothing that
the product has. It does what no client of ours would: it reads when it is told to, or never."""

import contextlib
import random
import select
import socket
import struct
import threading
import time

ANY, CONTROLLER, NODE, STORE, CLIENT = 0, 1, 2, 3, 4
HELLO, WELCOME, PING, PONG, REPLY = 1, 2, 3, 4, 5
CALL_REQUEST, CALL_RESULT, STORE_REPLY = 16, 17, 68
UINT8 = 2
OK, OVERLOADED = 0, 4


# -- msgpack, as much as the protocol uses


def pack(value):
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return pack_int(value)
    if isinstance(value, str):
        data = value.encode()
        head = bytes([0xA0 | len(data)]) if len(data) < 32 else b"\xda" + struct.pack(">H", len(data))
        return head + data
    if isinstance(value, list | tuple):
        head = bytes([0x90 | len(value)]) if len(value) < 16 else b"\xdc" + struct.pack(">H", len(value))
        return head + b"".join(pack(v) for v in value)
    raise TypeError(f"cannot pack {value!r}")


def pack_int(value):
    if 0 <= value < 128:
        return bytes([value])
    if value >= 0:
        return b"\xcf" + struct.pack(">Q", value)
    return b"\xd3" + struct.pack(">q", value)


def unpack(data):
    value, rest = unpack_some(memoryview(data))
    if len(rest):
        raise ValueError(f"{len(rest)} bytes are left")
    return value


FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
SIZES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
COUNTS = {0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}


def unpack_some(data):
    first, data = data[0], data[1:]
    if first < 0x80:
        return first, data
    if first >= 0xE0:
        return first - 256, data
    if first < 0x90:
        return unpack_map(data, first & 0x0F)
    if first < 0xA0:
        return unpack_list(data, first & 0x0F)
    if first < 0xC0:
        return bytes(data[: first & 0x1F]).decode(), data[first & 0x1F :]
    if first in FIXED:
        return FIXED[first], data
    for formats in (NUMBERS, SIZES, COUNTS):
        if first in formats:
            width = struct.calcsize(formats[first])
            (number,) = struct.unpack(formats[first], data[:width])
            data = data[width:]
            if formats is NUMBERS:
                return number, data
            if formats is COUNTS:
                return unpack_list(data, number) if first < 0xDE else unpack_map(data, number)
            value = bytes(data[:number])
            return (value if first < 0xD9 else value.decode()), data[number:]
    raise ValueError(f"byte {first:#x} begins nothing")


def unpack_list(data, count):
    out = []
    for _ in range(count):
        value, data = unpack_some(data)
        out.append(value)
    return out, data


def unpack_map(data, count):
    out = {}
    for _ in range(count):
        key, data = unpack_some(data)
        out[key], data = unpack_some(data)
    return out, data


# -- messages


def message(kind, to, request, body, *payloads):
    """The frames of one message."""
    return [pack([1, kind, to, request, body]), *payloads]


def hello(request, client=4711):
    # Host 0 is no host: values do not travel in shared memory.
    return message(HELLO, CONTROLLER, request, [1, 1, "test peer", client, 0])


def call(target, port, data, shape=None):
    """A call with an id of its own, which is its request, too; options are left to their defaults."""
    request = random.getrandbits(63) | 1 << 62
    tensor = [UINT8, list(shape or [len(data)]), 0]
    return message(CALL_REQUEST, CONTROLLER, request, [request, target, 0, [], [[port, tensor]]], data)


class Closed(Exception):
    """The other side has closed the connection."""


class Peer:
    """A DEALER. Reads nothing by itself; answers ZMTP's pings only while somebody receives."""

    def __init__(self, endpoint, receive_buffer=None, seconds=30):
        host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.seconds = seconds
        self.socket.settimeout(seconds)
        self.socket.connect((host, int(port)))
        self.sending = threading.Lock()
        self.buffer = bytearray()
        self.read_bytes = 0
        self.pace = None  # bytes a second, None: as fast as they come
        greeting = b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + b"\0" * 31
        self.socket.sendall(greeting)
        self.exactly(64)
        self.send_frame(0x04, b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER")
        flags, body = self.frame()
        assert flags & 4 and body.startswith(b"\x05READY"), (flags, bytes(body))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # -- out

    def send_frame(self, flags, body):
        head = bytes([flags, len(body)]) if len(body) < 256 else bytes([flags | 2]) + struct.pack(">Q", len(body))
        with self.sending:
            self.socket.sendall(head + body)

    def send(self, frames):
        for i, frame in enumerate(frames):
            self.send_frame(1 if i + 1 < len(frames) else 0, frame)

    def keep_pinging(self, stop, interval=1.0):
        """In a thread: the controller hears of us as long as the connection stands."""

        def ping():
            while not stop.wait(interval):
                with contextlib.suppress(OSError):
                    self.send(message(PING, CONTROLLER, 2, []))

        thread = threading.Thread(target=ping, daemon=True)
        thread.start()
        return thread

    # -- in

    def more(self):
        at_once = 1 << 16
        if self.pace:
            at_once = max(1, self.pace // 20)
            time.sleep(0.05)
        try:
            got = self.socket.recv(at_once)
        except ConnectionError as gone:
            raise Closed from gone
        if not got:
            raise Closed
        self.read_bytes += len(got)
        self.buffer += got

    def exactly(self, size):
        while len(self.buffer) < size:
            self.more()
        out = bytes(self.buffer[:size])
        del self.buffer[:size]
        return out

    def frame(self):
        flags = self.exactly(1)[0]
        size = struct.unpack(">Q", self.exactly(8))[0] if flags & 2 else self.exactly(1)[0]
        return flags, self.exactly(size)

    def receive(self):
        """The next message, as frames. Raises Closed, or TimeoutError."""
        frames = []
        while True:
            flags, body = self.frame()
            if flags & 4:
                if body.startswith(b"\x04PING"):
                    self.send_frame(0x04, b"\x04PONG" + body[7:])
                continue
            frames.append(body)
            if not flags & 1:
                return frames

    def receive_kind(self, *kinds):
        """The next message of such a kind: (kind, request, body, payloads)."""
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            frames = self.receive()
            _, kind, _, request, body = unpack(frames[0])[:5]
            if kind in kinds:
                return kind, request, body, frames[1:]
            if kind == REPLY and body[0] != OK:
                raise ValueError(f"refused: {body}")
        raise TimeoutError(f"no message of types {kinds}")

    def closed(self):
        """Whether the other side has closed, as far as the kernel knows; reads nothing."""
        poll = select.poll()
        poll.register(self.socket, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(0))

    def say_hello(self, client=4711):
        self.send(hello(17, client))
        return self.receive_kind(WELCOME)[2]
