"""The daemon's timed tasks: schedules, maintenance windows, free disk space and pruning."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from k6d.core import reading
from k6d.core.identity import identity_of
from k6d.core.model import K6dError, Trigger
from k6d.jobs import scheduler
from k6d.jobs.scheduler import Scheduler
from k6d.storage import prune
from k6d.storage.disk import free_mib, no_room
from k6d.storage.locks import DAEMON_LOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k6d.core.job import Missed
    from k6d.jobs.queue import JobQueue
    from k6d.settings import Settings
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

# Clocks jump and machines sleep without notice, so the time is checked this often.
LONGEST_S = 15.0
PRUNE_S = 3600.0
STEADY_S = 60.0  # a smaller change of the clock counts as a correction, not as a jump
BOOT_S = 600.0  # after the start, the clock may still be corrected


class Housekeeping:
    """The timed tasks of one daemon; `run` works until it is cancelled.

    `on_missed` is called for scheduled runs that did not start, `on_look` after each check of the
    schedules. Call `changed` when a script was inspected, added or removed, and `reread` with new
    settings.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        queue: JobQueue,
        *,
        on_missed: Callable[[Missed], None] = lambda _missed: None,
        on_look: Callable[[], None] = lambda: None,
        clock: Callable[[], tuple[float, float]] = lambda: (time.time(), _awake_or_asleep_s()),
    ) -> None:
        self._settings = settings
        self._store = store
        self._queue = queue
        self._scheduler = Scheduler(settings, store, queue, on_missed=on_missed)
        self._on_look = on_look
        self._wake = asyncio.Event()
        self._held: str | None = None
        self._warned = False
        self._clock = clock  # returns wall-clock time and uptime, in seconds
        self._believed = clock()
        self._started_s = self._believed[1]
        self._prune_s = self._started_s + PRUNE_S
        self._astray = False
        self._place: tuple[int, int] | None = None

    @property
    def held(self) -> str | None:
        """Return why no script starts by itself at present; None if scripts start."""
        return self._held

    def changed(self) -> None:
        """Note that the data about scripts has changed; the next check plans anew."""
        self._scheduler.changed()

    def reread(self, settings: Settings) -> None:
        """Use these settings from now on."""
        self._settings = self._scheduler.settings = settings
        self._scheduler.changed()
        self._wake.set()

    async def run(self) -> None:
        """Run all tasks; schedules don't wait for pruning, which takes minutes."""
        self._place = identity_of(self._settings.data / DAEMON_LOCK)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_looking())
            tasks.create_task(self._keep_pruning())

    async def _keep_looking(self) -> None:
        while True:
            now, following = datetime.now(UTC), None
            with _one_round("schedules"):
                silent = not await reading.is_reachable(self._settings.scripts)
                following = self._look(now, silent=silent)
                self._on_look()
            pause_s = scheduler.pause_s(now, following, longest_s=LONGEST_S)
            with suppress(TimeoutError):  # wait_for may lose a cancellation that comes meanwhile
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            self._wake.clear()

    async def _keep_pruning(self) -> None:
        while True:
            with _one_round("old runs"):
                await self.prune_when_due()
            await asyncio.sleep(LONGEST_S)

    def _look(self, now: datetime, *, silent: bool = False) -> datetime | None:
        """Start due scripts; `silent`: the mount of the scripts folder does not answer."""
        full = self._gone() or self._disk_full()
        if silent:
            full = f"{self._settings.scripts} does not answer; does its mount hang?"
        held = full or scheduler.held(self._settings, now)
        if held != self._held:
            if held:
                logger.warning("nothing starts now: %s", held)
            else:
                logger.info("runs start again")
            self._held = held
            people = () if full else (Trigger.MANUAL,)
            self._queue.allow(people if held else tuple(Trigger))
        if silent:
            self._scheduler.hold(str(held))
            return None
        return self._scheduler.tick(now, held=held)

    def _gone(self) -> str | None:
        """Return a message if the data folder was replaced.

        A disk that was unmounted leaves an empty folder; k6d would start there without any data.
        """
        data = self._settings.data
        if self._place and identity_of(data / DAEMON_LOCK) != self._place:
            return f"{data} is not what it was at the start; bring it back, or restart k6d"
        return None

    def _disk_full(self) -> str | None:
        limits, data = self._settings.retention, self._settings.data
        free = free_mib(data)
        if full := no_room(self._settings, free):
            return full
        low = free < limits.warn_free_mib
        if low and not self._warned:
            least = limits.least_free_mib
            logger.warning("%s: %d MiB left; below %d MiB no run starts", data, free, least)
        self._warned = low
        return None

    async def prune_when_due(self) -> None:
        """Prune once an hour, unless the clock has jumped: then every run might look old.

        The clock of ten minutes after the start is trusted. If the system clock jumps, pruning
        pauses until the clock is corrected or k6d restarts.
        """
        now = self._clock()
        if now[1] - self._started_s < BOOT_S:
            self._believed = now
        if now[1] < self._prune_s or self._gone():
            return
        self._prune_s = now[1] + PRUNE_S
        passed_s, ran_s = (now[n] - self._believed[n] for n in range(2))
        astray = abs(passed_s - ran_s) > STEADY_S * max(ran_s / PRUNE_S, 1)
        if astray and not self._astray:
            logger.warning(
                "the clock was set: nothing is pruned until it is back; if it is right now, "
                "restart k6d"
            )
        self._astray = astray
        if not astray:
            self._believed = now
            moment = datetime.fromtimestamp(now[0], UTC)
            await asyncio.to_thread(prune.prune, self._settings, self._store, now=moment)
        await asyncio.to_thread(self._store.check_index)


@contextmanager
def _one_round(what: str) -> Iterator[None]:
    """Log any error of a round, so that the next round takes place."""
    try:
        yield
    except (K6dError, OSError) as error:
        logger.error("%s are looked at again: %s", what, error)
    except Exception:
        logger.exception("%s: a mistake of k6d's own; please report it", what)


def _awake_or_asleep_s() -> float:
    """Return monotonic seconds; they include sleep of the machine if the system supports that."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
