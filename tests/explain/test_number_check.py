"""Which numbers of a sentence count as given."""

from __future__ import annotations

import pytest

from k6d.explain.number_check import Given, sentences

DATA = """{"p95_ms": 4987.3, "error_share": 0.125, "requests": 12345, "bytes": 5242880,
"took_ms": 90000, "endpoint": "GET /v2/cart", "virtual_users": 10, "limit": "at most 1,234 ms",
"k6_version": "1.1.0", "status_codes": {"503": 37}, "code": "p(95)<500", "started": "2026-11-22",
"finding": {"observed": 812.5, "unit": "ms", "message": "it is 21.75 % slower"}, "took": "44 s"}"""


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
        "k6 v1.1.0 on 2026-11-22.",
        "37 requests ended in 5xx, all of them 503s.",
        "It was 812.5 ms, or .8125 s.",
        "It is 21.75% slower after 44s.",
        "95 % of the requests took 500 ms.",
        "Ten users waited 37-503 times.",
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
        "The p95 was 4987.3 s.",
        "The p95 was 812.5 %.",
        "It took 21.75 ms.",
        "It took 44 ms.",
        "It took 503 ms with 10 users.",
        "12345 % failed.",
        "k6 1.1.1 was used.",
        "It began on 2026-11-12.",
        "There were 4xx answers.",
        "It is 10x slower.",
        "It is 10× slower.",
        "It is ten times as slow.",
        "It is twice as slow.",
        "The p95 doubled.",
        "A ten-fold increase.",
        "Seventy users were waiting.",
        "A dozen connections.",
        ".75 s are lost.",
    ],
)
def test_not_given(sentence: str) -> None:
    """Invented or worked out."""
    assert not Given(DATA).holds(sentence)


def test_a_ratio_that_was_given() -> None:
    """Words of the data may be repeated, and a number of times is no ratio."""
    given = Given('{"message": "3 times slower", "log": "login failed (7 times)"}')
    assert given.holds("The cart is 3 times slower.")
    assert given.holds("The login failed 7 times.")
    assert not given.holds("The cart is 7 times slower.")


def test_rounding_is_bounded() -> None:
    """Rounding to one digit may not move a number by more than 3 %."""
    assert Given("4900").holds("about 5 s")
    assert not Given("4600").holds("about 5 s")


def test_sentences() -> None:
    """A point in a number ends no sentence."""
    assert sentences("It took 4.5 s. Why? Look!") == ["It took 4.5 s.", "Why?", "Look!"]
