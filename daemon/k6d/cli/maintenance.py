"""Commands for upkeep: doctor, reindex, settings, schedule, prune, export, import."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path  # noqa: TC003  (Typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from k6d.cli.common import (
    ANOMALOUS,
    HEALTHY,
    AsJson,
    Config,
    Data,
    Scripts,
    load_settings,
    open_store,
    print_json,
    say,
    terminal,
)
from k6d.core.errors import K6dError
from k6d.core.text import plural

if TYPE_CHECKING:
    from k6d.settings import Settings
    from k6d.storage.store import Store

commands = typer.Typer()


@commands.command()
def doctor(
    probe: Annotated[
        bool, typer.Option("--probe", help="Also run a test of one iteration on the cluster.")
    ] = False,
    as_json: AsJson = False,
    scripts: Scripts = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Check k6, folders, settings, notification URLs, a cluster; say how to mend them."""
    import asyncio

    from k6d import settings
    from k6d.cli.doctor import examine

    loaded = settings.load(config, scripts=scripts, data=data)
    checks = asyncio.run(examine(loaded, probe=probe))
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        console = terminal()
        for check in checks:
            mark = "[green]✓[/]" if check.ok else "[red]✗[/]"
            console.print(f"{mark} {check.name}:", check.seen, markup=True, soft_wrap=True)
            if check.remedy:
                console.print(f"    → {check.remedy}", style="dim", markup=False, soft_wrap=True)
    sys.exit(HEALTHY if all(check.ok for check in checks) else ANOMALOUS)


