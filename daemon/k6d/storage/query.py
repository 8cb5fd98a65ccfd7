"""Queries of the index: matching runs, statistics of a period, the latest state of each script.

Pure functions over index documents, newest first. They keep no more documents than they return.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import dropwhile, islice, takewhile
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.core.tags import matches
from k6d.core.terms import HEALTHY, Severity, verdict_word
from k6d.storage.tally import DIGITS, VALUES, Tally, confirms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from k6d.storage.tally import Traits

IndexDocument = dict[str, Any]
VERDICTS = (HEALTHY, *Severity)
# Scripts listed in statistics; one-off scripts may have any number of names.
MOST_SCRIPTS = 200
EXACT = ("script", "status", "outcome", "trigger", "workload", "overrides")


@frozen
class Query:
    """The runs that meet every field that is set.

    - `severity`: a severity or "healthy".
    - `min_error_rate`, in percent, and `max_response_time`, the average in ms: as in the original
      service, runs without a measurement do not match.
    - `text`: part of the script's name, the worst finding or the outcome; case does not matter.
    - `tags`: each name with its value; `branch` and `commit` are those of the script's checkout.
    - `reruns`: False leaves out re-runs that confirm a finding.
    - `before`: the id of a run; only older runs match (for the next page).
    - `since` and `until`: aware moments.
    """

    script: str | None = None
    text: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    status: str | None = None
    outcome: str | None = None
    trigger: str | None = None
    workload: str | None = None
    overrides: bool | None = None
    reruns: bool = True
    severity: str | None = None
    anomalies_only: bool = False
    min_error_rate: float | None = None
    max_response_time: float | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: str | None = None

    def _tests(self) -> list[Callable[[IndexDocument], bool]]:
        """One test for each field that is set: most searches set one field and test all runs."""
        exact = {name: getattr(self, name) for name in EXACT}
        tests = [_equal(name, wanted) for name, wanted in exact.items() if wanted is not None]
        if not self.reruns:
            tests.append(lambda d: not confirms(d))
        if self.anomalies_only:
            tests.append(lambda d: bool(d["anomalies"]))
        if (severity := self.severity) is not None:
            tests.append(lambda d: verdict_word(d["severity"], d["outcome"]) == severity)
        if (least := self.min_error_rate) is not None:
            tests.append(lambda d: d["error_rate"] is not None and d["error_rate"] >= least)
        if (most := self.max_response_time) is not None:
            tests.append(
                lambda d: d["response_time_avg"] is not None and d["response_time_avg"] <= most
            )
        if tags := dict(self.tags):
            tests.append(lambda d: matches(d["tags"], tags))
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
        """An upper bound for the ids of matching runs; None when there is none."""
        ends = [_second(self.until, ceil=True)] if self.until else []
        if self.before is not None:
            ends.append(f"{self.before[:15]}~")
        return min(ends, default=None)

    def skip(self) -> Callable[[Traits], bool] | None:
        """A test of traits: true if their runs cannot match. None when all runs may match."""
        tests = self._skips()
        return (lambda traits: any(test(traits) for test in tests)) if tests else None

    def _skips(self) -> list[Callable[[Traits], bool]]:
        """One test for each field that is set: a search of a long past tests hundreds of traits."""
        values = {name: getattr(self, name) for name in VALUES}
        tests = [_lacks(name, wanted) for name, wanted in values.items() if wanted is not None]
        if (severity := self.severity) is not None:
            tests.append(lambda t: severity not in t["verdicts"])
        if (least := self.min_error_rate) is not None:
            tests.append(lambda t: t["most_errors"] is None or t["most_errors"] < least)
        if (most := self.max_response_time) is not None:
            tests.append(lambda t: t["least_time"] is None or t["least_time"] > most)
        if self.text is not None and "\n" not in self.text:
            tests.append(partial(_lacks_text, self.text.casefold().translate(DIGITS)))
        if self.anomalies_only:
            tests.append(lambda t: not t["anomalies"])
        return tests

    def select(self, documents: Iterable[IndexDocument], limit: int | None) -> list[IndexDocument]:
        """The first `limit` documents that match; reading stops at the first that is too old."""
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


def _lacks(name: str, wanted: str | bool) -> Callable[[Traits], bool]:
    return lambda traits: wanted not in traits[name]


def _lacks_text(text: str, traits: Traits) -> bool:
    """Whether the text, with its digits as in traits, is in no run; unknown issues may have it."""
    if traits["issues"] is None or text in traits["issues"] or text in traits["scripts"]:
        return False
    return not any(text in outcome.translate(DIGITS) for outcome in traits["outcome"])


def since(documents: Iterable[IndexDocument], start: datetime) -> Iterator[IndexDocument]:
    """The documents from the newest down to `start`."""
    oldest = _second(start)
    return takewhile(lambda document: document["test_id"] >= oldest, documents)


def _after(documents: Iterable[IndexDocument], test_id: str) -> Iterator[IndexDocument]:
    """The documents that follow the run `test_id`.

    Ids of one second have random endings, so comparing them does not give their order.
    """
    reached = False
    for document in documents:
        older = document["test_id"][:15] < test_id[:15]
        if reached or older:
            yield document
        reached = reached or older or document["test_id"] == test_id


def _second(moment: datetime, *, ceil: bool = False) -> str:
    """The moment in the form of a test id: below all ids of that second, with `ceil` above."""
    return f"{moment.astimezone(UTC):%Y%m%d-%H%M%S}{'~' if ceil else ''}"


@frozen
class Day:
    """The runs of one day, in UTC."""

    day: str
    total: int
    anomalies: int
    severities: dict[str, int]


@frozen
class Statistics:
    """Counts of the runs of the last `period_days` days; `anomaly_rate` is a fraction from 0 to 1.

    Re-runs that confirm a finding are not counted, because they would distort the rate.
    `severity_breakdown` counts anomalous runs only. `days` has an entry for every day, the oldest
    first. `scripts` has the runs and anomalies of each script, the script with most runs first.
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
    """Counts of `days` times 24 hours before `now` (aware), for one script or for all."""
    start = now - timedelta(days=days)
    tally = Tally()
    for document in since(documents, start):
        if script in (None, document["script"]):
            tally.add(document)
    return summed(tally, days=days, now=now)


