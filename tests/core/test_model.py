"""The records of a run."""

from __future__ import annotations

from k6d.core.model import Outcome, verdict_word


def test_the_word_for_a_run_is_its_severity_or_how_it_went() -> None:
    """Healthy is said of completed runs only."""
    assert verdict_word("high", Outcome.COMPLETED) == "high"
    assert verdict_word(None, Outcome.COMPLETED) == "healthy"
    assert verdict_word(None, Outcome.ABORTED) == "aborted"
