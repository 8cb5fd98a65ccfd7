"""Decide which runs to remove and which to make smaller; pure functions."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from k6d.core.frozen import frozen
from k6d.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from k6d.settings import Retention

MIB = 1 << 20
# The number of earlier runs with which a run is compared. It is twice what the fast rule needs, so
# that the first run of a lasting change is among them.
HISTORY_RUNS = 120
Contents = tuple[str | None, str | None]


@frozen
class Stored:
    """A run in the store; `bytes` is the size of its file."""

    test_id: str
    script: str
    timestamp: datetime
    workload: str | None
    fingerprint: str | None
    comparable: bool
    bytes: int
    overrides: bool = False

    @property
    def contents(self) -> Contents:
        """Equal for runs of the same files under the same load; these share one snapshot."""
        return self.fingerprint, self.workload


class Archive(NamedTuple):
    """A snapshot and its size in bytes."""

    id: str
    bytes: int


@frozen
class Removal:
    """A run to remove, with the reason; `bytes` is the size of its file."""

    test_id: str
    script: str
    reason: str
    bytes: int


class Tier(StrEnum):
    """How much of a run is kept; each tier holds less than the one before."""

    FULL = "full"
    DETAIL = "detail"
    SUMMARY = "summary"


# The fields that each tier drops; `series`, `comparisons` and the verdict always stay.
DROPPED = {
    Tier.FULL: (),
    Tier.DETAIL: ("log", "output", "k6_metrics"),
    Tier.SUMMARY: ("log", "output", "k6_metrics", "breakdown", "runners", "target"),
}


def baselines(
    runs: Iterable[Stored],
    *,
    history: int,
    failing: Mapping[str, str] | None = None,
    among: Iterable[Stored] | None = None,
) -> set[str]:
    """The ids of the runs that later runs need as baseline, and of each script's newest run.

    The newest run without options given beside the script is kept too: it is the script's state.

    `runs` are newest first. `history` runs are kept for each script and workload. `failing` names
    the first run of each script's open incident: `history` runs before it are kept as well, so that
    a long incident does not remove the normal baseline. With `among`, only these runs are looked
    for, and reading of `runs` stops when each of them is decided.
    """
    found: set[str] = set()
    seen: Counter[tuple[str, str | None, bool]] = Counter()
    scripts: set[tuple[str, bool]] = set()
    undecided = None if among is None else {run.test_id: run for run in among}

    def key_of(run: Stored) -> tuple[str, str | None, bool]:
        return run.script, run.workload, run.test_id < (failing or {}).get(run.script, "")

    def is_open(run: Stored) -> bool:
        unseen = (run.script, run.overrides) not in scripts
        return unseen or (run.comparable and seen[key_of(run)] < history)

    for run in runs:
        changed = (run.script, run.overrides) not in scripts
        if changed:
            scripts.add((run.script, run.overrides))
            found.add(run.test_id)
        key = key_of(run)
        if run.comparable and seen[key] < history:
            seen[key] += 1
            changed = changed or seen[key] == history
            found.add(run.test_id)
        if undecided is not None:
            undecided.pop(run.test_id, None)
            if changed:
                undecided = {name: one for name, one in undecided.items() if is_open(one)}
            if not undecided:
                break
    return found


def removals(
    outdated: Mapping[str, tuple[Stored, str]],
    others: Iterable[Stored],
    policy: Retention,
    *,
    used: int,
    archives: Mapping[Contents, Archive],
    left: Counter[Archive | None],
) -> list[Removal]:
    """The runs to remove: first those by age and count, then others by size, each oldest first.

    `outdated` has the reason for each run, `others` are oldest first; both without runs that are
    kept. `used` is the size of all runs and snapshots in bytes. A snapshot in `archives` is removed
    with the last of the runs that `left` counts for it. `others` are read only until all fits.
    """
    limit = policy.disk_mib * MIB
    gone: list[Removal] = []

    def remove(run: Stored, reason: str) -> int:
        archive = archives.get(run.contents)
        left[archive] -= 1
        gone.append(Removal(test_id=run.test_id, script=run.script, reason=reason, bytes=run.bytes))
        return run.bytes + (archive.bytes if archive and not left[archive] else 0)

    for test_id in sorted(outdated):
        used -= remove(*outdated[test_id])
    if limit and used > limit:
        for run in others:
            used -= remove(run, f"more than {policy.disk_mib:,} MiB in all")
            if used <= limit:
                break
    return gone


def too_old(policy: Retention) -> str:
    """The reason to remove a run for its age."""
    return f"older than {plural(policy.days, 'day')}"


def too_many(policy: Retention) -> str:
    """The reason to remove a run for the number of younger ones."""
    return f"more than {plural(policy.runs, 'run')} of its script"


def tier(age: timedelta, policy: Retention) -> Tier:
    """How much of a run of that age is kept."""
    if policy.detail_days and age > timedelta(days=policy.detail_days):
        return Tier.SUMMARY
    if policy.full_days and age > timedelta(days=policy.full_days):
        return Tier.DETAIL
    return Tier.FULL


def slimmed(record: Mapping[str, Any], wanted: Tier) -> dict[str, Any] | None:
    """The run's JSON without the fields that the tier `wanted` drops; None when it has none.

    Its field `removed` names the dropped fields. An imported run keeps all of them: what the
    original service kept of it stays as long as the run.
    """
    if record.get("imported"):
        return None
    dropped = [name for name in DROPPED[wanted] if record.get(name)]
    if not dropped:
        return None
    left = {name: value for name, value in record.items() if name not in dropped}
    return left | {"removed": sorted({*record.get("removed", ()), *dropped})}
