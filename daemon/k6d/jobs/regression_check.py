"""A saved run against the stored history of its script, and the re-runs that confirm a finding.

Gathers the records and leaves judging to `analysis`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from k6d.analysis import comparison, own_trouble, series, wording
from k6d.analysis.comparison import Past
from k6d.analysis.expected import HINT
from k6d.analysis.verdict import judge
from k6d.core.frozen import frozen
from k6d.core.job import ONCE
from k6d.core.measurements import TARGET
from k6d.core.model import CHANGED, INCONCLUSIVE, WORSE, FindingKind, K6dError, Outcome, Trigger
from k6d.scripts.dependencies import kept_paths, paths_now
from k6d.storage.accepted import accepted_level
from k6d.storage.marks import marks as marks_of
from k6d.storage.retention import HISTORY_RUNS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence
    from pathlib import Path

    from k6d.core.mark import Mark
    from k6d.core.model import Comparison, Earlier, Result, Run, Verdict
    from k6d.execution.archive import Script
    from k6d.settings import ScriptSettings, Settings
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

# Series that say nothing of the target by themselves.
BESIDE = {"dropped_iterations", "setup_avg"}
UNREACHED = (FindingKind.UNREACHABLE, FindingKind.NO_NETWORK)
NOTHING_TO_COMPARE = (
    "nothing of it can be compared with earlier runs: it has no requests, no checks and no metric "
    "with a threshold"
)
# However long a regression lasts, so many runs before it say what was normal.
BEFORE_RUNS = 60


@frozen
class Done:
    """A job that ran and whose record is saved; `own` are the script's settings."""

    run: Run
    result: Result
    own: ScriptSettings
    script: Script | None


def is_comparable(run: Run) -> bool:
    """Return whether later runs may be compared with this one; k6's machine must have been idle."""
    generator = run.generator
    return can_compare(run) and not generator.reasons and not generator.doubts


def can_compare(run: Run) -> bool:
    """Return whether a run may be compared with others.

    It ended, it was not run once only, not all of its requests failed, and this machine had a
    network all the time.
    """
    metrics, verdict = run.load or run.metrics, run.anomaly_analysis
    failed_all = bool(metrics.total_requests) and metrics.failed_requests == metrics.total_requests
    expected = any(HINT in remark for remark in verdict.remarks)
    unreachable = any(f.kind in UNREACHED for f in verdict.findings)
    return (
        run.execution.outcome is Outcome.COMPLETED
        and ONCE not in run.overrides
        and run.trigger is not Trigger.CONFIRMATION
        and run.snapshot is not None
        and (expected or not failed_all)
        and not unreachable
        and not run.breakdown.lost_requests
    )


def is_unfinished(run: Run) -> bool:
    """Return whether a person or the end of k6d stopped the run or its confirming re-runs.

    A run that k6 itself or a lack of memory ended is not unfinished.
    """
    cut_off = run.execution.outcome is Outcome.ABORTED and not run.execution.error
    unsettled = run.anomaly_analysis.unsettled
    inconclusive = run.execution.outcome in INCONCLUSIVE
    return cut_off or inconclusive or unsettled or (is_comparable(run) and not run.comparable)


async def compared(
    done: Done,
    *,
    settings: Settings,
    store: Store,
    confirm: Callable[[], Awaitable[Done]],
    stop: asyncio.Event,
) -> Done:
    """Compare a run with its history, confirm regressions by re-runs, and save it."""
    run = done.run
    compare_all = partial(
        comparison.compare_all,
        needed=settings.compare.min_runs,
        least_percent=settings.compare.least_percent,
        alerting=series.alerting(run.target),
    )
    if not settings.compare.enabled or not can_compare(run):
        return done
    if all(key in BESIDE or key.startswith(TARGET) for key in run.series):
        return _nothing_to_compare(done, store)
    past = await asyncio.to_thread(history_of, run, store, root=settings.scripts)
    found = await asyncio.to_thread(compare_all, [run.series], past)
    alone, doubts = own_trouble.credible(found, [run.generator])
    group, together = [done], alone
    worse = [c for c in alone if c.state == WORSE]
    if worse and not comparison.confirmed_before(alone):
        logger.info("run %s of %s: %s", run.test_id, run.script, wording.change(worse[0]))
        unsettled = _unsettled(run, alone, worse)
        store.save(unsettled)
        group += await _confirmations(done, confirm, settings=settings, stop=stop)
        if stop.is_set() and len(group) <= settings.compare.confirm:
            return replace(done, run=unsettled)
    values = [one.run.series for one in group]
    if len(group) > 1:
        found = await asyncio.to_thread(compare_all, values, past)
        together, doubts = own_trouble.credible(found, [one.run.generator for one in group])
    run = replace(
        run,
        anomaly_analysis=_verdict(
            done,
            alone,
            together,
            values,
            past,
            settings=settings,
            doubts=doubts,
            marks=marks_of(store),
        ),
        series=comparison.medians(values),
        comparisons=comparison.worth_keeping(together),
        confirmations=[one.run.test_id for one in group[1:]],
    )
    store.save(run)
    return replace(done, run=run)


def _nothing_to_compare(done: Done, store: Store) -> Done:
    verdict = done.run.anomaly_analysis
    doubts = [*verdict.doubts, NOTHING_TO_COMPARE]
    run = replace(done.run, anomaly_analysis=replace(verdict, doubts=doubts))
    store.save(run)
    return replace(done, run=run)


