"""What of a run is compared, and under which key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from k6d.analysis import series
from k6d.core.measurements import Breakdown, Metrics, TargetMetric, Threshold
from support.results import endpoint, result

if TYPE_CHECKING:
    from k6d.core.model import Result


def test_a_run_in_numbers() -> None:
    """Overall metrics by their names, endpoints behind a space; failed checks in percent."""
    measured = result(
        response_time_p99=120.0,
        checks_passed=3,
        checks_failed=1,
        breakdown=Breakdown(endpoints=[endpoint("/cart", count=200, failed=3, p95_ms=80.0)]),
    )
    assert series.of(measured, min_requests=20) == {
        "response_time_p95": 90.0,
        "response_time_p99": 120.0,
        "response_time_avg": 40.0,
        "requests_per_second": 100.0,
        "error_rate": 0.0,
        "failed_checks": 25.0,
        "response_time_p95 GET /cart": 80.0,
        "error_rate GET /cart": 1.5,
    }


def test_what_was_not_measured_is_left_out() -> None:
    """No checks are not 0 % failed checks, and a script without requests has no p95."""
    bare = replace(result(), summary=replace(result().summary, metrics=Metrics(checks_passed=0)))
    assert series.of(bare, min_requests=20) == {}
    none = result(checks_passed=0, checks_failed=0)
    assert "failed_checks" not in series.of(none, min_requests=20)


@pytest.mark.parametrize(("count", "kept"), [(19, False), (20, True)])
def test_endpoints_with_few_requests_are_left_out(count: int, *, kept: bool) -> None:
    """Their quantiles say little."""
    measured = result(breakdown=Breakdown(endpoints=[endpoint("/rare", count=count)]))
    assert ("response_time_p95 GET /rare" in series.of(measured, min_requests=20)) is kept


def test_only_the_busiest_endpoints_are_compared() -> None:
    """Fifty of them: more series make every one harder to judge."""
    many = [endpoint(f"/{i}", count=1000 - i) for i in range(60)]
    keys = series.of(result(breakdown=Breakdown(endpoints=many)), min_requests=20)
    assert len([key for key in keys if key.startswith("response_time_p95 ")]) == 50
    assert "error_rate GET /49" in keys
    assert "error_rate GET /50" not in keys


@pytest.mark.parametrize(
    ("expression", "key", "worse"),
    [
        ("p(95)<2000", "custom:checkout_time:p(95):<", 1),
        ("p(99.9) <= 2000", "custom:checkout_time:p(99.9):<", 1),
        ("count>100", "custom:checkout_time:count:>", -1),
        ("avg>=1", "custom:checkout_time:avg:>", -1),
    ],
)
def test_custom_metrics_by_the_direction_of_their_threshold(
    expression: str, key: str, worse: int
) -> None:
    """What must stay below is worse when it rises, what must stay above when it falls."""
    measured = _custom(Threshold(metric="checkout_time", expression=expression, crossed=False))
    assert series.of(measured, min_requests=20)[key] == 7.5
    assert series.describe(key).worse == worse
    assert series.describe(key).metric == "checkout_time"


@pytest.mark.parametrize(
    ("metric", "expression"),
    [("http_req_duration", "p(95)<500"), ("checkout_time", "count==3"), ("checkout_time", "")],
)
def test_other_thresholds_make_no_series(metric: str, expression: str) -> None:
    """k6's own metrics are compared anyway; equality has no direction."""
    threshold = Threshold(metric=metric, expression=expression, crossed=False)
    assert not [k for k in series.of(_custom(threshold), min_requests=20) if ":" in k]


def _custom(threshold: Threshold) -> Result:
    measured = result(thresholds=(replace(threshold, observed=7.5),))
    return replace(measured, summary=replace(measured.summary, custom_metrics=["checkout_time"]))


def test_titles() -> None:
    """As people name them."""
    assert series.describe("response_time_p95").title == "p95"
    cart = series.describe("error_rate GET /cart items")
    assert (cart.title, cart.endpoint, cart.unit) == (
        *("error rate of GET /cart items", "GET /cart items", "%"),
    )
    assert series.describe("custom:checkout_time:p(95):<").title == "checkout_time p(95)"


def test_an_unknown_series_names_those_there_are() -> None:
    """For people who type one."""
    with pytest.raises(ValueError, match="no series is called 'p95'; there are: error_rate"):
        series.describe("p95")


def test_the_targets_own_numbers_have_keys_that_say_all() -> None:
    """Title, unit and direction; what was not measured is left out."""
    cpu = TargetMetric(title="CPU: checkout", unit="%", query="cpu", value=40.0)
    free = TargetMetric(title="free memory", query="m", worse="lower", alert=True, value=0.0)
    none = TargetMetric(title="queue", query="q")
    keys = {"target:CPU: checkout:%:<": 40.0, "target:free memory::>": 0.0}
    assert series.of_target([cpu, free, none]) == keys
    assert series.alerting([cpu, free, none]) == {"target:free memory::>"}
    first, second = map(series.describe, keys)
    assert (first.title, first.unit, first.worse, first.floor) == ("CPU: checkout", "%", 1, 1.0)
    assert (second.title, second.unit, second.worse, second.judged) == (
        "free memory",
        "",
        -1,
        False,
    )
