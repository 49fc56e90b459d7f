"""Datatypes, ports, and numpy arrays as values of the protocol."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from squall.errors import Code, SquallError, invalid


class DataType(enum.IntEnum):
    """Element types of the Open Inference Protocol. The numbers are those of the protocol."""

    BOOL = 1
    UINT8 = 2
    UINT16 = 3
    UINT32 = 4
    UINT64 = 5
    INT8 = 6
    INT16 = 7
    INT32 = 8
    INT64 = 9
    FP16 = 10
    BF16 = 11
    FP32 = 12
    FP64 = 13
    BYTES = 14


_NUMPY = {
    DataType.BOOL: np.dtype(np.bool_),
    DataType.UINT8: np.dtype("<u1"),
    DataType.UINT16: np.dtype("<u2"),
    DataType.UINT32: np.dtype("<u4"),
    DataType.UINT64: np.dtype("<u8"),
    DataType.INT8: np.dtype("<i1"),
    DataType.INT16: np.dtype("<i2"),
    DataType.INT32: np.dtype("<i4"),
    DataType.INT64: np.dtype("<i8"),
    DataType.FP16: np.dtype("<f2"),
    DataType.FP32: np.dtype("<f4"),
    DataType.FP64: np.dtype("<f8"),
}
_OF_NUMPY = {dtype: datatype for datatype, dtype in _NUMPY.items()}
# By number as well: what comes off the wire is one.
NUMPY_BY_NUMBER: dict[int, np.dtype[Any]] = {int(datatype): dtype for datatype, dtype in _NUMPY.items()}
# Python's own numbers and how they lie in memory, with the types that fit without a look at the value but for integers.
_SCALARS: dict[DataType, tuple[struct.Struct, tuple[type, ...]]] = {
    DataType.BOOL: (struct.Struct("<?"), (bool,)),
    DataType.INT32: (struct.Struct("<i"), (int,)),
    DataType.INT64: (struct.Struct("<q"), (int,)),
    DataType.FP64: (struct.Struct("<d"), (float, int)),
}
_BYTES = int(DataType.BYTES)
_BF16 = int(DataType.BF16)

BYTES = DataType.BYTES
BF16 = DataType.BF16

Shape = tuple[int, ...]


def datatype_of(what: Any) -> DataType:
    """The datatype that `what` means: a DataType, its name ("FP32"), a numpy dtype, or bytes or str for BYTES."""
    if isinstance(what, DataType):
        return what
    if what in (bytes, str, object):
        return DataType.BYTES
    if isinstance(what, str) and what.upper() in DataType.__members__:
        return DataType[what.upper()]
    try:
        dtype = np.dtype(what)
    except TypeError:
        dtype = None
    if dtype is not None:
        if dtype.newbyteorder("<") in _OF_NUMPY:
            return _OF_NUMPY[dtype.newbyteorder("<")]
        if dtype.name == "bfloat16":
            return DataType.BF16
        if dtype.kind in "SUO":
            return DataType.BYTES
    raise invalid(
        f"{what!r} is not a datatype; use a numpy dtype such as np.float32, bytes, or one of "
        + ", ".join(DataType.__members__)
    )


@dataclass(frozen=True)
class Port:
    """A typed input or output: -1 in the shape is a free dimension; `list`: a list of such tensors, as a map makes
    it."""

    name: str
    datatype: DataType
    shape: Shape
    list: bool = False
    optional: bool = False

    def __str__(self) -> str:
        text = f"{self.datatype.name} [{','.join(map(str, self.shape))}]"
        return f"a list of {text}" if self.list else text


def port(name: str, spec: Any) -> Port:
    """A port as users write it: a dtype (shape [-1]), (dtype, shape), (dtype, shape, "list"/"optional"...), or a
    Port."""
    if isinstance(spec, Port):
        return Port(name, spec.datatype, spec.shape, spec.list, spec.optional)
    words: set[str] = set()
    shape: Iterable[int] = (-1,)
    if isinstance(spec, tuple):
        if not spec:
            raise invalid(f"the port '{name}' is an empty tuple; write a dtype, or (dtype, shape)")
        datatype, rest = spec[0], list(spec[1:])
        if rest and not isinstance(rest[0], str):
            shape = rest.pop(0)
        words = set(rest)
    else:
        datatype = spec
    if isinstance(shape, int):
        shape = (shape,)
    if words - {"list", "optional"}:
        raise invalid(
            f"the port '{name}' says {', '.join(map(repr, sorted(words)))}; what may follow is 'list' or 'optional'"
        )
    try:
        extents = tuple(int(extent) for extent in shape)
    except (TypeError, ValueError):
        raise invalid(f"the shape of the port '{name}' is {shape!r}; it is a list of numbers such as [-1, 3]") from None
    return Port(name, datatype_of(datatype), extents, "list" in words, "optional" in words)


# ---- BYTES


def pack_bytes(elements: Iterable[bytes | str]) -> bytes:
    """Each element with its length before it."""
    parts: list[bytes] = []
    for element in elements:
        raw = element.encode() if isinstance(element, str) else bytes(element)
        parts.append(struct.pack("<I", len(raw)))
        parts.append(raw)
    return b"".join(parts)


def unpack_bytes(data: memoryview | bytes) -> list[bytes]:
    view = memoryview(data)
    elements: list[bytes] = []
    at = 0
    while at < len(view):
        if at + 4 > len(view):
            raise SquallError(Code.CORRUPT, "a BYTES tensor ends inside a length")
        (size,) = struct.unpack_from("<I", view, at)
        at += 4
        if at + size > len(view):
            raise SquallError(
                Code.CORRUPT, f"a BYTES tensor has an element of {size} bytes and only {len(view) - at} are left"
            )
        elements.append(bytes(view[at : at + size]))
        at += size
    return elements


# ---- BF16, which numpy does not know


def to_bf16(array: np.ndarray) -> np.ndarray:
    """The top halves of 32-bit floats, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(array, dtype="<f4").view("<u4")
    rounded = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return np.where(np.isnan(array), (bits >> 16).astype("<u2") | np.uint16(0x40), rounded)


