"""The result of one check of `k6d doctor`."""

from __future__ import annotations

from k6d.core.frozen import frozen


@frozen
class Check:
    """What one check found; `remedy` is set if there is a problem."""

    name: str
    ok: bool
    seen: str
    remedy: str | None = None


def fine(name: str, seen: str, remedy: str | None = None) -> Check:
    """Return a check that found no problem; `remedy` is advice."""
    return Check(name=name, ok=True, seen=seen, remedy=remedy)


def problem(name: str, seen: str, remedy: str) -> Check:
    """Return a check that found a problem, with what to do."""
    return Check(name=name, ok=False, seen=seen, remedy=remedy)
