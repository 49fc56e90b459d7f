"""The Python client's messages, byte for byte against those of the C++ codec."""

import pathlib
import unittest

from squall import protocol
from squall.datatypes import DataType, Port
from squall.link import Welcome
from squall.outcomes import outcome_of
from squall.protocol import Type, Writer
from squall.specs import (
    Binding,
    DagSpec,
    FunctionSpec,
    Join,
    Op,
    PredicateSpec,
    Resource,
    Source,
    StageSpec,
    Variant,
    VariantKind,
    Workers,
)

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "wire" / "golden" / "v1.txt"


def golden():
    messages = {}
    for line in GOLDEN.read_text().splitlines():
        name, header, *payloads = line.split()
        messages[name] = (bytes.fromhex(header), [bytes.fromhex(p) for p in payloads])
    return messages


def encoded(value, payloads):
    """A value off the wire as what Writer.value() takes."""
    if value is None:
        return None
    if value[0] == 0:
        return [encoded(element, payloads) for element in value[1]]
    datatype, shape, place = value
    return (datatype, tuple(shape), b"" if place is None else payloads[place])


def ports(fields):
    return [Port(f[0], DataType(f[1]), tuple(f[2]), f[3], f[4]) for f in fields]


def variant(f):
    w = f[9]
    workers = Workers(w[0], w[1], w[2] / 1e9, w[3], w[4], w[5] / 1e9, *w[6:])
    return Variant(VariantKind(f[1]), f[3], f[0], Resource(f[2]), f[4], f[5], f[6] / 1e9, f[7], f[8], workers)


def binding(f, payloads):
    return Binding(Source(f[0]), f[1], f[2], encoded(f[3], payloads))


def predicate(f, payloads):
    return PredicateSpec(Op(f[0]), binding(f[1], payloads), f[2][1], [predicate(c, payloads) for c in f[3]])


def stage(f, payloads):
    return StageSpec(
        f[0],
        f[1],
        {port: binding(b, payloads) for port, b in f[3]},
        f[2],
        f[4],
        f[5],
        None if f[6] is None else predicate(f[6], payloads),
        Join(f[7][0], f[7][1], f[7][2] / 1e9, f[7][3]),
        f[8],
        f[9],
        f[10],
    )


