"""The checks of `k6d doctor`: each reports what it found and, for a problem, the remedy."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from k6d.alerts.alerting import Alerts
from k6d.alerts.delivery import apprise_client
from k6d.alerts.delivery.addressing import addresses
from k6d.alerts.outbox import Outbox
from k6d.alerts.records import State
from k6d.cli.check import Check, fine, problem
from k6d.core.text import plural
from k6d.execution.local import discovery, secret_files, variables
from k6d.jobs.set_aside import set_aside
from k6d.settings import secret_settings
from k6d.storage.damage import damages
from k6d.storage.data_folder import LinkError, refuse_links
from k6d.storage.disk import free_mib, no_room
from k6d.storage.locks import daemon_of
from k6d.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k6d.alerts.records import Receiver
    from k6d.settings import Settings


async def examine(settings: Settings, *, probe: bool = False) -> list[Check]:
    """Run all checks; they change nothing and send nothing. A `probe` runs a pod on the cluster."""
    data = _data(settings)
    k6, version = await _k6(settings.k6.path)
    return [
        _settings(settings),
        k6,
        *_variables(settings.k6.env),
        *_secret_files(settings),
        _scripts(settings.scripts),
        data,
        *_damages(settings.data),
        *_readable_by_others(settings.config_file),
        *await _receivers(settings),
        *(_undelivered(Outbox(settings.data)) if data.ok else ()),
        *(_aside(settings.data) if data.ok and settings.data.is_dir() else ()),
        *(_outages(settings) if data.ok and settings.data.is_dir() else ()),
        _daemon(settings.data),
        *await _target(settings),
        *await _cluster(settings, k6_version=version, probe=probe),
    ]


def _settings(settings: Settings) -> Check:
    """Report the settings file; an unknown name that looks like a setting is a problem."""
    if settings.warnings:
        remedy = "correct its name, or unset it; config/k6d.env.example has all names"
        seen = "; ".join(settings.warnings)
        return problem("settings", seen, remedy)
    seen = str(settings.config_file) if settings.config_file else "no k6d.toml, none is needed"
    return fine("settings", seen)


async def _k6(configured: Path | None) -> tuple[Check, str | None]:
    """Report k6; the second value is its version."""
    try:
        binary = await discovery.find(configured)
    except discovery.K6UnavailableError as error:
        return problem("k6", "not usable", str(error)), None
    newer = binary.release > discovery.NEWEST_TRIED
    newest = ".".join(map(str, discovery.NEWEST_TRIED))
    warning = f"k6d was tried with k6 up to {newest}; this one is used, look at its first runs"
    seen = f"{binary.version} at {binary.path}"
    return fine("k6", seen, warning if newer else None), binary.version


def _variables(env: Mapping[str, str]) -> list[Check]:
    """Report the variables in k6.env that have no effect."""
    remedy = "take it out of k6.env"
    return [problem("k6.env", line, remedy) for line in variables.left_out(env)]


def _secret_files(settings: Settings) -> list[Check]:
    """Report a file of k6.secret_sources that k6 cannot read."""
    sources = (source.get_secret_value() for source in settings.k6.secret_sources)
    name, _, why = (secret_files.problem(sources) or "").partition(": ")
    seen, _, remedy = why.partition("; ")
    return [problem(name, seen, remedy)] if name else []


def _scripts(folder: Path) -> Check:
    if not folder.is_dir():
        remedy = f"make it (mkdir -p {folder}) or name another with --scripts; k6d waits for it"
        return problem("scripts folder", f"{folder} does not exist", remedy)
    if not os.access(folder, os.R_OK | os.X_OK):
        remedy = f"let this user read it: chmod u+rx {folder}"
        return problem("scripts folder", f"{folder} is not readable", remedy)
    return fine("scripts folder", str(folder))


def _data(settings: Settings) -> Check:
    folder = place = settings.data
    try:
        refuse_links(folder)
    except LinkError as error:
        seen, _, remedy = str(error).partition("; ")
        return problem("data folder", seen, remedy)
    try:
        place = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryFile(
            dir=place
        ) as file:  # does not create the folder: as root, its owner would be root
            file.write(b"k6d")
    except OSError as error:
        remedy = "give this user the folder (chown), free some space, or name another with --data"
        seen = f"{place} is not writable: {error.strerror}"
        return problem("data folder", seen, remedy)
    if foreign := _unreadable_state(folder):
        seen = f"{foreign} is not readable: a command of another user wrote it"
        remedy = f"chown -R --reference={folder} {folder}; then run k6d as that user only"
        return problem("data folder", seen, remedy)
    if full := no_room(settings, free_mib(folder)):
        remedy = "nothing starts until then; retention.least_free_mib says how much must be free"
        return problem("data folder", full, remedy)
    seen = str(folder) if place == folder else f"{folder}, not made yet"
    return fine("data folder", seen)


def _unreadable_state(data: Path) -> Path | None:
    """Return a state that this user may not read; `k6d run` as root leaves such files."""
    for path in sorted((data / "state").glob("*.json")):
        try:
            if path.is_file():
                path.open("rb").close()
        except PermissionError:
            return path
        except OSError:
            continue  # damaged or gone: reported elsewhere
    return None


def _aside(data: Path) -> list[Check]:
    """Report the scripts that do not run because k6d died during each of their runs."""
    return [
        problem(
            "script",
            f"{death.script} is set aside: k6d died {death.deaths} times in a row in its runs",
            "change it, or k6d run it: if k6d outlives that, it runs by itself again",
        )
        for death in set_aside(Store(data))
    ]


def _outages(settings: Settings) -> list[Check]:
    """Report what keeps scripts from a verdict: no network, no k6, a module server that is down."""
    remedy = "the daemon runs them again automatically, at least once an hour; see 'k6d history'"
    alerts = Alerts(settings, Store(settings.data))
    return [problem("outage", outage.line, remedy) for outage in alerts.outages()]


def _damages(data: Path) -> list[Check]:
    """Report damaged files until somebody removes the renamed file."""
    return [
        problem(
            "data folder",
            f"{damage.path.name} is damaged: {damage.meaning}",
            f"if nothing of it is wanted any more: rm -r {damage.path}",
        )
        for damage in damages(data)
    ]


def _readable_by_others(config_file: Path | None) -> list[Check]:
    """Report files with secrets that other users of the machine can read."""
    checks = []
    for file in filter(None, (Path(".env"), config_file)):
        try:
            is_open = file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
            secrets = secret_settings(file) if is_open else []
        except OSError:
            continue
        if secrets:
            seen = f"other users of this machine can read {file}, with {', '.join(secrets)} in it"
            remedy = f"chmod 600 {file}, owned by the user that runs k6d"
            checks.append(problem("settings", seen, remedy))
    return checks


def _daemon(data: Path) -> Check:
    """Report whether a daemon runs; it is not a problem if none does."""
    if running := daemon_of(data):
        seen = f"runs, pid {running.pid}"
        if not running.no_api:
            return fine("daemon", seen)
        remedy = "until that is mended, messages have no link to a run"
        return problem("daemon", f"{seen}, without API and dashboard: {running.no_api}", remedy)
    remedy = "start it with k6d serve, or as a service: see systemd/"
    return fine("daemon", f"none serves {data}", remedy)


async def _target(settings: Settings) -> list[Check]:
    """Ask the Prometheus that has the target's own numbers, if there is one."""
    if not settings.metrics and settings.prometheus.url is None:
        return []
    from k6d.cli.target_checks import target_checks  # for those with a Prometheus alone

    return await target_checks(settings)


