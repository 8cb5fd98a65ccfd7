"""Questions to the index: which runs match, what came of some days, where scripts stand.

Pure functions over index documents, newest first; they hold no more of them than they give back.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import dropwhile, islice, takewhile
from typing import TYPE_CHECKING, Any

from k6d.core.model import Severity, Trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

IndexDocument = dict[str, Any]
HEALTHY = "healthy"
VERDICTS = (HEALTHY, *Severity)
# Scripts that are told apart in statistics; a one-off script may have any name.
MOST_SCRIPTS = 200
EXACT = ("script", "status", "outcome", "trigger", "workload", "overrides")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which runs are wanted: those that meet every field that is set.

    `severity` is a severity or "healthy"; `min_error_rate` in percent and `max_response_time` (of
    the average) in ms are what the original service had, and so leave out runs that measured none;
    `text` is found in the script's name, the worst finding and the outcome, in any case; `before`
    is the id of a run and gives what is older, for the next page; `since` and `until` are aware.
    """

    script: str | None = None
    text: str | None = None
    status: str | None = None
    outcome: str | None = None
    trigger: str | None = None
    workload: str | None = None
    overrides: bool | None = None
    severity: str | None = None
    anomalies_only: bool = False
    min_error_rate: float | None = None
    max_response_time: float | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: str | None = None

    def matches(self, document: IndexDocument) -> bool:
        """Whether the document meets all but the limits of time."""
        return all(test(document) for test in self._tests())

    def _tests(self) -> list[Callable[[IndexDocument], bool]]:
        """One test for each field that is set: most searches set one, over all runs there are."""
        exact = {name: getattr(self, name) for name in EXACT}
        tests = [_equal(name, wanted) for name, wanted in exact.items() if wanted is not None]
        if self.anomalies_only:
            tests.append(lambda d: bool(d["anomalies"]))
        if (severity := self.severity) is not None:
            tests.append(lambda d: verdict_of(d) == severity)
        if (least := self.min_error_rate) is not None:
            tests.append(lambda d: d["error_rate"] is not None and d["error_rate"] >= least)
        if (most := self.max_response_time) is not None:
            tests.append(
                lambda d: d["response_time_avg"] is not None and d["response_time_avg"] <= most
            )
        if self.text is not None:
            text = self.text.casefold()
            tests.append(
                lambda d: (
                    text in d["script"].casefold()
                    or text in d["outcome"]
                    or (d["issue"] is not None and text in d["issue"].casefold())
                )
            )
        return tests

    def newest(self) -> str | None:
        """No wanted id is above this one; None when nothing is too new."""
        ends = [_second(self.until, ceil=True)] if self.until else []
        if self.before is not None:
            ends.append(f"{self.before[:15]}~")
        return min(ends, default=None)

    def select(self, documents: Iterable[IndexDocument], limit: int | None) -> list[IndexDocument]:
        """The first `limit` documents that match; stops reading as soon as they are too old."""
        found = self._in_time(documents)
        for test in self._tests():
            found = filter(test, found)
        return [dict(document) for document in islice(found, limit)]

    def _in_time(self, documents: Iterable[IndexDocument]) -> Iterator[IndexDocument]:
        found = since(documents, self.since) if self.since else iter(documents)
        if self.until is not None:
            newest = _second(self.until, ceil=True)
            found = dropwhile(lambda document: document["test_id"] > newest, found)
        return found if self.before is None else _after(found, self.before)


def _equal(name: str, wanted: str | bool) -> Callable[[IndexDocument], bool]:
    return lambda document: bool(document[name] == wanted)


def verdict_of(document: IndexDocument) -> str:
    """One word for a run: its severity, "healthy", or the outcome of one that was not judged."""
    if document["severity"]:
        return str(document["severity"])
    return HEALTHY if document["outcome"] == "completed" else str(document["outcome"])


def _confirms(document: IndexDocument) -> bool:
    return bool(document["trigger"] == Trigger.CONFIRMATION)


def since(documents: Iterable[IndexDocument], start: datetime) -> Iterator[IndexDocument]:
    """The documents, newest first, down to `start`."""
    oldest = _second(start)
    return takewhile(lambda document: document["test_id"] >= oldest, documents)


