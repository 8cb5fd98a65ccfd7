"""Which numbers of a sentence count as given."""

from __future__ import annotations

import pytest

from k6d.explain.verify import Given, sentences

DATA = """{"p95_ms": 4987.3, "error_share": 0.125, "requests": 12345, "bytes": 5242880,
"took_ms": 90000, "endpoint": "GET /v2/cart", "virtual_users": 10, "limit": "at most 1,234 ms",
"k6_version": "1.1.0", "status": {"503": 37}, "code": "p(95)<500"}"""


@pytest.mark.parametrize(
    "sentence",
    [
        "Nothing to count here.",
        "The p95 was 4987.3 ms.",
        "The p95 was 4,987 ms.",
        "The p95 was 5 s.",
        "The p95 was about 4.99 seconds!",
        "12.5 % failed.",
        "12.5% failed, that is 0.125.",
        "12,345 requests, roughly 12k, or 12,300.",
        "5 MB came in.",
        "It took 90 s or 1.5 min.",
        "GET /v2/cart with 10 VUs answered 503 for 37 requests.",
        "The limit of 1234 ms.",
        "k6 1.1.0 was used.",
        "sub-500 ms was asked for.",
    ],
)
def test_given(sentence: str) -> None:
    """As it stands, rounded, and in another unit."""
    assert Given(DATA).holds(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "The p95 was 4,200 ms.",
        "The p99 was fine.",
        "GET /v3/cart is slow.",
        "13 % failed.",
        "7 users were waiting.",
        "It is 3 times slower.",
        "Raise the pool to 50 connections.",
        "504 came back.",
        "5.5 MB came in.",
        "k6 1.7.1 was used.",
        "Every one of ١٧ failed.",
    ],
)
def test_not_given(sentence: str) -> None:
    """Invented or worked out."""
    assert not Given(DATA).holds(sentence)


def test_rounding_is_bounded() -> None:
    """Rounding to one digit may not move a number by more than 3 %."""
    assert Given("4900").holds("about 5 s")
    assert not Given("4600").holds("about 5 s")


def test_sentences() -> None:
    """A point in a number ends no sentence."""
    assert sentences("It took 4.5 s. Why? Look!") == ["It took 4.5 s.", "Why?", "Look!"]
