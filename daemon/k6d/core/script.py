"""What a file in the scripts folder can be."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The kind of a file that is named like a script."""

    TEST = "test"
    LIBRARY = "library"
    BROKEN = "broken"