def first_of(*, days: int, now: datetime) -> str:
    """The lowest id of the runs that `statistics` counts."""
    return _second(now - timedelta(days=days))


def summed(tally: Tally, *, days: int, now: datetime) -> Statistics:
    """The statistics of a period from the counts of its runs. Equal counts are sorted by name."""
    everything: Counter[str] = sum(tally.severities.values(), Counter())
    anomalous, total = everything.total(), tally.total.total()
    return Statistics(
        period_days=days,
        total_tests=total,
        anomaly_tests=anomalous,
        anomaly_rate=round(anomalous / total, 4) if total else 0.0,
        severity_breakdown=_by_severity(everything),
        outcomes=dict(_most_first(tally.outcomes)),
        imported_tests=tally.imported,
        days=[
            Day(
                day=day,
                total=tally.total[day],
                anomalies=tally.severities.get(day, Counter()).total(),
                severities=_by_severity(tally.severities.get(day, Counter())),
            )
            for day in _days(now - timedelta(days=days), now)
        ],
        scripts=[
            {"script": name, "total": count, "anomalies": tally.anomalies[name]}
            for name, count in _most_first(tally.runs)[:MOST_SCRIPTS]
        ],
    )


def _most_first(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def _by_severity(counts: Counter[str]) -> dict[str, int]:
    return {severity.value: counts[severity] for severity in Severity if counts[severity]}


def _days(start: datetime, now: datetime) -> Iterator[str]:
    first, last = start.astimezone(UTC).date(), now.astimezone(UTC).date()
    for offset in range((last - first).days + 1):
        yield (first + timedelta(days=offset)).isoformat()


@frozen
class LatestState:
    """The latest state of a script: its newest run, and `values` of its last runs, oldest first.

    `comparable` are the ids of the last comparable runs with the newest run's workload.
    A run with options of its own counts only while the script has no other run; `newest` is the
    newest run of any kind. Re-runs are left out: they are judged by limits alone, and the run that
    they confirm holds the result.
    """

    last: IndexDocument
    newest: IndexDocument
    values: list[float | None] = field(default_factory=list)
    comparable: list[str] = field(default_factory=list)


def latest_state(
    documents: Iterable[IndexDocument], *, recent: int, metric: str = "response_time_p95"
) -> LatestState | None:
    """The latest state of the script whose documents these are; None without runs.

    `recent` is the number of values of `metric` (of `INDEXED`). Reading stops when they are found.
    """
    newest: IndexDocument | None = None
    last: IndexDocument | None = None
    values: deque[float | None] = deque()
    comparable: list[str] = []
    for document in documents:
        if confirms(document):
            continue
        newest = newest or dict(document)
        if last is None or (last["overrides"] and not document["overrides"]):
            last, values, comparable = dict(document), deque(), []
        elif document["overrides"] and not last["overrides"]:
            continue
        if len(values) < recent:
            values.appendleft(document[metric])
            if document["comparable"] and document["workload"] == last["workload"]:
                comparable.append(document["test_id"])
        if len(values) >= recent and not last["overrides"]:
            break
    if last is None or newest is None:
        return None
    return LatestState(last=last, newest=newest, values=list(values), comparable=comparable)
