"""Imports runs of the service before k6d, "K6 Test Runner Service": schema 0 to 1.

Values with the same name are copied; values that the service did not measure stay None. Imported
runs have the trigger "imported"; they are listed, searched, counted and drawn. Other runs are not
compared with them, because their load is unknown, unless the owner states that they ran on this
machine with this k6.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError

from k6d.cli.legacy_snapshots import text_snapshot
from k6d.core.errors import K6dError
from k6d.core.metrics import ORIGINAL
from k6d.core.model import Run
from k6d.core.redact import Redactor
from k6d.core.terms import Trigger
from k6d.core.text import one_line
from k6d.storage import legacy_records
from k6d.storage.legacy_records import ANALYSIS
from k6d.storage.prune import forget_progress
from k6d.storage.record import adapter, new_test_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from k6d.storage.legacy_records import Found, Record
    from k6d.storage.store import Store

    # Makes a run a baseline, or returns the reason why it cannot be one.
    Baseline = Callable[[Run, str], tuple[Run, str | None]]

logger = logging.getLogger(__name__)

UNNAMED = "original-service"  # its records need not say which script ran
NAMES = ("script_name", "script_path", "name")
# The errors that a malformed record can raise.
ODD = (K6dError, ValueError, TypeError, KeyError, AttributeError, OverflowError)
BATCH = 100
MOST_SAME_IDS = 100  # runs of one second with the same derived id, which is very unlikely


@dataclass(slots=True, kw_only=True)
class TakenOver:
    """The result of an import: new runs, runs that were present, and skipped records with reasons.

    `unknown_error_rate` counts new runs for which the original stored an error rate of 0.
    `no_baseline` counts, by reason, new runs that could not become a baseline.
    """

    new: int = 0
    present: int = 0
    unknown_error_rate: int = 0
    baseline: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    no_baseline: Counter[str] = field(default_factory=Counter)


def take_over(
    source: Path,
    store: Store,
    *,
    baseline: Baseline | None = None,
    redactor: Redactor | None = None,
) -> TakenOver:
    """Save each record of the original's file or folder as a run; existing runs are not changed.

    Secrets are removed from the output of k6 and the script, as in a run of k6d. If the source is
    damaged or has another format, K6dError is raised before anything is written.
    """
    records = legacy_records.read(source)
    store.refuse_links()
    done, began = TakenOver(), False
    redactor = redactor or Redactor()
    try:
        for batch in batched(records):
            runs: dict[str, Run] = {}
            for place, record in batch:
                if isinstance(record, str):
                    done.skipped.append((place, record))
                    continue
                try:
                    run = _without_secrets(upgraded(record), redactor)
                    _save(run, record, store, runs, done, baseline=baseline)
                except ODD as error:
                    done.skipped.append((place, _reason(error)))
            began = began or bool(runs)
            store.put(runs.values())
            done.new += len(runs)
    finally:
        if began:  # index the saved files even after an error
            forget_progress(store)
            store.repair()
    return done


def batched(records: Iterable[Found]) -> Iterator[list[Found]]:
    """Yield the records in batches, to limit the memory."""
    left = iter(records)
    while batch := list(islice(left, BATCH)):
        yield batch


def _save(
    run: Run,
    record: Record,
    store: Store,
    runs: dict[str, Run],
    done: TakenOver,
    *,
    baseline: Baseline | None,
) -> None:
    """Add the record to the new `runs` unless it is present; a malformed record raises ODD."""
    free = _free_id(run, store, runs)
    if free is None:
        done.present += 1
        return
    run, script = replace(run, test_id=free), record.get("script_content")
    if isinstance(script, str) and script.strip():
        if baseline:
            run, reason = baseline(run, script)
            done.baseline += run.comparable
            done.no_baseline.update([reason] if reason else [])
        if run.snapshot is None:
            run = replace(run, snapshot=text_snapshot(script, run, store))
    elif baseline:
        done.no_baseline["its record has no script"] += 1
    runs[run.test_id] = run
    done.unknown_error_rate += record_error_rate(record) == 0


def record_error_rate(record: Record) -> object:
    """Return the error rate as the original stored it."""
    return (record.get("metrics") or {}).get("error_rate")


def _free_id(run: Run, store: Store, runs: dict[str, Run]) -> str | None:
    """Return an id for a new run, the same in each import; None if the run is present."""
    assert run.imported is not None  # noqa: S101  (`upgraded` makes it so)
    for attempt in range(MOST_SAME_IDS):
        key = f"{run.imported['test_id']}{f'#{attempt}' if attempt else ''}"
        test_id = run.test_id[:16] + hashlib.sha256(key.encode()).hexdigest()[:6]
        if test_id in runs:
            stored = runs[test_id].imported
        elif store.run_path(test_id).exists():
            stored = orjson.loads(store.load_raw(test_id)).get("imported")
        else:
            return test_id
        # Older versions of k6d imported runs without their original ids.
        if stored is None or stored.get("test_id") == run.imported["test_id"]:
            return None
    raise K6dError(f"more than {MOST_SAME_IDS} runs of one second have the same id")


def upgraded(record: Record) -> Run:
    """Convert a record of schema 0 to a run; a malformed record raises ODD."""
    at = datetime.fromisoformat(record["timestamp"]).astimezone()
    original_id = str(record["test_id"] or "").strip()
    if not original_id:
        raise ValueError("test_id: is empty")
    completed = record.get("status", "completed") == "completed"
    metrics = {key: (record.get("metrics") or {}).get(key) for key in ORIGINAL}
    if metrics["error_rate"] == 0:
        metrics["error_rate"] = None  # the original stored 0 even if requests failed
    run: Run = adapter(Run).validate_python(
        {
            "test_id": f"{new_test_id(at)[:16]}000000",
            "timestamp": at,
            "script": _script_name(record),
            "trigger": Trigger.IMPORTED,
            "status": "completed" if completed else "failed",
            "execution_time": record.get("execution_time") or 0.0,
            "metrics": metrics,
            "anomaly_analysis": _analysis(record),
            "execution": {
                "outcome": "completed" if completed else "no data",
                "error": record.get("error"),
            },
            "imported": {
                "test_id": original_id,
                "options": _as_stored(record.get("options", record.get("test_options"))),
                "raw_output": _as_stored(record.get("raw_output")),
                "console_output": str(record.get("console_output") or ""),
            },
        }
    )
    return run


def _without_secrets(run: Run, redactor: Redactor) -> Run:
    """Remove secrets from the texts of the run; the script is not changed."""
    verdict, kept, error = run.anomaly_analysis, run.imported or {}, run.execution.error
    hidden = {name: _hidden(kept[name], redactor) for name in ("raw_output", "console_output")}
    return replace(
        run,
        imported={**kept, **hidden},
        execution=replace(run.execution, error=error and redactor.text(error)),
        anomaly_analysis=replace(
            verdict,
            issues=[redactor.text(issue) for issue in verdict.issues],
            recommendations=[redactor.text(one) for one in verdict.recommendations],
        ),
    )


def _hidden(value: Any, redactor: Redactor) -> Any:
    if isinstance(value, str):
        return redactor.text(value)
    if isinstance(value, dict):
        return {redactor.name(key): _hidden(item, redactor) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item, redactor) for item in value]
    return value


def _script_name(record: Record) -> str:
    """Return the name in the record; else the name that k6d gives to the same text when posted."""
    named = next((record[key] for key in NAMES if record.get(key)), None)
    text = record.get("script_content")
    if named is None and isinstance(text, str) and text.strip():
        return f"one-off/{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:12]}.js"
    return one_line(str(named or UNNAMED), 200)


def _analysis(record: Record) -> dict[str, Any]:
    analysis = {key: (record.get("anomaly_analysis") or {}).get(key) for key in ANALYSIS}
    if isinstance(analysis["severity"], str):
        analysis["severity"] = analysis["severity"].strip().lower()
    if not analysis["anomalies_detected"]:  # the original gave healthy runs a severity too
        analysis |= {"anomalies_detected": False, "severity": None}
    return {key: value for key, value in analysis.items() if value is not None}


def _as_stored(value: object) -> object:
    """Return the value if k6d can store it as JSON; else as text."""
    try:
        orjson.dumps([[[[value]]]])  # nested as deeply as in a run's file
    except (orjson.JSONEncodeError, RecursionError):
        return str(value)
    return value


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"no {error}" if isinstance(error, KeyError) else str(error)
