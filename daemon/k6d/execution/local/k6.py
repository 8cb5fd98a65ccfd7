"""Starts, watches and stops the processes of k6."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core.frozen import frozen
from k6d.core.parse import parse_duration
from k6d.execution.blame import LATE_INIT
from k6d.execution.executor import SECRET_SOURCE
from k6d.execution.local import variables
from k6d.execution.local.generator import is_idle
from k6d.execution.local.process_group import ProcessGroup
from k6d.execution.log_buffer import LogBuffer
from k6d.storage.files import size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

SECRET_SOURCES_SINCE = (1, 0)
INIT_TIMEOUT_S = 30.0  # init code may fetch remote modules, but an endless loop must end
BRIEF_BYTES = 1_000_000  # an archive without much data
INIT_LOG_BYTES = 16384
EXIT_POLL_S = 0.2
# Added to the script's own list, so that its handleSummary still gets the stats that it needs.
TREND_STATS = ("avg", "min", "med", "max", "p(90)", "p(95)", "p(99)", "count")


@frozen
class Ended:
    """The end of one k6 process.

    `errors` holds the first errors and the last error of k6, without those that the script logged.
    `idle`: it was waiting, not computing, when its time was over.
    """

    exit_code: int
    elapsed_s: float
    signals: list[str] = field(default_factory=list)
    timed_out: bool = False
    idle: bool = False
    stopped: bool = False
    errors: list[str] = field(default_factory=list)
    exceptions: int = 0
    first_exception: str | None = None


@frozen
class Plan:
    """k6's own plan for a run: `total_s` seconds, including graceful stops, for `max_vus` VUs."""

    total_s: float
    max_vus: int | None = None


