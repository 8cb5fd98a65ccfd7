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
        default=["*"], min_length=1, description='Patterns of script names, such as "shop/*".'
    )
    min_severity: Annotated[Severity, BeforeValidator(lower)] = Field(
        default=Severity.LOW,
        description="Lowest severity of the messages that this route sends: low, medium, high or "
        "critical.",
    )
    tags: Annotated[list[Tags], BeforeValidator(lines)] = Field(
        min_length=1, description='Tags of receivers; "team berlin" means receivers that have both.'
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
        description="Apprise URLs of the receivers; a text may hold several, on lines or behind "
        "commas; better as a credential or in K6D_NOTIFY__URLS.",
    )
    config: Annotated[AbsolutePath | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="Path of an Apprise configuration file (YAML or text), see apprise.yml; empty: "
        "none.",
    )
    min_severity: Annotated[Severity, BeforeValidator(lower)] = Field(
        default=Severity.LOW,
        description="Lowest severity that is alerted: low, medium, high or critical.",
    )
    timeout: Deadline = Field(default=60.0, description="Longest time of one delivery, in seconds.")
    routes: list[Route] = Field(
        default=[],
        description="A list of { tags, scripts, min_severity }, which sends messages to receivers "
        "of the Apprise file by their tags; receivers without a tag get every message.",
    )
    open_after: int = Field(
        default=1,
        ge=1,
        le=100,
        description="Number of failing runs in a row that open an incident, 1 to 100.",
    )
    resolve_after: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Number of healthy runs in a row that resolve an incident, 1 to 100. One is "
        "enough after an edit of the script, and if the run was started by hand.",
    )
    remind: Duration = Field(
        default=86_400.0,
        description="Seconds after which an open incident is alerted again; 0: never.",
    )
    group_wait: Duration = Field(
        default=10.0, description="Seconds that a message waits for others with the same cause."
    )
    group_interval: Duration = Field(
        default=300.0,
        description="Seconds between two messages about one cause that several scripts share.",
    )
    quiet_hours: Annotated[QuietHours | None, EMPTY_IS_NONE] = Field(
        default=None,
        description='Hours of the day in which only critical messages go out, such as "22:00-07:00 '
        'Europe/Berlin"; empty: none.',
    )
    retry: Deadline = Field(
        default=10.0,
        description="Seconds before the second attempt of a failed delivery; later waits grow to an"
        " hour.",
    )
    horizon: Deadline = Field(
        default=259_200.0,
        description="Seconds after which a message that could not be delivered is set aside as "
        "undeliverable.",
    )
    dashboard: Annotated[Url | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="URL of the dashboard as readers reach it, for links in messages; empty: made "
        "from api.host and api.port.",
    )
    heartbeat: Annotated[Secret | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="URL that k6d calls while all is well, as Healthchecks wants it; empty: none.",
    )
    heartbeat_every: Deadline = Field(
        default=60.0,
        description="Seconds between two calls of the heartbeat by the daemon; each run calls it as"
        " well.",
    )

    @field_validator("heartbeat")
    @classmethod
    def _is_http(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not re.match(r"https?://[^\s/]", url.get_secret_value()):
            raise ValueError(URL_ALLOWED)
        return url
