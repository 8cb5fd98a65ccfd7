"""Makes the record of a run: who ran which script, when, and with which result."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from k6d.core.measurements import KeptFile
from k6d.core.model import Execution, K6dError, Outcome, Run, Verdict
from k6d.execution.archive import machine
from k6d.execution.blame import outcome_of_refusal
from k6d.execution.executor import Measured, unmeasured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k6d.core.snapshot import Snapshot
    from k6d.core.tags import Commit
    from k6d.execution.local.k6 import K6
    from k6d.execution.workdir import UnderWay
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)


def refused(error: str, binary: K6) -> Execution:
    """Return the execution of a script that k6 refused with `error`."""
    return Execution(
        outcome=outcome_of_refusal(error),
        error=error,
        k6_version=binary.version,
        machine=machine(),
    )


def with_files_kept(measured: Measured, under_way: UnderWay, store: Store) -> Measured:
    """Keep the files that the script wrote; if the disk refuses, the same without them."""
    files = [(file.name, file.contents) for file in measured.files]
    try:
        if files:
            store.keep_files(under_way.test_id, files)
    except K6dError as error:
        logger.error("%s: the files that it wrote are not kept: %s", under_way.script, error)
        return replace(measured, files=[])
    return measured


def recorded(
    under_way: UnderWay,
    measured: Measured,
    *,
    verdict: Verdict,
    snapshot: Snapshot | None = None,
    overrides: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    commit: Commit | None = None,
) -> Run:
    """Return the run to store, before it is compared with others."""
    result, totals = measured.result, measured.result.summary
    return Run(
        test_id=under_way.test_id,
        timestamp=under_way.started,
        script=under_way.script,
        trigger=under_way.trigger,
        status="completed" if result.execution.outcome is Outcome.COMPLETED else "failed",
        execution_time=round(measured.elapsed_s, 3),
        metrics=totals.metrics,
        load=result.load,
        anomaly_analysis=verdict,
        execution=result.execution,
        snapshot=snapshot,
        breakdown=result.breakdown,
        checks=totals.checks,
        thresholds=totals.thresholds,
        k6_metrics=totals.k6_metrics,
        custom_metrics=totals.custom_metrics,
        overrides=dict(overrides or {}),
        tags=dict(tags or {}),
        commit=commit,
        generator=result.generator,
        runners=list(result.runners),
        log=measured.log,
        output=measured.output,
        files=[KeptFile(name=f.name, bytes=len(f.contents)) for f in measured.files],
    )


def interrupted(under_way: UnderWay) -> Run:
    """Return the run to store for a job whose k6d process died."""
    doubt = "interrupted: k6d was killed during this run"
    execution = Execution(outcome=Outcome.ABORTED, machine=machine())
    verdict = Verdict(anomalies_detected=False, confidence=0.0, doubts=[doubt])
    return recorded(under_way, unmeasured(execution), verdict=verdict)
