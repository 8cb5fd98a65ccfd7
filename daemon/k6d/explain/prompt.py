"""Make the prompt about a run: constant instructions and one JSON document of data.

Texts of scripts, logs and responses stay inside strings of the JSON document, so they cannot end
the data and continue as instructions. Each string is redacted before it is cut. Each list and the
whole document have a maximum size.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.core.metrics import INDEXED
from k6d.core.model import HEALTHY, LEARNING
from k6d.core.numbers import largest
from k6d.core.redact import Redactor
from k6d.core.text import shortened
from k6d.explain.instructions import SYSTEM
from k6d.explain.source import without_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from k6d.core.measurements import Log, RequestStats, Timeline
    from k6d.core.model import Run

MAX_DATA = 40_000  # characters in all; some 12,000 tokens
MAX_SOURCE = 12_000
MAX_TEXT = 400
MAX_ROWS = 15
MAX_LOG_LINES = 40
TIMELINE_POINTS = 12
DIGITS = 4
_HOME = re.compile(r"(/(?:home|Users)/)[^/\s\"'`:]+(?=/)")  # the user's name is private
MAX_REDACTED = 40_000  # characters of one text that are read: alerts wait while k6d redacts
# The parts that are left out, in this order, when the data is too long; the others always stay.
EXPENDABLE = (
    *("source", "log", "timeline", "history", "checks", "custom_metrics", "groups", "scenarios"),
    *("workload", "comparisons", "endpoints"),
)


@frozen
class Prompt:
    """The prompt: `system` holds the instructions, `data` the JSON document about the run."""

    system: str
    data: str


def build(
    run: Run,
    *,
    source: str | None = None,
    workload: Mapping[str, Any] | None = None,
    history: Iterable[Mapping[str, Any]] = (),
    redactor: Redactor | None = None,
    withheld: Sequence[str] = (),
) -> Prompt:
    """The prompt about `run`, without secrets and with at most `MAX_DATA` characters of data.

    `workload` holds k6's options about load. `history` holds index documents of comparable runs,
    newest first. `redactor` knows the secrets of the run. `withheld` names parts that were left out
    on purpose.
    """
    writer = _Writer(redactor or Redactor())
    data = writer.document(run, source=source, workload=workload or {}, history=history)
    left_out = list(withheld)
    encoded = _encode(data, left_out)
    for name in EXPENDABLE:
        if len(encoded) <= MAX_DATA:
            break
        if data.pop(name, None):
            left_out.append(f"{name}: too long")
            encoded = _encode(data, left_out)
    return Prompt(system=SYSTEM, data=encoded)


def _encode(data: dict[str, Any], left_out: Sequence[str]) -> str:
    """The JSON with one line for each part and each item of a list: readable and compact."""
    whole = data | ({"left_out": left_out} if left_out else {})
    parts = (f"{_json(name)}: {_lines(part)}" for name, part in whole.items())
    return "{\n" + ",\n".join(parts) + "\n}"


def _lines(part: Any) -> str:
    if isinstance(part, list):
        return "[\n  " + ",\n  ".join(map(_json, part)) + "\n]"
    return _json(part)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


class _Writer:
    """Turns the parts of a run into redacted JSON values of bounded size."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def document(
        self,
        run: Run,
        *,
        source: str | None,
        workload: Mapping[str, Any],
        history: Iterable[Mapping[str, Any]],
    ) -> dict[str, Any]:
        """All parts about the run that are not empty."""
        parts = {
            **_execution(run),
            "workload": _bounded(workload),
            **_judgement(run),
            **_measurements(run),
            "history": [_earlier(row, run) for row in history][:MAX_ROWS],
            "notes": run.breakdown.notes[:MAX_ROWS],
        }
        parts = {name: self._clean(part) for name, part in parts.items()}
        parts["log"] = self._lines(_excerpt(run.log))[:MAX_LOG_LINES]
        parts["source"] = self._source(source, names=_names(run)) if source else None
        return {name: part for name, part in parts.items() if part}

    def _clean(self, value: Any) -> Any:
        """The value without secrets and empty parts; texts are cut and numbers rounded."""
        if isinstance(value, str):
            return shortened(self._redacted(value[:MAX_REDACTED]), MAX_TEXT)
        if isinstance(value, float):
            if not math.isfinite(value):
                return None
            return float(f"{value:.{DIGITS}g}") if abs(value) < 10**DIGITS else round(value)
        if isinstance(value, dict):
            cleaned = {self._clean(str(name)): self._clean(item) for name, item in value.items()}
            return _without_nothing(cleaned)
        if isinstance(value, list):
            return [self._clean(item) for item in value]
        return value

    def _redacted(self, text: str) -> str:
        return _HOME.sub(r"\1…", self._redactor.text(_written(text)))

    def _lines(self, lines: Sequence[str]) -> list[str]:
        # Redacted together, because a private key or a template may span lines.
        return [
            shortened(line, MAX_TEXT)
            for line in self._redacted("\n".join(lines)[:MAX_REDACTED]).split("\n")
            if line
        ]

    def _source(self, source: str, *, names: set[str]) -> list[str]:
        """The lines of the source without its texts; "… cut here" ends a source that is cut."""
        lines: list[str] = []
        room = MAX_SOURCE
        shown = {name for name in names if self._redacted(name) == name}
        code = without_texts(_written(source[:MAX_REDACTED]), names=shown)
        whole = self._redactor.code(code).splitlines()
        for number, line in enumerate(whole):
            short = shortened(line.rstrip(), MAX_TEXT)
            room -= len(short) + 1
            if room < 0 or (number == len(whole) - 1 and len(source) > MAX_REDACTED):
                return [*lines, "… cut here"]
            lines.append(short)
        return lines