class Wire(unittest.TestCase):
    def setUp(self):
        self.messages = golden()

    def body(self, name):
        header, payloads = self.messages[name]
        return protocol.unpack(header), payloads

    def expect(self, name, body, writer=None):
        head, payloads = self.body(name)
        made = (writer or Writer()).frames(head[1], head[2], head[3], body)
        self.assertEqual(made[0].hex(), self.messages[name][0].hex())
        self.assertEqual([bytes(p) for p in made[1:]], payloads)

    def test_numbers_of_messages(self):
        for kind in Type:
            with self.subTest(kind.name):
                self.assertEqual(protocol.unpack(self.messages[kind.name.lower()][0])[1], kind)

    def test_hello(self):
        head, _ = self.body("hello")
        made = protocol.hello(*head[4][2:5])
        self.assertEqual(len(made), len(head[4]))
        self.expect("hello", [*head[4][:2], *made[2:5], *head[4][5:]])

    def test_welcome_is_read_field_by_field(self):
        head, _ = self.body("welcome")
        welcome = Welcome(*head[4])
        self.assertEqual(welcome.cluster, head[4][2])
        self.assertEqual(welcome.default_deadline_ns, 2**63 - 1)

    def test_empty_bodies(self):
        for name in ("ping", "shutdown"):
            self.expect(name, [])

    def test_a_call_with_its_inputs(self):
        head, payloads = self.body("call_request")
        call, target, version, options, inputs, again = head[4]
        writer = Writer()
        made = protocol.options_body(*options[:9], then=options[10], durable=options[11])
        made[9] = options[9]
        values = [[name, writer.value(encoded(value, payloads))] for name, value in inputs]
        self.expect("call_request", [call, target, version, made, values, again], writer)

    def test_a_result_is_read(self):
        head, payloads = self.body("call_result")
        call, outcome, outputs, taken_wanted = head[4]
        read = outcome_of(outcome, call)
        self.assertEqual(read.message, outcome[1])
        self.assertEqual(read.trace[0].executed_ns, outcome[3][0][10])
        self.assertEqual(read.promise.why, outcome[5][4])
        self.assertEqual(read.receipt.cost_micro, outcome[6][4])
        self.assertEqual((read.offers[0].ticket, read.offers[0].call), (outcome[7][0][0], call))
        reader = protocol.Reader(payloads)
        self.assertGreater(len(outputs), 0)
        for name, value in outputs:
            self.assertIsInstance(name, str)
            reader.value(value)
        self.assertIsInstance(taken_wanted, bool)

    def test_functions(self):
        head, _ = self.body("apply_function")
        f, replace = head[4]
        spec = FunctionSpec(
            f[0], ports(f[2]), ports(f[3]), [variant(v) for v in f[4]], f[1], [tuple(s) for s in f[5]], f[6]
        )
        self.expect("apply_function", [spec.to_wire(), replace])

    def test_dags(self):
        head, payloads = self.body("apply_dag")
        f, replace = head[4]
        outputs = {name: binding(b, payloads) for name, b in f[4]}
        spec = DagSpec(f[0], ports(f[2]), [stage(s, payloads) for s in f[3]], outputs, f[1], f[5])
        writer = Writer()
        self.expect("apply_dag", [spec.to_wire(writer), replace], writer)

    def test_pieces_of_the_store(self):
        head, payloads = self.body("store_put")
        writer = Writer()
        *fields, piece, expected_version, fence = head[4]
        body = [*fields, writer.value(encoded(piece, payloads)), expected_version, fence]
        self.expect("store_put", body, writer)
        for name in (
            "store_get",
            "store_delete",
            "store_list",
            "remove",
            "query",
            "set_policy",
            "cancel_request",
            "result_taken",
        ):
            with self.subTest(name):
                self.expect(name, self.body(name)[0][4])

    def test_text_that_is_no_utf8_survives(self):
        raw = b"\xff\xfekey"
        text = raw.decode("utf-8", "surrogateescape")
        packed = protocol.pack([text])
        self.assertIn(raw, packed)
        self.assertEqual(protocol.unpack(packed), [text])

    def test_what_is_too_large_for_a_message_is_refused(self):
        writer = Writer()
        with self.assertRaisesRegex(Exception, "64|67108864"):
            writer.value((2, (1 << 27,), memoryview(bytearray(1 << 27))))
        with self.assertRaisesRegex(Exception, "header"):
            Writer().frames(Type.QUERY, 1, 70000, ["x" * (1 << 20), ""])


class Bundles(unittest.TestCase):
    # docs/wire.md, "Bundles"
    MARK = bytes.fromhex("950107000090")
    BYTES = MARK + b"".join(
        (
            (1).to_bytes(4, "little") + (0).to_bytes(4, "little") + b"a",
            (2).to_bytes(4, "little") + (2).to_bytes(4, "little") + b"bc",
            (3).to_bytes(4, "little") + b"def" + (0).to_bytes(4, "little"),
            (1).to_bytes(4, "little") + (0).to_bytes(4, "little") + b"g",
        )
    )
    MESSAGES = ((b"a", []), (b"bc", [b"def", b""]), (b"g", []))

    def test_frames_are_as_the_page_says(self):
        self.assertEqual(protocol.BUNDLE_MARK, self.MARK)
        self.assertEqual(protocol.TAKES_BUNDLES, bytes.fromhex("950106000090"))

    def test_messages_come_out_whole_and_in_order(self):
        self.assertEqual(protocol.unbundle(self.BYTES), list(self.MESSAGES))

    def test_one_that_is_cut_short_gives_the_messages_before_the_cut(self):
        ends = {len(self.MARK): 0, 15: 1, 36: 2, 45: 3}  # where a message ends, and how many have by then
        self.assertEqual(max(ends), len(self.BYTES))
        for size in range(len(self.MARK), len(self.BYTES) + 1):
            whole = max(count for end, count in ends.items() if end <= size)
            self.assertEqual(protocol.unbundle(self.BYTES[:size]), list(self.MESSAGES[:whole]), size)

    def test_sizes_that_lie_end_it(self):
        for lie in (b"\xff" * 8, b"\1\0\0\0\xff\xff\xff\xffa", b"\xff\xff\xff\xff\0\0\0\0a"):
            self.assertEqual(protocol.unbundle(self.MARK + lie), [])


if __name__ == "__main__":
    unittest.main()
