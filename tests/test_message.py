"""What an alert says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from k6d.message import MAX_TITLE, Message, compose
from k6d.model import Metrics, Verdict
from records import make_anomaly, make_run

DATA = Path("/var/lib/k6d data")


def _message(verdict: Verdict, **changes: object) -> Message:
    return compose(make_run(anomaly_analysis=verdict, **changes), data=DATA)


def test_the_title_has_severity_script_and_the_worst_finding() -> None:
    """On one line."""
    message = _message(make_anomaly("p95 of GET /cart is\n912 ms"), script="cart.js")
    assert message.title == "[HIGH] cart.js: p95 of GET /cart is 912 ms"
    assert message.level == "failure"


def test_the_body_has_findings_numbers_advice_and_the_command() -> None:
    """Observed against expected, and how to look closer, in both forms."""
    message = _message(make_anomaly(), execution_time=61.2)
    for body in (message.text, message.html):
        assert "p95 of GET /cart is 912 ms, the limit is 500 ms" in body
        assert "6,000 requests, 100/s, average 41.5 ms, p95 88.2 ms, errors 0.1 %, 1 m 1 s" in body
        assert "Look at GET /cart first." in body
        assert "run 20261122-120000-3f9a2c, changed, 2026-11-22 12:00:00 UTC" in body
    assert message.text.endswith("k6d show 20261122-120000-3f9a2c --data '/var/lib/k6d data'")
    assert "--data &#x27;/var/lib/k6d data&#x27;</code>" in message.html


def test_of_many_findings_five_are_told_and_the_rest_is_counted() -> None:
    """The worst come first already."""
    verdict = replace(make_anomaly(), issues=[f"finding {i}" for i in range(9)])
    text = _message(verdict).text
    assert "finding 4" in text
    assert "finding 5" not in text
    assert "and 4 more findings" in text


def test_long_texts_are_cut_and_say_so() -> None:
    """A title fits a subject line, a finding a chat message."""
    message = _message(make_anomaly("x" * 5000))
    assert len(message.title) <= MAX_TITLE
    assert message.title.endswith("…")
    assert len(message.text) < 2000


def test_nobody_is_called_by_what_a_target_answers() -> None:
    """Mentions and mark-up from scripts and answers are words only."""
    words = "<!channel> @here <script>alert(1)</script> & co"
    message = _message(make_anomaly(words), script="@all.js")
    assert "<!channel>" not in message.title + message.text
    assert "@here" not in message.title + message.text
    assert "@all" not in message.title
    assert "<script>" not in message.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in message.html


def test_what_nobody_measured_is_a_dash() -> None:
    """A script that cannot run has no numbers."""
    text = _message(make_anomaly("the script cannot run"), metrics=Metrics()).text
    assert "None" not in text
    assert "– requests" not in text
