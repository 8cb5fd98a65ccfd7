"""Describe wrong settings in one line: source, key, problem, what is allowed; never a secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

from pydantic import BaseModel

from k6d.core.text import printable
from k6d.settings.model import fields, section_of

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

Key = tuple[str | int, ...]
# Plain messages by pydantic's type of error; pydantic's own messages are for programmers.
_WORDS = {
    "missing": "is missing",
    "model_type": "should be a table",
    "model_attributes_type": "should be a table",
    "dict_type": "should be a table",
    "list_type": "should be a list",
    "string_type": "should be a text",
    "string_too_short": "should not be empty",
    "too_short": "should not be empty",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "finite_number": "should be a number",
}


class Source(Protocol):
    """A source of settings: variables and files with texts, or a table of values."""

    def __call__(self) -> dict[str, Any]:
        """The nested table of values that the source sets."""

    def label(self, key: Key) -> str:
        """The name of the file or variable that sets `key`."""


def explained(
    error: ValidationError,
    *,
    model: type[BaseModel],
    prefix: str = "",
    source: str = "",
    sources: Iterable[Source] = (),
) -> list[str]:
    """All mistakes of a validation, each as "source: key: problem (meaning)".

    `source` names the origin if all values have the same; otherwise `sources` are searched for each
    key. `prefix` stands before each key. The value of a secret is never shown.
    """
    known = dict(fields(model))
    origins = [(key, origin.label(key)) for origin in sources for key in _keys(origin())]
    problems = []
    for mistake in error.errors(include_url=False):
        loc = tuple(part for part in mistake["loc"] if part != "[key]")
        where = source or next(
            (label for key, label in origins if key[: len(loc)] == loc[: len(key)]), "settings"
        )
        dotted = ".".join(map(str, loc))
        info = next((known[k] for k in _prefixes(dotted) if k in known), None)
        if mistake["type"] == "extra_forbidden":
            problem = _unknown_key(dotted, known, model, prefix)
        else:
            shown = info is not None and _may_show(info, where) and _is_scalar(mistake["input"])
            value = f"{_without_login(mistake['input'])!r:.60} " if shown else ""
            wording = _wording(mistake["type"], mistake["msg"])
            problem = wording if wording.startswith(value.strip()) else value + wording
        meaning = (
            f" ({info.description.split(';')[0].rstrip('.')})" if info and info.description else ""
        )
        full = ".".join(filter(None, (prefix, dotted)))
        problems.append(f"{where}: {full}: {problem}{meaning}")
    return [printable(problem) for problem in problems]


def _keys(table: Mapping[str, Any], prefix: Key = ()) -> Iterator[Key]:
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _keys(value, (*prefix, name))
        else:
            yield (*prefix, name)


def _prefixes(dotted: str) -> Iterator[str]:
    while dotted:
        yield dotted
        dotted = dotted.rpartition(".")[0]


def _may_show(info: FieldInfo, where: str) -> bool:
    secret = "Secret" in str(info.annotation) or not info.repr
    return not secret and not where.startswith("credential ")


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float | Path)


def _without_login(value: object) -> object:
    """A value without what may be secret in a URL: its login and its query."""
    if not isinstance(value, str) or "://" not in value:
        return value
    return re.sub(r"\?.*", "?…", re.sub(r"//[^/?#]*@", "//…@", value), flags=re.DOTALL)


def _wording(kind: str, message: str) -> str:
    return _WORDS.get(kind) or message.removeprefix("Value error, ").removeprefix(
        "Input "
    ).removeprefix("String ")


def _unknown_key(
    dotted: str, known: Mapping[str, FieldInfo], model: type[BaseModel], prefix: str
) -> str:
    """The problem of an unknown key, with a hint.

    The hint is the same name in another table, else a similar name, else all allowed names.
    """
    if (prefix, dotted) == ("ext.k6d", "after"):
        return "unknown key; the settings (k6d.toml) order scripts, by after in [[suites]]"
    *sections, name = dotted.split(".")
    for section in sections:
        model = _model_in(model, section)
    beside = difflib.get_close_matches(name, model.model_fields, 1)
    names = {key.rpartition(".")[2] for key in known}
    spelt = name if name in names or beside else "".join(difflib.get_close_matches(name, names, 1))
    elsewhere = [key for key in known if key.rpartition(".")[2] == spelt]
    if meant := elsewhere or [".".join((*sections, key)) for key in beside]:
        full = (f"{prefix}.{key}".lstrip(".") for key in meant)
        return f"unknown key, did you mean {' or '.join(full)}?"
    return f"unknown key, allowed: {', '.join(model.model_fields)}"


def _model_in(model: type[BaseModel], name: str) -> type[BaseModel]:
    """The model of the table `name` within `model`, or of the entries of the list `name`.

    `model` itself when `name` is a list's index or unknown.
    """
    info = model.model_fields.get(name)
    if info is None:
        return model
    entry = next((a for a in get_args(info.annotation) if isinstance(a, type)), None)
    if entry is not None and issubclass(entry, BaseModel):
        return entry
    return section_of(info) or model
