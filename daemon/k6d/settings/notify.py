"""The settings of alerts: receivers, routes, quiet hours and heartbeat."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from k6d.core.model import Severity
from k6d.settings.values import (
    EMPTY_IS_NONE,
    URL_ALLOWED,
    AbsolutePath,
    Deadline,
    Duration,
    Secret,
    Section,
    Tags,
    Url,
    lines,
    lower,
)

_TIME = r"((?:[01]\d|2[0-3]):[0-5]\d)"
# What separates two URLs. A comma alone does not, because "mailto://…?to=a,b" is one URL.
_BETWEEN_URLS = re.compile(r"[\s,;]+(?=[a-zA-Z][a-zA-Z0-9+.-]*://)")
_QUIET = re.compile(rf"{_TIME}\s*-\s*{_TIME}(?:\s+([\w/+-]+))?")


def one_by_one(value: object) -> object:
    """The URLs of a text or a list, one an entry; line ends, blanks or commas separate them.

    Values that are no text or list stay as they are, so that validation can name the mistake.
    """
    entries = lines(value)
    if not isinstance(entries, list):
        return entries
    found: list[object] = []
    for entry in entries:
        text = entry.get_secret_value() if isinstance(entry, SecretStr) else entry
        if isinstance(text, str) and "://" in text:
            found += [url for url in _BETWEEN_URLS.split(text.strip(" \t\r\n,;")) if url]
        else:
            found.append(entry)
    return found


class Route(Section):
    """A route: messages that match also go to the receivers with one of its tags."""

    scripts: Annotated[list[str], BeforeValidator(lines)] = Field(
        default=["*"], min_length=1, description='patterns of script names, such as "shop/*"'
    )
    min_severity: Annotated[Severity, BeforeValidator(lower)] = Field(
        default=Severity.LOW, description="only messages of this severity and worse"
    )
    tags: Annotated[list[Tags], BeforeValidator(lines)] = Field(
        min_length=1, description='tags of receivers; "team berlin" means both'
    )


class QuietHours(Section):
    """Hours of the day in which only critical messages go out; they may span midnight."""

    start: time
    end: time
    zone: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, raw: object) -> object:
        if isinstance(raw, QuietHours):
            return raw
        match = _QUIET.fullmatch(raw.strip()) if isinstance(raw, str) else None
        if not match:
            raise ValueError('should be hours such as "22:00-07:00" or "22:00-07:00 Europe/Berlin"')
        if match[3]:
            try:
                ZoneInfo(match[3])
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError(f"knows no time zone {match[3]!r}; try Europe/Berlin") from None
        start, end = time.fromisoformat(match[1]), time.fromisoformat(match[2])
        if start == end:
            raise ValueError("should start and end at different times")
        return {"start": start, "end": end, "zone": match[3]}


class Notify(Section):
    """Who gets alerts through Apprise, and when."""

    urls: Annotated[list[Secret], BeforeValidator(one_by_one)] = Field(
        default=[],
        description="Apprise URLs of the receivers (better as a credential or K6D_NOTIFY__URLS); "
        "in a text they stand on lines or behind commas",
    )
    config: Annotated[AbsolutePath | None, EMPTY_IS_NONE] = Field(
        default=None, description="an Apprise configuration file (YAML or text), see apprise.yml"
    )
    min_severity: Annotated[Severity, BeforeValidator(lower)] = Field(
        default=Severity.LOW, description="tell only of low, medium, high or critical and worse"
    )
    timeout: Deadline = Field(default=60.0, description="the longest a delivery may take")
    routes: list[Route] = Field(
        default=[],
        description="which tags of the Apprise file get what: { tags, scripts, min_severity }; "
        "receivers without a tag get everything",
    )
    open_after: int = Field(
        default=1, ge=1, le=100, description="failing runs in a row that open an incident"
    )
    resolve_after: int = Field(
        default=2,
        ge=1,
        le=100,
        description="healthy runs in a row that resolve it; one is enough after an edit",
    )
    remind: Duration = Field(
        default=86_400.0, description="tell again of an incident that stays open (0: never)"
    )
    group_wait: Duration = Field(
        default=10.0, description="a message waits that long for others of the same cause"
    )
    group_interval: Duration = Field(
        default=300.0, description="the next message of a cause that several scripts share waits"
    )
    quiet_hours: Annotated[QuietHours | None, EMPTY_IS_NONE] = Field(
        default=None, description='only critical messages then: "22:00-07:00 Europe/Berlin"'
    )
    retry: Deadline = Field(
        default=10.0, description="the first wait after a failed delivery; it grows to an hour"
    )
    horizon: Deadline = Field(
        default=259_200.0, description="a message not delivered by then is kept as undeliverable"
    )
    dashboard: Annotated[Url | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="the dashboard's address as readers reach it, for links (empty: as api says)",
    )
    heartbeat: Annotated[Secret | None, EMPTY_IS_NONE] = Field(
        default=None, description="URL to call while all is well, as Healthchecks wants it"
    )
    heartbeat_every: Deadline = Field(
        default=60.0, description="how often the daemon calls it; a run calls it as well"
    )

    @field_validator("heartbeat")
    @classmethod
    def _is_http(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not re.match(r"https?://[^\s/]", url.get_secret_value()):
            raise ValueError(URL_ALLOWED)
        return url
