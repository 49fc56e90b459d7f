"""numpy arrays and plain Python values as tensors, and what does not fit."""

import os
import unittest

import numpy as np
from squall import arena
from squall.datatypes import (
    NUMPY_BY_NUMBER,
    DataType,
    Port,
    datatype_of,
    decode_scalar,
    decode_tensor,
    encode_array,
    encode_for,
    encode_plain,
    from_bf16,
    port,
    to_bf16,
    unpack_bytes,
)
from squall.errors import Code, SquallError
from squall.functions import typed_port

X = Port("x", DataType.FP32, (-1, 3))


def back(tensor):
    return decode_tensor(tensor[0], tensor[1], bytes(tensor[2]))


class Values(unittest.TestCase):
    def refused(self, pattern, *arguments):
        with self.assertRaisesRegex(SquallError, pattern) as caught:
            encode_for("the input 'x' of 'f'", *arguments)
        self.assertEqual(caught.exception.code, Code.INVALID_ARGUMENT)

    def test_every_numeric_datatype_comes_back_as_it_went(self):
        for name in "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64".split():
            with self.subTest(name):
                array = (np.arange(6) % 2).astype(name).reshape(2, 3)
                again = back(encode_array(array))
                self.assertEqual(again.dtype, array.dtype)
                np.testing.assert_array_equal(again, array)

    def test_lone_numbers_are_one_element_as_arrays_are(self):
        for datatype, values in (
            (DataType.INT64, (0, -(2**63), 2**63 - 1, True)),
            (DataType.INT32, (7, -(2**31), 2**31 - 1)),
            (DataType.FP64, (0.1, 3, float("inf"))),
            (DataType.BOOL, (True, False, 1)),
        ):
            for shape in ((1,), (-1,), (1, 1)):
                for value in values:
                    with self.subTest(datatype=datatype.name, shape=shape, value=value):
                        given = Port("x", datatype, shape)
                        tensor = encode_for("it", given, value)
                        array = np.array(value, NUMPY_BY_NUMBER[datatype]).reshape([1] * len(shape))
                        wanted = encode_for("it", given, array)
                        self.assertEqual(
                            (tensor[0], tuple(tensor[1]), bytes(tensor[2])), (*wanted[:2], bytes(wanted[2]))
                        )
                        self.assertIn(decode_scalar(tensor[0], tensor[2]), (value,))
        self.assertIsNone(decode_scalar(DataType.FP32, b"1234"))
        self.assertIsNone(decode_scalar(DataType.INT64, b"1234"))
        for value in (2**63, -(2**63) - 1, 0.5):
            self.refused("wants INT64", Port("x", DataType.INT64, (1,)), value)
        self.refused("does not fit", Port("x", DataType.INT32, (1,)), 2**31)

    def test_other_layouts_and_byte_orders_are_made_dense(self):
        array = np.arange(12, dtype=">i4").reshape(3, 4).T
        np.testing.assert_array_equal(back(encode_array(array)), array)

    def test_empty_tensors_keep_their_shape(self):
        again = back(encode_array(np.zeros((0, 4), np.float32)))
        self.assertEqual((again.shape, again.dtype), ((0, 4), np.float32))

    def test_bytes_are_elements_with_lengths(self):
        tensor = encode_plain(np.array([b"", "héllo", b"\0\xff"], dtype=object))
        self.assertEqual(unpack_bytes(tensor[2]), [b"", "héllo".encode(), b"\0\xff"])
        self.assertEqual(back(encode_plain("text")).tolist(), [b"text"])

    def test_broken_bytes_are_corrupt(self):
        for raw in (b"\1\0\0", b"\5\0\0\0abc"):
            with self.assertRaises(SquallError) as caught:
                unpack_bytes(raw)
            self.assertEqual(caught.exception.code, Code.CORRUPT)

    def test_bf16_rounds_to_nearest_even(self):
        values = np.array([1.0, 1.00390625, 1.01171875, -0.0, np.inf, np.nan, 3.3895314e38], np.float32)
        again = from_bf16(to_bf16(values))
        np.testing.assert_array_equal(again[:5], np.array([1.0, 1.0, 1.015625, -0.0, np.inf], np.float32))
        self.assertTrue(np.isnan(again[5]))
        tensor = encode_for("x", Port("x", DataType.BF16, (-1,)), values[:2])
        self.assertEqual(tensor[0], DataType.BF16)
        np.testing.assert_array_equal(back(tensor), again[:2])

    def test_numbers_and_lists_take_the_datatype_of_the_port(self):
        tensor = encode_for("x", X, [[1, 2, 3], [4, 5, 6.5]])
        self.assertEqual((tensor[0], tensor[1]), (DataType.FP32, (2, 3)))
        self.assertEqual(encode_for("x", X, [1, 2, 3, 4, 5, 6])[1], (2, 3))
        self.assertEqual(encode_for("x", Port("x", DataType.INT64, (1,)), 7)[1], (1,))
        self.assertEqual(encode_for("x", Port("x", DataType.BOOL, (1,)), True)[0], DataType.BOOL)
        self.assertEqual(encode_for("x", Port("x", DataType.UINT8, (-1,)), [])[1], (0,))

    def test_lists_for_lists(self):
        wanted = Port("x", DataType.UINT8, (-1,), list=True)
        values = encode_for("x", wanted, [[1], np.zeros(3, np.uint8), None])
        self.assertEqual([v and v[1] for v in values], [(1,), (3,), None])
        self.assertEqual(len(encode_for("x", wanted, np.zeros((4, 2), np.uint8))), 4)
        self.refused("a list of UINT8", wanted, 3)
        self.refused("element 1 of the input 'x'", wanted, [[1], "no"])

    def test_what_does_not_fit_is_refused_and_says_how_to_mend_it(self):
        self.refused(r"astype\(np.float32\)", X, np.zeros((1, 3)))
        self.refused(r"shape \[4\]", X, np.zeros(4, np.float32))
        self.refused("rows of one length", X, [[1, 2, 3], [4]])
        self.refused("not text", X, "abc")
        self.refused("does not fit", Port("x", DataType.INT8, (-1,)), [1, 200])
        self.refused("whole numbers", Port("x", DataType.INT32, (-1,)), [1.5])
        self.refused("only true, false", Port("x", DataType.BOOL, (-1,)), [2])
        self.refused("4 elements", X, [1, 2, 3, 4])
        self.refused("", X, {"a": 1})

    def test_ports_as_users_write_them(self):
        self.assertEqual(port("x", np.float32), Port("x", DataType.FP32, (-1,)))
        self.assertEqual(port("x", ("FP16", [1, -1], "list")), Port("x", DataType.FP16, (1, -1), list=True))
        self.assertEqual(typed_port("x", str), Port("x", DataType.BYTES, (1,)))
        self.assertEqual(typed_port("x", float), Port("x", DataType.FP64, (1,)))
        self.assertEqual(datatype_of("bf16"), DataType.BF16)
        for wrong in ("FP31", 3, (np.float32, "liste"), (np.float32, ["a"]), ()):
            with self.subTest(wrong), self.assertRaises(SquallError):
                port("x", wrong)


