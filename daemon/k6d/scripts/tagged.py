"""Finds the runs that have tags, and compares two groups of them: "main against branch"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.analysis import comparison
from k6d.analysis.comparison import Past
from k6d.core.frozen import frozen
from k6d.core.model import WORSE, K6dError
from k6d.core.tags import parsed
from k6d.storage.query import Query
from k6d.storage.retention import HISTORY_RUNS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k6d.core.model import Comparison, Run
    from k6d.settings import Compare
    from k6d.storage.store import Store

GROUP_RUNS = 10  # the newest runs of the group that is judged; their median counts


@frozen
class Groups:
    """Two groups of runs of one script and workload; `after` and `before` are their newest runs.

    `runs` and `earlier` are their numbers of runs. With fewer than `compare.min_runs` earlier runs,
    only the two newest runs are compared.
    """

    after: Run
    before: Run
    runs: int
    earlier: int
    comparisons: list[Comparison]


def tags_in(given: str) -> dict[str, str] | None:
    """The tags in "release=2.14,branch=main"; None without a "=". K6dError for mistakes."""
    if "=" not in given:
        return None
    try:
        return parsed(given.split(","))
    except ValueError as error:
        raise K6dError(str(error)) from error


def newest_with(tags: Mapping[str, str], store: Store, *, script: str | None = None) -> str:
    """The id of the newest run with these tags; K6dError if there is none."""
    found = store.search(Query(tags=tuple(tags.items()), script=script), limit=1)
    if not found:
        of = f" of {script}" if script else ""
        raise K6dError(f"no run{of} has the tag {_shown(tags)}; 'k6d search --tag' finds those")
    return str(found[0]["test_id"])


def compare_groups(
    after: Mapping[str, str],
    before: Mapping[str, str],
    store: Store,
    *,
    settings: Compare,
    script: str | None = None,
) -> Groups:
    """Compare the runs tagged `after` with those tagged `before`, of the same script and workload.

    Without a script, it is that of the newest run tagged `after`. K6dError if a group is empty.
    """
    newest = store.load(newest_with(after, store, script=script))
    workload = newest.snapshot.workload if newest.snapshot else None

    def group(tags: Mapping[str, str], limit: int) -> list[Run]:
        query = Query(tags=tuple(tags.items()), script=newest.script, workload=workload)
        found = [d["test_id"] for d in store.search(query, limit=None) if d["comparable"]]
        if not found:
            raise K6dError(
                f"no comparable run of {newest.script} under the workload of run {newest.test_id} "
                f"has the tag {_shown(tags)}"
            )
        return [store.load(test_id) for test_id in found[:limit]]

    ours, theirs = group(after, GROUP_RUNS), group(before, HISTORY_RUNS)
    if len(theirs) < settings.min_runs:
        found = comparison.between(ours[0], theirs[0])
    else:
        found = comparison.compare_all(
            [run.series for run in ours],
            [_past(run) for run in reversed(theirs)],
            needed=settings.min_runs,
            least_percent=settings.least_percent,
        )
    return Groups(
        after=ours[0], before=theirs[0], runs=len(ours), earlier=len(theirs), comparisons=found
    )


def _past(run: Run) -> Past:
    worse = frozenset(comparison.key_of(c) for c in run.comparisons if c.state == WORSE)
    return Past(
        test_id=run.test_id, timestamp=run.timestamp, series=run.series, files={}, worse=worse
    )


def _shown(tags: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in tags.items())
