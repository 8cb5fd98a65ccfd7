"""k6's end-of-test summary: files that the real k6 wrote, a run compared live, and bad input."""

from __future__ import annotations

import orjson
import pytest

from k6d.core.measurements import Check, Metrics, Summary, Threshold
from k6d.core.model import K6dError
from k6d.execution import summary
from support.paths import DATA

VERSIONS = ("0.57.0", "1.1.0")


def load(name: str) -> tuple[Summary, dict[str, dict[str, float]]]:
    """A recorded summary, read by us and as k6 wrote its metrics."""
    data = (DATA / f"summary_{name}.json").read_bytes()
    return summary.parse(data), orjson.loads(data).get("metrics", {})


@pytest.mark.parametrize("version", VERSIONS)
def test_totals_of_a_real_run(version: str) -> None:
    """Every total is k6's own number; half of the 28 requests failed, so `passes` is failures."""
    found, raw = load(f"mixed_{version}")
    metrics, times = found.metrics, raw["http_req_duration"]
    assert metrics.response_time_avg == times["avg"]
    assert metrics.response_time_min == times["min"]
    assert metrics.response_time_med == times["med"]
    assert metrics.response_time_p90 == times["p(90)"]
    assert metrics.response_time_p95 == times["p(95)"]
    assert metrics.response_time_p99 == times["p(99)"]
    assert metrics.response_time_max == times["max"]
    assert (metrics.total_requests, metrics.failed_requests, metrics.error_rate) == (28, 14, 50.0)
    assert metrics.requests_per_second == raw["http_reqs"]["rate"]
    assert metrics.duration_ms == pytest.approx(28 / raw["http_reqs"]["rate"] * 1000)
    assert (metrics.iterations, metrics.dropped_iterations) == (14, 27)
    assert (metrics.checks_passed, metrics.checks_failed) == (28, 28)
    assert metrics.data_received_bytes == raw["data_received"]["count"]
    assert metrics.data_sent_bytes == raw["data_sent"]["count"]
    assert metrics.virtual_users == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_checks_with_their_groups(version: str) -> None:
    """Checks carry the path of their group; the same name in two groups is two checks."""
    found, _ = load(f"mixed_{version}")
    assert sorted(found.checks, key=lambda one: (one.group, one.name)) == [
        Check(name="top", group="", passes=14, fails=0),
        Check(name="is 200", group="::shop", passes=14, fails=0),
        Check(name="no", group="::shop", passes=0, fails=14),
        Check(name="is 200", group="::shop::deep", passes=0, fails=14),
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_thresholds_and_what_they_saw(version: str) -> None:
    """True means crossed; each aggregate is found, a rate's under `value`, no sample is None."""
    found, raw = load(f"mixed_{version}")
    times = raw["http_req_duration"]
    assert {
        (one.metric, one.expression): (one.crossed, one.observed) for one in found.thresholds
    } == {
        ("checks", "rate>0.99"): (True, 0.5),
        ("checks{check:no}", "rate>0.5"): (True, 0),
        ("http_req_duration", "avg<5000"): (False, times["avg"]),
        ("http_req_duration", "max < 9000"): (False, times["max"]),
        ("http_req_duration", "p(95)<1"): (True, times["p(95)"]),
        ("http_req_duration", "p(99.9)<9000"): (False, None),
        ("http_req_duration{name:cart}", "med<5000"): (
            False,
            raw["http_req_duration{name:cart}"]["med"],
        ),
        ("http_req_duration{name:nobody}", "p(95)<10"): (False, None),
        ("http_req_failed", "rate<0.01"): (True, 0.5),
        ("http_reqs", "count>5"): (False, 28),
        ("http_reqs", "rate>1"): (False, raw["http_reqs"]["rate"]),
        ("iteration_stock", "value<100"): (False, 13),
        ("paid", "rate>0.1"): (False, 0.5),
        ("sold", "count<3"): (True, 14),
    }
    order = [(one.metric, one.expression) for one in found.thresholds]
    assert order == sorted(order)


@pytest.mark.parametrize("version", VERSIONS)
def test_metrics_of_the_script(version: str) -> None:
    """Custom metrics are named; every metric is kept without thresholds, counts exact."""
    found, raw = load(f"mixed_{version}")
    assert found.custom_metrics == ["cart_size", "cart_wait", "iteration_stock", "paid", "sold"]
    assert found.k6_metrics.keys() == raw.keys()
    assert found.k6_metrics["cart_size"]["count"] == 14
    assert found.k6_metrics["cart_wait"]["avg"] == 12.5
    assert found.k6_metrics["http_req_failed"] == {"passes": 14, "fails": 14, "value": 0.5}
    for name, values in found.k6_metrics.items():
        assert values == pytest.approx(
            {stat: raw[name][stat] for stat in raw[name] if stat != "thresholds"}, rel=1e-5
        )


@pytest.mark.parametrize("version", VERSIONS)
def test_refused_connections_were_never_measured(version: str) -> None:
    """Five refused requests count and failed; the 0 ms that k6 prints are no response time."""
    found, raw = load(f"refused_{version}")
    metrics = found.metrics
    assert (metrics.total_requests, metrics.failed_requests, metrics.error_rate) == (5, 5, 100.0)
    assert (metrics.response_time_avg, metrics.response_time_p95, metrics.response_time_max) == (
        None,
        None,
        None,
    )
    assert raw["http_req_duration"]["max"] == 0
    assert found.k6_metrics["http_req_duration"]["count"] == 5


@pytest.mark.parametrize("version", VERSIONS)
def test_no_request_is_none_and_not_zero(version: str) -> None:
    """Without a request the zeros that a threshold makes k6 print are None; iterations remain."""
    found, raw = load(f"idle_{version}")
    assert raw["http_req_failed"]["value"] == raw["http_req_duration"]["avg"] == 0
    assert found.metrics == Metrics(
        iterations=5,
        iterations_per_second=raw["iterations"]["rate"],
        duration_ms=5 / raw["iterations"]["rate"] * 1000,
        data_received_bytes=0,
        data_sent_bytes=0,
    )
    assert found.checks == []
    assert [(one.crossed, one.observed) for one in found.thresholds] == [(False, None)] * 2


def test_machine_readable_form() -> None:
    """The new form gives the same record: rates from its duration, p99 None where it has none."""
    found, _ = load("machine_readable")
    assert found.metrics == Metrics(
        response_time_avg=20.5,
        response_time_min=3.25,
        response_time_med=19,
        response_time_p90=40,
        response_time_p95=55.5,
        response_time_max=90,
        error_rate=10.0,
        failed_requests=5,
        total_requests=50,
        requests_per_second=20.0,
        virtual_users=4,
        duration_ms=2500.0,
        iterations=25,
        iterations_per_second=10.0,
        checks_passed=95,
        checks_failed=5,
    )
    assert found.checks == [
        Check(name="is 200", group="", passes=45, fails=5),
        Check(name="has a body", group="", passes=50, fails=0),
    ]
    assert found.thresholds == [
        Threshold(metric="http_req_duration", expression="p(95)<50", crossed=True, observed=55.5),
        Threshold(metric="http_req_failed", expression="rate<0.5", crossed=False, observed=0.1),
    ]
    assert found.custom_metrics == ["sold"]


@pytest.mark.parametrize(
    ("metric", "found"),
    [
        ({"http_req_duration": {"avg": 1}}, None),
        ({"http_reqs": {"count": 0, "rate": 0}, "http_req_duration": {"avg": 0, "max": 0}}, None),
        ({"http_reqs": {"count": 2, "rate": 1}, "http_req_duration": {"avg": 3.5}}, 3.5),
    ],
)
def test_response_time_needs_requests(metric: object, found: float | None) -> None:
    """A time counts only when http_reqs says that there were requests."""
    parsed = summary.parse(orjson.dumps({"metrics": metric}))
    assert parsed.metrics.response_time_avg == found


@pytest.mark.parametrize(
    "gauges",
    [
        {"vus": {"value": 0, "min": 0, "max": 7}, "vus_max": {"value": 9, "max": 9}},
        {"vus_max": {"value": 7, "min": 7, "max": 7}},
        {"iterations": {"count": 9}, "vus": {"max": 0}, "vus_max": {"max": 7}},
    ],
)
def test_virtual_users(gauges: object) -> None:
    """The most at one time; what was allocated stands in where k6 sampled none at work."""
    assert summary.parse(orjson.dumps({"metrics": gauges})).metrics.virtual_users == 7


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not valid JSON"),
        (b'{"metrics": {"http_reqs"', "not valid JSON"),
        (b"[]", "neither a 'metrics' object nor a 'results' object"),
        (b'{"metrics": 3}', "neither a 'metrics' object nor a 'results' object"),
        (b'{"metrics": {"http_reqs": 3}}', "unexpected shape"),
        (b'{"results": {"metrics": [{"type": "rate"}]}}', "unexpected shape"),
        (b'{"metrics": {}, "root_group": {"checks": [{"name": "x"}]}}', "unexpected shape"),
    ],
)
def test_bad_input_is_a_clear_line(data: bytes, message: str) -> None:
    """What is no summary raises one line that says what is wrong with it."""
    with pytest.raises(K6dError, match=message) as caught:
        summary.parse(data)
    assert "\n" not in str(caught.value)
