"""The types of setting values, and how people may write each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from k6d.core.parse import LONGEST_S, absolute, parse_duration
from k6d.core.tags import MOST_TAGS, checked

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+")
_DURATION_ALLOWED = 'should be a number of seconds or a text such as "90s", "1m30s", "500ms", "7d"'


def seconds(value: object) -> object:
    """The seconds of a text such as "1m30s"; a number or a text of digits as it is.

    ValueError for another text and for true and false.
    """
    if isinstance(value, bool):
        raise ValueError(_DURATION_ALLOWED)  # noqa: TRY004  (pydantic wants a ValueError)
    if not isinstance(value, str) or re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
        return value
    text = value.strip().lower()
    if not _DURATION.fullmatch(text):
        raise ValueError(_DURATION_ALLOWED)
    return parse_duration(text)


def lines(value: object) -> object:
    """The non-empty lines of a text; JSON lists and other values as they are.

    Without this, lists in environment variables and credentials would have to be JSON.
    """
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return [line.strip() for line in value.splitlines() if line.strip()]
    return value


def lower(value: object) -> object:
    """A text without surrounding blanks and in lower case; anything else as it is."""
    return value.strip().lower() if isinstance(value, str) else value


EMPTY_IS_NONE = BeforeValidator(lambda value: None if value == "" else value)
Duration = Annotated[
    float, BeforeValidator(seconds), Field(ge=0, le=LONGEST_S, allow_inf_nan=False)
]
Deadline = Annotated[Duration, Field(gt=0)]


AbsolutePath = Annotated[Path, AfterValidator(absolute)]
Secret = Annotated[SecretStr, Field(min_length=1)]


def can_be_sent(secret: SecretStr) -> SecretStr:
    """The secret; ValueError when an HTTP header cannot hold it, such as one with a line end."""
    text = secret.get_secret_value()
    if not text.isprintable() or not text.isascii():
        raise ValueError("has characters that no HTTP header can have, such as a line end")
    return secret


HeaderSecret = Annotated[Secret, AfterValidator(can_be_sent)]


def _matching(pattern: str, allowed: str) -> AfterValidator:
    """A validator: the whole text must match, else ValueError with `allowed` as its message."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(allowed)
        return text

    return AfterValidator(check)


URL_ALLOWED = "should be an http:// or https:// URL"
Address = Annotated[
    str,
    _matching(
        r"https?://[^\s/]\S*|([^\s/:\[\]]+|\[[0-9a-fA-F:.]+\]):\d{1,5}",
        "should be host:port, or an http:// or https:// URL",
    ),
]
Url = Annotated[str, _matching(r"https?://[^\s/]\S*", URL_ALLOWED)]


def _origin(text: str) -> str:
    """The origin in the form that browsers send: lower case, no final slash, no default port.

    ValueError when the text is not an origin.
    """
    match = re.fullmatch(
        r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?/?", text.lower()
    )
    if not match:
        raise ValueError(
            "should be the origin of a web page, scheme, host and port alone, such as "
            "http://localhost:5173; there is no wildcard"
        )
    scheme, host, port = match.groups()
    usual = {"http": "80", "https": "443"}[scheme]
    return f"{scheme}://{host}" + (f":{port}" if port and port != usual else "")


Origin = Annotated[str, AfterValidator(_origin)]
Tags = Annotated[
    str,
    _matching(r"[\w.-]+(?:[ ,]+[\w.-]+)*", "should be tags of letters, digits and . _ - only"),
]


def _run_tags(tags: dict[str, str]) -> dict[str, str]:
    """The tags; ValueError when one is wrong, or when there are too many."""
    if len(tags) > MOST_TAGS:
        raise ValueError(f"are too many: {len(tags)}; a run has {MOST_TAGS} at most")
    return dict(checked(name, value) for name, value in tags.items())


RunTags = Annotated[dict[str, str], AfterValidator(_run_tags)]
VariableName = Annotated[
    str, _matching(r"[A-Za-z_][A-Za-z0-9_]*", "should be a name such as BASE_URL")
]


def _no_bool(value: object) -> object:
    """ValueError for true and false: pydantic would read `days = true` as 1."""
    if isinstance(value, bool):
        raise ValueError("should be a number")  # noqa: TRY004  (pydantic wants a ValueError)
    return value


Bound = Annotated[float, BeforeValidator(_no_bool), Field(ge=0, allow_inf_nan=False)]


def table(description: str, **default: object) -> Any:
    """A field that is a table; keys without a `default` here have that table's own."""
    return Field(default=default, validate_default=True, description=description)


class Section(BaseModel):
    """A table of settings; an unknown key is a mistake."""

    # Deferred: `Settings` and `ScriptSettings` have one validator for all their tables.
    model_config = ConfigDict(
        frozen=True, defer_build=True, extra="forbid", hide_input_in_errors=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        numeric = cls.model_fields[str(info.field_name)].annotation in {int, float}
        return _no_bool(value) if numeric else value
