"""A checksum at the end of a JSON file: a flipped bit may leave valid JSON with other contents.

Files without a checksum, from an older k6d or written by a person, are accepted.
"""

from __future__ import annotations

import re
import zlib

LONGEST = 64  # bytes; no checksum is longer


class Checksum:
    """The form of the checksum in one kind of file.

    The JSON object `{…}` is stored as `{…` + `,` + `key` + the CRC-32 of `{…` + `end`.
    """

    def __init__(self, key: bytes, end: bytes) -> None:
        self._key, self._end = b"," + key, end
        self._pattern = re.compile(re.escape(self._key) + b"([0-9]{1,10})" + re.escape(end) + b"$")

    def append(self, data: bytes) -> bytes:
        """The JSON object `data` with its checksum."""
        contents = data.rstrip()[:-1]
        return b"".join([contents, self._key, b"%d" % zlib.crc32(contents), self._end])

    def verified(self, data: bytes) -> bytes:
        """`data` without its checksum; ValueError when the checksum does not match."""
        found = self._pattern.search(data, max(0, len(data) - LONGEST))
        if found is None:
            return data
        contents = data[: found.start()]
        if zlib.crc32(contents) != int(found[1]):
            raise ValueError("checksum mismatch")
        return contents + b"}"
