"""Runs a snapshot with k6 on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from k6d.core.model import K6dError
from k6d.execution import summary
from k6d.execution.deadline import deadline_s
from k6d.execution.executor import unmeasured
from k6d.execution.local import secret_files
from k6d.execution.local.generator import Monitor
from k6d.execution.local.k6 import Plan
from k6d.execution.local.route import RouteWatch
from k6d.execution.log_buffer import LogBuffer
from k6d.execution.measure import Observed, measured
from k6d.execution.record import refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

    from k6d.core.measurements import Summary
    from k6d.execution.capture import Capture
    from k6d.execution.executor import Live, Measured, Order
    from k6d.execution.local.k6 import K6
    from k6d.execution.local.process_group import ProcessGroup
    from k6d.settings import Settings

logger = logging.getLogger(__name__)

T = TypeVar("T")


class LocalExecutor:
    """Runs snapshots with this k6; see `Executor`."""

    def __init__(self, k6: K6, settings: Settings) -> None:
        self._k6 = k6
        self._settings = settings

    async def run(
        self, order: Order, *, stop: asyncio.Event, on_start: Callable[[Callable[[], Live]], None]
    ) -> Measured:
        """Run the snapshot in a process of k6, which pushes its metrics to this process."""
        if why := secret_files.problem(self._k6.secret_sources):
            return unmeasured(refused(why, self._k6))
        observed = await self._run(order, stop, on_start)
        return await measured(order, observed, settings=self._settings)

    async def _run(
        self, order: Order, stop: asyncio.Event, on_start: Callable[[Callable[[], Live]], None]
    ) -> Observed:
        """Run k6 and collect everything that it leaves, including its last push."""
        k6, settings, hide = self._k6, self._settings, order.redactor.known
        log, output = (LogBuffer(settings.k6.log_bytes, hide=hide) for _ in range(2))
        summary_file, files = order.folder / "summary.json", order.folder / "files"
        files.mkdir()
        command, env = self._command(order, summary_file)
        monitor, routes = Monitor(), RouteWatch()
        async with k6.in_group() as group, _beside() as beside:
            plan = beside(self._plan(order, group))
            beside(routes.watch())
            deadline = beside(deadline_s(order, plan, grace_s=settings.k6.grace))
            with _receiving(order, settings) as (capture, url):
                on_start(capture.live)
                ended = await k6.run(
                    command,
                    group=group,
                    env=k6.receiving(url, env),
                    cwd=files,
                    log=log,
                    output=output,
                    deadline=asyncio.shield(deadline),
                    stop=stop,
                    stop_grace_s=settings.k6.stop_grace,
                    on_start=lambda pid: beside(monitor.watch(pid)),
                )
            planned, limit_s = await plan, await deadline
        return Observed(
            ended=ended,
            k6=k6,
            command=command,
            planned_s=planned.total_s if planned else None,
            deadline_s=limit_s,
            summary=_read_summary(summary_file),
            capture=capture,
            generator=monitor.health(settings.compare),
            route_lost=routes.lost,
            log=log.log(),
            output=output.log(),
            files=files,
        )

    async def _plan(self, order: Order, group: ProcessGroup) -> Plan | None:
        if order.planned_s is not None:
            return Plan(total_s=order.planned_s)
        return await self._k6.inspect(
            order.archive, group=group, env=order.env, options=order.options
        )

    def _command(self, order: Order, summary_file: Path) -> tuple[list[str], dict[str, str]]:
        forward = self._settings.forward
        forwarded = forward.url or forward.otlp
        return self._k6.run_command(
            order.archive,
            summary=summary_file,
            options=order.options,
            env=order.env,
            tags={**order.sample_tags, **(order.tags if forwarded else {})},
            otlp=forward.otlp,
        )


@contextlib.contextmanager
def _receiving(order: Order, settings: Settings) -> Iterator[tuple[Capture, str]]:
    """Receive and forward k6's pushes while the context is open; yield the capture and the URL."""
    # These modules import HTTP, which an idle daemon does not need.
    from k6d.execution.capture import Capture
    from k6d.execution.forward import Forwarder
    from k6d.execution.receiver import Receiver

    capture = Capture(
        max_endpoints=settings.capture.max_endpoints,
        exclude=order.exclude,
        hide=order.redactor.name,
    )
    with Forwarder(settings.forward) as out, Receiver(capture, also=out.push) as receiver:
        yield capture, receiver.url


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


def _read_summary(path: Path) -> Summary | None:
    """Return the totals; None if k6 was killed before it wrote them, or they are unreadable."""
    try:
        return summary.parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except K6dError as error:
        logger.error("%s", error)
        return None
