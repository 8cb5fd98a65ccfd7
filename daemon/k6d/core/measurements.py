"""The records of what one execution measured; `core.model` puts them together to a run.

The units and the field names are those of `core.model`. What was not measured is None, never 0.
"""

from __future__ import annotations

from dataclasses import field

from k6d.core.frozen import frozen

# A part of `Breakdown.apart`: this machine had no network, so they say nothing of the target.
OFFLINE = "no network"
TARGET = "target:"  # begins the keys of the target's own numbers


@frozen
class RequestStats:
    """HTTP requests of one endpoint, scenario or group.

    Latencies are None when there were no requests. `unjudged` counts requests whose success k6 was
    told not to judge. `rate` is in requests per second, `error_rate` in percent. Counts and the
    average are exact. Quantiles are interpolated in a histogram whose buckets grow by 2^(1/8): they
    are at most 9 % off and never above the run's longest response time. `max_bucket_ms` is the
    upper bound of the last bucket.
    """

    name: str
    method: str | None = None
    count: int
    failed: int | None
    unjudged: int = 0
    rate: float
    error_rate: float | None
    avg_ms: float | None
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_bucket_ms: float | None

    @property
    def title(self) -> str:
        """Method and name: "GET /cart"; the name alone when there is no method."""
        return f"{self.method} {self.name}" if self.method else self.name

    @property
    def judged(self) -> int:
        """The number of requests on which the error rate is based."""
        return self.count - self.unjudged


@frozen
class Timeline:
    """Columns of equal length with one entry for each interval of `resolution_s` seconds.

    `t` is the end of the interval, in seconds since k6's first push. Rates are per second. None
    marks an interval without a measurement. The last three are empty in runs of older versions.
    `began` is the time at which the axis begins, in seconds since 1970; None in older runs.
    """

    resolution_s: int = 1
    t: list[int] = field(default_factory=list)
    vus: list[int | None] = field(default_factory=list)
    requests_per_second: list[float | None] = field(default_factory=list)
    errors_per_second: list[float | None] = field(default_factory=list)
    p95_ms: list[float | None] = field(default_factory=list)
    p50_ms: list[float | None] = field(default_factory=list)
    p99_ms: list[float | None] = field(default_factory=list)
    iterations_per_second: list[float | None] = field(default_factory=list)
    began: float | None = None


@frozen
class Iterations:
    """The iterations of one scenario: `count` ended, `dropped` were never started by k6.

    `avg_ms` and `fast_ms` are the average and the 5 % quantile of their duration.
    """

    count: int = 0
    dropped: int = 0
    avg_ms: float | None = None
    fast_ms: float | None = None


@frozen
class Breakdown:
    """The details of k6's remote-write stream, which the summary's totals do not have.

    `errors` counts k6's messages for requests without an answer, the most frequent first.
    `iterations` is by scenario. `handshakes` counts WebSocket sessions by HTTP status ("0": no
    answer). `grpc_methods` has a row for each gRPC method, `grpc_codes` the calls by status code.
    `pages` has a row for each page that a browser opened.
    Everything but `apart` covers the load alone. `apart` holds the requests of setup() and
    teardown(), those that the script excludes, and those that failed because this machine had no
    network, under "setup", "teardown", "excluded" and "no network".
    """

    endpoints: list[RequestStats] = field(default_factory=list)
    scenarios: list[RequestStats] = field(default_factory=list)
    groups: list[RequestStats] = field(default_factory=list)
    status_codes: dict[str, int] = field(default_factory=dict)
    error_codes: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    iterations: dict[str, Iterations] = field(default_factory=dict)
    handshakes: dict[str, int] = field(default_factory=dict)
    grpc_methods: list[RequestStats] = field(default_factory=list)
    grpc_codes: dict[str, int] = field(default_factory=dict)
    pages: list[RequestStats] = field(default_factory=list)
    apart: dict[str, list[RequestStats]] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)
    notes: list[str] = field(default_factory=list)

    @property
    def lost_requests(self) -> int:
        """How many requests certainly failed because this machine had no network."""
        return sum(row.count for row in self.apart.get(OFFLINE, ()))