def _execution(run: Run) -> dict[str, Any]:
    """Which script ran, and how."""
    execution = run.execution
    return {
        "test": {
            "script": _relative(run.script),
            "trigger": run.trigger,
            "started": f"{run.timestamp:%Y-%m-%d %H:%M:%S} UTC",
            "modules": sorted({PurePath(p).name for p in _modules(run)})[:MAX_ROWS],
        },
        "execution": {
            "outcome": execution.outcome,
            "error": execution.error,
            "k6_exit_code": execution.exit_code,
            "k6_version": execution.k6_version,
            "planned_s": execution.planned_s,
            "took_s": run.execution_time,
            "options_of_this_run": dict(run.overrides),
        },
    }


def _judgement(run: Run) -> dict[str, Any]:
    """What the rules found, and the comparisons with earlier runs."""
    verdict = run.anomaly_analysis
    findings = verdict.findings[:MAX_ROWS]
    compared = [asdict(c) for c in run.comparisons if c.state != LEARNING]
    return {
        "findings": [_without_nothing(asdict(finding)) for finding in findings],
        "doubts": verdict.doubts[:MAX_ROWS],
        "improvements": verdict.improvements[:MAX_ROWS],
        "not_confirmed": verdict.noise[:MAX_ROWS],
        "remarks": verdict.remarks[:MAX_ROWS],
        "comparisons": compared[:MAX_ROWS],
    }


def _measurements(run: Run) -> dict[str, Any]:
    """The numbers of the run; the endpoints and checks with failures first."""
    breakdown = run.breakdown
    by_failures = sorted(breakdown.endpoints, key=lambda e: (-(e.failed or 0), -(e.p95_ms or 0.0)))
    return {
        "load_generator": asdict(run.generator),
        "metrics": asdict(run.metrics),
        "thresholds": [asdict(threshold) for threshold in run.thresholds][:MAX_ROWS],
        "status_codes": _most(breakdown.status_codes),
        "error_codes": _most(breakdown.error_codes),
        "endpoints": [_endpoint(stats) for stats in by_failures[:MAX_ROWS]],
        "scenarios": _parts(breakdown.scenarios) if len(breakdown.scenarios) > 1 else [],
        "groups": _parts(breakdown.groups),
        "checks": [asdict(c) for c in sorted(run.checks, key=lambda c: -c.fails)][:MAX_ROWS],
        "custom_metrics": {n: run.k6_metrics.get(n) for n in run.custom_metrics[:MAX_ROWS]},
        "timeline": _timeline(breakdown.timeline),
    }


