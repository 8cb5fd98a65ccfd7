"""A job: somebody or something wants a script to run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from pathlib import Path

    from k6d.core.model import Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One wish to run a script; `options` and `env` stand in for the script's own.

    A `one_off` is no file of the scripts folder: what it teaches of itself is not remembered.
    `notes` are for whoever reads its run. `due` is when its schedule wanted it; `repeats` counts
    how often it was interrupted before.
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
    id: str = field(default_factory=lambda: token_hex(6), compare=False)

    @property
    def key(self) -> str:
        """Jobs with the same key are one: what somebody asked for in detail stays by itself."""
        special = self.one_off or self.options or self.env
        return f"{self.name}\n{self.id}" if special else self.name

    @property
    def overrides(self) -> dict[str, str]:
        """What the run has of its own; values of variables may be secrets and are left out."""
        return dict(self.options) | {f"env {name}": "…" for name in self.env}


def without(job: Job, unused: Collection[str]) -> Job:
    """The same job without the options named in `unused`."""
    used = {name: value for name, value in job.options.items() if name not in unused}
    return replace(job, options=used)
