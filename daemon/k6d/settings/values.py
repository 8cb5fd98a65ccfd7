"""The sorts of values that settings have, and how each may be written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

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

from k6d.core.parse import LONGEST_S, parse_duration

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+")
_DURATION_ALLOWED = 'should be a number of seconds or a text such as "90s", "1m30s", "500ms", "7d"'


def seconds(value: object) -> object:
    """Seconds of a text such as "1m30s"; anything else as it is."""
    if isinstance(value, bool):
        raise ValueError(_DURATION_ALLOWED)  # noqa: TRY004  (pydantic wants a ValueError)
    if not isinstance(value, str) or re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
        return value
    text = value.strip().lower()
    if not _DURATION.fullmatch(text):
        raise ValueError(_DURATION_ALLOWED)
    return parse_duration(text)


def expanded(path: Path) -> Path:
    """`path` with the home folder for ~."""
    try:
        return path.expanduser()
    except RuntimeError:  # no such user, or no home: the path is then taken as it is written
        return path


def located(path: Path) -> Path:
    """`path` absolute and without "..", which the system takes after following links."""
    parts = path.absolute().parts
    up = max((n for n, part in enumerate(parts, 1) if part == ".."), default=0)
    return Path(*parts[:up]).resolve().joinpath(*parts[up:]) if up else Path(*parts)


def lines(value: object) -> object:
    """A text is one entry a line, so that an environment variable or a credential needs no JSON."""
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


def _absolute(path: Path) -> Path:
    """ValueError for a path that nothing could be written about."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError("should be a path in UTF-8") from None
    return located(expanded(path))


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Secret = Annotated[SecretStr, Field(min_length=1)]


def _matching(pattern: str, allowed: str) -> AfterValidator:
    """Takes a text that matches as a whole; else its ValueError says what is `allowed`."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(allowed)
        return text

    return AfterValidator(check)


URL_ALLOWED = "should be an http:// or https:// URL"
Url = Annotated[str, _matching(r"https?://[^\s/]\S*", URL_ALLOWED)]


def _origin(text: str) -> str:
    """The origin as browsers send it: lower case, without a slash or the scheme's own port."""
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
VariableName = Annotated[
    str, _matching(r"[A-Za-z_][A-Za-z0-9_]*", "should be a name such as BASE_URL")
]


def _no_bool(value: object) -> object:
    """To pydantic true is 1, which nobody means who writes `days = true`."""
    if isinstance(value, bool):
        raise ValueError("should be a number")  # noqa: TRY004  (pydantic wants a ValueError)
    return value


Bound = Annotated[float, BeforeValidator(_no_bool), Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A table of settings; unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        numeric = cls.model_fields[str(info.field_name)].annotation in {int, float}
        return _no_bool(value) if numeric else value
