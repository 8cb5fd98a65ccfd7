"""The words of a run: why it ran, how it ended, how bad it is.

They stand apart from the records of `core.model`, so that the index is read without those.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION = 1
WORSE, STEADY, LEARNING = "worse", "steady", "learning"  # states of a `Comparison`
CHANGED = "changed"
VARIABLE = "env "  # prefix of the name of a variable among the overrides of a run
# k6 takes options from variables, too; with one of these, the load is another.
_LOAD_VARIABLES = ("K6_VUS", "K6_DURATION", "K6_ITERATIONS", "K6_STAGES")


class Trigger(StrEnum):
    """Why a job runs; EVENT is a call of a hook, IMPORTED marks runs of the original service."""

    ADDED = "added"
    CHANGED = "changed"
    SCHEDULED = "scheduled"
    MANUAL = "manual"
    CONFIRMATION = "confirmation"
    RECOVERY = "recovery"
    EVENT = "event"
    IMPORTED = "imported"


class Outcome(StrEnum):
    """How the execution ended; the verdict judges what was measured."""

    COMPLETED = "completed"
    SCRIPT_ERROR = "script error"
    NO_DATA = "no data"
    TIMED_OUT = "timed out"
    ABORTED = "aborted"
    K6_UNAVAILABLE = "k6 unavailable"
    NO_NETWORK = "no network"
    MODULE_SERVER = "module server unavailable"
    INCOMPLETE = "incomplete"
    NO_CAPACITY = "no capacity"
    CLUSTER = "cluster unavailable"


HEALTHY = "healthy"  # the verdict of a completed run without a severity
# Nothing is known of the target, and the script is tried again: its verdict is inconclusive.
INCONCLUSIVE = frozenset(
    {Outcome.K6_UNAVAILABLE, Outcome.NO_NETWORK, Outcome.MODULE_SERVER}
    | {Outcome.NO_CAPACITY, Outcome.CLUSTER}
)


class Severity(StrEnum):
    """How bad a finding is; compare two by their `rank`."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low up to 3 for critical."""
        return list(Severity).index(self)


class FindingKind(StrEnum):
    """The kinds of findings; earlier kinds are more likely to cause later ones."""

    K6_UNAVAILABLE = "k6 unavailable"
    NO_NETWORK = "no network"
    MODULE_SERVER = "module server unavailable"
    NO_CAPACITY = "no capacity"
    CLUSTER = "cluster unavailable"
    SCRIPT_ERROR = "script error"
    INCOMPLETE = "incomplete"
    NO_DATA = "no data"
    GENERATOR = "load generator saturated"
    UNREACHABLE = "target unreachable"
    EXCEPTIONS = "exceptions"
    DROPPED = "dropped iterations"
    ABORTED = "aborted"
    TIMED_OUT = "timed out"
    LIMIT = "limit broken"
    REGRESSION = "regression"
    THRESHOLD = "threshold crossed"
    SPIKE = "spike in the run"
    CHECKS = "failed checks"


def other_options(overrides: Mapping[str, str]) -> dict[str, str]:
    """Return those overrides that make a run ad-hoc; without any, it is a run of the script itself.

    Options beside the script are another workload: such a run has its own history and changes no
    state of the script. So is a replay, which may be of older contents. Variables alone are not,
    unless k6 takes its load from them: a script may need them for each run by hand.
    """
    loads = {VARIABLE + name for name in _LOAD_VARIABLES}
    return {
        name: value
        for name, value in overrides.items()
        if not name.startswith(VARIABLE) or name in loads
    }


def verdict_word(severity: str | None, outcome: str) -> str:
    """The verdict of a run in one word.

    This is its severity; without one, "healthy" for a completed run, else the outcome.
    """
    return str(severity or (HEALTHY if outcome == Outcome.COMPLETED else outcome))
