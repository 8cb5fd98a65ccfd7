"""Read settings from the command line, environment, `.env`, systemd credentials and a TOML file.

The first source that sets a key wins:

1. the keywords of `load` (the command line);
2. `K6D_*` variables of the environment, then of `.env`;
3. the original service's variables of the environment, then of `.env`;
4. the files in `$CREDENTIALS_DIRECTORY`;
5. the TOML file;
6. the defaults.

Each key is looked up by itself, but a limit is one value: a source that sets a part of
`limits.error_rate` replaces the whole table.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource, InitSettingsSource

from k6d.core.model import K6dError, MistakesError
from k6d.core.text import printable
from k6d.settings.cron import machine_zone
from k6d.settings.files import ORIGINAL_NAMES, read_credentials, read_dotenv, read_toml
from k6d.settings.mistakes import Key, explained
from k6d.settings.model import ScriptSettings, Settings, fields, section_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic.fields import FieldInfo


def load(config: Path | None = None, **overrides: object) -> Settings:
    """Read and validate the settings.

    `config` is the TOML file; without it K6D_CONFIG, ./k6d.toml, $XDG_CONFIG_HOME/k6d/k6d.toml and
    /etc/k6d/k6d.toml are tried. `overrides` replace all other sources: `data=…`, `api__port=…`;
    None means not given. Raises K6dError with one line for all mistakes. The caller should log
    `Settings.warnings`.
    """
    warnings: list[str] = []
    dotenv = read_dotenv(Path(".env"), warnings)
    variables: list[tuple[Mapping[str, str], str]] = [(os.environ, ""), (dotenv, ".env: ")]
    toml_file, table = read_toml(config, os.environ.get("K6D_CONFIG") or dotenv.get("K6D_CONFIG"))
    given = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in overrides.items()
        if value is not None
    }
    sources: tuple[_TextSource | _TableSource, ...] = (
        _TableSource(_nested(given), "command line"),
        *(_TextSource(_prefixed(names, "K6D_", label, warnings)) for names, label in variables),
        *(_TextSource(_original_texts(names, label)) for names, label in variables),
        _TextSource(_prefixed(read_credentials(), "", "credential ", warnings)),
        _TableSource(table, str(toml_file)),
    )
    try:
        settings = Settings(_build_sources=(sources, {}))  # type: ignore[call-arg]  # hidden by pydantic
    except ValidationError as error:
        raise MistakesError(explained(error, model=Settings, sources=sources)) from None
    if not settings.schedule.timezone and machine_zone() is None:
        zone = printable(os.environ["TZ"])
        warnings.append(f"TZ={zone} does not read: schedules go by UTC; set schedule.timezone")
    settings._config_file, settings._warnings = toml_file, tuple(warnings)
    settings._origins = _origins(sources)
    return settings


def parse_script_settings(raw: object, *, script: str) -> ScriptSettings:
    """The script's own settings; `raw` is `options.ext.k6d`, decoded from JSON, None if absent.

    Raises K6dError with one line: the script, the key, the problem and what is allowed.
    """
    try:
        return ScriptSettings.model_validate({} if raw is None else raw)
    except ValidationError as error:
        lines = explained(error, model=ScriptSettings, prefix="ext.k6d", source=script)
        raise MistakesError(lines) from None


class _TextSource(EnvSettingsSource):
    """Settings as texts; `texts` maps names such as "api__port" to the text and its origin."""

    def __init__(self, texts: Mapping[str, tuple[str, str]]) -> None:
        super().__init__(
            Settings, case_sensitive=True, env_nested_delimiter="__", env_nested_max_split=2
        )
        self.env_vars = {name: text for name, (text, _) in texts.items()}
        self._labels: dict[Key, str] = {
            tuple(name.split("__", 2)): label for name, (_, label) in texts.items()
        }

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """The decoded JSON; a text that is no JSON as it is, so that validation names its key."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value

    def __call__(self) -> dict[str, Any]:
        # Without texts there is nothing to look for, which takes 3 ms for each source.
        return _with_whole_limits(super().__call__()) if self.env_vars else {}

    def label(self, key: Key) -> str:
        """The name of the variable or credential that sets `key`, or a part of it."""
        whole = [self._labels[key[:n]] for n in (3, 2, 1) if key[:n] in self._labels]
        parts = (label for name, label in self._labels.items() if name[: len(key)] == key)
        return whole[0] if whole else next(parts)