def _unsettled(run: Run, alone: Sequence[Comparison], worse: Sequence[Comparison]) -> Run:
    """Return the record to store before the re-runs, in case k6d dies; nothing compares with it.

    As a normal run, it would move the baseline; and its regression is not confirmed.
    """
    verdict = run.anomaly_analysis
    doubt = f"{wording.change(worse[0])}: its re-runs are not done, so nothing is said of it"
    return replace(
        run,
        anomaly_analysis=replace(verdict, doubts=[*verdict.doubts, doubt], unsettled=True),
        comparisons=comparison.worth_keeping(alone),
        comparable=False,
    )


async def _confirmations(
    first: Done,
    confirm: Callable[[], Awaitable[Done]],
    *,
    settings: Settings,
    stop: asyncio.Event,
) -> list[Done]:
    """Run the configured number of re-runs, within the time limit, while they are comparable."""
    began, confirmed = time.monotonic(), []
    for _ in range(settings.compare.confirm):
        left_s = settings.compare.confirm_time - (time.monotonic() - began)
        if stop.is_set() or first.run.execution_time > left_s:
            break
        try:
            done = await confirm()
        except K6dError as error:
            logger.error("run %s is not confirmed: %s", first.run.test_id, error)
            break
        if can_compare(replace(done.run, trigger=first.run.trigger)):
            confirmed.append(done)
    return confirmed


def _verdict(
    done: Done,
    alone: Sequence[Comparison],
    together: Sequence[Comparison],
    values: Sequence[dict[str, float]],
    past: Sequence[Past],
    *,
    settings: Settings,
    doubts: Sequence[str],
    marks: Sequence[Mark],
) -> Verdict:
    files, run = files_of(done.run, settings.scripts), done.run
    happened = wording.Happened(script=run.script, at=run.timestamp, marks=marks)
    sizes = wording.Sizes(percent=settings.compare.percent, points=settings.compare.points)
    verdict = judge(
        done.result,
        limits=settings.limits.merged(done.own.limits),
        regressions=wording.findings(together, past, files, sizes=sizes, happened=happened),
        doubts=[*wording.doubts(together), *doubts],
    )
    return replace(
        verdict,
        improvements=wording.improvements(together),
        remarks=[*verdict.remarks, *wording.remarks(together)],
        noise=wording.noise(alone, together, values),
    )


def history_of(run: Run, store: Store, *, root: Path, whole: bool = False) -> list[Past]:
    """Return the runs to compare `run` with, oldest first.

    They have the same script and workload, and are not older than the last accepted level. With
    `whole`, accepted levels are ignored and `run` is included. If a regression leaves few healthy
    runs, the runs before it are added.
    """
    workload = run.snapshot.workload if run.snapshot else None
    accepted = None if whole else accepted_level(store, run)
    since, until = (accepted.since, accepted.until) if accepted else ("", "")
    known: dict[str, Past] = {}
    worse: set[str] = set()  # the first run of each regression

    def look(newest: str, limit: int) -> bool:
        """Load runs; return whether there may be older ones. Only compared values are kept."""
        found = store.history(run.script, limit, newest=newest, workload=workload, comparable=True)
        for test_id in (document["test_id"] for document in found):
            if test_id < since or test_id in known or (test_id == run.test_id and not whole):
                continue
            try:
                one = store.load_earlier(test_id)
            except K6dError as error:
                logger.warning("run %s: compared without an earlier one: %s", run.test_id, error)
                continue
            known[test_id] = _past(one, root, accepted=test_id <= until, changed=_changed(one, run))
            began = (c.since or "" for c in one.comparisons if c.state == WORSE)
            worse.update(first for first in began if first > since)
        return len(found) == limit

    older = look(run.test_id, HISTORY_RUNS)
    for first in () if whole else sorted(worse, reverse=True):
        if older and sum(test_id < first for test_id in known) < BEFORE_RUNS:
            older = look(first, BEFORE_RUNS)
    return [known[test_id] for test_id in sorted(known)]


def files_of(run: Run | Earlier, root: Path) -> dict[str, str]:
    """Return the digests of what a script consisted of when it ran.

    Files are relative to the scripts folder, so that folders may move.
    """
    if run.snapshot is None:
        return {}
    files = paths_now(run.snapshot.dependencies, script=run.script, root=root)
    return kept_paths(files, root=root) | run.snapshot.remote


def _changed(earlier: Earlier, run: Run) -> set[str]:
    """Return the keys of the target's own numbers that had another query in the earlier run."""
    asked = {one.key: (one.query, one.stat) for one in run.target}
    before = {one.key: (one.query, one.stat) for one in earlier.target}
    return {key for key, was in before.items() if key in asked and asked[key] != was}


def _past(run: Earlier, root: Path, *, accepted: bool, changed: Collection[str]) -> Past:
    """Return the compared part of a run, without the series that `changed` their meaning.

    In an accepted run, nothing counts as worse.
    """
    compared = () if accepted else run.comparisons
    return Past(
        test_id=run.test_id,
        timestamp=run.timestamp,
        series={key: value for key, value in run.series.items() if key not in changed},
        files=files_of(run, root),
        worse=frozenset(comparison.key_of(c) for c in compared if c.state in (WORSE, CHANGED)),
    )
