"""Where `k6d watch-live --once` ends."""

from __future__ import annotations

from typing import Any

from k6d.cli.watch_live import until_over


def queue(*jobs: str) -> tuple[str, Any]:
    """An event that says which jobs are under way."""
    return "queue", {"running": [{"job": job} for job in jobs], "pending": []}


RUN: tuple[str, Any] = ("run", {"test_id": "x"})


def test_it_ends_with_the_run() -> None:
    """However long nothing was under way before."""
    events = [queue(), queue("a"), queue("a"), RUN, queue()]
    assert list(until_over(events)) == events[:4]


def test_it_ends_when_the_job_is_gone_without_a_run() -> None:
    """Cancelled before k6 began, say: no run would ever be heard of."""
    events = [queue("a", "b"), queue("b"), queue("b"), RUN]
    assert list(until_over(events)) == events[:1]
