"""The metrics of a run, once: their names, titles, units, and which change of them is bad.

Everything that shows, compares, stores or exposes a metric takes these from here. The fields of
`core.measurements.Metrics` have the same names.
"""

from __future__ import annotations

from typing import Literal, get_args

from k6d.core.frozen import frozen

# What the index of runs keeps of each run, and what the API gives as a series.
IndexedMetric = Literal[
    "response_time_avg",
    "response_time_p95",
    "error_rate",
    "requests_per_second",
    "virtual_users",
    "total_requests",
]
INDEXED: tuple[str, ...] = get_args(IndexedMetric)
# The seven metrics of the original service, in its order.
ORIGINAL = (*INDEXED, "duration_ms")


@frozen
class Metric:
    """One metric: `title` stands alone ("p95 response time"), `label` beside others ("p95").

    `worse` is the direction of a change for the worse, 0 where neither is bad. `floor` is the least
    change of interest, in `unit`. `k6` is the metric of k6 that it comes from, "" for several.
    `judged` is False for what is compared and shown, and never alarms.
    """

    name: str
    title: str
    unit: Literal["ms", "%", "/s", ""]
    worse: Literal[-1, 0, 1] = 1
    floor: float = 0.0
    label: str = ""
    k6: str = ""
    whole: bool = False
    judged: bool = True

    @property
    def short(self) -> str:
        """The label; the title of a metric that has no shorter one."""
        return self.label or self.title


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="error_rate",
            title="error rate",
            unit="%",
            floor=1.0,
            k6="http_req_failed",
        ),
        Metric(name="failed_checks", title="failed checks", unit="%", floor=1.0, k6="checks"),
        Metric(
            name="dropped_iterations",
            title="dropped iterations",
            unit="%",
            floor=1.0,
            k6="dropped_iterations",
        ),
        Metric(
            name="response_time_p95",
            title="p95 response time",
            label="p95",
            unit="ms",
            floor=1.0,
            k6="http_req_duration",
        ),
        Metric(
            name="response_time_p99",
            title="p99 response time",
            label="p99",
            unit="ms",
            floor=2.0,
            k6="http_req_duration",
        ),
        Metric(
            name="response_time_avg",
            title="average response time",
            label="average",
            unit="ms",
            floor=1.0,
            k6="http_req_duration",
        ),
        Metric(
            name="response_time_med",
            title="median response time",
            label="median",
            unit="ms",
            k6="http_req_duration",
        ),
        Metric(name="requests_per_second", title="throughput", unit="/s", worse=-1, k6="http_reqs"),
        Metric(
            name="setup_avg",
            title="average of setup()'s requests",
            unit="ms",
            floor=1.0,
            judged=False,
        ),
        Metric(name="total_requests", title="requests", unit="", worse=0, whole=True),
        Metric(name="virtual_users", title="virtual users", unit="", worse=0, whole=True),
        Metric(name="duration_ms", title="duration", unit="ms", worse=0),
    )
}
