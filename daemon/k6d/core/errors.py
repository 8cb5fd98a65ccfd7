"""Mistakes that a user can correct."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class K6dError(Exception):
    """A mistake that a user can correct; its text is one line and says what to do next."""


class MistakesError(K6dError):
    """Several mistakes; the text has all of them, `lines` has each by itself."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = list(lines)


def reason(error: OSError) -> str:
    """The reason of an OSError in lower case, to stand within a sentence."""
    return (error.strerror or str(error)).lower()
