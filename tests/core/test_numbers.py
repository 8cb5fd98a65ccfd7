"""Numbers as people read them, and durations as k6 writes them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from k6d.core import numbers, parse, text

SIZES = st.floats(1e-6, 1e12).flatmap(lambda size: st.sampled_from([0.0, size, -size]))


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
    assert numbers.number(value) == text


def test_units_follow_their_number() -> None:
    """Each unit in its form, None as a dash."""
    assert [numbers.ms(v) for v in (None, 0.5, 412, 9999.4, 9999.5, 12_345)] == [
        *("–", "0.5 ms", "412 ms", "9,999 ms", "10 s", "12.3 s")
    ]
    assert [numbers.percent(v) for v in (None, 0, 12.5, 100)] == ["–", "0 %", "12.5 %", "100 %"]
    assert [numbers.rate(v) for v in (None, 45.6)] == ["–", "45.6/s"]
    assert [numbers.count(v) for v in (None, 0, 1234567)] == ["–", "0", "1,234,567"]
    assert [numbers.in_unit(*p) for p in ((1.5, "ms"), (2, "VUs"), (3, ""), (None, "ms"))] == [
        *("1.5 ms", "2 VUs", "3", "–")
    ]
    assert [text.plural(n, "run") for n in (0, 1, 2000)] == ["0 runs", "1 run", "2,000 runs"]
    assert text.plural(2, "query", "queries") == "2 queries"


@pytest.mark.parametrize(
    ("value", "bound", "unit", "shown"),
    [
        (12.5, 10, "%", ["12.5 %", "10 %"]),
        (5.0004, 5, "%", ["5.0004 %", "5 %"]),
        (99.97, 0, "%", ["99.97 %", "0 %"]),
        (100, 10, "%", ["100 %", "10 %"]),
        (3000.4, 3000, "ms", ["3,000.4 ms", "3,000 ms"]),
        (9999.7, 9999.6, "ms", ["9.9997 s", "9.9996 s"]),
        (12_345, 5000, "ms", ["12.3 s", "5 s"]),
        (0.09999, 0.1, "", ["0.09999", "0.1"]),
        (500, 500, "/s", ["500/s", "500/s"]),
        (999_999.6, 1e6, "", ["999,999.6", "1,000,000"]),
    ],
)
def test_a_number_stands_on_its_side_of_a_bound(
    value: float, bound: float, unit: str, shown: list[str]
) -> None:
    """Both in one unit, with as few digits as tell them apart."""
    assert numbers.against(value, bound, unit=unit) == shown


def test_almost_all_is_not_all() -> None:
    """A percentage is 100 % only if it is."""
    assert [numbers.percent(v) for v in (99.97, 99.996, 99.9, 100, 12.5, 0, None)] == [
        *("99.97 %", "99.996 %", "99.9 %", "100 %", "12.5 %", "0 %", "–")
    ]


@given(value=SIZES, bound=SIZES, near=st.floats(0.99, 1.01), unit=st.sampled_from(["ms", "%", ""]))
@example(value=1e4, bound=1e4, near=1 - 1e-12, unit="ms")
def test_no_rounding_turns_a_verdict(value: float, bound: float, near: float, unit: str) -> None:
    """Whatever the sizes, also where value and bound are all but equal."""
    for seen in (value, bound * near):
        texts = numbers.against(seen, bound, value, unit=unit)
        shown = [float(re.sub(r"[, a-z%]", "", text)) for text in texts]
        assert len({text.partition(" ")[2] for text in texts}) == 1
        for other, it in zip((bound, value), shown[1:], strict=True):
            if abs(seen - other) > 1e-14 * abs(other):  # s are ms divided by 1,000
                assert (shown[0] > it, shown[0] < it) == (seen > other, seen < other)


@pytest.mark.parametrize(
    ("value", "expression", "text"),
    [
        (500.04, "p(95)<500", "500.04"),
        (500, "p(95) < 500", "500"),
        (0.9499, "rate >= 0.95", "0.9499"),
        (12.345, "avg<-1.5", "12.3"),
        (0.50004, "rate<.5", "0.50004"),
        (1000.4, "count<1e3", "1,000.4"),
        (7.8, "odd", "7.8"),
    ],
)
def test_what_a_threshold_saw_stands_on_its_side(value: float, expression: str, text: str) -> None:
    """The bound is in k6's expression."""
    assert numbers.against_threshold(value, expression) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0 s"),
        (4.2, "4.2 s"),
        (59.4, "59.4 s"),
        (59.97, "1 min"),
        (60, "1 min"),
        (90, "1 min 30 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
        (90_000, "25 h"),
    ],
)
def test_durations_roll_over(value: float | None, text: str) -> None:
    """Never "60 s" or "60 min"."""
    assert numbers.seconds(value) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("0s", 0), ("300ms", 0.3), ("1m0s", 60), ("1h2m3.5s", 3723.5), ("10us", 1e-5)),
        *(("10µs", 1e-5), ("5ns", 5e-9), ("1d12h", 129_600), ("2m30s", 150)),
    ],
)
def test_durations_of_go_are_understood(text: str, seconds: float) -> None:
    """All units of Go's, and days as k6 has them."""
    assert parse.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-5s", "5 s", "1.2.3s", "5m x", "five", ".s", "1s1"]
)
def test_anything_else_is_refused(text: str) -> None:
    """No guess is made of what was meant."""
    with pytest.raises(ValueError, match=r"."):
        parse.parse_duration(text)


def test_an_origin_is_common_only_if_all_urls_share_it() -> None:
    """Named endpoints don't matter; two hosts do; an address that is none raises nothing."""
    urls = ["http://a:1/0", "http://a:1/1"]
    assert text.common_origin(urls) == text.common_origin([*urls, "cart"]) == "http://a:1"
    assert text.common_origin([*urls, "http://b:1/"]) == ""
    assert text.common_origin(["cart"]) == text.common_origin([]) == ""
    assert text.common_origin(["https://[env].example.com/a"]) == "https://[env].example.com"
    assert text.common_origin(["https://a?x=/b", "https://a[b"]) == ""


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *((None, None), ("", None), ("soon", None), ("nan", None), ("7", 7), ("-7", 0)),
        *(("1.5", 1.5), ("1e300", parse.LONGEST_S), ("Fri, 31 Dec 1999 23:59:59 GMT", 0)),
        *(("Fri, 31 Dec 9999 23:59:59 GMT", parse.LONGEST_S), ("Fri, 99 Dec 1999", None)),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    """Never below 0, never above a year; None for anything else."""
    assert parse.retry_after_s(header) == seconds