@dataclass(frozen=True, slots=True)
class K6:
    """A k6 binary whose version is known; its processes join `group`, or a new one each time.

    `config` is a configuration file for all scripts. `secret_sources` are those of k6/secrets.
    """

    path: Path
    version: str
    group: ProcessGroup | None = None
    config: Path | None = None
    secret_sources: tuple[str, ...] = field(default=(), repr=False)

    @property
    def minor(self) -> str:
        """Return major and minor version, as "1.1"; runs of one minor version are compared."""
        return ".".join(self.version.split(".")[:2])

    @property
    def release(self) -> tuple[int, int]:
        """Return (major, minor) as numbers."""
        major, minor = self.minor.split(".")
        return int(major), int(minor)

    @contextlib.asynccontextmanager
    async def in_group(self) -> AsyncIterator[ProcessGroup]:
        """Yield the group; a new one ends with the context."""
        if self.group:
            yield self.group
        else:
            async with ProcessGroup() as group:
                yield group

    def receiving(self, url: str, env: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a run that pushes its metrics to `url`."""
        settings = variables.remote_write(url, version=self.release, env=env)
        return {**variables.busy(env), **settings}

    async def archive(
        self,
        script: Path,
        target: Path,
        *,
        env: Mapping[str, str],
        options: Mapping[str, str],
        hide: Callable[[str], str] = str,
        timeout_s: float | None = None,
    ) -> Ended:
        """Write the script and every file that it loads to the tar `target`; runs its init code.

        The script sees the environment, but the archive does not contain it. `options` are flags of
        k6 by name: vus, duration, iterations. `hide` removes secrets from errors that are cut.
        """
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        command = [
            *(str(self.path), "archive", "--no-color", "--log-format", "json", "--address", ""),
            *("--include-system-env-vars", "--exclude-env-vars", *flags),
            *(("--config", str(self.config)) if self.config else ()),
            *("-O", str(target), "--", str(script)),
        ]
        timeout_s = timeout_s or INIT_TIMEOUT_S
        started = time.monotonic()
        log, unread = LogBuffer(INIT_LOG_BYTES, hide=hide), LogBuffer(0)
        late = None
        async with asyncio.TaskGroup() as tasks, self.in_group() as group:
            process = await group.spawn(command, env=variables.busy(env), cwd=target.parent)
            # A reader works until k6 is gone: a full pipe would hold k6 up, and look like idleness.
            reader = tasks.create_task(_read_both(process, log, unread))
            async with _ending(process):
                await asyncio.wait({reader}, timeout=timeout_s)
                if not reader.done():
                    late = await _late_init(process.pid, timeout_s)
        if late:
            return late
        return Ended(
            exit_code=process.returncode or 0,
            elapsed_s=time.monotonic() - started,
            errors=log.errors,
        )

    async def inspect(
        self,
        archive: Path,
        *,
        group: ProcessGroup,
        env: Mapping[str, str],
        options: Mapping[str, Any],
    ) -> Plan | None:
        """Return k6's plan for an archive with these options; None if k6 gives none.

        The process has the lowest priority, so that it does not disturb a run.
        """
        env, shown = variables.for_snapshot(env)
        command = ["nice", "-n", "19", str(self.path), "inspect", "--no-color", "--address", ""]
        command += ["--include-system-env-vars", *shown, "--execution-requirements", str(archive)]
        # Unlike `run`, `inspect` has no default number of VUs for a script that sets only its
        # duration. The number does not change the duration, so any will do. Not with scenarios:
        # they have their own VUs, and k6 2.x would drop the scenarios for this variable.
        if options.get("vus") is None and not options.get("scenarios"):
            env["K6_VUS"] = "1"
        if size(archive) < BRIEF_BYTES:
            env = variables.brief(env)
        process = await group.spawn(command, env=env, cwd=archive.parent)
        try:
            async with _ending(process), asyncio.timeout(INIT_TIMEOUT_S):
                stdout, _ = await process.communicate()
            said = orjson.loads(stdout)
            total_s = parse_duration(said["totalDuration"])
            return Plan(total_s=total_s, max_vus=said.get("maxVUs"))
        except (TimeoutError, ValueError, KeyError, TypeError) as error:
            logger.warning("k6 inspect does not say how long %s will take: %s", archive, error)
            return None

    def run_command(
        self,
        archive: Path,
        *,
        summary: Path,
        options: Mapping[str, Any],
        env: Mapping[str, str],
        tags: Mapping[str, str] | None = None,
        otlp: str | None = None,
    ) -> tuple[list[str], dict[str, str]]:
        """Return the command and the environment that run an archive with these options.

        k6 adds `tags` to every sample, beside the tags of the script. `otlp` is the URL of an
        OpenTelemetry collector that gets the metrics, too.
        """
        env, shown = variables.for_snapshot(env)
        more = ["--out", variables.otlp_output(self.release)] if otlp else []
        env |= variables.otlp(otlp, version=self.release) if otlp else {}
        stats = list(dict.fromkeys([*(options.get("summaryTrendStats") or []), *TREND_STATS]))
        command = [
            *(str(self.path), "run", "--quiet", "--no-color", "--no-usage-report"),
            *("--log-format", "json", "--address", "", "--linger=false"),
            *("--include-system-env-vars", *shown),
            *("--summary-export", str(summary), "--summary-trend-stats", ",".join(stats)),
            *tag_flags(tags or {}, options.get("tags") or {}),
            *(part for one in self.secret_sources for part in (SECRET_SOURCE, one)),
            *("--out", "experimental-prometheus-rw", *more, str(archive)),
        ]
        return command, env

    async def run(
        self,
        command: list[str],
        *,
        group: ProcessGroup,
        env: Mapping[str, str],
        cwd: Path,
        log: LogBuffer,
        output: LogBuffer,
        deadline: Awaitable[float],
        stop: asyncio.Event,
        stop_grace_s: float,
        on_start: Callable[[int], object] = lambda _pid: None,
    ) -> Ended:
        """Run k6 until it ends, until the deadline (in seconds from now), or until `stop` is set.

        To stop a run, the whole process group gets SIGINT (k6 then runs teardown and writes its
        summary), SIGTERM after `stop_grace_s` seconds, and SIGKILL after as many again.
        """
        started = time.monotonic()
        process = await group.spawn(command, env=env, cwd=cwd)
        on_start(process.pid)
        readers = asyncio.gather(_read(process.stderr, log), _read(process.stdout, output))
        exited = asyncio.create_task(exit_of(process))
        stopping = asyncio.create_task(stop.wait())
        late = asyncio.create_task(_sleep_until(started, deadline))
        try:
            await asyncio.wait({exited, stopping, late}, return_when=asyncio.FIRST_COMPLETED)
            timed_out, stopped = late.done() and not exited.done(), stopping.done()
            signals = await _end(exited, group, grace_s=stop_grace_s)
            ended = time.monotonic()
            await _drain(readers, group)
        finally:
            if process.returncode is None:
                group.signal(signal.SIGKILL)
                await exit_of(process)
            for task in (exited, stopping, late, readers):
                task.cancel()
            await asyncio.gather(exited, stopping, late, readers, return_exceptions=True)
        return Ended(
            exit_code=process.returncode or 0,
            elapsed_s=ended - started,
            signals=signals,
            timed_out=timed_out,
            stopped=stopped and bool(signals),
            errors=log.errors,
            exceptions=log.exceptions,
            first_exception=log.first_exception,
        )


def tag_flags(ours: Mapping[str, str], own: Mapping[str, str]) -> list[str]:
    """Return flags for k6d's tags and the script's own, which `--tag` would replace otherwise.

    The script's tags take precedence. If a flag cannot express one of them, there are no flags,
    because the script's thresholds may need that tag.
    """
    if not ours:
        return []
    if lost := [name for name, value in own.items() if not value or not name or "=" in name]:
        logger.warning("no tags are added to what is forwarded: k6 takes no --tag for %s", lost)
        return []
    merged = {**ours, **own}
    return [part for name, value in merged.items() for part in ("--tag", f"{name}={value}")]


async def exit_of(process: asyncio.subprocess.Process) -> None:
    """Wait for the process only; asyncio's wait() also waits for pipes, which a child may hold."""
    waiting = asyncio.create_task(process.wait())
    try:
        while process.returncode is None:
            await asyncio.wait({waiting}, timeout=EXIT_POLL_S)
    finally:
        waiting.cancel()


@contextlib.asynccontextmanager
async def _ending(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """End the process when the context is left, also after a timeout or a cancellation."""
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
            await exit_of(process)


async def _read_both(
    process: asyncio.subprocess.Process, log: LogBuffer, output: LogBuffer
) -> None:
    """Read what a process writes until it has ended."""
    await asyncio.gather(_read(process.stderr, log), _read(process.stdout, output))
    await process.wait()


async def _late_init(pid: int, timeout_s: float) -> Ended:
    """Return the end of a k6 that is still at the script's init code."""
    message = f"{LATE_INIT} {timeout_s:g} s"
    idle = await is_idle(pid)
    return Ended(exit_code=-9, elapsed_s=timeout_s, timed_out=True, idle=idle, errors=[message])


async def _sleep_until(started: float, deadline: Awaitable[float]) -> None:
    await asyncio.sleep(max(0.0, await deadline - (time.monotonic() - started)))


async def _end(exited: asyncio.Task[None], group: ProcessGroup, *, grace_s: float) -> list[str]:
    """Send SIGINT, SIGTERM and SIGKILL until the process ends; return the signals sent."""
    sent = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if exited.done():
            break
        group.signal(number)
        sent.append(number.name)
        await asyncio.wait({exited}, timeout=grace_s)
    return sent


async def _drain(readers: asyncio.Future[tuple[None, None]], group: ProcessGroup) -> None:
    """Read the pipes to their end; after 1 s, kill the children of k6 that hold them open."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await asyncio.shield(readers)
            return
    group.signal(signal.SIGKILL)
    await readers


async def _read(stream: asyncio.StreamReader | None, log: LogBuffer) -> None:
    while stream is not None and (chunk := await stream.read(65536)):
        log.feed(chunk)
    log.close()
