"""Decide which runs to remove and which to make smaller; pure functions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from k6d.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from k6d.settings import Retention

MIB = 1 << 20
# The number of earlier runs with which a run is compared. It is twice what the fast rule needs, so
# that the first run of a lasting change is among them.
HISTORY_RUNS = 120
Contents = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
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
    runs: Sequence[Stored], *, history: int, failing: Mapping[str, str] | None = None
) -> set[str]:
    """The ids of the runs that later runs need as baseline, and of each script's newest run.

    The newest run without options given beside the script is kept too: it is the script's state.

    `runs` are newest first. `history` runs are kept for each script and workload. `failing` names
    the first run of each script's open incident: `history` runs before it are kept as well, so that
    a long incident does not remove the normal baseline.
    """
    found: set[str] = set()
    seen: Counter[tuple[str, str | None, bool]] = Counter()
    scripts: set[tuple[str, bool]] = set()
    for run in runs:
        if (run.script, run.overrides) not in scripts:
            scripts.add((run.script, run.overrides))
            found.add(run.test_id)
        key = run.script, run.workload, run.test_id < (failing or {}).get(run.script, "")
        if run.comparable and seen[key] < history:
            seen[key] += 1
            found.add(run.test_id)
    return found


def removals(
    runs: Sequence[Stored],
    policy: Retention,
    *,
    now: datetime,
    used: int,
    kept: Collection[str],
    archives: Mapping[Contents, Archive],
) -> list[Removal]:
    """The runs to remove: first by age and count, then by size, each oldest first.

    Runs in `kept` stay. `runs` are newest first. `used` is the size of all runs and snapshots in
    bytes. A snapshot in `archives` is removed with the last run of its contents.
    """
    reasons = _outdated(runs, policy, now=now)
    others = [run for run in reversed(runs) if run.test_id not in kept]
    limit = policy.disk_mib * MIB
    left = Counter(archives.get(run.contents) for run in runs)
    gone: list[Removal] = []
    for run in sorted(others, key=lambda run: run.test_id not in reasons):
        if run.test_id not in reasons and (not limit or used <= limit):
            break
        archive = archives.get(run.contents)
        left[archive] -= 1
        used -= run.bytes + (archive.bytes if archive and not left[archive] else 0)
        reason = reasons.get(run.test_id, f"more than {policy.disk_mib:,} MiB in all")
        gone.append(Removal(test_id=run.test_id, script=run.script, reason=reason, bytes=run.bytes))
    return gone


def _outdated(runs: Sequence[Stored], policy: Retention, *, now: datetime) -> dict[str, str]:
    """The reason for each run that is too old or exceeds the count; `runs` are newest first."""
    reasons: dict[str, str] = {}
    count: Counter[str] = Counter()
    for run in runs:
        count[run.script] += 1
        if policy.days and now - run.timestamp > timedelta(days=policy.days):
            reasons[run.test_id] = f"older than {plural(policy.days, 'day')}"
        elif policy.runs and count[run.script] > policy.runs:
            reasons[run.test_id] = f"more than {plural(policy.runs, 'run')} of its script"
    return reasons


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
