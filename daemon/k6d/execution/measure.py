"""Runs a snapshot with k6 and collects its summary, metrics and log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from k6d.core.measurements import Breakdown, Log, Metrics, Summary
from k6d.core.model import Execution, K6dError, Result
from k6d.core.redact import Redactor
from k6d.execution import archive as scripts
from k6d.execution import blame, outcome, summary
from k6d.execution.deadline import phases_s
from k6d.execution.excluded import Exclude
from k6d.execution.gaps import gaps, with_crossed, workload_note
from k6d.execution.hidden_secrets import log_without_secrets, result_without_secrets
from k6d.execution.local.generator import Monitor
from k6d.execution.log_buffer import KeptLog
from k6d.execution.plan import scenarios_of
from k6d.execution.written_files import Written, written_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from k6d.execution.capture import Capture
    from k6d.execution.local import k6
    from k6d.execution.local.process_group import Guard
    from k6d.settings import Settings

logger = logging.getLogger(__name__)

PLANLESS_DEADLINE_S = 3600.0  # if k6 gives no plan; without a limit the run could last for ever
NOTHING = Summary(metrics=Metrics())

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The snapshot to run, and how.

    Without `timeout_s`, the time limit is k6's plan and the grace period. `options` are k6's, from
    the archive. `tags` identify the run in the Prometheus that gets the forwarded metrics. `notes`
    are shown with the run. `redactor` knows the run's secrets.
    """

    archive: Path
    folder: Path
    env: dict[str, str]
    options: dict[str, Any]
    tags: dict[str, str]
    redactor: Redactor = field(default_factory=Redactor)
    exclude: Exclude = field(default_factory=Exclude)
    timeout_s: float | None
    timeout_is_least: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The measurements of a run, before it is judged."""

    result: Result
    elapsed_s: float = 0.0
    log: Log = field(default_factory=Log)
    output: Log = field(default_factory=Log)
    files: list[Written] = field(default_factory=list)


def unmeasured(execution: Execution) -> Measured:
    """Return an execution without measurements."""
    return Measured(result=Result(execution=execution, summary=NOTHING, breakdown=Breakdown()))


async def measure(
    order: Order,
    *,
    binary: k6.K6,
    guard: Guard,
    settings: Settings,
    stop: asyncio.Event,
    on_start: Callable[[Capture], None],
) -> Measured:
    """Run the archive and collect all measurements, including k6's last push."""
    from k6d.execution.capture import (
        Capture,
        Receiver,
    )  # imports HTTP modules: needed only for a run
    from k6d.execution.forward import Forwarder

    redactor = order.redactor
    log, output = (KeptLog(settings.k6.log_bytes, hide=redactor.known) for _ in range(2))
    summary_file, files = order.folder / "summary.json", order.folder / "files"
    files.mkdir()
    command, env = binary.run_command(
        order.archive,
        summary=summary_file,
        options=order.options,
        env=order.env,
        tags=order.tags if settings.forward.url else {},
    )
    capture = Capture(
        max_endpoints=settings.capture.max_endpoints, exclude=order.exclude, hide=redactor.name
    )
    monitor = Monitor()
    async with _beside() as beside:
        plan = beside(
            binary.inspect(order.archive, guard=guard, env=order.env, options=order.options)
        )
        deadline = beside(_deadline(plan, order, settings))
        with Forwarder(settings.forward) as out, Receiver(capture, also=out.push) as receiver:
            on_start(capture)
            ended = await binary.run(
                command,
                guard=guard,
                env=binary.receiving(receiver.url, env),
                cwd=files,
                log=log,
                output=output,
                deadline=asyncio.shield(deadline),
                stop=stop,
                stop_grace_s=settings.k6.stop_grace,
                on_start=lambda pid: beside(monitor.watch(pid)),
            )
        planned = await plan
    written = _read_summary(summary_file)
    totals = with_crossed(written or NOTHING, ended, order.options)
    kind, error = outcome.classify(ended, totals)
    execution = Execution(
        outcome=kind,
        exit_code=ended.exit_code,
        error=error,
        k6_version=binary.version,
        machine=scripts.machine(),
        command=[part.replace(f"{order.folder}/", "") for part in command],
        planned_s=planned.total_s if planned else None,
        deadline_s=deadline.result() if deadline.done() and not deadline.cancelled() else None,
        signals=ended.signals,
    )
    breakdown = capture.result(totals.metrics)
    kept, left = await asyncio.to_thread(written_files, files, redactor)
    notes = [*order.notes, *left, *_about_timeout(order, execution.deadline_s)]
    notes += workload_note(order.options, binary.release)
    tagged = order.options.get("systemTags")
    if isinstance(tagged, list) and "status" not in tagged:
        breakdown = replace(
            breakdown, handshakes={}
        )  # without the tag, failed handshakes cannot be told apart
    missing = gaps(options=order.options, summary=written, breakdown=breakdown, ended=ended)
    result = Result(
        execution=execution,
        summary=totals,
        breakdown=replace(breakdown, notes=[*notes, *missing, *breakdown.notes]),
        exceptions=ended.exceptions,
        first_exception=outcome.one_line(ended.first_exception),
        generator=monitor.health(settings.compare),
        scenarios=scenarios_of(order.options),
        load=capture.load(totals.metrics),
        mixes=capture.mixes(),
    )
    result = await blame.without_own_trouble(result, settings.network.witness)
    return Measured(
        result=result_without_secrets(result, redactor),
        elapsed_s=ended.elapsed_s,
        log=log_without_secrets(log.log(), redactor),
        output=log_without_secrets(output.log(), redactor),
        files=kept,
    )


@contextlib.asynccontextmanager
async def _beside() -> AsyncIterator[Callable[[Coroutine[None, None, T]], asyncio.Task[T]]]:
    """Yield a function that starts tasks; at the end, cancel unfinished tasks and await them."""
    tasks: list[asyncio.Task[Any]] = []

    def start(work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        tasks.append(task := asyncio.create_task(work))
        return task

    try:
        yield start
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _deadline(plan: asyncio.Task[k6.Plan | None], order: Order, settings: Settings) -> float:
    """Return the seconds that the run may take."""
    planned = await asyncio.shield(plan)
    if order.timeout_s and not order.timeout_is_least:
        return order.timeout_s
    needed_s = PLANLESS_DEADLINE_S
    if planned:
        rest_s = await asyncio.to_thread(phases_s, order.archive, order.options)
        needed_s = planned.total_s + rest_s + settings.k6.grace
    return max(needed_s, order.timeout_s or 0.0)


def _about_timeout(order: Order, deadline_s: float | None) -> list[str]:
    """Return a note if the original service, with its K6_TIMEOUT, would have cut the run short."""
    if not order.timeout_is_least or not order.timeout_s or (deadline_s or 0) <= order.timeout_s:
        return []
    note = (
        f"K6_TIMEOUT ({order.timeout_s:g} s) is shorter than the {deadline_s:g} s that this script "
        "may take by its plan: the run had that time; k6.timeout (K6D_K6__TIMEOUT) cuts runs"
    )
    logger.warning("%s: %s", order.tags.get("script", order.archive), note)
    return [note]


def _read_summary(path: Path) -> Summary | None:
    """Return the totals; None if k6 was killed before it wrote them, or they are unreadable."""
    try:
        return summary.parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except K6dError as error:
        logger.error("%s", error)
        return None
