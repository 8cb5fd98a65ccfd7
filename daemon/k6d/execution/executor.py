"""The interface of an executor: it runs a snapshot with its workload and returns what it measured.

`local.executor` runs k6 on this machine, `kubernetes.executor` on a cluster.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol

from k6d.core.frozen import frozen
from k6d.core.measurements import Breakdown, Log, Metrics, Summary
from k6d.core.model import Execution, Result
from k6d.core.redact import Redactor
from k6d.execution.excluded import Exclude

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from k6d.execution.written_files import Written

SECRET_SOURCE = "--secret-source"  # noqa: S105  (k6's flag; what follows it may be a secret)
NOTHING = Summary(metrics=Metrics())


@frozen
class Order:
    """The snapshot to run, and how.

    `folder` is private to the run. `options` are k6's, from the archive. Without
    `timeout_s`, the time limit is k6's plan and the grace period; `planned_s` is that plan, None if
    k6 must be asked. `tags` identify the run in the
    Prometheus that gets the forwarded metrics. `given` are the variables of the settings and of
    the job, without those of this machine. `notes` are shown with the run. `redactor` knows the
    run's secrets. `sample_tags` are added to every sample. `why_early` returns why k6d ended the
    run before its time, if it did.
    """

    archive: Path
    folder: Path
    env: dict[str, str]
    options: dict[str, Any]
    tags: dict[str, str]
    given: dict[str, str] = field(default_factory=dict)
    redactor: Redactor = field(default_factory=Redactor)
    exclude: Exclude = field(default_factory=Exclude)
    timeout_s: float | None
    timeout_is_least: bool = False
    planned_s: float | None = None
    notes: list[str] = field(default_factory=list)
    sample_tags: dict[str, str] = field(default_factory=dict)
    why_early: Callable[[], str | None] = lambda: None


@frozen
class Live:
    """The progress of a run: totals so far, and the rates and p95 of its last second."""

    elapsed_s: float
    vus: int | None
    requests: int
    failed: int | None
    requests_per_second: float
    errors_per_second: float | None
    p95_ms: float | None


@frozen
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


class Executor(Protocol):
    """Runs snapshots."""

    async def run(
        self, order: Order, *, stop: asyncio.Event, on_start: Callable[[Callable[[], Live]], None]
    ) -> Measured:
        """Run the snapshot until it ends, or until `stop` is set, and return its measurements.

        `on_start` gets a function that returns the progress; it works after the end too. The result
        has no secrets in it.
        """