class Arenas(unittest.TestCase):
    def test_what_one_writes_another_reads_without_a_copy(self):
        own = arena.Arena(1 << 20)
        self.addCleanup(own.close)
        reference = own.put(b"abc" * 1000, 3000)
        foreign = arena.ArenaMap()
        read = foreign.resolve(reference)
        self.assertEqual(read.tobytes(), b"abc" * 1000)
        self.assertFalse(read.flags.writeable)
        self.assertFalse(read.flags.owndata)

    def test_blocks_are_reused_and_merged(self):
        own = arena.Arena(1 << 20)
        self.addCleanup(own.close)
        size = 100_000
        blocks = []
        while (reference := own.put(bytes(size), size)) is not None:
            blocks.append(reference)
        self.assertGreater(len(blocks), 5)
        for reference in blocks[::2] + blocks[1::2]:
            own.release(reference)
        self.assertEqual(own.used_bytes, 0)
        self.assertIsNotNone(own.put(bytes(900_000), 900_000), "the free ranges were merged")

    def test_references_outside_are_corrupt_and_dead_owners_data_loss(self):
        own = arena.Arena(1 << 20)
        reference = own.put(b"x", 1)
        foreign = arena.ArenaMap()
        for offset, size in ((0, 10), (4096, 1 << 30), (1 << 40, 1)):
            with self.assertRaises(SquallError) as caught:
                foreign.resolve((own.id, offset, size))
            self.assertEqual(caught.exception.code, Code.CORRUPT)
        own.close()
        self.assertFalse(os.path.exists(f"/dev/shm/squall-{own.id:016x}"))
        with self.assertRaises(SquallError) as caught:
            arena.ArenaMap().resolve(reference)
        self.assertEqual(caught.exception.code, Code.DATA_LOSS)


if __name__ == "__main__":
    unittest.main()
