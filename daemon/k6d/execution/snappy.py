"""Unpacks a block of snappy, in which k6 sends its pushes.

The format is https://github.com/google/snappy/blob/main/format_description.txt. A library for it
would take 1.6 MiB of an idle daemon; a push of a few KiB takes a millisecond here.
"""

from __future__ import annotations

_LONG_LITERAL = 60  # from here on, the length of a literal is in the bytes after its tag


def unpacked(block: bytes, *, most: int) -> bytes:
    """Return the contents; ValueError if the block is malformed or announces more than `most`."""
    length, at = _announced(block)
    if length > most:
        raise ValueError(f"announces {length} bytes, more than {most}")
    out, size = bytearray(), len(block)
    while at < size:
        tag = block[at]
        kind, number = tag & 3, tag >> 2
        at += 1
        if kind == 0:
            if number >= _LONG_LITERAL:
                more = number - _LONG_LITERAL + 1
                number = int.from_bytes(block[at : at + more], "little")
                at += more
            literal = block[at : at + number + 1]
            at += number + 1
            out += literal
            if at > size:
                raise ValueError("ends within a literal")
            continue
        if kind == 1:
            count, offset = 4 + (number & 7), (tag >> 5) << 8 | int.from_bytes(block[at : at + 1])
            at += 1
        else:
            width = 2 if kind == 2 else 4
            count, offset = number + 1, int.from_bytes(block[at : at + width], "little")
            at += width
        start = len(out) - offset
        if at > size or start < 0 or not offset:
            raise ValueError("copies what is not there")
        part = out[start : start + count]
        out += part if offset >= count else (part * (count // offset + 1))[:count]
        if len(out) > length:
            raise ValueError("is longer than announced")
    if len(out) != length:
        raise ValueError(f"has {len(out)} bytes, announced {length}")
    return bytes(out)


def _announced(block: bytes) -> tuple[int, int]:
    """Return the length of the contents, and where they begin."""
    length = 0
    for place, byte in enumerate(block[:5]):
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if length >= 1 << 32:
                break
            return length, place + 1
    raise ValueError("announces no length")