def from_bf16(raw: np.ndarray) -> np.ndarray:
    return (raw.astype("<u4") << 16).view("<f4")


# ---- values

# A tensor on its way: datatype, extents, bytes.
Tensor = tuple[int, tuple[int, ...], Any]


def encode_array(array: np.ndarray) -> Tensor:
    """The tensor of an array; its bytes are the array's own where it is contiguous."""
    datatype = _OF_NUMPY.get(array.dtype)
    if datatype is None:
        datatype = datatype_of(array.dtype)
        if datatype is DataType.BYTES:
            return (_BYTES, array.shape, pack_bytes(_texts(array)))
        # Else it has another byte order.
        array = array.view(np.uint16) if datatype is DataType.BF16 else array.astype(_NUMPY[datatype])
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    return (int(datatype), array.shape, array.reshape(-1).view(np.uint8).data if array.size else b"")


def _texts(array: np.ndarray) -> list[bytes | str]:
    elements = array.ravel().tolist()
    for element in elements:
        if not isinstance(element, (bytes, str)):
            raise invalid(f"an array of objects holds {element!r}; BYTES tensors hold bytes and str only")
    return elements


def encode_plain(value: Any) -> Any:
    """A value without the help of a port: None, a list of values, or a tensor."""
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        return encode_array(value)
    if isinstance(value, (bytes, str, bytearray, memoryview)):
        return (_BYTES, (1,), pack_bytes([value if isinstance(value, str) else bytes(value)]))
    if isinstance(value, (bool, int, float, np.generic)):
        array = np.asarray(value)
        return encode_array(array.reshape(1))
    if isinstance(value, (list, tuple)):
        return [encode_plain(element) for element in value]
    raise invalid(f"a {type(value).__name__} is no value; use numpy arrays, numbers, bytes or str, or lists of them")


def encode_for(where: str, port: Port, value: Any) -> Any:
    """The value as the port wants it. Numbers and nested lists take the port's datatype if they fit; arrays must have
    it."""
    if value is None:
        return None
    if type(value) in _SCALAR_TYPES and not port.list and (scalar := _encode_scalar(port, value)) is not None:
        return scalar
    if port.list:
        if isinstance(value, np.ndarray) and value.ndim == len(port.shape) + 1:
            value = list(value)
        if not isinstance(value, (list, tuple)):
            raise invalid(f"{where} wants {port}; give it a Python list with an array for each element")
        element = Port(port.name, port.datatype, port.shape)
        return [encode_for(f"element {i} of {where}", element, v) for i, v in enumerate(value)]
    if isinstance(value, np.ndarray):
        return _encode_typed(where, port, value)
    if isinstance(value, np.generic):
        return _encode_typed(where, port, np.asarray(value).reshape(_one(port)))
    return _encode_loose(where, port, value)


_SCALAR_TYPES = frozenset((bool, int, float))


def _encode_scalar(port: Port, value: Any) -> Tensor | None:
    """A lone number as one element; None: it takes a closer look (and perhaps a message that says what is wrong)."""
    packing = _SCALARS.get(port.datatype)
    if packing is None or type(value) not in packing[1] or port.shape not in ((1,), (-1,)):
        return None
    try:
        return (int(port.datatype), (1,), packing[0].pack(value))
    except (struct.error, OverflowError):
        return None


def decode_scalar(datatype: int, data: Any) -> Any:
    """The number that these bytes of one element are; None where it takes an array to see it."""
    packing = _SCALARS.get(datatype)  # type: ignore[call-overload]
    return packing[0].unpack(data)[0] if packing is not None and len(data) == packing[0].size else None


def _one(port: Port) -> tuple[int, ...]:
    """The shape of a single element."""
    return (
        tuple(1 if extent == -1 else extent for extent in port.shape) if all(e in (-1, 1) for e in port.shape) else (1,)
    )


