"""A checksum at the end of a JSON file: a flipped bit may leave JSON that says something else.

Files without one, of an older k6d or from a person, are taken as they are.
"""

from __future__ import annotations

import re
import zlib

LONGEST = 64  # bytes of a seal


class Seal:
    """How a kind of file ends: `{…}` is kept as `{…,` + `key` + CRC-32 of all before it + `end`."""

    def __init__(self, key: bytes, end: bytes) -> None:
        self._key, self._end = b"," + key, end
        self._pattern = re.compile(re.escape(self._key) + b"([0-9]{1,10})" + re.escape(end) + b"$")

    def put(self, data: bytes) -> bytes:
        """The JSON object `data` with its seal."""
        contents = data.rstrip()[:-1]
        return b"".join([contents, self._key, b"%d" % zlib.crc32(contents), self._end])

    def taken(self, data: bytes) -> bytes:
        """`data` without its seal; raises ValueError when it is not what was sealed."""
        seal = self._pattern.search(data, max(0, len(data) - LONGEST))
        if seal is None:
            return data
        contents = data[: seal.start()]
        if zlib.crc32(contents) != int(seal[1]):
            raise ValueError("its checksum is another")
        return contents + b"}"
