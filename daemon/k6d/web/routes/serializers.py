"""Runs in the shape that clients of the original service know; pure functions.

There, severity was always a text ("low" for a healthy run) and every run had all of its issues;
ours has null, and the index only the worst. The list therefore reads the run files of its page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.job import REPLAY
from k6d.core.metrics import ORIGINAL
from k6d.core.model import K6dError, Severity
from k6d.web.local_paths import without_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from k6d.storage import Store

VERDICT = ("anomalies_detected", "severity", "issues", "recommendations", "confidence")


def test(record: dict[str, Any]) -> dict[str, Any]:
    """A run for a list: the original's fields, then script, trigger, outcome and notes."""
    verdict = record["anomaly_analysis"]
    return {
        "test_id": record["test_id"],
        "timestamp": record["timestamp"],
        "execution_time": record["execution_time"],
        "metrics": {name: record["metrics"].get(name) for name in ORIGINAL},
        "anomaly_analysis": with_severity({name: verdict[name] for name in VERDICT}),
        "status": record["status"],
        "script": record["script"],
        "trigger": record["trigger"],
        "outcome": record["execution"]["outcome"],
        "notes": notes(record),
    }


def from_index(document: dict[str, Any]) -> dict[str, Any]:
    """The same from an index document, when the run's file cannot be read."""
    issue = document["issue"]
    return {
        "test_id": document["test_id"],
        "timestamp": document["timestamp"],
        "execution_time": document["execution_time"],
        "metrics": {name: document.get(name) for name in ORIGINAL},
        "anomaly_analysis": with_severity(
            {
                "anomalies_detected": document["anomalies"],
                "severity": document["severity"],
                "issues": [issue] if issue else [],
                "recommendations": [],
                "confidence": 1.0,
            }
        ),
        "status": document["status"],
        "script": document["script"],
        "trigger": document["trigger"],
        "outcome": document["outcome"],
        "notes": [],
    }


def tests(documents: Iterable[dict[str, Any]], store: Store) -> list[dict[str, Any]]:
    """A page of runs."""
    return [_one(document, store) for document in documents]


def _one(document: dict[str, Any], store: Store) -> dict[str, Any]:
    try:
        return test(orjson.loads(store.load_raw(document["test_id"])))
    except (K6dError, ValueError, KeyError, TypeError):
        return from_index(document)


def notes(record: dict[str, Any]) -> list[str]:
    """What people should know of a run beside its numbers, such as options that were not used."""
    said: list[str] = (record.get("breakdown") or {}).get("notes") or []
    return said


def result(record: dict[str, Any], *, source: str | None, data: Path) -> dict[str, Any]:
    """All of a run, with what the original service had beside it.

    A script that k6 refused has no log: `console_output` then holds k6's words.
    """
    error = record["execution"].get("error")
    shown = {
        **record,
        "anomaly_analysis": with_severity(record["anomaly_analysis"]),
        "options": _options(record.get("overrides", {})),
        "raw_output": {"metrics": record.get("k6_metrics", {})},
        "console_output": kept_log(record) or error or "",
        "notes": notes(record),
    }
    for name in ("execution", "anomaly_analysis", "log", "output", "console_output"):
        shown[name] = without_folder(shown.get(name), data)
    return {**shown, **_as_imported(record), "script_content": source}


def _as_imported(record: dict[str, Any]) -> dict[str, Any]:
    """What the original service itself gave of a run that came from it; nothing for others."""
    kept = dict(record.get("imported") or {})
    if not kept:
        return {}
    test_id, options = kept.pop("test_id"), kept.pop("options")
    return {**kept, "options": options or {}, "imported": {"test_id": test_id}}


def _options(overrides: dict[str, str]) -> dict[str, str | int]:
    """Options in the types in which they were posted: k6's flags are texts."""
    return {
        name: int(value) if name in {"vus", "iterations"} and value.isdecimal() else value
        for name, value in overrides.items()
        if name != REPLAY
    }


def with_severity(verdict: dict[str, Any]) -> dict[str, Any]:
    """The verdict with a severity in any case."""
    return verdict if verdict["severity"] else {**verdict, "severity": Severity.LOW.value}


def kept_log(record: dict[str, Any], stream: str = "log") -> str:
    """k6's log or output of a run; of an imported one what the original service kept of both."""
    imported = record.get("imported")
    if imported and stream == "log":
        return str(imported["console_output"])
    return log_text(record.get(stream, {}))


def log_text(log: dict[str, Any]) -> str:
    """A kept log as one text that says what is left out."""
    head, tail, cut = log.get("head", ""), log.get("tail", ""), log.get("cut_lines", 0)
    if not cut:
        return str(head)
    return f"{head}\n… {cut} lines ({log.get('cut_bytes', 0)} bytes) not kept …\n{tail}"