class _TableSource(InitSettingsSource):
    """Settings as values, from the command line or a TOML file."""

    def __init__(self, values: dict[str, Any], label: str) -> None:
        super().__init__(Settings, values)
        self._label = label

    def __call__(self) -> dict[str, Any]:
        return _with_whole_limits(super().__call__())

    def label(self, _key: Key) -> str:
        """The name of the source."""
        return self._label


def _origins(sources: Iterable[_TextSource | _TableSource]) -> dict[str, str]:
    """The origin of each setting that has one, by its dotted key; a default has none.

    The entries of a table such as `k6.env` may have several origins; each has its own key.
    """
    found: dict[str, str] = {}
    known = {key for key, _ in fields()}
    for source in sources:
        for path in _leaves(source(), known):
            found.setdefault(".".join(path), source.label(path))
    return found


def _leaves(
    table: Mapping[str, Any], known: set[str], above: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """The path of each value of a source; a limit is one value."""
    for name, value in table.items():
        path = (*above, name)
        is_limit = path[0] == "limits" and ".".join(path) in known
        if isinstance(value, Mapping) and not is_limit:
            yield from _leaves(value, known, path)
        else:
            yield path


def _with_whole_limits(values: dict[str, Any]) -> dict[str, Any]:
    # pydantic-settings merges dicts of several sources. A limit must be replaced as a whole, and
    # pydantic-settings leaves other mappings than dicts alone.
    limits = values.get("limits")
    if not isinstance(limits, dict):
        return values
    whole = {k: MappingProxyType(v) if isinstance(v, dict) else v for k, v in limits.items()}
    return {**values, "limits": whole}


def _nested(flat: dict[str, object]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, last = name.split("__")
        table = nested
        for section in sections:
            table = table.setdefault(section, {})
        table[last] = value
    return nested


def secret_settings(file: Path) -> list[str]:
    """The keys of settings in a .env or TOML file that may hold secrets; [] if it does not parse.

    Apprise URLs hold passwords or tokens, and `k6.env` may.
    """
    try:
        if file.suffix != ".toml":
            found = _prefixed(read_dotenv(file, []), "K6D_", "", []) | _original_texts(
                read_dotenv(file, []), ""
            )
            names = {key.replace("__", ".") for key in found}
        else:
            table = tomllib.loads(file.read_text(encoding="utf-8-sig"))
            sections = {k: v for k, v in table.items() if isinstance(v, dict)}
            names = {f"{section}.{name}" for section, inner in sections.items() for name in inner}
    except (K6dError, OSError, ValueError):
        return []
    secret = {key for key, info in fields() if "Secret" in str(info.annotation) or not info.repr}
    return sorted(n for n in names if n in secret or n == "k6.env" or n.startswith("k6.env."))


def _prefixed(
    names: Mapping[str, str], prefix: str, label: str, warnings: list[str]
) -> dict[str, tuple[str, str]]:
    """The settings among `names` that begin with `prefix`, with their texts and origins.

    Adds a warning for each name with the prefix that is not a setting.
    """
    usual = {key.replace(".", "__"): info for key, info in fields()}
    texts: dict[str, tuple[str, str]] = {}
    for name, text in names.items():
        if not name.startswith(prefix) or name == "K6D_CONFIG":
            continue
        first, *rest = name.removeprefix(prefix).split("__", 1)
        if first.lower() == "k6" and rest and rest[0].lower().startswith("env__"):
            key = f"k6__env__{rest[0][5:]}"  # the only names whose case matters
        else:
            key = name.removeprefix(prefix).lower()
        if not prefix and key == "gemini_api_key":
            key = ORIGINAL_NAMES["GEMINI_API_KEY"]
        if _is_setting(Settings, key.split("__", 2)):
            texts |= {key: (text, label + name)} if text else {}
            continue
        near = difflib.get_close_matches(key, usual, 1, cutoff=0.75)
        meant = prefix + (near[0].upper() if prefix else near[0]) if near else ""
        hint = f", did you mean {meant}?" if near else ""
        warnings.append(printable(f"{label}{name} is not a setting of k6d{hint}"))
    return texts


def _original_texts(names: Mapping[str, str], label: str) -> dict[str, tuple[str, str]]:
    given = {name: key for name, key in ORIGINAL_NAMES.items() if names.get(name)}
    return {key: (names[name], label + name) for name, key in given.items()}


def _is_setting(model: type[BaseModel], parts: list[str]) -> bool:
    info = model.model_fields.get(parts[0])
    if info is None or len(parts) == 1:
        return info is not None
    inner = section_of(info)
    return _is_setting(inner, parts[1:]) if inner else get_origin(info.annotation) is dict
