"""Protocol buffers as they lie on the wire, as far as reading k6's pushes needs them.

Protobuf's own runtime would be a tenth of what the daemon may weigh. The encoding is fixed for good
(https://protobuf.dev/programming-guides/encoding); tests hold this reader to that runtime's.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTHS = {1: 8, 5: 4}  # wire types of fixed width, in bytes
_64_BITS = (1 << 64) - 1

Value = int | bytes


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of each field: a varint as a whole number, all else as its bytes.

    ValueError when the message is cut off or is none.
    """
    at, end = 0, len(message)
    while at < end:
        key, at = (message[at], at + 1) if message[at] < 128 else _varint(message, at)
        number, kind = key >> 3, key & 7
        if not number:
            raise ValueError("no field has the number 0")
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in _WIDTHS:
            length = _WIDTHS[kind]
        else:
            raise ValueError(f"wire type {kind} is not in use")
        if length > end - at:
            raise ValueError("a field is longer than its message")
        yield number, message[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, and the place behind it."""
    result = shift = 0
    try:
        while (byte := data[at]) > 127:
            result |= (byte & 127) << shift
            shift, at = shift + 7, at + 1
    except IndexError:
        raise ValueError("a number is cut off") from None
    if shift > 63:
        raise ValueError("a number has more than ten bytes")
    return (result | byte << shift) & _64_BITS, at + 1


def varints(value: Value) -> list[int]:
    """Return the numbers in an entry of a repeated field: one, or many packed together."""
    if isinstance(value, int):
        return [value]
    if value.isascii():  # each number has one byte, as most have
        return list(value)
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(number)
    return found


def doubles(value: Value) -> list[float]:
    """As `varints`, of a field of doubles."""
    if isinstance(value, int) or len(value) % 8:
        raise ValueError("a double has eight bytes")
    return list(struct.unpack(f"<{len(value) // 8}d", value))


def double(value: Value) -> float:
    """Return a field of type double."""
    (number,) = doubles(value)
    return number


def whole(value: Value) -> int:
    """Return a field of type uint32 or uint64."""
    if not isinstance(value, int):
        raise ValueError("a whole number is expected")  # noqa: TRY004  (of the data, not the code)
    return value


def signed(value: Value) -> int:
    """Return a field of type int64: two's complement."""
    number = whole(value)
    return number - (1 << 64) if number >> 63 else number


def zigzag(value: Value) -> int:
    """Return a field of type sint32 or sint64: 0, -1, 1, -2, … are sent as 0, 1, 2, 3, …"""
    number = whole(value)
    return (number >> 1) ^ -(number & 1)


def message(value: Value) -> bytes:
    """Return a field that is a message, bytes or text."""
    if isinstance(value, int):
        raise ValueError("a message is expected")  # noqa: TRY004  (of the data, not the code)
    return value
