"""A job, one request to run a script; and scheduled runs that were missed."""

from __future__ import annotations

from dataclasses import field, replace
from secrets import token_hex
from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.core.terms import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime
    from pathlib import Path

    from k6d.core.terms import Trigger


REPLAY = "replay"  # names, among the overrides of a run, the run that it replays
SUITE = "suite:"  # how the name of a job begins that runs all scripts of a suite
ONCE = "once"  # among the overrides of a run with one iteration by one virtual user


@frozen
class Job:
    """One request to run a script; `options` and `env` replace the script's own.

    `one_off`: the script lies outside the scripts folder, so its state is not stored.
    `notes` are shown with the run. `due` is the time that its schedule set. `repeats` counts how
    often the end of k6d interrupted this job before. `replays` is the id of the run whose snapshot
    runs again. `tags` are added to those of the script. `once`: each scenario
    runs one iteration. `quiet`: the run changes no incident and sends no message.
    `suite` names the suite that this run is a part of: its messages wait for the suite's end.
    """

    name: str
    path: Path
    trigger: Trigger
    options: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    due: datetime | None = None
    repeats: int = 0
    one_off: bool = False
    notes: tuple[str, ...] = ()
    replays: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    once: bool = False
    quiet: bool = False
    suite: str | None = None
    id: str = field(default_factory=lambda: token_hex(6), compare=False)

    @property
    def key(self) -> str:
        """The queue merges waiting jobs with the same key.

        A job with options, variables or tags of its own, a `one_off` or `once` has its own key.
        """
        special = self.one_off or self.options or self.env or self.tags or self.once
        return f"{self.name}\n{self.id}" if special else self.name

    @property
    def is_suite(self) -> bool:
        """Whether this job runs all scripts of a suite."""
        return self.name.startswith(SUITE)

    @property
    def overrides(self) -> dict[str, str]:
        """The options and variables that the run record names, and the run that it replays.

        Values of variables may be secrets: "…" stands for each.
        """
        env = {f"{VARIABLE}{name}": "…" for name in self.env}
        once = {ONCE: "true"} if self.once else {}
        return dict(self.options) | env | once | ({REPLAY: self.replays} if self.replays else {})


def options_in(overrides: Mapping[str, str]) -> dict[str, str]:
    """The k6 options among the overrides of a run."""
    others = (REPLAY, ONCE)
    return {k: v for k, v in overrides.items() if k not in others and not k.startswith(VARIABLE)}


def without(job: Job, unused: Collection[str]) -> Job:
    """The same job without the options named in `unused`."""
    used = {name: value for name, value in job.options.items() if name not in unused}
    return replace(job, options=used)


@frozen
class Missed:
    """Scheduled runs that did not start when they were due, from `first` to `last`, in UTC.

    `caught_up`: one later run replaces all of them.
    """

    script: str
    first: datetime
    last: datetime
    count: int
    reason: str
    caught_up: bool = False