@frozen
class Metrics:
    """The totals of a run, or of its load alone.

    Totals of a run are exact and come from k6's end-of-test summary. Of the load alone, averages
    and counts are exact; quantiles are as exact as those of `RequestStats`.
    """

    response_time_avg: float | None = None
    response_time_min: float | None = None
    response_time_med: float | None = None
    response_time_p90: float | None = None
    response_time_p95: float | None = None
    response_time_p99: float | None = None
    response_time_max: float | None = None
    error_rate: float | None = None
    failed_requests: int | None = None
    total_requests: int | None = None
    requests_per_second: float | None = None
    virtual_users: int | None = None
    duration_ms: float | None = None
    iterations: int | None = None
    iterations_per_second: float | None = None
    dropped_iterations: int | None = None
    checks_passed: int | None = None
    checks_failed: int | None = None
    data_received_bytes: int | None = None
    data_sent_bytes: int | None = None


@frozen
class Check:
    """One check of the script; `group` is k6's path such as "::cart::add", "" outside groups."""

    name: str
    group: str
    passes: int
    fails: int


@frozen
class Threshold:
    """One threshold of the script and its result; `doubt` says why the result may be wrong."""

    metric: str
    expression: str
    crossed: bool
    observed: float | None = None
    doubt: str | None = None


@frozen
class Summary:
    """k6's end-of-test summary, parsed from either of its two JSON forms."""

    metrics: Metrics
    checks: list[Check] = field(default_factory=list)
    thresholds: list[Threshold] = field(default_factory=list)
    k6_metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    custom_metrics: list[str] = field(default_factory=list)


@frozen
class Log:
    """A log of k6 or the console output of a script: its head, and its tail if lines were cut."""

    head: str = ""
    tail: str = ""
    cut_lines: int = 0
    cut_bytes: int = 0


@frozen
class KeptFile:
    """A file that the script wrote, by its path from its working folder, and its size."""

    name: str
    bytes: int


@frozen
class Generator:
    """The load of k6 and of its machine, in percent of all CPUs and of all memory.

    `k6_lag_ms` is the average time that a thread of k6 waited for a CPU. `reasons` name bottlenecks
    of k6 itself, which distort response times and throughput. `doubts` name other load on the
    machine. A value is None when /proc does not provide it.
    """

    k6_cpu_percent: float | None = None
    k6_lag_ms: float | None = None
    k6_memory_percent: float | None = None
    machine_cpu_percent: float | None = None
    busy_seconds_percent: float | None = None
    memory_free_percent: float | None = None
    reasons: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


@frozen
class Runner:
    """One of the k6 that shared the load of a run on a cluster.

    `error` says what went wrong with the runner itself, such as "killed: out of memory". A runner
    that was short of CPU pushed late: `late_seconds` counts the seconds for which nothing is known.
    """

    number: int
    node: str | None = None
    exit_code: int | None = None
    error: str | None = None
    requests: int = 0
    failed: int | None = None
    error_rate: float | None = None
    p95_ms: float | None = None
    late_seconds: int = 0


@frozen
class TargetMetric:
    """A number of the target itself, read from its Prometheus for the time of the run.

    `value` stands for the whole run: the average, max, min or last of `values`, as `stat` says. It
    is None if nothing was measured. `values` begin at `start_s` of the time line's axis and follow
    each other every `step_s` seconds; None where the Prometheus had none. `worse` is the direction
    of a change for the worse, "higher" or "lower". `alert`: such a change alone alerts.
    """

    title: str
    unit: str = ""
    query: str
    stat: str = "average"
    worse: str = "higher"
    alert: bool = False
    value: float | None = None
    start_s: float = 0.0
    step_s: float = 1.0
    values: list[float | None] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The key of its series."""
        return target_key(self.title, self.unit, self.worse)


def target_key(title: str, unit: str, worse: str) -> str:
    """The key of a number of the target; "<" means that a higher number is worse."""
    return f"{TARGET}{title}:{unit}:{'<' if worse == 'higher' else '>'}"


@frozen
class Scenario:
    """The plan of a scenario.

    `max_vus` is the largest number of virtual users. `rate` is the peak in iterations per second,
    for scenarios with an arrival rate only.
    """

    executor: str
    max_vus: int | None = None
    rate: float | None = None
    max_duration: str | None = None
