"""MessagePack as far as the worker protocol uses it.

Owns nil, bool, int, float64, str, bin, array and map, both ways. Hostile input ends in a
:class:`CodecError`: lengths are checked against the bytes that are there before anything is made
of them, and nesting is bounded. Extension types and float32 are refused, not guessed.
"""

from __future__ import annotations

import struct
from typing import Any, Callable, Dict, List, Tuple

MAX_DEPTH = 16
"""How deep arrays and maps may be nested; the protocol needs three."""

_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_I8 = struct.Struct(">b")
_I16 = struct.Struct(">h")
_I32 = struct.Struct(">i")
_I64 = struct.Struct(">q")
_F64 = struct.Struct(">d")


class CodecError(ValueError):
    """Bytes that are not what they should be, or a value that cannot be written."""


# --- writing --------------------------------------------------------------------------------------


def pack(value: Any) -> bytes:
    """One value as MessagePack, in its shortest form.

    Raises CodecError for a type the protocol does not use, an integer of more than 64 bits, text
    with lone surrogates, or too deep a nesting.
    """
    out = bytearray()
    _pack(out, value, MAX_DEPTH)
    return bytes(out)


def pack_array_head(size: int) -> bytes:
    """What begins an array of so many values, which are written behind it."""
    out = bytearray()
    _length(out, size, 0x90, 16, 0xDC)
    return bytes(out)


def _pack(out: bytearray, value: Any, depth: int) -> None:
    kind = type(value)
    if kind is int:
        _pack_int(out, value)
    elif kind is str:
        _pack_str(out, value)
    elif value is None:
        out.append(0xC0)
    elif kind is bool:
        out.append(0xC3 if value else 0xC2)
    elif kind is list or kind is tuple:
        if depth == 0:
            raise CodecError("nested too deep to be written")
        _length(out, len(value), 0x90, 16, 0xDC)
        for item in value:
            _pack(out, item, depth - 1)
    elif kind is dict:
        if depth == 0:
            raise CodecError("nested too deep to be written")
        _length(out, len(value), 0x80, 16, 0xDE)
        for key, item in value.items():
            _pack(out, key, depth - 1)
            _pack(out, item, depth - 1)
    elif kind is float:
        out.append(0xCB)
        out += _F64.pack(value)
    elif kind in (bytes, bytearray, memoryview):
        _pack_bin(out, bytes(value))
    elif isinstance(value, bool):
        out.append(0xC3 if value else 0xC2)
    elif isinstance(value, int):  # enums, and other children of int
        _pack_int(out, int(value))
    elif isinstance(value, str):
        _pack_str(out, str.__str__(value))
    else:
        raise CodecError("a %s cannot be written as MessagePack" % kind.__name__)


def _pack_int(out: bytearray, value: int) -> None:
    if 0 <= value < 0x80:
        out.append(value)
    elif -32 <= value < 0:
        out.append(value & 0xFF)
    elif 0 <= value:
        if value < 0x100:
            out += bytes((0xCC, value))
        elif value < 0x10000:
            out.append(0xCD)
            out += _U16.pack(value)
        elif value < 0x100000000:
            out.append(0xCE)
            out += _U32.pack(value)
        elif value < 0x10000000000000000:
            out.append(0xCF)
            out += _U64.pack(value)
        else:
            raise CodecError("an integer of more than 64 bits cannot be written")
    elif value >= -0x80:
        out.append(0xD0)
        out += _I8.pack(value)
    elif value >= -0x8000:
        out.append(0xD1)
        out += _I16.pack(value)
    elif value >= -0x80000000:
        out.append(0xD2)
        out += _I32.pack(value)
    elif value >= -0x8000000000000000:
        out.append(0xD3)
        out += _I64.pack(value)
    else:
        raise CodecError("an integer of more than 64 bits cannot be written")


def _pack_str(out: bytearray, value: str) -> None:
    try:
        data = value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CodecError("text with lone surrogates cannot be written") from error
    size = len(data)
    if size < 32:
        out.append(0xA0 | size)
    elif size < 0x100:
        out += bytes((0xD9, size))
    elif size < 0x10000:
        out.append(0xDA)
        out += _U16.pack(size)
    else:
        out.append(0xDB)
        out += _U32.pack(size)
    out += data


def _pack_bin(out: bytearray, data: bytes) -> None:
    size = len(data)
    if size < 0x100:
        out += bytes((0xC4, size))
    elif size < 0x10000:
        out.append(0xC5)
        out += _U16.pack(size)
    else:
        out.append(0xC6)
        out += _U32.pack(size)
    out += data


def _length(out: bytearray, size: int, short: int, limit: int, long: int) -> None:
    if size < limit:
        out.append(short | size)
    elif size < 0x10000:
        out.append(long)
        out += _U16.pack(size)
    else:
        out.append(long + 1)
        out += _U32.pack(size)


# --- reading --------------------------------------------------------------------------------------


def unpack(data: bytes) -> Any:
    """The one value that ``data`` is; CodecError if it is none, or more than one."""
    value, end = unpack_from(data, 0)
    if end != len(data):
        raise CodecError("%d bytes too many behind the value" % (len(data) - end))
    return value


