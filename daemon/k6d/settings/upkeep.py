"""Settings of schedules and of retention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from k6d.settings import cron
from k6d.settings.values import Duration, Section, lines

if TYPE_CHECKING:
    from collections.abc import Callable


def _parses(parse: Callable[[str], object]) -> AfterValidator:
    """A validator: `parse` must accept the text; its ValueError says what is allowed."""

    def check(text: str) -> str:
        if text:
            parse(text)
        return text

    return AfterValidator(check)


CronText = Annotated[str, _parses(cron.parse)]
WindowText = Annotated[str, _parses(cron.parse_window)]
ZoneName = Annotated[str, _parses(cron.zone_of)]
CatchUp = Literal["once", "skip"]
Days = Annotated[int, Field(ge=0, le=36_500)]


class Schedule(Section):
    """When scripts run by the clock; a script may set its own schedule in ext.k6d.schedule."""

    enabled: bool = Field(default=True, description="false: nothing runs by the clock.")
    scripts: dict[str, CronText] = Field(
        default={},
        description="A table of glob pattern of scripts = cron expression; the first pattern that "
        "matches applies.",
    )
    timezone: ZoneName = Field(
        default="",
        description="Time zone of the schedules, such as Europe/Berlin; empty: this machine's.",
    )
    jitter: Duration = Field(
        default=0.0,
        description="Scheduled starts are spread over this many seconds; each script has its own "
        "fixed delay.",
    )
    catch_up: CatchUp = Field(
        default="once",
        description="What happens with runs that were missed while nothing could start: once (one "
        "run for all of them) or skip.",
    )
    maintenance: Annotated[list[WindowText], BeforeValidator(lines)] = Field(
        default=[],
        description='Times in which k6d starts no run by itself, a list of texts such as "0 22 * * '
        '6 for 4h".',
    )


class ScriptSchedule(Section):
    """A script's own schedule: a table, a cron expression alone, or false for never."""

    cron: CronText = Field(default="", description="Cron expression, or a name such as @hourly.")
    timezone: ZoneName | None = Field(
        default=None, description="Time zone of the cron expression, such as Europe/Berlin."
    )
    jitter: Duration | None = Field(
        default=None, description="Scheduled starts are spread over this many seconds."
    )
    catch_up: CatchUp | None = Field(
        default=None,
        description="What happens with missed runs: once (one run for all of them) or skip.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, raw: object) -> object:
        if raw is False:
            return {}
        return {"cron": raw} if isinstance(raw, str) else raw


class Retention(Section):
    """What is kept, and how long; baselines and each script's newest run are always kept."""

    full_days: Days = Field(
        default=30,
        description="Days after which the log and the raw metrics of a run are removed; 0: never.",
    )
    detail_days: Days = Field(
        default=180,
        description="Days after which the endpoints and the time line of a run are removed; 0: "
        "never.",
    )
    days: Days = Field(default=0, description="Days after which a run is removed; 0: never.")
    runs: int = Field(
        default=0, ge=0, description="Number of runs that are kept of each script; 0: all."
    )
    disk_mib: int = Field(
        default=0, ge=0, description="MiB that runs and snapshots may take together; 0: no limit."
    )
    warn_free_mib: int = Field(
        default=1024,
        ge=0,
        description="k6d warns if less than this many MiB of disk space are free.",
    )
    least_free_mib: int = Field(
        default=200,
        ge=0,
        description="k6d starts no run if less than this many MiB of disk space are free.",
    )
