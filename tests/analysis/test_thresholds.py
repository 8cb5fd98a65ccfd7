"""Threshold expressions in k6's grammar, and their judgement."""

from __future__ import annotations

import pytest

from k6d.analysis.thresholds import Range, judge, parse, selector


@pytest.mark.parametrize(
    ("text", "stat", "sign", "limit"),
    [
        ("p(95)<500", "p(95)", "<", 500),
        ("p(99.9) <= 1e3", "p(99.9)", "<=", 1000),
        ("rate>0.99", "rate", ">", 0.99),
        ("count===3", "count", "===", 3),
        ("value != -1", "value", "!=", -1),
        ("avg>=0", "avg", ">=", 0),
        ("  max == 1.5 ", "max", "==", 1.5),
    ],
)
def test_an_expression_is_taken_apart(text: str, stat: str, sign: str, limit: float) -> None:
    """Aggregate, operator and limit are found, with and without blanks."""
    found = parse(text)
    assert (found.stat, found.operator, found.limit) == (stat, sign, limit)


@pytest.mark.parametrize(
    "text", ["", "p(95)", "p95<3", "mean<3", "p()<3", "p( 95 )<3", "avg<", "avg<fast"]
)
def test_what_k6_refuses_is_refused(text: str) -> None:
    """A text that is no threshold raises ValueError."""
    with pytest.raises(ValueError):
        parse(text)


def test_quantiles() -> None:
    """The median and percentiles have a quantile, other aggregates have none."""
    found = [parse(f"{stat}<1").quantile for stat in ("med", "p(95)", "p(99.9)", "avg")]
    assert found == [0.5, 0.95, pytest.approx(0.999), None]


@pytest.mark.parametrize(
    ("text", "low", "value", "high", "crossed", "sure"),
    [
        ("p(95)<500", 480, 490, 499, False, True),
        ("p(95)<500", 480, 490, 510, False, False),
        ("p(95)<500", 490, 505, 510, True, False),
        ("p(95)<500", 500, 505, 510, True, True),
        ("p(95)<=500", 500, 505, 510, True, False),
        ("p(95)>500", 501, 505, 510, False, True),
        ("med==5", 4, 4.5, 6, True, False),
        ("med==5", 5, 5, 5, False, True),
        ("med!=5", 6, 7, 8, False, True),
        ("med===5", 6, 7, 8, True, True),
    ],
)
def test_the_error_of_a_number_makes_its_judgement_unsure(
    text: str, low: float, value: float, high: float, crossed: bool, sure: bool
) -> None:
    """The estimate decides; it is sure if every value in the range gives the same answer."""
    found = judge(parse(text), Range(low, value, high))
    assert (found.crossed, found.sure) == (crossed, sure)


@pytest.mark.parametrize(
    ("metric", "name", "tags"),
    [
        ("http_reqs", "http_reqs", {}),
        ("checks{scenario:a}", "checks", {"scenario": "a"}),
        (
            "http_req_duration{ name : 'GET /x', status:200 }",
            "http_req_duration",
            {"name": "GET /x", "status": "200"},
        ),
        ("t{url:http://h:1/}", "t", {"url": "http://h:1/"}),
    ],
)
def test_a_metric_selects_samples_by_tags(metric: str, name: str, tags: dict[str, str]) -> None:
    """The name and the tags of a submetric, without blanks and quotes as in k6."""
    assert selector(metric) == (name, tags)
