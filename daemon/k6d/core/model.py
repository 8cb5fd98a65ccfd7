"""The records that the stages exchange; imports nothing of ours.

A `Run` is what is stored, one JSON file each: the field names here are the names in that file.
Units: names ending in `_s`, `_ms`, `_percent`, `_bytes` say theirs; the seven metrics that users of
the original service know keep its names (`response_time_*` and `duration_ms` in milliseconds,
`error_rate` in percent). What nobody measured is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003  (pydantic reads the annotation at run time)
from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003  (pydantic reads the annotation at run time)
from enum import StrEnum
from typing import Any

SCHEMA_VERSION = 1
THRESHOLDS_CROSSED = 99  # k6's exit code
WORSE, STEADY, LEARNING = "worse", "steady", "learning"  # states of a `Comparison`
CHANGED = "changed"
ABORTED_BY_SCRIPT = 108  # k6's exit code of exec.test.abort()
FAIL = "fail()"  # begins what a script said by that function


class K6dError(Exception):
    """A mistake that a user can mend; its text is one line and says what to do next."""


def reason(error: OSError) -> str:
    """Why the system refused, in words that fit into a sentence."""
    return (error.strerror or str(error)).lower()


class Trigger(StrEnum):
    """Why a job is run; an imported run was none of k6d's."""

    ADDED = "added"
    CHANGED = "changed"
    SCHEDULED = "scheduled"
    MANUAL = "manual"
    CONFIRMATION = "confirmation"
    RECOVERY = "recovery"
    IMPORTED = "imported"


class Outcome(StrEnum):
    """How the execution itself went; what was measured is the verdict's business."""

    COMPLETED = "completed"
    SCRIPT_ERROR = "script error"
    NO_DATA = "no data"
    TIMED_OUT = "timed out"
    ABORTED = "aborted"
    K6_UNAVAILABLE = "k6 unavailable"


class Severity(StrEnum):
    """How bad a finding is; compare with `rank`."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low up to 3 for critical."""
        return list(Severity).index(self)


