"""Mistakes that a user can correct."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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


def why_no_result(error: K6dError | OSError, *, data: Path) -> str:
    """Why a job has no result; an OSError without a path is about the `data` folder."""
    if not isinstance(error, OSError):
        return str(error)
    place = error.filename or data
    return f"cannot use {place}: {reason(error)}; check the disk and the data folder"
