"""The records that the rooms exchange. What was measured is in `core.measurements`.

Each `Run` is stored as one JSON file with the field names of this module. Names that end in `_s`,
`_ms`, `_percent` or `_bytes` give their unit. The metrics of the original service keep its names:
`response_time_*` is in milliseconds, `error_rate` in percent. A value that was not measured is
None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003  (pydantic reads the annotation at run time)
from dataclasses import field
from datetime import datetime  # noqa: TC003  (pydantic reads the annotation at run time)
from typing import Any

from k6d.core.errors import K6dError, MistakesError, reason
from k6d.core.frozen import frozen
from k6d.core.measurements import (
    Breakdown,
    Check,
    Generator,
    KeptFile,
    Log,
    Metrics,
    Runner,
    Scenario,
    Summary,
    TargetMetric,
    Threshold,
)
from k6d.core.snapshot import Snapshot  # noqa: TC001  (pydantic reads the annotation at run time)
from k6d.core.tags import Commit  # noqa: TC001  (pydantic reads the annotation at run time)
from k6d.core.terms import (
    CHANGED,
    HEALTHY,
    INCONCLUSIVE,
    LEARNING,
    SCHEMA_VERSION,
    STEADY,
    VARIABLE,
    WORSE,
    FindingKind,
    Outcome,
    Severity,
    Trigger,
    other_options,
    verdict_word,
)

__all__ = [  # errors and terms are imported from here, too
    "ABORTED_BY_SCRIPT",
    "BROWSER",
    "CHANGED",
    "EARLY",
    "FAIL",
    "HEALTHY",
    "INCONCLUSIVE",
    "LEARNING",
    "SCHEMA_VERSION",
    "STEADY",
    "THRESHOLDS_CROSSED",
    "VARIABLE",
    "WORSE",
    "Comparison",
    "Execution",
    "Explanation",
    "Finding",
    "FindingKind",
    "K6dError",
    "MistakesError",
    "Outcome",
    "Result",
    "Run",
    "Severity",
    "Trigger",
    "Verdict",
    "other_options",
    "reason",
    "verdict_word",
]

THRESHOLDS_CROSSED = 99  # k6's exit code
ABORTED_BY_SCRIPT = 108  # k6's exit code of exec.test.abort()
BROWSER = "the browser could not start"  # prefix of the error of a run that needs a browser
EARLY = "k6d ended the run early"  # prefix of the error of a run that its script's abort ended
FAIL = "fail()"  # prefix of the error of a script that called fail()


@frozen
class Execution:
    """What the k6 process did; None for a step that was not reached.

    `placement` is what makes runs on a cluster comparable: runners, image, resources and nodes.
    """

    outcome: Outcome
    exit_code: int | None = None
    error: str | None = None
    k6_version: str | None = None
    machine: str = ""
    command: list[str] = field(default_factory=list)
    planned_s: float | None = None
    deadline_s: float | None = None
    signals: list[str] = field(default_factory=list)
    placement: dict[str, Any] | None = None

    @property
    def told_by_script(self) -> bool:
        """Whether the script itself ended the run, by `fail()` or `exec.test.abort()`."""
        failed = self.outcome is Outcome.SCRIPT_ERROR and (self.error or "").startswith(FAIL)
        return failed or (self.outcome is Outcome.ABORTED and self.exit_code == ABORTED_BY_SCRIPT)

    @property
    def cut_by_threshold(self) -> bool:
        """Whether a threshold with `abortOnFail` ended the run early.

        Such a run is judged like any other, but it covers only a part of the plan.
        """
        return self.outcome is Outcome.ABORTED and self.exit_code == THRESHOLDS_CROSSED

    @property
    def cut_by_k6d(self) -> bool:
        """Whether k6d ended the run early, because the script's `abort` asks for that."""
        return self.outcome is Outcome.ABORTED and (self.error or "").startswith(EARLY)


