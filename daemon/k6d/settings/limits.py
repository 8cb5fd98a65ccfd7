"""Fixed limits for every run, and the requests that are excluded from judgement."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from k6d.core.model import Severity
from k6d.settings.values import Bound, Section, table


class Limit(Section):
    """A bound for each severity; a measurement may equal a bound but not pass it.

    A severity without a bound is off.
    """

    falls_below: ClassVar[bool] = False
    maximum: ClassVar[float] = math.inf

    low: Bound | None = Field(
        default=None, description="A value beyond this bound is a finding of severity low."
    )
    medium: Bound | None = Field(
        default=None, description="A value beyond this bound is a finding of severity medium."
    )
    high: Bound | None = Field(
        default=None, description="A value beyond this bound is a finding of severity high."
    )
    critical: Bound | None = Field(
        default=None, description="A value beyond this bound is a finding of severity critical."
    )

    def bounds(self) -> dict[Severity, float]:
        """The bounds that are set, mildest first; empty when the limit is off."""
        pairs = ((severity, getattr(self, severity.value)) for severity in Severity)
        return {severity: bound for severity, bound in pairs if bound is not None}

    def broken(self, value: float) -> tuple[Severity, float] | None:
        """The worst severity whose bound `value` passes, with that bound; None if it passes none.

        `value` has the unit of the limit.
        """
        for severity, bound in reversed(self.bounds().items()):
            if value < bound if self.falls_below else value > bound:
                return severity, bound
        return None

    @model_validator(mode="before")
    @classmethod
    def _from_table(cls, raw: object) -> object:
        if raw is False:
            return {}
        if isinstance(raw, Mapping):
            return dict(raw)
        if isinstance(raw, Limit):
            return raw
        raise ValueError("should be a table such as { medium = 5, high = 10 }, or false for off")

    @field_validator("low", "medium", "high", "critical")
    @classmethod
    def _within_maximum(cls, bound: float | None) -> float | None:
        if bound is not None and bound > cls.maximum:
            raise ValueError(f"should be at most {cls.maximum:g}")
        return bound

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        bounds = list(self.bounds().items())
        for (milder, near), (worse, far) in itertools.pairwise(bounds):
            if far >= near if self.falls_below else far <= near:
                side = "below" if self.falls_below else "above"
                raise ValueError(f"{worse} = {far:g} should be {side} {milder} = {near:g}")
        return self


class PercentLimit(Limit):
    """A limit in percent that a higher value breaks."""

    maximum: ClassVar[float] = 100.0


class RateLimit(Limit):
    """A limit that a lower value breaks."""

    falls_below: ClassVar[bool] = True


class Limits(Section):
    """The fixed limits; they apply to every run, whatever its history."""

    error_rate: PercentLimit = table(
        "Upper limit of the failed requests, in percent.", medium=5, high=10
    )
    response_time_avg: Limit = table(
        "Upper limit of the average response time, in milliseconds.", medium=2000, high=3000
    )
    response_time_p95: Limit = table(
        "Upper limit of the 95th percentile of the response time, in milliseconds.", high=5000
    )
    requests_per_second_per_vu: RateLimit = table(
        "Lower limit of the requests per second of one virtual user.", medium=0.1
    )
    failed_checks: PercentLimit = table(
        "Upper limit of the failed checks, in percent.", medium=0, high=10
    )
    min_requests: int = Field(
        default=20,
        ge=1,
        description="An endpoint with fewer requests than this is not judged by itself, 1 or more.",
    )

    def merged(self, script_limits: Limits) -> Limits:
        """The limits for a script: each limit that the script sets replaces k6d's as a whole."""
        names = script_limits.model_fields_set
        return self.model_copy(update={name: getattr(script_limits, name) for name in names})


class Excluded(Section):
    """Requests that are counted and shown but never judged; patterns with `*` and `?`."""

    name: list[str] = Field(
        default_factory=list,
        description="Patterns with * and ? for the name tag or the URL of requests.",
    )
    group: list[str] = Field(
        default_factory=list,
        description="Patterns with * and ? for the path of the request's group, such as a::b.",
    )
    tag: dict[str, str] = Field(
        default_factory=dict, description="A table of tag = pattern with * and ?."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, raw: object) -> object:
        """Accept a list or a text as `name`, and a text where a list of patterns belongs."""
        if isinstance(raw, str | list):
            raw = {"name": raw}
        if not isinstance(raw, dict):
            return raw
        listed = {key: [raw[key]] for key in ("name", "group") if isinstance(raw.get(key), str)}
        return raw | listed