def unpack_from(data: bytes, at: int, depth: int = MAX_DEPTH) -> Tuple[Any, int]:
    """The value that begins at ``at``, and where it ends. CodecError as :func:`unpack`."""
    try:
        tag = data[at]
        at += 1
        if tag < 0x80:
            return tag, at
        if 0xA0 <= tag < 0xC0:
            return _text(data, at, tag & 0x1F)
        if 0x90 <= tag < 0xA0:
            return _array(data, at, tag & 0x0F, depth)
        if tag >= 0xE0:
            return tag - 0x100, at
        if tag < 0x90:
            return _map(data, at, tag & 0x0F, depth)
        return _READERS[tag - 0xC0](data, at, depth)
    except (IndexError, struct.error) as error:
        raise CodecError("the value is cut off at byte %d" % len(data)) from error
    except UnicodeDecodeError as error:
        raise CodecError("a text is not UTF-8") from error


def _text(data: bytes, at: int, size: int) -> Tuple[str, int]:
    end = at + size
    if end > len(data):
        raise IndexError
    return data[at:end].decode("utf-8"), end


def _binary(data: bytes, at: int, size: int) -> Tuple[bytes, int]:
    end = at + size
    if end > len(data):
        raise IndexError
    return bytes(data[at:end]), end


def _array(data: bytes, at: int, size: int, depth: int) -> Tuple[List[Any], int]:
    if depth == 0:
        raise CodecError("nested too deep")
    if size > len(data) - at:  # each element takes a byte at least
        raise IndexError
    items: List[Any] = []
    append = items.append
    for _ in range(size):
        tag = data[at]
        if tag < 0x80:
            append(tag)
            at += 1
        elif tag == 0xC0:
            append(None)
            at += 1
        else:
            value, at = unpack_from(data, at, depth - 1)
            append(value)
    return items, at


def _map(data: bytes, at: int, size: int, depth: int) -> Tuple[Dict[Any, Any], int]:
    if depth == 0:
        raise CodecError("nested too deep")
    if size * 2 > len(data) - at:
        raise IndexError
    items: Dict[Any, Any] = {}
    for _ in range(size):
        key, at = unpack_from(data, at, depth - 1)
        if isinstance(key, (list, dict)):
            raise CodecError("a key of a map is an array or a map")
        value, at = unpack_from(data, at, depth - 1)
        items[key] = value
    return items, at


_Reader = Callable[[bytes, int, int], Tuple[Any, int]]


def _fixed(layout: struct.Struct) -> _Reader:
    size = layout.size
    unpack_at = layout.unpack_from

    def read(data: bytes, at: int, _depth: int) -> Tuple[Any, int]:
        return unpack_at(data, at)[0], at + size

    return read


def _u8(data: bytes, at: int, _depth: int) -> Tuple[int, int]:
    return data[at], at + 1


def _sized(read_size: _Reader, make: Callable[[bytes, int, int], Tuple[Any, int]]) -> _Reader:
    def read(data: bytes, at: int, depth: int) -> Tuple[Any, int]:
        size, at = read_size(data, at, depth)
        return make(data, at, size)

    return read


def _nested(read_size: _Reader, make: Callable[[bytes, int, int, int], Tuple[Any, int]]) -> _Reader:
    def read(data: bytes, at: int, depth: int) -> Tuple[Any, int]:
        size, at = read_size(data, at, depth)
        return make(data, at, size, depth)

    return read


def _constant(value: Any) -> _Reader:
    return lambda _data, at, _depth: (value, at)


def _refused(what: str) -> _Reader:
    def read(_data: bytes, _at: int, _depth: int) -> Tuple[Any, int]:
        raise CodecError("%s is not used by the protocol" % what)

    return read


_U16_READER = _fixed(_U16)
_U32_READER = _fixed(_U32)
_EXTENSION = _refused("an extension type")

_READERS: List[_Reader] = [
    _constant(None),  # C0
    _refused("the byte C1"),
    _constant(False),
    _constant(True),
    _sized(_u8, _binary),  # C4
    _sized(_U16_READER, _binary),
    _sized(_U32_READER, _binary),
    _EXTENSION,  # C7
    _EXTENSION,
    _EXTENSION,
    _refused("float32"),  # CA
    _fixed(_F64),
    _u8,  # CC
    _U16_READER,
    _U32_READER,
    _fixed(_U64),
    _fixed(_I8),  # D0
    _fixed(_I16),
    _fixed(_I32),
    _fixed(_I64),
    _EXTENSION,  # D4
    _EXTENSION,
    _EXTENSION,
    _EXTENSION,
    _EXTENSION,
    _sized(_u8, _text),  # D9
    _sized(_U16_READER, _text),
    _sized(_U32_READER, _text),
    _nested(_U16_READER, _array),  # DC
    _nested(_U32_READER, _array),
    _nested(_U16_READER, _map),  # DE
    _nested(_U32_READER, _map),
]
