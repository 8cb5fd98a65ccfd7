"""Numbers as people read them, and durations as k6 writes them."""

from __future__ import annotations

import pytest

from k6d import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.1234, "0.123"),
        (0.00001234, "0.000012"),
        (45.55, "45.5"),
        (99.96, "100"),
        (412.4, "412"),
        (999.6, "1,000"),
        (12345, "12,345"),
        (-0.5, "-0.5"),
        (-1234, "-1,234"),
        (7, "7"),
    ],
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    """Small ones are not rounded to nothing, large ones keep their thousands apart."""
    assert units.number(value) == text


def test_units_follow_their_number() -> None:
    """Each unit in its form, None as a dash."""
    assert [units.ms(v) for v in (None, 0.5, 412, 9999, 12_345)] == [
        *("–", "0.5 ms", "412 ms", "9,999 ms", "12.3 s")
    ]
    assert [units.percent(v) for v in (None, 0, 12.5, 100)] == ["–", "0 %", "12.5 %", "100 %"]
    assert [units.rate(v) for v in (None, 45.6)] == ["–", "45.6/s"]
    assert [units.count(v) for v in (None, 0, 1234567)] == ["–", "0", "1,234,567"]
    assert [units.in_unit(*p) for p in ((1.5, "ms"), (2, "VUs"), (3, ""), (None, "ms"))] == [
        *("1.5 ms", "2 VUs", "3", "–")
    ]
    assert [units.plural(n, "run") for n in (0, 1, 2000)] == ["0 runs", "1 run", "2,000 runs"]
    assert units.plural(2, "query", "queries") == "2 queries"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0 s"),
        (4.2, "4.2 s"),
        (59.4, "59.4 s"),
        (59.97, "1 m"),
        (60, "1 m"),
        (90, "1 m 30 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 m"),
        (90_000, "25 h"),
    ],
)
def test_durations_roll_over(value: float | None, text: str) -> None:
    """Never "60 s" or "60 m"."""
    assert units.seconds(value) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("0s", 0), ("300ms", 0.3), ("1m0s", 60), ("1h2m3.5s", 3723.5), ("10us", 1e-5)),
        *(("10µs", 1e-5), ("5ns", 5e-9), ("1d12h", 129_600), ("2m30s", 150)),
    ],
)
def test_durations_of_go_are_understood(text: str, seconds: float) -> None:
    """All units of Go's, and days as k6 has them."""
    assert units.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-5s", "5 s", "1.2.3s", "5m x", "five", ".s", "1s1"]
)
def test_anything_else_is_refused(text: str) -> None:
    """No guess is made of what was meant."""
    with pytest.raises(ValueError, match=r"."):
        units.parse_duration(text)


def test_an_origin_is_common_only_if_all_urls_share_it() -> None:
    """Named endpoints don't matter; two hosts do; an address that is none raises nothing."""
    urls = ["http://a:1/0", "http://a:1/1"]
    assert units.common_origin(urls) == units.common_origin([*urls, "cart"]) == "http://a:1"
    assert units.common_origin([*urls, "http://b:1/"]) == ""
    assert units.common_origin(["cart"]) == units.common_origin([]) == ""
    assert units.common_origin(["https://[env].example.com/a"]) == "https://[env].example.com"
    assert units.common_origin(["https://a?x=/b", "https://a[b"]) == ""
