"""Commands for baselines: compare, trend, accept, backtest, replay."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from k6d.cli.common import (
    AsCsv,
    AsJson,
    Config,
    Data,
    OneScript,
    RunId,
    ScriptName,
    Tag,
    known_script,
    load_settings,
    open_store,
    print_csv,
    print_json,
    run_named,
    say,
    tags_of,
    terminal,
    variables,
)
from k6d.cli.completion import known_runs
from k6d.cli.run import finish, under_way
from k6d.core.errors import K6dError
from k6d.core.terms import VARIABLE, Outcome, Trigger
from k6d.storage.retention import HISTORY_RUNS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from k6d.analysis.comparison import Past
    from k6d.core.mark import Mark
    from k6d.core.model import Comparison, Run
    from k6d.settings import Settings
    from k6d.storage.store import Store

commands = typer.Typer()

MAKE_SERIES = "requests, checks and custom metrics with a threshold make them"


@commands.command()
def compare(
    after: RunId = "latest",
    before: Annotated[
        str | None,
        typer.Argument(
            metavar="BEFORE",
            help="The run to compare with; “pinned”: the script's newest pinned run; without it, "
            "the baseline.",
            autocompletion=known_runs,
        ),
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Compare a run with its baseline, or with another run, series by series."""
    from k6d.analysis.comparison import between
    from k6d.cli.render.baseline import comparison_table

    loaded = load_settings(config, data=data)
    store = open_store(loaded)
    if before and "=" in before and "=" in after:
        _compare_tagged(after, before, loaded, as_json=as_json, as_csv=as_csv)
        return
    run = store.load(run_named(after, loaded))
    other = store.load(_before(before, run, loaded)) if before else None
    if run.confirms and not other:
        run = store.load(
            run.confirms
        )  # that run was compared together with the runs that confirm it
    found = between(run, other) if other else run.comparisons
    if as_json:
        print_json([asdict(comparison) for comparison in found])
        return
    if as_csv:
        print_csv([asdict(comparison) for comparison in found])
        return
    if not found:
        why = _why_not(run) if other is None else f"it shares no series with run {other.test_id}"
        raise K6dError(f"run {run.test_id} was not compared: {why}")
    console = terminal()
    console.print(comparison_table(run, other, found))
    if other and (happened := _between(other, run, store)):
        console.print(f"in between: {happened}", style="dim", markup=False)
    for line in [*run.anomaly_analysis.doubts, *run.anomaly_analysis.noise]:
        console.print(line, style="dim", markup=False)


def _between(before: Run, after: Run, store: Store) -> str:
    """Return the marks between two runs in words; "" without any."""
    from k6d.storage.marks import between_runs

    found = between_runs(before, after, store)
    return "; ".join(f"“{mark.text}”, {mark.at:%Y-%m-%d %H:%M} UTC" for mark in found)


def _compare_tagged(
    after: str, before: str, loaded: Settings, *, as_json: bool, as_csv: bool
) -> None:
    """Compare the runs with the tags `after` with those that have the tags `before`."""
    from k6d.cli.render.baseline import comparison_table
    from k6d.core.text import plural
    from k6d.scripts.tagged import compare_groups, tags_in

    store = open_store(loaded)
    found = compare_groups(
        tags_in(after) or {},
        tags_in(before) or {},
        store,
        settings=loaded.compare,
    )
    rows = [asdict(one) for one in found.comparisons]
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(rows)
    else:
        console = terminal()
        console.print(comparison_table(found.after, found.before, found.comparisons))
        said = f"{plural(found.runs, 'run')} with {after} against {found.earlier:,} with {before}"
        console.print(said, style="dim", markup=False)
        if found.earlier < loaded.compare.min_runs:
            few = f"only the newest of each: {loaded.compare.min_runs} runs make a baseline"
            console.print(few, style="dim", markup=False)


def _before(given: str, run: Run, loaded: Settings) -> str:
    """Return the id of the run to compare with; “pinned” is the script's newest pinned run."""
    from k6d.storage.pinned import pins

    if given != "pinned":
        return run_named(given, loaded)
    for one in pins(open_store(loaded)):
        if one.script == run.script and one.run != run.test_id:
            return one.run
    raise K6dError(f"no run of {run.script} is pinned; 'k6d pin RUN' pins one")