def _names(run: Run) -> set[str]:
    """Names that the results show, so the source may contain them as well."""
    breakdown = run.breakdown
    parts = (row.name for row in (*breakdown.scenarios, *breakdown.groups))
    groups = {word for part in parts for word in part.split("::")}
    endpoints = {row.name for row in breakdown.endpoints}
    paths = {_path(endpoint) for endpoint in endpoints}
    return {check.name for check in run.checks} | groups | paths | endpoints | {*run.custom_metrics}


def _path(url: str) -> str:
    return "/" + url.partition("://")[2].partition("/")[2].partition("?")[0]


def _written(text: str) -> str:
    """The text without lone surrogates, control characters and invisible characters.

    An invisible character within a name would hide the name of a secret from redaction.
    """
    encodable = text.encode("utf-8", "backslashreplace").decode()  # lone surrogates of file names
    return "".join(map(_printable, encodable))


def _printable(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    return "" if unicodedata.category(character) == "Cf" else " "


def _modules(run: Run) -> Iterable[str]:
    paths = run.snapshot.dependencies if run.snapshot else ()
    return (path for path in paths if not path.endswith(run.script))


def _relative(script: str) -> str:
    """A name in the scripts folder as it is; of a path elsewhere the last two parts only."""
    return "/".join(PurePath(script).parts[-2:]) if script.startswith("/") else script


def _without_nothing(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value not in (None, "", [], {})}


def _most(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(Counter(counts).most_common(MAX_ROWS))


def _endpoint(stats: RequestStats) -> dict[str, Any]:
    return {"endpoint": stats.title} | {
        name: value
        for name, value in asdict(stats).items()
        if name not in {"name", "method", "max_bucket_ms", "unjudged"}
    }


def _parts(rows: Iterable[RequestStats]) -> list[dict[str, Any]]:
    """Short records of scenarios or groups, those with failures first, then the slow ones."""
    names = ("name", "count", "failed", "error_rate", "avg_ms", "p95_ms")
    worst = sorted(rows, key=lambda row: (-(row.failed or 0), -(row.p95_ms or 0.0)))
    return [{name: getattr(row, name) for name in names} for row in worst[:MAX_ROWS]]


def _bounded(value: Any) -> Any:
    """The value with at most MAX_ROWS entries in each list and object."""
    if isinstance(value, list):
        return [_bounded(item) for item in value[:MAX_ROWS]]
    if isinstance(value, Mapping):
        return {name: _bounded(item) for name, item in list(value.items())[:MAX_ROWS]}
    return value


def _timeline(timeline: Timeline) -> list[dict[str, Any]]:
    """At most TIMELINE_POINTS points: mean rates, the worst p95, the most virtual users."""
    width = -(-len(timeline.t) // TIMELINE_POINTS) or 1
    return [
        {
            "until_s": timeline.t[part][-1],
            "virtual_users": largest(timeline.vus[part]),
            "requests_per_second": _mean(timeline.requests_per_second[part]),
            "errors_per_second": _mean(timeline.errors_per_second[part]),
            "worst_p95_ms": largest(timeline.p95_ms[part]),
        }
        for part in (slice(i, i + width) for i in range(0, len(timeline.t), width))
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return sum(measured) / len(measured) if measured else None


def _earlier(row: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """The metrics of an earlier run, and whether it ran the same code."""
    fingerprint = run.snapshot.fingerprint if run.snapshot else None
    return {
        "started": str(row["timestamp"])[:19].replace("T", " "),
        "severity": row["severity"] or HEALTHY,
        "same_code": row["fingerprint"] == fingerprint,
        **{name: row.get(name) for name in INDEXED if name != "virtual_users"},
    }


def _excerpt(log: Log) -> list[str]:
    """The lines of the log in order, each message once with its number of occurrences."""
    lines = [*log.head.splitlines(), *log.tail.splitlines()]
    if log.cut_lines:
        lines.append(f"({log.cut_lines} more lines were not kept)")
    counts = Counter(re.sub(r"^\d\d:\d\d:\d\d ", "", line).rstrip() for line in lines)
    shown = (f"{line}  ({n} times)" if n > 1 else line for line, n in counts.items() if line)
    return list(shown)[: 2 * MAX_LOG_LINES]  # redacted as a whole, then cut to what is kept
