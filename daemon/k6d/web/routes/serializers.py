"""Converts runs to the JSON shape of the original service; pure functions.

In the original service, severity was always a text ("low" for a healthy run), and each run in a
list had all its issues. In k6d, a healthy run has null, and the index holds only the worst issue.
So a list reads the files of the runs on its page.
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

    from k6d.storage.store import Store

VERDICT = ("anomalies_detected", "severity", "issues", "recommendations", "confidence")


def test(record: dict[str, Any]) -> dict[str, Any]:
    """Return a run for a list: the original's fields, then script, trigger, outcome and notes."""
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
        "tags": record.get("tags") or {},
        "commit": record.get("commit"),
    }


def from_index(document: dict[str, Any]) -> dict[str, Any]:
    """Return the same from an index document, if the run's file cannot be read."""
    verdict = {
        "anomalies_detected": document["anomalies"],
        "severity": document["severity"],
        "issues": [document["issue"]] if document["issue"] else [],
        "recommendations": [],
        "confidence": 1.0,
    }
    execution = {"outcome": document["outcome"]}
    return test(
        {**document, "metrics": document, "anomaly_analysis": verdict, "execution": execution}
    )


def tests(documents: Iterable[dict[str, Any]], store: Store) -> list[dict[str, Any]]:
    """Return a page of runs."""
    return [_one(document, store) for document in documents]


def _one(document: dict[str, Any], store: Store) -> dict[str, Any]:
    try:
        return test(orjson.loads(store.load_raw(document["test_id"])))
    except (K6dError, ValueError, KeyError, TypeError):
        return from_index(document)


def notes(record: dict[str, Any]) -> list[str]:
    """Return the notes of a run, such as options that were not used."""
    said: list[str] = (record.get("breakdown") or {}).get("notes") or []
    return said


def result(record: dict[str, Any], *, source: str | None, data: Path) -> dict[str, Any]:
    """Return all data of a run, with the additional fields of the original service.

    A script that k6 refused has no log; then `console_output` holds k6's error.
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
    return {
        **without_folder(shown, data),
        **_as_imported(record),
        "script_content": source,
    }


def _as_imported(record: dict[str, Any]) -> dict[str, Any]:
    """Return the original service's own fields of an imported run; nothing for other runs."""
    kept = dict(record.get("imported") or {})
    if not kept:
        return {}
    test_id, options = kept.pop("test_id"), kept.pop("options")
    return {**kept, "options": options or {}, "imported": {"test_id": test_id}}


def _options(overrides: dict[str, str]) -> dict[str, str | int]:
    """Convert options from k6's texts to the types in which they were posted."""
    return {
        name: int(value) if name in {"vus", "iterations"} and value.isdecimal() else value
        for name, value in overrides.items()
        if name != REPLAY
    }


def with_severity(verdict: dict[str, Any]) -> dict[str, Any]:
    """Return the verdict with a severity; "low" for a healthy run."""
    return verdict if verdict["severity"] else {**verdict, "severity": Severity.LOW.value}


def kept_log(record: dict[str, Any], stream: str = "log") -> str:
    """Return k6's log or output of a run; for an imported run, the original's text of both."""
    imported = record.get("imported")
    if imported and stream == "log":
        return str(imported["console_output"])
    return log_text(record.get(stream, {}))


def log_text(log: dict[str, Any]) -> str:
    """Return a stored log as one text, with a line that says how much was left out."""
    head, tail, cut = log.get("head", ""), log.get("tail", ""), log.get("cut_lines", 0)
    if not cut:
        return str(head)
    return f"{head}\n… {cut} lines ({log.get('cut_bytes', 0)} bytes) not kept …\n{tail}"