def _why_not(run: Run) -> str:
    if run.execution.outcome is not Outcome.COMPLETED:
        return f"its outcome is “{run.execution.outcome}”"
    if run.snapshot is None:
        return "its workload is not known"
    if not run.series:
        return f"it has no series; {MAKE_SERIES}"
    return "all of its requests failed" if not run.comparable else "compare.enabled was false"


@commands.command()
def trend(
    script: OneScript,
    metric: Annotated[
        str,
        typer.Option(
            help="A series, such as response_time_p95 or “error_rate GET /cart”, or a title."
        ),
    ] = "response_time_p95",
    workload: Annotated[
        str, typer.Option(help="The id of a workload, or its start; “own”: the script's own.")
    ] = "own",
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Draw one series of a script over its runs, with baseline, band and changes of level."""
    from k6d.analysis.change_point import shifts
    from k6d.analysis.series import describe
    from k6d.cli.render.baseline import trend_chart
    from k6d.core.text import plural
    from k6d.storage.workloads import OWN, find_workload, workloads

    loaded = load_settings(config, data=data)
    store = open_store(loaded)
    name = known_script(script, loaded)
    known = workloads(store, name)
    chosen = find_workload(known, workload)
    metric = _key(metric, name, store, chosen)
    imported = _imported(name, metric, store) if chosen == OWN else {}
    compared, band = _compared_points(
        name, metric, loaded, store, alone=not imported, workload=chosen
    )
    points = sorted({**imported, **compared}.items())
    runs = [
        {"test_id": test_id, "value": value, "imported": test_id in imported}
        for test_id, value in points
    ]
    if as_csv:
        print_csv(runs)
        return
    if as_json:
        found = shifts([value for _, value in points], floor=describe(metric).floor)
        changes = [{"since": points[one.index][0], **asdict(one)} for one in found]
        drawn = {"script": name, "metric": metric, "runs": runs, "latest": band}
        drawn["marks"] = [asdict(mark) for mark in _marks(name, points, store)]
        drawn |= {"workload": chosen, "workloads": [asdict(one) for one in known]}
        print_json(drawn | {"changes": changes})
        return
    console = terminal()
    console.print(trend_chart(name, metric, points, band, width=console.width))
    for mark in _marks(name, points, store):
        console.print(f"marked {mark.at:%Y-%m-%d %H:%M} UTC: {mark.text}", markup=False)
    for one in known if len(known) > 1 else ():
        about = f"{one.id}  {plural(one.runs, 'run')}, {one.label}"
        console.print(f"--workload {about}", style="dim", markup=False)


def _key(metric: str, script: str, store: Store, workload: str) -> str:
    """Return the key of a series; the title of a number of the target stands for its key."""
    from k6d.storage.workloads import newest_comparable

    newest = newest_comparable(store, script, workload)
    target = store.load(newest["test_id"]).target if newest else []
    return next((one.key for one in target if one.title == metric), metric)


def _marks(script: str, points: Sequence[tuple[str, float]], store: Store) -> list[Mark]:
    """Return the script's marks since the first of these runs."""
    from datetime import UTC, datetime

    from k6d.core.mark import between
    from k6d.storage.marks import marks
    from k6d.storage.record import started

    if not points:
        return []
    return between(marks(store), script, after=started(points[0][0]), until=datetime.now(UTC))


@commands.command()
def accept(
    script: OneScript,
    reason: Annotated[str, typer.Option(help="The reason, kept for later.")] = "",
    data: Data = None,
    config: Config = None,
) -> None:
    """Accept the present level of a script as its new baseline.

    An incident that was only about this level is resolved.
    """
    from k6d.alerts.alerting import Alerts

    loaded = load_settings(config, data=data)
    name = known_script(script, loaded)
    alerts = Alerts(loaded, open_store(loaded))
    since, ended = alerts.accept(name, reason)
    say(f"accepted: {name} is compared with its runs since {since}")
    if ended:
        say(f"its incident {ended.id} is resolved{', which is told' if ended.told else ''}")
    elif (state := alerts.incident_states().get(name)) and state.incident:
        said = "; ".join(state.incident.problems.values())
        say(f"its incident stays open, for more than its level changed: {said}")


@commands.command()
def backtest(
    script: ScriptName = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting to try, such as compare.least_percent=15."),
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Judge the stored history with other settings: show alarms, and the added steps found."""
    from k6d.analysis.series import alerting
    from k6d.cli.render.baseline import backtest_report

    loaded = load_settings(config, data=data, **_tried(changes or []))
    store = open_store(loaded)
    current = load_settings(config, data=data) if changes else None
    names = [script] if script else sorted({d["script"] for d in store.scripts()})
    results = []
    for name in names:
        try:
            run, past = _history(name, loaded, store)
        except K6dError:
            if script:
                raise
            continue
        judged_again = partial(_judged_again, past, alerting=alerting(run.target))
        result = {"script": run.script, "runs": len(past), **judged_again(loaded)}
        if current:
            result["current"] = judged_again(current)
        results.append(result)
    if as_json:
        print_json(results)
    elif not results:
        say(f"no comparable runs in {loaded.data} yet")
    else:
        terminal().print(backtest_report(results))


def _judged_again(
    past: Sequence[Past], settings: Settings, *, alerting: Collection[str]
) -> dict[str, object]:
    """Return the alarms and the detected steps of a history with these settings."""
    from k6d.analysis.backtest import alarms, power

    needed, least = settings.compare.min_runs, settings.compare.least_percent
    return {
        "alarms": alarms(past, needed=needed, least_percent=least, alerting=alerting),
        "steps": power(past, "response_time_p95", needed=needed, least_percent=least),
    }


@commands.command()
def replay(
    run_id: RunId,
    env: Annotated[list[str] | None, typer.Option(help="K=V for the script's __ENV.")] = None,
    tag: Tag = None,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Run the stored snapshot of an old run again, exactly as it was."""
    loaded = load_settings(config, data=data)
    store = open_store(loaded)
    old = store.load(run_named(run_id, loaded))
    given = variables(env or [])
    missing = [name for name in old.overrides if name.startswith(VARIABLE)]
    if missing and not given:
        names = ", ".join(name.removeprefix(VARIABLE) for name in missing)
        raise K6dError(f"run {old.test_id} had --env {names}, whose values are not kept: give them")
    tags = tags_of(tag)
    result = under_way(
        loaded,
        lambda pipeline, watching: pipeline.replay(old, env=given, tags=tags, watching=watching),
    )
    sys.exit(finish(result, loaded, as_json=as_json))


def _imported(name: str, metric: str, store: Store) -> dict[str, float]:
    """Return a series of a script's imported runs, by their ids."""
    found = store.history(name, HISTORY_RUNS, trigger=Trigger.IMPORTED)
    return {one["test_id"]: one[metric] for one in found if one.get(metric) is not None}


def _compared_points(
    name: str, metric: str, loaded: Settings, store: Store, *, alone: bool, workload: str
) -> tuple[dict[str, float], Comparison | None]:
    """Return a series of the compared runs, by their ids, and the comparison of the newest run.

    K6dError if there are no values and the chart shows no other series (`alone`).
    """
    from k6d.storage.workloads import newest_comparable

    if not alone and not newest_comparable(store, name, workload):
        return {}, None
    run, past = _history(name, loaded, store, workload)
    points = {p.test_id: p.series[metric] for p in past if metric in p.series}
    if alone and not points:
        names = ", ".join(sorted(run.series))
        others = f"; it has: {names}" if names else f", and no other; {MAKE_SERIES}"
        raise K6dError(f"{run.script} has no series {metric!r}{others}")
    compared = (c for c in run.comparisons if f"{c.metric} {c.endpoint or ''}".strip() == metric)
    return points, next(compared, None)


def _history(
    script: str, loaded: Settings, store: Store, workload: str = "own"
) -> tuple[Run, list[Past]]:
    """Return the newest comparable run, and all runs comparable with it; it is the last of them."""
    from k6d.jobs import regression_check
    from k6d.storage.workloads import newest_run

    run = newest_run(store, known_script(script, loaded), workload)
    return run, regression_check.history_of(run, store, root=loaded.scripts, whole=True)


def _tried(changes: list[str]) -> dict[str, object]:
    """Convert "compare.least_percent=15" to a keyword for `settings.load`."""
    given: dict[str, object] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise K6dError(f"--set {change}: should be KEY=VALUE, such as compare.min_runs=10")
        try:
            given[key.strip().replace(".", "__")] = orjson.loads(value)
        except orjson.JSONDecodeError:
            given[key.strip().replace(".", "__")] = value
    return given
