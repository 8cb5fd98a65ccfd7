"""Record runs in incidents, and put each message about them into the outbox once.

1. The script's incident state and its announcements are written in one step.
2. The message is made and put into the outbox under the announcement's key.

If k6d dies in between, it makes the message again from the stored run; the outbox refuses a key
that it has had.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import TypeAdapter, ValidationError

from k6d.alerts import incidents
from k6d.alerts.delivery.planning import tags_for
from k6d.alerts.incidents import Rules
from k6d.alerts.message import MAX_POINTS, Context, compose, compose_without_run, notice
from k6d.alerts.mutes import Mutes
from k6d.alerts.observation import observe
from k6d.alerts.outages import Outage, Outages
from k6d.alerts.outbox import KEPT_DAYS, Outbox
from k6d.alerts.records import Change, IncidentState
from k6d.alerts.recoveries import Recoveries
from k6d.core.mark import between
from k6d.core.model import K6dError, Outcome, Severity, Trigger
from k6d.core.reading import is_reachable
from k6d.storage import accepted
from k6d.storage.data_folder import NotAFileError
from k6d.storage.files import locked
from k6d.storage.locks import daemon_of
from k6d.storage.marks import marks
from k6d.storage.record import encodable
from k6d.storage.workloads import newest_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from k6d.alerts.records import Announcement, Incident
    from k6d.core.model import Run
    from k6d.settings import Settings
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

ANYWHERE = ("0.0.0.0", "::", "[::]")  # noqa: S104  (recognised, not bound to)
ITSELF = ("127.0.0.1", "localhost", "[::1]")
LOOK_S = 60.0  # the interval of checks for due reminders


class Alerts:
    """The incidents of one store; their messages go into its outbox."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._outbox = Outbox(settings.data)
        self._states = store.state("incidents")
        self.mutes = Mutes(store)
        self.recoveries = Recoveries(store)
        self._outages = Outages(store, self.announce, self.is_gone)
        self._lock = settings.data / "state" / ".incidents.lock"

    def expect(self, script: str, test_id: str, notify: bool | list[str] | None = None) -> None:
        """Remember a run before it is saved, so that `recover` can record it after a crash.

        `notify` is the script's own setting; None keeps the last one.
        """
        with locked(self._lock, root=self._settings.data):
            state = incidents.with_notify(self._state(script), notify)
            runs = [*state.expected, test_id]
            self._save(incidents.with_expected(state, runs[-incidents.REMEMBERED_RUNS :]))

    def record(
        self, run: Run, notify: bool | list[str] | None = None, *, cause: str | None = None
    ) -> None:
        """Record a saved run in its incident; a run that was recorded before changes nothing.

        Messages of the same `cause` are sent as one; it takes the place of a common target.
        """
        with locked(self._lock, root=self._settings.data):
            state = incidents.with_notify(self._state(run.script), notify)
            rules = self._rules(state)
            if run.test_id not in state.seen:
                self._outages.record(run, quiet=rules.muted)
            seen = replace(observe(run), cause=cause) if cause else observe(run)
            state, announcement = incidents.advance(state, seen, rules)
            self._save(state)
            if announcement:
                incident = announcement.incident
                logger.info(
                    "incident %s of %s: %s, %s",
                    *(incident.id, run.script, announcement.change, incident.severity),
                )
            self._queue_messages(state, run)

    def accept(self, script: str, reason: str) -> tuple[str, Incident | None]:
        """Accept the present level of a script as normal; resolve its incident if it was about it.

        Returns the id of the run with which the level began, and the incident that this resolved,
        else None. The daemon sends the message. NoComparableRunError: there is no level.
        """
        run, reason = newest_run(self._store, script), encodable(reason.strip())
        since = accepted.accept(run, self._store, reason=reason)
        with locked(self._lock, root=self._settings.data):
            was, now = self._state(script), datetime.now(UTC)
            state = incidents.accepted(was, now, run=run.test_id, reason=reason)
            if state != was:
                self._save_ended(was, state)
        return since, was.incident if state.incident is None else None

    def acknowledge(self, script: str, comment: str = "", *, off: bool = False) -> Incident | None:
        """Note that a person took on the script's open incident; `off` takes that back.

        Returns the incident; None if there is no open one.
        """
        with locked(self._lock, root=self._settings.data):
            at, said = None if off else datetime.now(UTC), encodable(comment.strip())
            state = incidents.acknowledged(self._state(script), at, comment=said)
            if state.incident:
                self._save(state)
        return state.incident

    def end(self, script: str) -> bool:
        """End the script's incident without a message, for a file that is no test (any more).

        Returns whether there was an incident.
        """
        with locked(self._lock, root=self._settings.data):
            state = self._state(script)
            self._save_ended(state, incidents.ended(state, datetime.now(UTC)))
            return state.incident is not None

    def rebuild(self, scripts: Iterable[tuple[str, bool | list[str] | None, list[Run]]]) -> int:
        """Rebuild missing or damaged incident states from the scripts' runs, in one write.

        `scripts` yields the name, the script's own `notify` and its runs, oldest first. Returns the
        number of open incidents among them. Announcements of open incidents are made again; the
        outbox refuses those that it has had.
        """
        with locked(self._lock, root=self._settings.data):
            known = self.incident_states()
            made = {s: IncidentState(script=s) for s in self._states.all() if s not in known}
            recent = datetime.now(UTC) - timedelta(days=KEPT_DAYS)
            for script, notify, runs in scripts:
                if script not in known:
                    new = incidents.with_notify(IncidentState(script=script), notify)
                    made[script] = incidents.replayed(new, runs, self._rules(new), since=recent)
            self._states.put_all({name: _document(one) for name, one in made.items()})
        return sum(state.incident is not None for state in made.values())

    def damaged(self) -> bool:
        """Return whether the stored state of some script does not parse."""
        return len(self.incident_states()) < len(self._states.all())

    def _save_ended(self, was: IncidentState, now: IncidentState) -> None:
        if was.incident and not now.incident:
            logger.info("incident %s of %s: over", was.incident.id, was.script)
        self._save(now)

    def remind(self, now: datetime) -> None:
        """Notify without a new run: after the end of a mute, for a reminder, or after a disk error.

        A script whose file is missing gets no message; after a day its incident ends silently.
        """
        for name, known in self.incident_states().items():
            if known.incident is None and not known.outgoing:
                continue
            with locked(self._lock, root=self._settings.data):
                was = self._state(name)
                state = incidents.after_file_check(was, now, gone=self.is_gone(name))
                if not state.gone_since:
                    state, _ = incidents.remind(state, now, self._rules(state))
                if state != was:
                    self._save_ended(was, state)
                self._queue_messages(state, None)

    def is_gone(self, script: str) -> bool:
        """Return whether the script's file is missing from a scripts folder that is not empty.

        An unplugged disk must not end incidents.
        """
        root = self._settings.scripts
        try:
            return not (root / script).exists() and root.is_dir() and any(root.iterdir())
        except OSError:
            return False

    def recover(self) -> None:
        """Record the runs and make the messages that a crash prevented."""
        found = dict(self._expected())
        for run in found.values():
            if run:
                self.record(run)
        for name, known in self.incident_states().items():
            if not known.expected and not known.outgoing:
                continue
            with locked(self._lock, root=self._settings.data):
                state = self._state(name)
                waiting = [test_id for test_id in state.expected if test_id not in found]
                if waiting != state.expected:  # the others do not read
                    state = incidents.with_expected(state, waiting)
                    self._save(state)
                self._queue_messages(state, None)

    def missing(self) -> list[Run]:
        """Return the saved runs that were not recorded because of a crash."""
        return [run for _, run in self._expected() if run]

    def _expected(self) -> Iterator[tuple[str, Run | None]]:
        """Yield the expected runs that were saved: the id, and the run or None if it is damaged."""
        for test_id in [i for s in self.incident_states().values() for i in s.expected]:
            try:
                if self._store.run_path(test_id).exists():
                    yield test_id, self._loaded(test_id)
            except K6dError as error:
                logger.error("run %s is taken in at the next start: %s", test_id, error)

    def _loaded(self, test_id: str) -> Run | None:
        """Return the run; None if it is missing or damaged; K6dError if the disk refuses it."""
        try:
            return self._store.load(test_id)
        except K6dError as error:
            cause = error.__cause__
            refused = isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)
            if refused or isinstance(error, NotAFileError):
                raise
            logger.error("alerts go without run %s: %s", test_id, error)
            return None

    async def keep_reminding(self) -> None:
        """Call `remind` every LOOK_S seconds until cancelled."""
        while True:
            try:
                if await is_reachable(self._settings.scripts):
                    self.remind(datetime.now(UTC))
            except K6dError as error:
                logger.error("no reminders: %s", error)
            await asyncio.sleep(LOOK_S)

    def announce(
        self,
        *,
        key: str,
        script: str,
        subject: str,
        severity: Severity,
        facts: Iterable[tuple[str, str]] = (),
        about: Iterable[str] = (),
    ) -> bool:
        """Put a message without a run, such as a missed schedule, into the outbox once for `key`.

        The receivers of the scripts `about` get it, if there are any, else those of `script`.
        False when the key was used before, the script is muted or the settings exclude it.
        """
        if not self._rules(self._state(script)).notifies(severity):
            return False
        message = notice(
            key=key,
            at=datetime.now(UTC),
            script=script,
            subject=subject,
            severity=severity,
            facts=facts,
            tags=self._tags(tuple(about) or (script,), severity),
        )
        return self._outbox.put(message)

    def _tags(self, scripts: Iterable[str], severity: Severity) -> list[str] | None:
        """Return the tags of a message about all these scripts; None means all receivers."""
        routes, found = self._settings.notify.routes, []
        for script in scripts:
            tags = tags_for(script, severity, routes, self._state(script).notify)
            if tags is None:
                return None
            found += tags
        return list(dict.fromkeys(found))

    def outages(self) -> list[Outage]:
        """Return the open outages."""
        return self._outages.open()

    def incident_states(self) -> dict[str, IncidentState]:
        """Return the incident state of each script; damaged ones are left out."""
        found = {name: _read(name, raw) for name, raw in self._states.all().items()}
        return {name: state for name, state in found.items() if state}

    def _rules(self, state: IncidentState) -> Rules:
        notify = self._settings.notify
        silent = state.notify is False or not (notify.urls or notify.config)
        return Rules(
            open_after=notify.open_after,
            resolve_after=notify.resolve_after,
            min_severity=notify.min_severity,
            remind_s=notify.remind,
            muted=silent or bool(self.mutes.of(state.script, datetime.now(UTC))),
        )

    def _queue_messages(self, state: IncidentState, run: Run | None) -> None:
        """Put the outgoing announcements into the outbox, then remove them from the state."""
        done = []
        for announcement in state.outgoing:
            newest = run if run and run.test_id == announcement.run else None
            try:
                context = self._context(announcement, state)
                newest = newest or self._loaded(announcement.run)
                self._outbox.put(
                    compose(announcement, newest, context)
                    if newest
                    else compose_without_run(announcement, context)
                )
            except K6dError as error:
                logger.error("incident %s is not notified yet: %s", announcement.incident.id, error)
                continue
            done.append(announcement.key)
        if done:
            self._save(incidents.without_announcements(state, done))

    def _context(self, announcement: Announcement, state: IncidentState) -> Context:
        notify, incident = self._settings.notify, announcement.incident
        ad_hoc = bool(incident.overrides)
        history = self._store.history(incident.script, limit=MAX_POINTS, overrides=ad_hoc)
        over = announcement.change is Change.RESOLVED
        until = announcement.run if over else incident.first_run
        before = (row for row in history if row["test_id"] < until)
        previous = next((row for row in before if _is_own(row, failing=over)), None)
        earlier = self._loaded(previous["test_id"]) if previous else None
        after = earlier.timestamp if earlier else incident.since - timedelta(days=1)
        return Context(
            data=self._settings.data,
            scripts=self._settings.scripts,
            history=history,
            previous=earlier,
            marks=between(marks(self._store), incident.script, after=after, until=incident.since),
            tags=tags_for(incident.script, incident.peak, notify.routes, state.notify),
            dashboard=self._dashboard(),
        )

    def _dashboard(self) -> tuple[str, str] | None:
        """Return the link's label and address: notify.dashboard, else the running daemon's own.

        This process may be the daemon, or `k6d run` beside one.
        """
        if self._settings.notify.dashboard:
            return "Open the dashboard", self._settings.notify.dashboard
        api = self._settings.api
        running = daemon_of(self._settings.data) if api.enabled else None
        if running is None or running.no_api:
            return None
        machine = socket.gethostname()
        host = machine if api.host in ANYWHERE else api.host
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        here = f" (on {machine} itself)" if host in ITSELF else ""
        return f"Open the dashboard{here}", f"http://{host}:{api.port}"

    def _state(self, script: str) -> IncidentState:
        raw = self._states.get(script)
        return (_read(script, raw) if raw else None) or IncidentState(script=script)

    def _save(self, state: IncidentState) -> None:
        self._states.put(state.script, _document(state))
        self.recoveries.record(state.last)


def _document(state: IncidentState) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(orjson.dumps(state, option=orjson.OPT_UTC_Z))
    return document


@cache
def _adapter() -> TypeAdapter[IncidentState]:
    return TypeAdapter(IncidentState)


def _read(name: str, raw: Mapping[str, Any]) -> IncidentState | None:
    try:
        return _adapter().validate_python(raw)
    except ValidationError:
        logger.error("what was known of incidents of %s does not parse; it starts anew", name)
        return None


def _is_own(row: Mapping[str, Any], *, failing: bool) -> bool:
    """Return whether the run is healthy (or `failing`), and has the script's own workload."""
    if row["overrides"] or row["trigger"] == Trigger.CONFIRMATION:
        return False
    if failing:
        return bool(row["anomalies"])
    return row["outcome"] == Outcome.COMPLETED and not row["anomalies"]