@frozen
class Result:
    """The measurements of an execution, before they are judged.

    `exceptions` counts exceptions in the script's iterations. `scenarios` is the plan by scenario.
    `load` holds the totals without the requests in `breakdown.apart`; None when there were no such
    requests. `runners`: of a run on a cluster. `mixes`: requests of each entry of the time line.
    """

    execution: Execution
    summary: Summary
    breakdown: Breakdown
    exceptions: int = 0
    first_exception: str | None = None
    generator: Generator = field(default_factory=Generator)
    scenarios: Mapping[str, Scenario] = field(default_factory=dict)
    load: Metrics | None = None
    runners: Sequence[Runner] = ()
    mixes: Sequence[Mapping[str, int]] = ()

    @property
    def judged(self) -> Metrics:
        """The totals that are judged and compared."""
        return self.load or self.summary.metrics


@frozen
class Comparison:
    """One series of the run compared with its baseline; all values are in `unit`.

    `state` is "learning" (fewer than `needed` comparable runs), "steady", "worse", "better", or
    "changed" (worse, but not judged). `low` and `high` bound the prediction interval for one more
    run like the baseline. `visible_percent` is the smallest change that stands out of the noise.
    `since` is the first run of a lasting change. Of `of` runs (this one and its confirmations),
    `seen` lay outside the interval by themselves.
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


@frozen
class Finding:
    """One problem of a run: the observed and the expected value, in `unit`.

    For a regression, `since` is its first run, `changed` is what changed with that run, and
    `confirmed` says in how many runs it was seen: "3 of 3". `doubt` says why the value may be
    wrong; the finding holds nevertheless.
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


@frozen
class Verdict:
    """The judgement of a run, with its findings, the worst first.

    `doubts` say what could not be judged, and why. `improvements` and `remarks` (short spikes) are
    shown and never cause an alert. `noise` lists changes that a re-run did not repeat. `unsettled`:
    re-runs that confirm a regression are still to come. `source` is "rules", "AI" or "both"; the
    text of an issue or recommendation says when it comes from the AI.
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


@frozen
class Explanation:
    """The AI's explanation of a run, checked and shortened, or the reason why there is none.

    `unavailable` is that reason. `summary`, `issues` and `recommendations` come from the AI. A
    sentence with a number that the prompt did not contain ends in "[unverified]" and is also in
    `unverified`. `severity` and `confidence` are the AI's. `raised_from` and `raised_because` are
    set when the AI raised the verdict's severity. `alarmed_over` is set when the AI's suspicion
    made a healthy run anomalous: it is the confidence of the rules that the run was healthy.
    `source` names the authors of the run's analysis: "rules", "AI" or "both".
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


@frozen
class Earlier:
    """What a later run is compared with: a part of `Run`, which is read in a third of the time."""

    test_id: str
    timestamp: datetime
    script: str
    snapshot: Snapshot | None = None
    series: dict[str, float] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    target: list[TargetMetric] = field(default_factory=list)


@frozen
class Run:
    """The stored record of one run; its JSON file has these fields.

    `execution_time` is in seconds. `load` holds the totals that were judged when they differ from
    `metrics`. `series` maps the keys of `analysis.series` to the compared values; after re-runs
    these are medians over the run and its `confirmations`. The confirmations are runs of their own;
    their `confirms` names this run. Later runs use `comparable` runs as their baseline. `removed`
    names the fields that retention removed from the file. `imported` holds what only the original
    service stored: `test_id`, `options`, `raw_output` and `console_output`. `commit` is the one
    that was checked out where the script is. `target` has the target's own numbers.
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
    runners: list[Runner] = field(default_factory=list)
    series: dict[str, float] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    confirms: str | None = None
    confirmations: list[str] = field(default_factory=list)
    comparable: bool = False
    log: Log = field(default_factory=Log)
    output: Log = field(default_factory=Log)
    files: list[KeptFile] = field(default_factory=list)
    explanation: Explanation | None = None
    removed: list[str] = field(default_factory=list)
    imported: dict[str, Any] | None = None
    tags: dict[str, str] = field(default_factory=dict)
    commit: Commit | None = None
    target: list[TargetMetric] = field(default_factory=list)

    @property
    def judged(self) -> Metrics:
        """The totals that are judged and compared: those of the load, where others stand apart."""
        return self.load or self.metrics

    @property
    def ad_hoc(self) -> bool:
        """Whether this is a run of another workload than the script's own; see `other_options`."""
        return bool(other_options(self.overrides))

    @property
    def verdict(self) -> str:
        """The verdict in one word, as `verdict_word` gives it."""
        return verdict_word(self.anomaly_analysis.severity, self.execution.outcome)
