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

    enabled: bool = Field(default=True, description="false: nothing runs by the clock")
    scripts: dict[str, CronText] = Field(
        default={},
        description="a table of glob pattern of scripts = cron expression; the first match holds",
    )
    timezone: ZoneName = Field(
        default="", description="whose clock, such as Europe/Berlin (empty: this machine's)"
    )
    jitter: Duration = Field(
        default=0.0, description="spread the starts over that long; each script has its own place"
    )
    catch_up: CatchUp = Field(
        default="once", description="what was missed while nothing could start: run once, or skip"
    )
    maintenance: Annotated[list[WindowText], BeforeValidator(lines)] = Field(
        default=[],
        description='when only people start runs, a list of texts such as "0 22 * * 6 for 4h"',
    )


class ScriptSchedule(Section):
    """A script's own schedule: a table, a cron expression alone, or false for never."""

    cron: CronText = Field(default="", description="cron expression, or a name such as @hourly")
    timezone: ZoneName | None = Field(default=None, description="whose clock")
    jitter: Duration | None = Field(default=None, description="spread the starts over that long")
    catch_up: CatchUp | None = Field(default=None, description="what was missed: once, or skip")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, raw: object) -> object:
        if raw is False:
            return {}
        return {"cron": raw} if isinstance(raw, str) else raw


class Retention(Section):
    """What is kept, and how long; baselines and each script's newest run are always kept."""

    full_days: Days = Field(
        default=30, description="logs and raw metrics are kept that long (0: for ever)"
    )
    detail_days: Days = Field(
        default=180, description="endpoints and time line are kept that long (0: for ever)"
    )
    days: Days = Field(default=0, description="runs are removed after that long (0: never)")
    runs: int = Field(default=0, ge=0, description="runs kept of each script (0: all)")
    disk_mib: int = Field(
        default=0, ge=0, description="MiB that runs and snapshots may take (0: any)"
    )
    warn_free_mib: int = Field(
        default=1024, ge=0, description="less free space than that, in MiB, is warned of"
    )
    least_free_mib: int = Field(
        default=200, ge=0, description="with less free space than that, in MiB, nothing starts"
    )
