"""Makes the result of a run from what k6 left; an executor calls it when k6 has ended."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.core.model import Execution, Outcome, Result
from k6d.execution import blame, outcome
from k6d.execution.archive import machine
from k6d.execution.deadline import timeout_note
from k6d.execution.executor import NOTHING, SECRET_SOURCE, Measured
from k6d.execution.gaps import gaps, with_crossed, workload_note
from k6d.execution.hidden_secrets import log_without_secrets, result_without_secrets
from k6d.execution.plan import scenarios_of
from k6d.execution.written_files import written_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from k6d.core.measurements import Breakdown, Generator, Log, Metrics, Runner, Summary
    from k6d.execution.capture import Capture
    from k6d.execution.executor import Order
    from k6d.execution.local.k6 import K6, Ended
    from k6d.settings import Settings


@frozen
class OnCluster:
    """What a run on a cluster has beside the rest; `failure` replaces the outcome of k6's end."""

    where: str
    placement: dict[str, Any]
    runners: list[Runner]
    failure: tuple[Outcome, str] | None = None


@frozen
class Observed:
    """What a run of k6 left: its end, totals and pushes, its logs, and its files in a folder.

    `route_lost`: this machine had no default route at some time in the run. `cluster` is None for a
    run on this machine.
    """

    ended: Ended
    k6: K6
    command: list[str]
    planned_s: float | None
    deadline_s: float | None
    summary: Summary | None
    capture: Capture
    generator: Generator
    route_lost: bool = False
    log: Log
    output: Log
    files: Path
    cluster: OnCluster | None = None


async def measured(order: Order, observed: Observed, *, settings: Settings) -> Measured:
    """Return the measurements of a run, without secrets."""
    ended, capture, cluster = observed.ended, observed.capture, observed.cluster
    totals = with_crossed(observed.summary or NOTHING, ended, order.options)
    witness = blame.Witness(settings.network.witness)
    # The network of this machine says nothing of runners in a cluster.
    if cluster is None and await blame.was_offline(
        capture.errors(), witness, route_lost=observed.route_lost
    ):
        capture.leave_out(blame.is_own)
    files, left_out = await asyncio.to_thread(written_files, observed.files, order.redactor)
    result = Result(
        execution=_execution(order, observed, totals),
        summary=totals,
        breakdown=_breakdown(order, observed, totals.metrics, notes=left_out),
        exceptions=ended.exceptions,
        first_exception=outcome.one_line(ended.first_exception),
        generator=observed.generator,
        scenarios=scenarios_of(order.options),
        load=capture.load(totals.metrics),
        runners=cluster.runners if cluster else (),
        mixes=capture.mixes(),
    )
    if cluster is None:
        result = await blame.without_own_trouble(result, witness)
    return Measured(
        result=result_without_secrets(result, order.redactor),
        elapsed_s=ended.elapsed_s,
        log=log_without_secrets(observed.log, order.redactor),
        output=log_without_secrets(observed.output, order.redactor),
        files=files,
    )


def _execution(order: Order, observed: Observed, totals: Summary) -> Execution:
    kind, error = outcome.classify(observed.ended, totals)
    if kind is Outcome.ABORTED and error is None:
        error = order.why_early()
    cluster = observed.cluster
    if cluster and cluster.failure:
        kind, error = cluster.failure
    return Execution(
        outcome=kind,
        exit_code=observed.ended.exit_code,
        error=error,
        k6_version=observed.k6.version,
        machine=cluster.where if cluster else machine(),
        placement=cluster.placement if cluster else None,
        command=_shown(observed.command, order),
        planned_s=observed.planned_s,
        deadline_s=observed.deadline_s,
        signals=observed.ended.signals,
    )


def _shown(command: Sequence[str], order: Order) -> list[str]:
    """The command without the run's folder, and without sources of secrets, which may hold some."""
    hidden = {number + 1 for number, part in enumerate(command) if part == SECRET_SOURCE}
    return [
        "…" if number in hidden else part.replace(f"{order.folder}/", "")
        for number, part in enumerate(command)
    ]


def _breakdown(order: Order, observed: Observed, totals: Metrics, *, notes: list[str]) -> Breakdown:
    """Return the breakdown with all notes on the run: its order's, k6d's, and on what is missing.

    Without the tag `status`, failed handshakes cannot be told apart, so none are reported.
    """
    breakdown, options = observed.capture.result(totals), order.options
    tagged = options.get("systemTags")
    if isinstance(tagged, list) and "status" not in tagged:
        breakdown = replace(breakdown, handshakes={})
    notes = [
        *order.notes,
        *notes,
        *timeout_note(order, observed.deadline_s),
        *workload_note(options, observed.k6.release),
        *gaps(options=options, summary=observed.summary, breakdown=breakdown, ended=observed.ended),
        *breakdown.notes,
    ]
    return replace(breakdown, notes=notes)
