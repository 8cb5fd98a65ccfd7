"""Lists the settings in force, each with the place that it came from; secrets are hidden."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SecretStr

from k6d.core.frozen import frozen
from k6d.settings.model import fields
from k6d.settings.own_secrets import redactor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k6d.settings.model import Settings

HIDDEN = "…"  # stands for each secret
DEFAULT = "default"


@frozen
class InForce:
    """One setting: its dotted key, its value as JSON, and the file or variable that set it."""

    setting: str
    value: Any
    source: str

    @property
    def is_default(self) -> bool:
        """Whether no file and no variable sets it."""
        return self.source == DEFAULT


def in_force(settings: Settings) -> list[InForce]:
    """Return every setting in the order of the configuration file."""
    return list(_each(settings))


def _each(settings: Settings) -> Iterator[InForce]:
    origins, hide = settings.origins, redactor_of(settings).text
    for key, info in fields():
        value: Any = settings
        for part in key.split("."):
            value = getattr(value, part)
        shown = _plain(value, hide=hide if info.repr else _hidden)
        parts = {name: label for name, label in origins.items() if name.startswith(f"{key}.")}
        if isinstance(value, dict) and parts:
            for name, inner in shown.items():
                whole = f"{key}.{name}"
                yield InForce(setting=whole, value=inner, source=parts.get(whole, DEFAULT))
            continue
        source = origins.get(key) or next(iter(parts.values()), DEFAULT)
        yield InForce(setting=key, value=shown, source=source)


def _plain(value: Any, *, hide: Callable[[str], str]) -> Any:
    """Return a value as JSON, without secrets; `hide` returns a text without its secrets."""
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, BaseModel):
        there = {name: getattr(value, name) for name in type(value).model_fields}
        return {k: _plain(inner, hide=hide) for k, inner in there.items() if inner is not None}
    if isinstance(value, dict):
        return {str(name): _plain(inner, hide=hide) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, hide=hide) for one in value]
    if isinstance(value, str | Path):
        return hide(str(value))
    return value


def _hidden(_text: str) -> str:
    return HIDDEN