def _encode_typed(where: str, port: Port, array: np.ndarray) -> Tensor:
    if port.datatype is DataType.BF16 and array.dtype == np.float32:
        raw = to_bf16(array)
        return (_BF16, array.shape, np.ascontiguousarray(raw).reshape(-1).view(np.uint8).data if raw.size else b"")
    tensor = encode_array(array)
    if tensor[0] != port.datatype:
        wanted = _NUMPY.get(port.datatype)
        fix = (
            f"; convert it with .astype(np.{wanted.name})" if wanted is not None and array.dtype.kind in "biuf" else ""
        )
        raise invalid(f"{where} wants {port}, not an array of {array.dtype}{fix}")
    if not _fits(port.shape, array.shape):
        raise invalid(f"{where} wants {port}, not an array of shape [{','.join(map(str, array.shape))}]")
    return tensor


def _fits(wanted: Sequence[int], given: Sequence[int]) -> bool:
    return len(wanted) == len(given) and all(w in (-1, g) for w, g in zip(wanted, given, strict=True))


def _encode_loose(where: str, port: Port, value: Any) -> Tensor:
    """Numbers, text and nested lists."""
    if port.datatype is DataType.BYTES:
        single = isinstance(value, (bytes, str, bytearray, memoryview))
        elements = np.empty(1, dtype=object) if single else None
        if elements is not None:
            elements[0] = value if isinstance(value, str) else bytes(value)
        else:
            elements = _array(where, port, value, np.dtype(object))
    else:
        if isinstance(value, (bytes, str)):
            raise invalid(f"{where} wants {port}, not text; give it an array or numbers")
        loose = _array(where, port, value, None)
        elements = _narrowed(where, port, loose)
    shaped = _shaped(port.shape, elements)
    if shaped is None:
        raise invalid(f"{where} wants {port}, not {elements.size} elements of shape {list(elements.shape)}")
    return _encode_typed(where, port, shaped)


def _array(where: str, port: Port, value: Any, dtype: np.dtype[Any] | None) -> np.ndarray:
    try:
        return np.array(value, dtype=dtype)
    except (ValueError, TypeError):
        raise invalid(
            f"{where} wants {port}; the lists given do not form an array (are the rows of one length?)"
        ) from None


def _narrowed(where: str, port: Port, loose: np.ndarray) -> np.ndarray:
    if loose.dtype.kind not in "biuf":
        raise invalid(f"{where} wants {port}, not {loose.dtype}")
    wanted = np.dtype(np.float32) if port.datatype is DataType.BF16 else _NUMPY[port.datatype]
    if loose.size == 0:
        return loose.astype(wanted)
    if wanted.kind in "iu" and loose.dtype.kind == "f":
        raise invalid(f"{where} wants {port}, whole numbers; got {loose.ravel()[0]!s}")
    if wanted.kind in "iu" and (loose.min() < np.iinfo(wanted).min or loose.max() > np.iinfo(wanted).max):
        raise invalid(f"{where} wants {port}; {loose.min()} to {loose.max()} does not fit")
    if wanted.kind == "b" and not np.isin(loose, (0, 1)).all():
        raise invalid(f"{where} wants {port}; only true, false, 0 and 1 fit")
    return loose.astype(wanted)


def _shaped(wanted: Sequence[int], array: np.ndarray) -> np.ndarray | None:
    """As nested, or flat into the port's shape where that leaves at most one free dimension; a lone number is one
    element."""
    if _fits(wanted, array.shape):
        return array
    if array.ndim > 1:
        return None
    if array.size == 1:
        shape = [1 if extent == -1 else extent for extent in wanted]
        return array.reshape(shape) if np.prod(shape, dtype=np.int64) == 1 else None
    fixed = int(np.prod([e for e in wanted if e >= 0], dtype=np.int64))
    free = sum(1 for e in wanted if e < 0)
    if free == 1 and fixed > 0 and array.size % fixed == 0:
        return array.reshape([array.size // fixed if e < 0 else e for e in wanted])
    if free == 0 and fixed == array.size:
        return array.reshape(wanted)
    return None


def decode_tensor(datatype: int, shape: Sequence[int], data: Any) -> np.ndarray:
    """The array over these bytes (no copy where numpy knows the datatype)."""
    dtype = NUMPY_BY_NUMBER.get(datatype)
    if dtype is not None:
        return np.frombuffer(data, dtype=dtype).reshape(shape) if len(data) else np.zeros(shape, dtype)
    if datatype == _BYTES:
        elements = unpack_bytes(data)
        array = np.empty(len(elements), dtype=object)
        array[:] = elements
        return array.reshape(shape)
    if datatype == _BF16:
        return from_bf16(np.frombuffer(data, dtype="<u2")).reshape(shape)
    raise SquallError(
        Code.CORRUPT, f"the server sent a tensor of the unknown datatype {datatype}; is it newer than this client?"
    )
