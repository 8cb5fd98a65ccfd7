"""False alarms in unchanged runs, and whether +20 % at one of five pages is seen, by trial.

    .venv/bin/python tests/benchmarks/regression_trials.py --runs 100 --trials 10 --seconds 10

Real k6 runs through the pipeline, as `k6d run` makes them. Results are kept in --home as they come:
the same command again goes on where it was ended. With the defaults about 18 minutes for the runs
and 6 for the trials: 200 requests a page, for with 60 the p95 alone strays by 18 %. On a machine
that does anything else the generator is saturated; k6d says so and judges nothing.
"""
# ruff: noqa: T201  (a table is what it is for)

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stage import Table, verdict

from k6d.cli.render.baseline import comparison_table
from k6d.core.model import FindingKind
from k6d.storage.store import Store
from support.busy import busy_neighbour
from support.shop import PAGES, SCRIPT, Shop, run_shop, settings_for

if TYPE_CHECKING:
    from k6d.core.model import Run
    from k6d.settings import Settings

# The port is another one when the trials go on later; the script must not change with it.
URL = "${__ENV.SHOP}"


def main() -> None:
    """As `measure`, with choices, and kept to go on with."""
    figures = _measure(_arguments(sys.argv[1:]))
    print(f"\n{figures.title}")
    for line in (*(" | ".join(row) for row in figures.rows), *figures.notes):
        print(line)


def measure(work: Path) -> Table:
    """Unchanged runs first; they are the history that each trial starts from."""
    return _measure(_arguments(["--home", str(work)]))


def _measure(given: argparse.Namespace) -> Table:
    given.home.mkdir(parents=True, exist_ok=True)
    longest_s = 100 * given.seconds * (given.runs + given.trials)
    busy = busy_neighbour(processes=given.busy, seconds=longest_s)
    with busy, Shop(seed=given.seed) as shop:
        shop.write(given.home / "unchanged" / "scripts", seconds=given.seconds, url=URL)
        loaded = settings_for(given.home / "unchanged", **_given(given, shop))
        _unchanged(loaded, given.runs)
        for number in range(given.trials):
            _trial(shop, given, number)
    return _figures(given)


def _arguments(given: list[str]) -> argparse.Namespace:
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--runs", type=int, default=100, help="unchanged runs")
    words.add_argument("--trials", type=int, default=10, help="changes to be seen")
    words.add_argument("--seconds", type=float, default=10.0, help="length of a run")
    words.add_argument("--history", type=int, default=30, help="unchanged runs before each change")
    words.add_argument("--step", type=float, default=20.0, help="the change, in percent")
    words.add_argument("--within", type=int, default=1, help="runs in which it shall be told")
    words.add_argument("--busy", type=int, default=0, help="other processes that keep CPUs full")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--max-cpu", type=float, default=95.0, help="compare.max_cpu")
    words.add_argument("--home", type=Path, default=Path("/tmp/k6d-trials"), help="kept there")
    return words.parse_args(given)


def _given(given: argparse.Namespace, shop: Shop) -> dict[str, object]:
    return {"compare__max_cpu": given.max_cpu, "k6__env": {"SHOP": shop.target.url}}


def _own(loaded: Settings) -> list[Run]:
    """The runs, oldest first, without their re-runs."""
    store = Store(loaded.data)
    documents = reversed(store.history(SCRIPT, limit=None))
    runs = [store.load(document["test_id"]) for document in documents]
    return [run for run in runs if run.confirms is None]


def _unchanged(loaded: Settings, wanted: int) -> None:
    """Runs that nothing distinguishes, until enough are comparable, or as many again are not."""
    for number in range(len(_own(loaded)), 2 * wanted):
        if sum(run.comparable for run in _own(loaded)) >= wanted:
            break
        run = run_shop(loaded)
        verdict = run.anomaly_analysis
        told = verdict.issues or verdict.noise or verdict.doubts[:1] or ["healthy"]
        print(f"unchanged {number + 1}/{wanted}: {told[0]}", flush=True)


def _trial(shop: Shop, given: argparse.Namespace, number: int) -> None:
    """Runs with one page slower, after the first unchanged ones; what came of it is kept."""
    kept = given.home / f"trial-{number}.json"
    if kept.exists():
        return
    home, page = given.home / f"trial-{number}", PAGES[number % len(PAGES)]
    shutil.rmtree(home, ignore_errors=True)
    shop.write(home / "scripts", seconds=given.seconds, url=URL)
    loaded = settings_for(home, **_given(given, shop))
    store = Store(loaded.data)
    unchanged = _own(settings_for(given.home / "unchanged"))
    for known in [run for run in unchanged if run.comparable][: given.history]:
        store.save(known)
    shop.slow[page] = 1 + given.step / 100
    for runs in range(1, given.within + 1):  # noqa: B007  (told below)
        run = run_shop(loaded)
        found = [f for f in run.anomaly_analysis.findings if f.kind is FindingKind.REGRESSION]
        if found:
            break
    shop.slow.clear()
    row = {
        "page": page,
        "runs": runs,
        "named": bool(found) and f"GET {page}" in (found[0].endpoint or found[0].message),
        "confirmed": found[0].confirmed if found else None,
        "told": found[0].message if found else "; ".join(run.anomaly_analysis.noise) or "nothing",
    }
    kept.write_bytes(orjson.dumps(row))
    shutil.rmtree(home)
    print(f"trial {number + 1}/{given.trials}: +{given.step:g} % at {page}: {row['told']}")
    if not found:
        from rich.console import Console

        Console(width=160).print(comparison_table(run, None, run.comparisons))


def _figures(given: argparse.Namespace) -> Table:
    runs = _own(settings_for(given.home / "unchanged"))
    saturated = [run for run in runs if run.generator.reasons]
    runs = [run for run in runs if not run.generator.reasons][: given.runs]
    judged = [run for run in runs if any(c.state != "learning" for c in run.comparisons)]
    alarms = [run for run in runs if run.anomaly_analysis.anomalies_detected]
    noise = [run for run in runs if run.anomaly_analysis.noise]
    rows = [orjson.loads(path.read_bytes()) for path in sorted(given.home.glob("trial-*.json"))]
    right = [row for row in rows if row["named"] and row["confirmed"]]
    when = "in the first run" if given.within == 1 else f"within {given.within} runs"
    caught = f"+{given.step:g} % at one of five, caught {when}, confirmed, named"
    enough = 10 * len(right) >= 9 * len(rows)
    return Table(
        title="Real k6 runs against a shop of five pages",
        columns=["figure", "measured", "goal"],
        rows=[
            [
                f"alarms in {len(runs)} unchanged runs, {len(judged)} of them judged",
                str(len(alarms)),
                f"0: {verdict(not alarms)}",
            ],
            ["other runs, of a saturated generator", str(len(saturated)), ""],
            ["runs whose re-runs found noise", str(len(noise)), ""],
            [caught, f"{len(right)} of {len(rows)}", f"≥ 9 of 10: {verdict(enough)}"],
        ],
        notes=[
            *(f"Alarm in {run.test_id}: {run.anomaly_analysis.issues[0]}" for run in alarms),
            *(f"Not caught at {row['page']}: {row['told']}" for row in rows if row not in right),
            f"Runs of {given.seconds:g} s, {given.history} of them before each change.",
        ],
    )


if __name__ == "__main__":
    main()