class FindingKind(StrEnum):
    """What sort of thing was found, the likeliest to be the cause of the others first."""

    K6_UNAVAILABLE = "k6 unavailable"
    NO_NETWORK = "no network"
    SCRIPT_ERROR = "script error"
    NO_DATA = "no data"
    GENERATOR = "load generator saturated"
    UNREACHABLE = "target unreachable"
    EXCEPTIONS = "exceptions"
    DROPPED = "dropped iterations"
    ABORTED = "aborted"
    TIMED_OUT = "timed out"
    LIMIT = "limit broken"
    REGRESSION = "regression"
    THRESHOLD = "threshold crossed"
    SPIKE = "spike in the run"
    CHECKS = "failed checks"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStats:
    """HTTP requests of one endpoint, scenario or group; latencies are None when there were none.

    `unjudged` are those of which the script told k6 not to say whether they failed.
    Counts and the average are exact; quantiles are interpolated in a histogram whose buckets grow
    by 2^(1/8), so they are at most 9 % off, but never above the run's longest response time;
    `max_bucket_ms` is the upper bound of the last bucket.
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
        """The words a person would use: "GET /cart"; the name alone without a method."""
        return f"{self.method} {self.name}" if self.method else self.name

    @property
    def judged(self) -> int:
        """The requests that the error rate is of."""
        return self.count - self.unjudged


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Columns of equal length, one entry every `resolution_s` seconds; `t` is the interval's end.

    `t` counts seconds from the first push of k6; rates are per second; None where nothing was seen.
    """

    resolution_s: int = 1
    t: list[int] = field(default_factory=list)
    vus: list[int | None] = field(default_factory=list)
    requests_per_second: list[float | None] = field(default_factory=list)
    errors_per_second: list[float | None] = field(default_factory=list)
    p95_ms: list[float | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Iterations:
    """The iterations of one scenario: those that ended, and those that k6 never started.

    `fast_ms` is the 5 % quantile of how long they took.
    """

    count: int = 0
    dropped: int = 0
    avg_ms: float | None = None
    fast_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """What k6's remote-write stream says beyond the totals of the summary.

    `errors` are k6's words for what kept requests from an answer, the most frequent first;
    `iterations` are by scenario; `handshakes` count WebSocket sessions by the status that was
    answered ("0": none). All of it is the load alone: what prepared the test, and what the
    script excludes, is in `apart`, under "setup", "teardown" and "excluded".
    """

    endpoints: list[RequestStats] = field(default_factory=list)
    scenarios: list[RequestStats] = field(default_factory=list)
    groups: list[RequestStats] = field(default_factory=list)
    status_codes: dict[str, int] = field(default_factory=dict)
    error_codes: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    iterations: dict[str, Iterations] = field(default_factory=dict)
    handshakes: dict[str, int] = field(default_factory=dict)
    apart: dict[str, list[RequestStats]] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The totals of a run, exact, from k6's end-of-test summary; or those of its load alone.

    Of the load alone, averages and counts are exact, quantiles are as those of `RequestStats`.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of the script; `group` is k6's path, "::cart::add", empty at the top."""

    name: str
    group: str
    passes: int
    fails: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One threshold of the script and what became of it."""

    metric: str
    expression: str
    crossed: bool
    observed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """k6's end-of-test summary, whichever of its two forms it came in."""

    metrics: Metrics
    checks: list[Check] = field(default_factory=list)
    thresholds: list[Threshold] = field(default_factory=list)
    k6_metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    custom_metrics: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """k6's log and the script's console output: the head, and the tail when there was more."""

    head: str = ""
    tail: str = ""
    cut_lines: int = 0
    cut_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The immutable archive that ran.

    `fingerprint` covers the contents of the script and of every file it pulls in; `workload` covers
    what makes runs comparable (scenarios, VUs, durations); `id` names the stored archive and covers
    both. `dependencies` maps absolute paths to the SHA-256 of their contents.
    """

    id: str
    fingerprint: str
    workload: str
    dependencies: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What the k6 process did; None for what never happened."""

    outcome: Outcome
    exit_code: int | None = None
    error: str | None = None
    k6_version: str | None = None
    machine: str = ""
    command: list[str] = field(default_factory=list)
    planned_s: float | None = None
    deadline_s: float | None = None
    signals: list[str] = field(default_factory=list)

    @property
    def told_by_script(self) -> bool:
        """Whether the script itself ended the run, by `fail()` or `exec.test.abort()`."""
        failed = self.outcome is Outcome.SCRIPT_ERROR and (self.error or "").startswith(FAIL)
        return failed or (self.outcome is Outcome.ABORTED and self.exit_code == ABORTED_BY_SCRIPT)

    @property
    def cut_by_threshold(self) -> bool:
        """Whether a threshold with `abortOnFail` ended it early: judged like any, yet in part."""
        return self.outcome is Outcome.ABORTED and self.exit_code == THRESHOLDS_CROSSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """How k6 and its machine fared; shares of all its CPUs and memory, in percent.

    `k6_lag_ms` is how long a thread of k6 waited for a CPU, on average, each time it wanted one.
    `reasons` name k6's own trouble, which response times and throughput then show as well;
    `doubts` name what else ran on the machine. None where /proc doesn't tell.
    """

    k6_cpu_percent: float | None = None
    k6_lag_ms: float | None = None
    k6_memory_percent: float | None = None
    machine_cpu_percent: float | None = None
    busy_seconds_percent: float | None = None
    memory_free_percent: float | None = None
    reasons: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What a scenario plans: `max_vus` virtual users at most, and, where it is a scenario of an
    arrival rate, `rate` iterations a second at its peak.
    """

    executor: str
    max_vus: int | None = None
    rate: float | None = None
    max_duration: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an execution yielded, before it is judged.

    `exceptions` counts what the script threw in its iterations; `scenarios` is what it planned.
    `load` are the totals without the requests that stand apart; None: there were none of those.
    `mixes` are the requests of each entry of the time line, by scenario and name.
    """

    execution: Execution
    summary: Summary
    breakdown: Breakdown
    exceptions: int = 0
    first_exception: str | None = None
    generator: Generator = field(default_factory=Generator)
    scenarios: Mapping[str, Scenario] = field(default_factory=dict)
    load: Metrics | None = None
    mixes: Sequence[Mapping[str, int]] = ()

    @property
    def judged(self) -> Metrics:
        """The totals that are judged and compared."""
        return self.load or self.summary.metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One series of the run against its baseline; all values in `unit`.

    `state`: "learning" (fewer than `needed` comparable runs), "steady", "worse", "better", and
    "changed" for what got worse and is not judged.
    A further run like the baseline lands between `low` and `high`; `visible_percent` is the noise
    budget, the least change that shows. `since` is the run from which a lasting change holds;
    `seen` of `of` runs (this one and its confirmations) lay beyond the band on their own.
    """

    metric: str
    endpoint: str | None
    unit: str
    state: str
    observed: float
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    change_percent: float | None = None
    visible_percent: float | None = None
    runs: int = 0
    needed: int = 0
    since: str | None = None
    seen: int = 0
    of: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, with what was seen and what was expected, in `unit`.

    A regression also says since which run it holds, what changed with that run, and in how many
    runs it was seen: "3 of 3". `doubt` says why the number may be wrong; the finding stands.
    """

    kind: FindingKind
    severity: Severity
    message: str
    recommendation: str
    metric: str | None = None
    endpoint: str | None = None
    observed: float | None = None
    expected: str | None = None
    unit: str = ""
    confidence: float = 1.0
    since: str | None = None
    changed: str | None = None
    confirmed: str | None = None
    doubt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the findings amount to, worst first; `doubts` say what could not be judged, and why.

    `improvements` and `remarks` (a moment that stood out) are told and never alarm; `noise` is what
    a re-run did not repeat. `unsettled`: re-runs are to confirm what looks worse, and are not done.
    `source` is "rules", "AI" or "both"; an issue or a recommendation of the AI says so itself.
    """

    anomalies_detected: bool
    severity: Severity | None = None
    issues: list[str] = field(default_factory=list)
    recommendations: list[str] = field(default_factory=list)
    confidence: float = 1.0
    findings: list[Finding] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    improvements: list[str] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    unsettled: bool = False
    source: str = "rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What the AI made of a run, checked and shortened; or why there is nothing of it.

    `summary`, `issues` and `recommendations` are the AI's alone, for people: a sentence with a
    number that was not in what it was given ends in "[unverified]" and is in `unverified` too.
    `severity` and `confidence` are its opinion. `raised_from` and `raised_because` are set when it
    made the verdict's severity worse; `alarmed_over` is the confidence with which the rules called
    the run healthy, when its suspicion made an anomaly of it. `source` says whose work the run's
    analysis is: "rules", "AI" or "both".
    """

    source: str = "rules"
    unavailable: str | None = None
    summary: str | None = None
    issues: list[str] = field(default_factory=list)
    recommendations: list[str] = field(default_factory=list)
    severity: Severity | None = None
    confidence: float | None = None
    unverified: list[str] = field(default_factory=list)
    raised_from: Severity | None = None
    raised_because: str | None = None
    alarmed_over: float | None = None
    model: str | None = None
    sdk: str | None = None
    attempts: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """Runs of a schedule that did not start when they were due, from `first` to `last`, in UTC.

    `caught_up`: one run stands in for all of them.
    """

    script: str
    first: datetime
    last: datetime
    count: int
    reason: str
    caught_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One job, start to finish: the JSON file of a run is this record.

    `series` holds what is compared, by the keys of `analysis.series`: of a run that was confirmed,
    the medians with its `confirmations`, which are runs of their own and `confirms` this one.
    `comparable` runs are the baseline of later ones. `removed` names the fields that retention took
    out of the file. `load` are the totals that were judged, where they are not `metrics`.
    `imported` is what only the original service had: its `test_id`, `options`, `raw_output` and
    `console_output`.
    """

    schema_version: int = SCHEMA_VERSION
    test_id: str
    timestamp: datetime
    script: str
    trigger: Trigger
    status: str
    execution_time: float
    metrics: Metrics
    load: Metrics | None = None
    anomaly_analysis: Verdict
    execution: Execution
    snapshot: Snapshot | None = None
    breakdown: Breakdown = field(default_factory=Breakdown)
    checks: list[Check] = field(default_factory=list)
    thresholds: list[Threshold] = field(default_factory=list)
    k6_metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    custom_metrics: list[str] = field(default_factory=list)
    overrides: dict[str, str] = field(default_factory=dict)
    generator: Generator = field(default_factory=Generator)
    series: dict[str, float] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    confirms: str | None = None
    confirmations: list[str] = field(default_factory=list)
    comparable: bool = False
    log: Log = field(default_factory=Log)
    output: Log = field(default_factory=Log)
    explanation: Explanation | None = None
    removed: list[str] = field(default_factory=list)
    imported: dict[str, Any] | None = None
