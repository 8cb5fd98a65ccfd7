"""Answers, good and hostile, become bounded records or are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from k6d.core.model import Explanation, Severity
from k6d.explain.answer import MAX_ITEM, MAX_ITEMS, MAX_SUMMARY, MalformedError, read
from support.gemini_server import ANSWER

GIVEN = '{"p95_ms": 912, "error_rate": 12.5, "endpoint": "GET http://shop.test/cart"}'


def _read(**changes: Any) -> Explanation:
    return read(json.dumps(ANSWER | changes), given=GIVEN, endpoints=["http://shop.test/cart"])


def test_a_good_answer() -> None:
    """Everything it says is there, and it is the AI's."""
    explanation = _read(severity="High", severity_reason="p95 was 912 ms.")
    assert explanation.source == "AI"
    assert explanation.summary == ANSWER["summary"]
    assert explanation.issues == ANSWER["issues"]
    assert explanation.recommendations == ANSWER["recommendations"]
    assert explanation.severity is Severity.HIGH
    assert explanation.confidence == 0.7
    assert explanation.unverified == []
    assert explanation.raised_because == "p95 was 912 ms."


def test_no_severity() -> None:
    """ "none" is an opinion too."""
    assert _read(severity="none").severity is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("I think that", "not JSON"),
        (json.dumps(ANSWER)[:-5], "not JSON"),
        ("[]", "object"),
        ('"high"', "object"),
        ("{}", "summary"),
        (json.dumps(ANSWER | {"summary": "  "}), "summary is empty"),
        (json.dumps(ANSWER | {"summary": None}), "summary"),
        (json.dumps(ANSWER | {"severity": "apocalyptic"}), "severity"),
        (json.dumps(ANSWER | {"issues": "one"}), "issues"),
        (json.dumps(ANSWER | {"issues": [1]}), "issues.0"),
        (json.dumps(ANSWER | {"confidence": 1.5}), "confidence"),
        (json.dumps(ANSWER | {"confidence": "0.5"}), "confidence"),
        (json.dumps(ANSWER).replace("0.7", "NaN"), "confidence"),
        (json.dumps({k: v for k, v in ANSWER.items() if k != "issues"}), "issues"),
        (json.dumps(ANSWER | {"summary": "x" * 70_000}), "longer than 64 KB"),
        ("[" * 50_000, "not JSON"),
    ],
)
def test_malformed(text: str, why: str) -> None:
    """Whatever doesn't fit the schema is refused as a whole, in words that don't quote it."""
    with pytest.raises(MalformedError, match=why) as caught:
        read(text, given=GIVEN)
    assert len(str(caught.value)) < 200


def test_lengths_are_bounded() -> None:
    """Too many and too long is cut, not refused; a summary has two sentences."""
    long = [f"issue {chr(97 + n)} " + "word " * 200 for n in range(20)]
    explanation = _read(summary="One. Two! Three. Four." + "x" * 900, issues=long)
    assert explanation.summary == "One. Two!"
    assert len(explanation.issues) == MAX_ITEMS
    assert all(len(issue) <= MAX_ITEM for issue in explanation.issues)
    endless = _read(summary="word " * 1000).summary
    assert endless
    assert len(endless) <= MAX_SUMMARY


def test_unverified_sentences_are_marked() -> None:
    """A number that was not given marks its sentence, and only that one."""
    explanation = _read(
        summary="The p95 was 912 ms. That is 40 % more.",
        issues=["It failed 17 times. Look closer."],
        recommendations=["Raise the pool to 64."],
    )
    assert explanation.summary == "The p95 was 912 ms. That is 40 % more. [unverified]"
    assert explanation.issues == ["It failed 17 times. [unverified] Look closer."]
    assert explanation.recommendations == ["Raise the pool to 64. [unverified]"]
    assert len(explanation.unverified) == 3


def test_an_unverified_reason_is_none() -> None:
    """A reason with an invented number is no reason to raise a severity."""
    assert _read(severity_reason="It failed 4711 times.").raised_because is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc", "a b c"),
        ("\x1b[Kred\x07", "[Kred"),
        ("\u202egnp.exe", "gnp.exe"),
        ("go to https://evil.test/?q=1.", "go to [link removed]."),
        ("[click](http://evil.test)", "[click]([link removed])"),
        ("![x](HTTPS://evil.test/leak?d=secret)", "![x]([link removed])"),
        ("see www.evil.test now", "see [link removed] now"),
        ("javascript:alert(1)", "[link removed])"),
        ("\uff48ttps://evil.test", "[link removed]"),
        ("GET http://shop.test/cart is slow.", "GET http://shop.test/cart is slow."),
        ("http://shop.test/cart/evil", "[link removed]"),
        ("fine [unverified]", "fine"),
    ],
)
def test_texts_are_tame(text: str, shown: str) -> None:
    """One line, no control or direction characters, no links but the endpoints."""
    assert _read(issues=[text]).issues == [shown]
    assert _read(recommendations=[text]).recommendations == [shown]


def test_repeated_and_empty_items_go() -> None:
    """What says nothing, or says it again, is left out."""
    assert _read(issues=["same", " ", "same", "\n", "other"]).issues == ["same", "other"]