@commands.command()
def reindex(data: Data = None, config: Config = None) -> None:
    """Rebuild the index from the run files."""
    from rich.progress import Progress

    store = open_store(load_settings(config, data=data))
    console = terminal(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("reading run files")
        total = store.reindex(lambda done, of: progress.update(bar, completed=done, total=of))
    say(f"{total} runs indexed")


@commands.command(name="settings")
def show_settings(
    name: Annotated[
        str | None, typer.Argument(help="Only settings whose name contains this.")
    ] = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only settings that are not defaults.")
    ] = False,
    as_json: AsJson = False,
    scripts: Scripts = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """List the settings in force, and the file or variable that each comes from."""
    from k6d.cli.render.settings import settings_table
    from k6d.settings.in_force import in_force

    found = in_force(load_settings(config, scripts=scripts, data=data))
    if name and not any(name in one.setting for one in found):
        raise K6dError(f"no setting is called {name}; 'k6d settings' lists them")
    shown = [one for one in found if name is None or name in one.setting]
    shown = [one for one in shown if not (changed and one.is_default)]
    if as_json:
        print_json([asdict(one) for one in shown])
    elif shown:
        terminal().print(settings_table(shown))
    else:
        say("all settings are defaults")


@commands.command()
def schedule(
    limit: Annotated[
        int, typer.Option("--next", min=1, help="How many starts for each script.")
    ] = 1,
    as_json: AsJson = False,
    scripts: Scripts = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Show schedules: the next starts, the last ones, and missed starts with the reason."""
    from k6d.cli.render.schedule import schedule_table
    from k6d.jobs.scheduler import held, said
    from k6d.storage.locks import daemon_of

    loaded = load_settings(config, scripts=scripts, data=data)
    store, now = open_store(loaded), datetime.now(UTC)
    rows = _rows(loaded, store, now, limit=limit)
    if as_json:
        print_json({"held": held(loaded, now), "schedules": rows})
    elif not rows:
        say("nothing runs by the clock: see [schedule] of k6d.toml, or ext.k6d.schedule")
    else:
        console = terminal()
        console.print(schedule_table(rows, width=console.width))
        for missed in (m for row in rows for m in row["missed"]):
            console.print(said(missed), style="dim", markup=False, soft_wrap=True)
        if not daemon_of(loaded.data):
            none = f"no daemon serves {loaded.data}: nothing starts before 'k6d serve' does"
            console.print(none, markup=False, soft_wrap=True)
        if why := held(loaded, now):
            console.print(f"nothing starts now: {why}", markup=False, soft_wrap=True)


def _rows(loaded: Settings, store: Store, now: datetime, *, limit: int) -> list[dict[str, Any]]:
    from k6d.jobs.schedule import upcoming
    from k6d.jobs.scheduler import entries, missed_by, plans
    from k6d.jobs.suites import scripts_of
    from k6d.scripts.registry import Registry

    kept, missed = entries(store), missed_by(store)
    rows = []
    for script, plan in sorted(plans(loaded, Registry(store, loaded.scripts).all(), store).items()):
        names = scripts_of(script, loaded)
        ran = [one for name in names for one in store.history(name, 1, trigger="scheduled")]
        rows.append({
            "script": script,
            "rule": plan.rule,
            "next": upcoming(plan, kept.get(script), now, limit=limit),
            "last": max(ran, key=itemgetter("test_id"), default=None),
            "missed": missed.get(script, []),
        })  # fmt: skip
    return rows


@commands.command()
def prune(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be removed.")
    ] = False,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Remove the data that the retention settings do not keep; print the freed space."""
    from k6d.storage import prune as pruning

    loaded = load_settings(config, data=data)
    store = open_store(loaded)
    done = pruning.prune(loaded, store, now=datetime.now(UTC), dry_run=dry_run)
    if as_json:
        print_json(asdict(done))
    else:
        say(pruning.summary(done, dry_run=dry_run))
        for run in done.removed if dry_run else ():
            say(f"  {run.test_id}  {run.script}  {run.reason}")


@commands.command(name="export")
def export_data(
    file: Annotated[Path, typer.Argument(help="The archive to write, such as k6d.tar.gz.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Back up runs, snapshots and state to one archive; the daemon may be running."""
    from k6d.storage import backup

    loaded = load_settings(config, data=data)
    count = backup.export(loaded.data, file)
    say(f"{plural(count, 'run')} in {file}")


@commands.command(name="import")
def import_data(
    file: Annotated[
        Path,
        typer.Argument(
            help="An archive of 'k6d export', or the original service's SQLite file, folder of "
            "JSON backups, or TinyDB file."
        ),
    ],
    as_baseline: Annotated[
        bool,
        typer.Option(
            help="Compare later runs with the imported ones: they ran on this machine, on this k6."
        ),
    ] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Import an archive or the original service's runs; existing runs are never replaced."""
    from k6d.storage import backup
    from k6d.storage.locks import only_daemon

    loaded = load_settings(config, data=data)
    store = open_store(loaded)
    with only_daemon(loaded.data):
        if not (file.is_file() and backup.is_archive(file)):
            _take_over(file, loaded, store, as_baseline=as_baseline)
            return
        if as_baseline:
            raise K6dError(f"{file}: --as-baseline is for data of the original service")
        done = backup.restore(loaded.data, file, store)
    say(
        f"{plural(done.runs, 'run')}, {plural(done.snapshots, 'snapshot')} and "
        f"{plural(done.states, 'state')} restored; {done.present:,} were there already"
    )
    for name in done.different:
        say(f"  {name} differs and was left as it is")


def _take_over(source: Path, loaded: Settings, store: Store, *, as_baseline: bool) -> None:
    """Import the original service's data, and print the result."""
    from k6d.cli.legacy_import import take_over
    from k6d.cli.legacy_snapshots import Baselines
    from k6d.settings import redactor_of

    baseline = Baselines(loaded, store) if as_baseline else None
    done = take_over(source, store, baseline=baseline, redactor=redactor_of(loaded))
    skipped = f"; {len(done.skipped):,} left out:" if done.skipped else ""
    say(f"{plural(done.new, 'run')} taken over; {done.present:,} were there already{skipped}")
    for place, why in done.skipped:
        say(f"  {place}: {why}")
    if done.unknown_error_rate:
        runs = plural(done.unknown_error_rate, "run")
        say(f"the error rate of {runs} is unknown: the original stored 0 for every run")
    if as_baseline:
        say(f"{plural(done.baseline, 'run')} are compared with later ones")
        for why, count in done.no_baseline.most_common():
            say(f"  {count:,} not: {why}")