def _after(documents: Iterable[IndexDocument], test_id: str) -> Iterator[IndexDocument]:
    """What follows the run; ids of one second end in chance, so their order says nothing."""
    reached = False
    for document in documents:
        older = document["test_id"][:15] < test_id[:15]
        if reached or older:
            yield document
        reached = reached or older or document["test_id"] == test_id


def _second(moment: datetime, *, ceil: bool = False) -> str:
    """A moment as the start of a test id; with `ceil` above every id of that second."""
    return f"{moment.astimezone(UTC):%Y%m%d-%H%M%S}{'~' if ceil else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """The runs of one day, in UTC."""

    day: str
    total: int
    anomalies: int
    severities: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What came of the runs of `period_days` days; `anomaly_rate` is a fraction.

    Re-runs that confirm a finding are no runs of their own here: they would dilute the rate.
    `severity_breakdown` counts anomalous runs only. `days` has an entry for every day, oldest
    first, also for those without runs; `scripts` the runs and anomalies of each, most runs first.
    """

    period_days: int
    total_tests: int
    anomaly_tests: int
    anomaly_rate: float
    severity_breakdown: dict[str, int]
    outcomes: dict[str, int]
    days: list[Day]
    scripts: list[dict[str, Any]]
    imported_tests: int = 0


def statistics(
    documents: Iterable[IndexDocument], *, days: int, now: datetime, script: str | None = None
) -> Statistics:
    """Counts over the last `days` times 24 hours before `now` (aware), of one script or of all."""
    start = now - timedelta(days=days)
    total: Counter[str] = Counter()
    severities: dict[str, Counter[str]] = {}
    outcomes: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    anomalies: Counter[str] = Counter()
    imported = 0
    for document in since(documents, start):
        if _confirms(document) or script not in (None, document["script"]):
            continue
        day = document["timestamp"][:10]
        total[day] += 1
        outcomes[document["outcome"]] += 1
        imported += document["trigger"] == Trigger.IMPORTED
        runs[document["script"]] += 1
        if document["anomalies"]:
            severity = str(document["severity"] or Severity.LOW)
            severities.setdefault(day, Counter())[severity] += 1
            anomalies[document["script"]] += 1
    everything: Counter[str] = sum(severities.values(), Counter())
    anomalous = everything.total()
    return Statistics(
        period_days=days,
        total_tests=total.total(),
        anomaly_tests=anomalous,
        anomaly_rate=round(anomalous / total.total(), 4) if total else 0.0,
        severity_breakdown=_by_severity(everything),
        outcomes=dict(outcomes.most_common()),
        imported_tests=imported,
        days=[
            Day(
                day=day,
                total=total[day],
                anomalies=severities.get(day, Counter()).total(),
                severities=_by_severity(severities.get(day, Counter())),
            )
            for day in _days(start, now)
        ],
        scripts=[
            {"script": name, "total": count, "anomalies": anomalies[name]}
            for name, count in runs.most_common(MOST_SCRIPTS)
        ],
    )


def _by_severity(counts: Counter[str]) -> dict[str, int]:
    return {severity.value: counts[severity] for severity in Severity if counts[severity]}


def _days(start: datetime, now: datetime) -> Iterator[str]:
    first, last = start.astimezone(UTC).date(), now.astimezone(UTC).date()
    for offset in range((last - first).days + 1):
        yield (first + timedelta(days=offset)).isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a script stands: its newest run, and the p95 of its last ones, oldest first.

    Runs with options given beside the script count only as long as it has no others. Re-runs count
    for nothing: each is judged by limits alone, and what they confirmed is told by
    the run that they confirm.
    """

    last: IndexDocument
    p95_ms: list[float | None] = field(default_factory=list)


def standings(documents: Iterable[IndexDocument], *, recent: int) -> dict[str, Standing]:
    """Every script's standing by its name, the one that ran last first."""
    last: dict[str, IndexDocument] = {}
    p95: dict[str, deque[float | None]] = {}
    for document in documents:
        name = document["script"]
        if _confirms(document):
            continue
        if name not in last or (last[name]["overrides"] and not document["overrides"]):
            last[name], p95[name] = dict(document), deque()
        elif document["overrides"] and not last[name]["overrides"]:
            continue
        if len(p95[name]) < recent:
            p95[name].appendleft(document["response_time_p95"])
    return {name: Standing(last=last[name], p95_ms=list(p95[name])) for name in last}
