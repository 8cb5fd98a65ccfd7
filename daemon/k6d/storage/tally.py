"""Counts of runs that can be added up, and what a group of runs has in common, to search less.

Pure functions over index documents.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from k6d.core.terms import Severity, Trigger, verdict_word

if TYPE_CHECKING:
    from collections.abc import Iterable

IndexDocument = dict[str, Any]
Traits = dict[str, Any]

VALUES = ("status", "outcome", "trigger", "overrides")
TEXTS = ("scripts", "issues")
SETS = (*VALUES, "verdicts", *TEXTS)
LONGEST_ISSUES = 200_000  # characters; above, "issues" is None and a search reads the runs
DIGITS = str.maketrans("123456789", "000000000")


def confirms(document: IndexDocument) -> bool:
    """Whether the run is a re-run that confirms a finding."""
    return bool(document["trigger"] == Trigger.CONFIRMATION)


class Tally:
    """Counts of runs without re-runs: by day, severity, outcome and script.

    `severities` and `anomalies` count anomalous runs only.
    """

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self.severities: dict[str, Counter[str]] = {}
        self.outcomes: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        self.anomalies: Counter[str] = Counter()
        self.imported = 0

    def add(self, document: IndexDocument) -> None:
        """Count one run."""
        if confirms(document):
            return
        day = document["timestamp"][:10]
        self.total[day] += 1
        self.outcomes[document["outcome"]] += 1
        self.imported += document["trigger"] == Trigger.IMPORTED
        self.runs[document["script"]] += 1
        if document["anomalies"]:
            severity = str(document["severity"] or Severity.LOW)
            self.severities.setdefault(day, Counter())[severity] += 1
            self.anomalies[document["script"]] += 1

    def merge(self, other: Tally) -> None:
        """Add the counts of other runs."""
        self.total.update(other.total)
        self.outcomes.update(other.outcomes)
        self.runs.update(other.runs)
        self.anomalies.update(other.anomalies)
        self.imported += other.imported
        for day, counts in other.severities.items():
            self.severities.setdefault(day, Counter()).update(counts)

    def to_json(self) -> list[Any]:
        """The counts as JSON, for `from_json`."""
        return [
            *(self.total, self.severities, self.outcomes, self.runs, self.anomalies),
            self.imported,
        ]

    @classmethod
    def from_json(cls, data: list[Any]) -> Tally:
        """The counts again."""
        made = cls()
        made.total, made.outcomes, made.runs, made.anomalies = (
            Counter(data[at]) for at in (0, 2, 3, 4)
        )
        made.severities = {day: Counter(counts) for day, counts in data[1].items()}
        made.imported = data[5]
        return made


def traits(documents: Iterable[IndexDocument]) -> Traits:
    """What a search may look for in these runs; `merged` joins the traits of several groups.

    In texts, case is folded and each digit is a 0: messages differ in their numbers.
    """
    found: dict[str, set[Any]] = {name: set() for name in SETS}
    anomalies, errors, times = False, list[float](), list[float]()
    for document in documents:
        for name in VALUES:
            found[name].add(document[name])
        found["verdicts"].add(verdict_word(document["severity"], document["outcome"]))
        found["scripts"].add(document["script"].casefold().translate(DIGITS))
        if document["issue"] is not None:
            found["issues"].add(document["issue"].casefold().translate(DIGITS))
        anomalies = anomalies or bool(document["anomalies"])
        if document["error_rate"] is not None:
            errors.append(document["error_rate"])
        if document["response_time_avg"] is not None:
            times.append(document["response_time_avg"])
    return _traits(found, anomalies=anomalies, errors=errors, times=times)


def merged(several: Iterable[Traits]) -> Traits:
    """The traits of several groups together."""
    groups = list(several)
    found = {name: {v for one in groups for v in _values(one, name)} for name in SETS}
    errors = [one["most_errors"] for one in groups if one["most_errors"] is not None]
    times = [one["least_time"] for one in groups if one["least_time"] is not None]
    anomalies = any(one["anomalies"] for one in groups)
    made = _traits(found, anomalies=anomalies, errors=errors, times=times)
    return made if all(one["issues"] is not None for one in groups) else made | {"issues": None}


def _traits(
    found: dict[str, set[Any]], *, anomalies: bool, errors: list[float], times: list[float]
) -> Traits:
    made: Traits = {name: sorted(values, key=repr) for name, values in found.items()}
    # One text each: it is read and searched much faster than hundreds.
    made |= {name: "\n".join(made[name]) for name in TEXTS}
    if len(made["issues"]) > LONGEST_ISSUES:
        made["issues"] = None
    return made | {
        "anomalies": anomalies,
        "most_errors": max(errors, default=None),
        "least_time": min(times, default=None),
    }


def _values(one: Traits, name: str) -> list[Any]:
    if name in TEXTS:
        return one[name].split("\n") if one[name] else []
    return list(one[name])
