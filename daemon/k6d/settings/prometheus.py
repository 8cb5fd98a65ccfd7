"""Settings of the target's own numbers: the Prometheus that has them, and what is read from it."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from k6d.settings.values import (
    EMPTY_IS_NONE,
    Deadline,
    Duration,
    HeaderSecret,
    Section,
    Url,
    lines,
    lower,
)

MOST_METRICS = 50
LONGEST_TITLE = 80
LONGEST_UNIT = 16
LONGEST_QUERY = 4000
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _title(text: str) -> str:
    """The title; it is the name of a series, so it must fit on one line of a table."""
    text = text.strip()
    if not text or len(text) > LONGEST_TITLE or "|" in text or not text.isprintable():
        raise ValueError(
            f"should be a title of 1 to {LONGEST_TITLE} characters on one line, without |"
        )
    return text


def _unit(text: str) -> str:
    if len(text) > LONGEST_UNIT or ":" in text or not text.isprintable():
        raise ValueError(f'should be a unit of at most {LONGEST_UNIT} characters, such as "%"')
    return text.strip()


def _query(text: str) -> str:
    if not text.strip() or len(text) > LONGEST_QUERY:
        raise ValueError(f"should be a PromQL query of 1 to {LONGEST_QUERY} characters")
    return text.strip()


class Metric(Section):
    """One number of the target: a PromQL query, with a title and a unit."""

    title: Annotated[str, AfterValidator(_title)] = Field(
        description='Name of the number, such as "checkout CPU".'
    )
    query: Annotated[str, AfterValidator(_query)] = Field(
        description="PromQL query that gives one series; $script and $duration are replaced."
    )
    unit: Annotated[str, AfterValidator(_unit)] = Field(
        default="", description='Unit of the number, such as "%", "ms", "/s" or "MiB".'
    )
    scripts: Annotated[list[str], BeforeValidator(lines)] = Field(
        default=["*"], min_length=1, description='Patterns of script names, such as "shop/*".'
    )
    value: Annotated[Literal["average", "max", "min", "last"], BeforeValidator(lower)] = Field(
        default="average",
        description="What stands for the whole run: average, max, min or last.",
    )
    worse: Annotated[Literal["higher", "lower"], BeforeValidator(lower)] = Field(
        default="higher", description="Which change is for the worse: higher or lower."
    )
    alert: bool = Field(
        default=False, description="true: a change for the worse of this number alone alerts."
    )
    step: Annotated[Deadline | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="Seconds between two values; empty: a hundredth of the run, at least 1 s.",
    )


def with_titles_once(metrics: list[Metric]) -> list[Metric]:
    """The metrics; ValueError if two have the same title, or if there are too many."""
    if len(metrics) > MOST_METRICS:
        raise ValueError(f"are too many: {len(metrics)}; {MOST_METRICS} are read at most")
    titles = [metric.title for metric in metrics]
    if twice := [title for title in titles if titles.count(title) > 1]:
        raise ValueError(f"two metrics are called {twice[0]!r}; give one of them another title")
    return metrics


Metrics = Annotated[list[Metric], AfterValidator(with_titles_once)]


class Prometheus(Section):
    """The Prometheus that has the target's own numbers."""

    url: Annotated[Url | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="URL of the Prometheus, or of a server with its API (Thanos, Mimir, "
        "VictoriaMetrics), such as http://prometheus:9090; empty: nothing is read.",
    )
    token: Annotated[HeaderSecret | None, EMPTY_IS_NONE] = Field(
        default=None, description="Bearer token for that server; empty: none."
    )
    headers: dict[str, HeaderSecret] = Field(
        default={},
        description='Further headers of each request, such as { X-Scope-OrgID = "shop" } or '
        '{ Authorization = "Basic …" }; their values are treated as secrets.',
    )
    delay: Annotated[Duration, Field(le=300)] = Field(
        default=15.0,
        description="Seconds from the end of a run until its last samples are in the Prometheus, "
        "which is its scrape interval, up to 300; the verdict waits for them.",
    )
    timeout: Annotated[Deadline, Field(le=120)] = Field(
        default=10.0,
        description="Seconds for all queries of one run together, up to 120; what has not come "
        "by then is missing.",
    )

    @field_validator("url")
    @classmethod
    def _is_an_address_alone(cls, url: str | None) -> str | None:
        """The URL is shown in logs and on pages, so it must hold no secret."""
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            raise ValueError("should be an http:// or https:// URL with a valid port") from None
        if parts.username is not None or parts.password is not None:
            raise ValueError("should have no login; prometheus.headers may have one")
        if parts.query or parts.fragment:
            raise ValueError("should have no query; prometheus.headers may have a key")
        if parts.path.rstrip("/").endswith("/api/v1"):
            raise ValueError("should be without /api/v1, which k6d adds")
        return url.rstrip("/")

    @field_validator("headers")
    @classmethod
    def _have_names(cls, headers: dict[str, HeaderSecret]) -> dict[str, HeaderSecret]:
        if wrong := [name for name in headers if not _HEADER.fullmatch(name)]:
            raise ValueError(f"{wrong[0]!r:.60} is no name of a header")
        return headers