async def _cluster(settings: Settings, *, k6_version: str | None, probe: bool) -> list[Check]:
    """Check the cluster if tests run there; a probe needs no bad check before it."""
    if settings.k6.executor != "kubernetes" and not settings.kubernetes.receiver_url:
        remedy = "set kubernetes.receiver_url, and k6.executor: see k6d help kubernetes"
        return [problem("probe", "no cluster is configured", remedy)] if probe else []
    from k6d.cli import cluster_checks, cluster_probe  # heavy, for those with a cluster alone

    checks = await cluster_checks.cluster_checks(settings, k6_version=k6_version)
    if probe and all(check.ok for check in checks):
        checks.append(await cluster_probe.probe(settings))
    return checks


async def _receivers(settings: Settings) -> list[Check]:
    notify = settings.notify
    if not notify.urls and not notify.config:
        remedy = "name at least one Apprise URL: K6D_NOTIFY__URLS, or notify.urls in k6d.toml"
        return [fine("notifications", "none configured", remedy)]
    directory = await apprise_client.directory(addresses(notify, key="doctor"))
    remedy = "messages wait for it until it is mended; see https://appriseit.com/services/"
    found = [fine("notification", _receiver(receiver)) for receiver in directory.receivers]
    return found + [
        problem("notification", f"{label}: {why}", remedy) for label, why in directory.problems
    ]


def _receiver(receiver: Receiver) -> str:
    tags = f" (tags {', '.join(receiver.tags)})" if receiver.tags else ""
    return receiver.label + tags


def _undelivered(outbox: Outbox) -> list[Check]:
    """Report undeliverable messages, and those that wait for a failing or unknown receiver."""
    checks = []
    if lost := outbox.undeliverable():
        seen = f"{plural(len(lost), 'message')} could not be delivered"
        remedy = "k6d outbox says why; k6d outbox --retry tries again, --forget removes them"
        checks.append(problem("outbox", seen, remedy))
    if damaged := outbox.unreadable():
        seen = f"{plural(len(damaged), 'message')} did not read and will not be delivered"
        remedy = f"k6d incidents says what is open; then remove {damaged[0]}"
        checks.append(problem("outbox", seen, remedy))
    reasons: dict[str, str] = {}
    for kept in outbox.waiting():
        if kept.problem:
            reasons["a receiver that is not known"] = kept.problem
        for found in (kept.deliveries or {}).values():
            if found.state is State.WAITING and found.error:
                reasons[found.label] = found.error
    for label, reason in reasons.items():
        checks.append(
            problem(
                "outbox",
                f"{label}: {reason}",
                "k6d tries again by itself; k6d notify-test tells whether it would work now",
            )
        )
    return checks
