"""Conversations of clients with the controller, kept as bytes (tests/wire/golden/conversations): recorded once with
the client of a release, and said again to every later server (previous_test.py).

    python conversations.py record --binary PATH --into FILE --of "release 0.1.0"

A file is JSON: `of` names the release, `steps` are in the order in which they happened. A step `says` frames (in hex)
and `hears` what must be among the answers: the type, the request, how many payload frames, and the body as the client
of that release knew it. The body is a pattern: a list stands for an array with at least these elements (later ones are
what that client did not know), "uint", "int", "str", "bool", "float", "nil", "bytes" and "map" for any value of that
kind, "any" for whatever it is, and {"is": value} for exactly that.
"""

import argparse
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

import zmtp

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "wire/golden/conversations"

# Fields whose values mean something to the client, by message type: kept exactly. The others only have a kind.
EXACT = {zmtp.WELCOME: [[0]], zmtp.REPLY: [[0]], zmtp.CALL_RESULT: [[0], [1, 0], [2]], zmtp.STORE_REPLY: [[0]]}


def kind_of(value):
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "uint" if value >= 0 else "int"
    return {str: "str", bytes: "bytes", float: "float", dict: "map"}[type(value)]


def pattern_of(value, exact=(), where=()):
    if list(where) in [list(e) for e in exact]:
        return {"is": value}
    if isinstance(value, list):
        return [pattern_of(v, exact, (*where, i)) for i, v in enumerate(value)]
    return kind_of(value)


def mismatch(pattern, value, where="body"):
    """Why `value` is not what the pattern says; None if it is."""
    if isinstance(pattern, dict):
        return None if value == pattern["is"] else f"{where} is {value!r}, not {pattern['is']!r}"
    if isinstance(pattern, list):
        if not isinstance(value, list) or len(value) < len(pattern):
            return f"{where} is {value!r}, not an array of at least {len(pattern)}"
        return next((m for i, p in enumerate(pattern) if (m := mismatch(p, value[i], f"{where}[{i}]"))), None)
    kind = kind_of(value) if not isinstance(value, list) else "list"
    if pattern in ("any", kind) or (pattern == "int" and kind == "uint"):
        return None
    return f"{where} is {value!r}, not {pattern}"


def stored():
    return sorted(FOLDER.glob("*.json"))


# -- recording


class Relay:
    """Stands between a client and a server, keeps the frames of both, and hides that they are on one host."""

    OTHER_HOST = 1

    def __init__(self, endpoint):
        self.server = endpoint
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.heard = []  # ("client" or "server", frames), in order
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            host, port = self.server.removeprefix("tcp://").rsplit(":", 1)
            server = socket.create_connection((host, int(port)))
            for who, source, to in (("client", client, server), ("server", server, client)):
                threading.Thread(target=self.carry, args=(who, source, to), daemon=True).start()

    def carry(self, who, source, to):
        reader = Reader(source)
        frames = []
        try:
            # The greeting, as it comes: each side sends a part of it, and the rest when it has seen the other's.
            for _ in range(64):
                to.sendall(reader.exactly(1))
            while True:
                flags, body = reader.frame()
                if not flags & 4:
                    body = self.hide_host(body) if not frames else body
                    frames.append(body)
                    if not flags & 1:
                        with self.lock:
                            self.heard.append((who, frames))
                        frames = []
                to.sendall(zmtp_frame(flags, body))
        except (zmtp.Closed, OSError):
            for s in (source, to):
                s.close()

    def hide_host(self, header):
        version, kind, to, request, body = zmtp.unpack(header)[:5]
        if kind in (zmtp.HELLO, zmtp.WELCOME):
            body[4] = self.OTHER_HOST + (kind == zmtp.WELCOME)
            return zmtp.pack([version, kind, to, request, body])
        return header


class Reader(zmtp.Peer):
    """Frames of a socket that is there already."""

    def __init__(self, source):  # no handshake: others make it
        self.socket, self.buffer, self.read_bytes, self.pace = source, bytearray(), 0, None


def zmtp_frame(flags, body):
    if len(body) < 256:
        return bytes([flags & ~2, len(body)]) + body
    return bytes([flags | 2]) + len(body).to_bytes(8, "big") + body


def steps_of(heard):
    """What was said and heard, a step for each message of the client that asked for an answer."""
    steps = []
    for who, frames in heard:
        _, kind, _, request, body = zmtp.unpack(frames[0])[:5]
        if who == "client":
            if kind != zmtp.PING:
                steps.append({"says": [f.hex() for f in frames]})
        elif kind != zmtp.PONG and steps:
            asked = next((s for s in reversed(steps) if request_of(s) == request), None)
            if asked is not None:
                pattern = pattern_of(body, EXACT.get(kind, ()))
                asked["hears"] = {"type": kind, "request": request, "payloads": len(frames) - 1, "body": pattern}
    return steps


def request_of(step):
    return zmtp.unpack(bytes.fromhex(step["says"][0]))[3]


SAID = (
    ("call", "chain3", "--input", "x=[1,2,3]", "--deadline", "10s"),
    ("call", "nothing"),
    ("get", "dags"),
    ("get", "status"),
    ("describe", "dag", "chain3"),
    ("kv", "put", "golden", "value"),
    ("kv", "get", "golden"),
    ("kv", "delete", "golden"),
)


def record(binary, of):
    from basics_test import SLEEP  # the cluster is of the release, too
    from harness import Cluster

    with Cluster() as cluster:
        cluster.apply(SLEEP)
        relay = Relay(cluster.info["endpoint"])
        connections = []
        for words in SAID:
            relay.heard = []
            said = [str(binary), *words, "--cluster", relay.endpoint]
            subprocess.run(said, env=cluster.env, capture_output=True, timeout=60)
            connections.append(steps_of(relay.heard))
        relay.listener.close()
    return {"of": of, "connections": connections}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    recording = verbs.add_parser("record")
    recording.add_argument("--binary", required=True)
    recording.add_argument("--into", required=True)
    recording.add_argument("--of", required=True)
    flags = parser.parse_args()
    os.environ["SQUALL_BINARY"] = flags.binary
    conversation = record(flags.binary, flags.of)
    pathlib.Path(flags.into).write_text(json.dumps(conversation, indent=1) + "\n")
    print(
        f"{sum(len(c) for c in conversation['connections'])} messages of the client are in {flags.into}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
