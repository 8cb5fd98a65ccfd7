"""Settings: command line, environment, `.env`, systemd credentials and a TOML file → `Settings`.

Strongest first: `load`'s keywords; `K6D_*` in the environment, then in `.env`; the original
service's names, likewise; the files in `$CREDENTIALS_DIRECTORY`; the TOML file; the defaults.
Sources merge key by key, but a limit is one value: who sets `limits.error_rate` replaces its whole
table. `parse_script_settings` reads what a script says about itself. Every mistake becomes a
one-line `K6dError` with source, key, problem and what is allowed, and never a secret.
"""

from __future__ import annotations

import difflib
import itertools
import math
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_origin

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    SettingsConfigDict,
)

from k6d.model import K6dError, Severity

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

ORIGINAL_NAMES = {
    "K6_RESULTS_DIR": "data",
    "K6_TIMEOUT": "k6__timeout",
    "GEMINI_API_KEY": "ai__api_key",
    "AI_MODEL": "ai__model",
    "AI_TEMPERATURE": "ai__temperature",
    "HOST": "api__host",
    "PORT": "api__port",
    "LOG_LEVEL": "log_level",
    "DEBUG": "debug",
}
PATHS = ("scripts", "data", "k6.path", "notify.config")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+")
_DURATION_ALLOWED = 'should be a number of seconds or a text such as "90s", "1m30s", "500ms", "7d"'
_UNITS_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_LONGEST_S = 366 * 86_400  # far below what timers overflow at; more is a slip of the unit

Key = tuple[str | int, ...]


def _seconds(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(_DURATION_ALLOWED)  # noqa: TRY004  (pydantic wants a ValueError)
    if not isinstance(value, str) or re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
        return value
    text = value.strip().lower()
    if not _DURATION.fullmatch(text):
        raise ValueError(_DURATION_ALLOWED)
    parts = re.findall(r"([\d.]+)(ms|[dhms])", text)
    return math.fsum(float(number) * _UNITS_S[unit] for number, unit in parts)


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # no such user, or no home: the path is then taken as it is written
        return path


def _lines(value: object) -> object:
    """A text is one entry a line, so that an environment variable or a credential needs no JSON."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return [line.strip() for line in value.splitlines() if line.strip()]
    return value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


_EMPTY_IS_NONE = BeforeValidator(lambda value: None if value == "" else value)
Duration = Annotated[
    float, BeforeValidator(_seconds), Field(ge=0, le=_LONGEST_S, allow_inf_nan=False)
]
Deadline = Annotated[Duration, Field(gt=0)]
AbsolutePath = Annotated[Path, AfterValidator(lambda path: _expanded(path).absolute())]
Secret = Annotated[SecretStr, Field(min_length=1)]
Bound = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A table of settings; unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Limit(Section):
    """Severity → number that a measurement may reach but not pass; no number means switched off."""

    falls_below: ClassVar[bool] = False
    maximum: ClassVar[float] = math.inf

    low: Bound | None = Field(default=None, description="a finding of severity low beyond this")
    medium: Bound | None = Field(
        default=None, description="a finding of severity medium beyond this"
    )
    high: Bound | None = Field(default=None, description="a finding of severity high beyond this")
    critical: Bound | None = Field(
        default=None, description="a finding of severity critical beyond this"
    )

    def bounds(self) -> dict[Severity, float]:
        """The numbers that are set, mildest first; empty when the limit is switched off."""
        pairs = ((severity, getattr(self, severity.value)) for severity in Severity)
        return {severity: bound for severity, bound in pairs if bound is not None}

    def broken(self, value: float) -> tuple[Severity, float] | None:
        """The worst severity whose number `value` passes, with that number."""
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
    """Broken above, in percent."""

    maximum: ClassVar[float] = 100.0


class RateLimit(Limit):
    """Broken below."""

    falls_below: ClassVar[bool] = True


class Limits(Section):
    """What no run may pass, whatever its history."""

    error_rate: PercentLimit = Field(
        default=PercentLimit(medium=5, high=10), description="failed requests, in percent, above"
    )
    response_time_avg: Limit = Field(
        default=Limit(medium=2000, high=3000), description="average response time, in ms, above"
    )
    response_time_p95: Limit = Field(
        default=Limit(high=5000), description="95th percentile of the response time, in ms, above"
    )
    requests_per_second_per_vu: RateLimit = Field(
        default=RateLimit(medium=0.1), description="requests a second of one virtual user, below"
    )
    failed_checks: PercentLimit = Field(
        default=PercentLimit(medium=0, high=10), description="failed checks, in percent, above"
    )
    min_requests: int = Field(
        default=20,
        ge=1,
        description="an endpoint with fewer requests is not judged by itself, 1 or more",
    )

    def merged(self, script_limits: Limits) -> Limits:
        """The limits that hold for a script: each one it sets replaces ours, table and all."""
        names = script_limits.model_fields_set
        return self.model_copy(update={name: getattr(script_limits, name) for name in names})


class Watch(Section):
    """How changes of scripts are noticed."""

    ignore: Annotated[list[str], BeforeValidator(_lines)] = Field(
        default=[], description="glob patterns of paths to ignore, relative to the scripts folder"
    )
    settle: Duration = Field(
        default=0.5, description="a file that was created but not closed must rest that long"
    )
    rescan: Deadline = Field(
        default=30.0, description="look through the whole folder that often, for what no event told"
    )
    polling: bool = Field(
        default=False, description="true: no inotify, for network mounts and some containers"
    )


class K6(Section):
    """How k6 is run."""

    model_config = ConfigDict(coerce_numbers_to_str=True)  # VUS = 10 in the table env

    path: Annotated[AbsolutePath | None, _EMPTY_IS_NONE] = Field(
        default=None, description="the k6 binary (empty: beside this Python, then on PATH)"
    )
    timeout: Annotated[Deadline | None, _EMPTY_IS_NONE] = Field(
        default=None, description="deadline of a run (empty: its planned duration plus grace)"
    )
    grace: Duration = Field(
        default=30.0, description="what a run may take beyond its planned duration"
    )
    stop_grace: Duration = Field(
        default=10.0, description="the wait from SIGINT to SIGTERM, and from SIGTERM to SIGKILL"
    )
    concurrency: int = Field(
        default=1,
        ge=1,
        le=64,
        description="load tests at the same time, 1 to 64, which disturb each other",
    )
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = Field(
        default={}, repr=False, description="what scripts see in __ENV, a table of name = text"
    )
    log_bytes: int = Field(
        default=16_384,
        ge=1024,
        le=1_048_576,
        description="bytes kept of k6's log, half head, half tail, 1024 to 1048576",
    )


class Capture(Section):
    """What is measured beyond k6's totals."""

    max_endpoints: int = Field(
        default=200, ge=1, le=5000, description="endpoints told apart in a run, 1 to 5000"
    )


class Notify(Section):
    """Who is told, through Apprise."""

    urls: Annotated[list[Secret], BeforeValidator(_lines)] = Field(
        default=[],
        description="Apprise URLs of the receivers (better as a credential or K6D_NOTIFY__URLS)",
    )
    config: Annotated[AbsolutePath | None, _EMPTY_IS_NONE] = Field(
        default=None, description="an Apprise configuration file (YAML or text), see apprise.yml"
    )
    min_severity: Annotated[Severity, BeforeValidator(_lower)] = Field(
        default=Severity.LOW, description="tell only of low, medium, high or critical and worse"
    )
    timeout: Deadline = Field(default=60.0, description="the longest a delivery may take")


class Ai(Section):
    """The explanation of findings by Gemini; without a key there is none."""

    api_key: Annotated[Secret | None, _EMPTY_IS_NONE] = Field(
        default=None, description="Gemini API key (better as a credential or GEMINI_API_KEY)"
    )
    model: str = Field(
        default="gemini-3.6-flash", min_length=1, description="name of the Gemini model"
    )
    temperature: float = Field(default=0.2, ge=0, le=2, description="how freely it words, 0 to 2")
    endpoint: Annotated[str | None, _EMPTY_IS_NONE] = Field(
        default=None,
        pattern=r"^https?://",
        description="another server that speaks Gemini's API, its URL",
    )


class Api(Section):
    """The HTTP API and the dashboard."""

    enabled: bool = Field(default=True, description="false: no API and no dashboard")
    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(
        default=8000, ge=1, le=65_535, description="TCP port to listen on, 1 to 65535"
    )
    token: Annotated[Secret | None, _EMPTY_IS_NONE] = Field(
        default=None, description="the bearer token clients must send (empty: none)"
    )


class Settings(BaseSettings):
    """All of k6d's settings; get them from `load`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, case_sensitive=True
    )

    scripts: AbsolutePath = Field(
        default=Path("scripts"), validate_default=True, description="the folder of the k6 scripts"
    )
    data: AbsolutePath = Field(
        default=Path("k6d-data"),
        validate_default=True,
        description="the folder where results are kept",
    )
    debug: bool = Field(default=False, description="true: log level debug, whatever log_level says")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = (
        Field(default="info", validate_default=True, description="debug, info, warning or error")
    )
    watch: Watch = Field(default_factory=Watch, description="how changes of scripts are noticed")
    k6: K6 = Field(default_factory=K6, description="how k6 is run")
    capture: Capture = Field(
        default_factory=Capture, description="what is measured beyond k6's totals"
    )
    limits: Limits = Field(
        default_factory=Limits, description="what no run may pass, whatever its history"
    )
    notify: Notify = Field(default_factory=Notify, description="who is told, through Apprise")
    ai: Ai = Field(
        default_factory=Ai, description="findings explained by Gemini, if there is a key"
    )
    api: Api = Field(default_factory=Api, description="the HTTP API and the dashboard")
    _config_file: Path | None = PrivateAttr(None)
    _warnings: tuple[str, ...] = PrivateAttr(())

    @field_validator("log_level")
    @classmethod
    def _debug_logs_debug(cls, level: str, info: ValidationInfo) -> str:
        return "debug" if info.data.get("debug") else level

    @property
    def config_file(self) -> Path | None:
        """The TOML file that was read."""
        return self._config_file

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each `K6D_*` variable or credential that is no setting; log them."""
        return self._warnings


class ScriptSettings(Section):
    """What a script says about itself in `export const options = { ext: { k6d: { … } } }`."""

    enabled: bool = Field(default=True, description="false to never run this script by itself")
    timeout: Deadline | None = Field(default=None, description="deadline of a run of this script")
    limits: Limits = Field(default_factory=Limits, description="limits that replace k6d's own")
    notify: bool = Field(default=True, description="false: tell nobody about this script")


def load(config: Path | None = None, **overrides: object) -> Settings:
    """The settings that hold here and now.

    `config` is the TOML file; without it K6D_CONFIG, ./k6d.toml, $XDG_CONFIG_HOME/k6d/k6d.toml and
    /etc/k6d/k6d.toml are tried. `overrides` are the strongest: `data=…`, `api__port=…`; None means
    not given. Raises K6dError, one line for all mistakes; a caller should log `warnings`.
    """
    dotenv = _dotenv(Path(".env"))
    variables: list[tuple[Mapping[str, str], str]] = [(os.environ, ""), (dotenv, ".env: ")]
    toml_file, table = _toml(config, os.environ.get("K6D_CONFIG") or dotenv.get("K6D_CONFIG"))
    given = {name: value for name, value in overrides.items() if value is not None}
    warnings: list[str] = []
    sources: tuple[_Texts | _Table, ...] = (
        _Table(_nested(given), "command line"),
        *(_Texts(_ours(names, "K6D_", label, warnings)) for names, label in variables),
        *(_Texts(_original(names, label)) for names, label in variables),
        _Texts(_ours(_credentials(), "", "credential ", warnings)),
        _Table(table, str(toml_file)),
    )
    try:
        settings = Settings(_build_sources=(sources, {}))  # type: ignore[call-arg]  # hidden by pydantic
    except ValidationError as error:
        raise K6dError(_explained(error, model=Settings, sources=sources)) from None
    settings._config_file, settings._warnings = toml_file, tuple(warnings)
    return settings


def parse_script_settings(raw: object, *, script: str) -> ScriptSettings:
    """The settings in `options.ext.k6d` of `script`, decoded from JSON; None means there are none.

    Raises K6dError, one line that names the script, the key, the problem and what is allowed.
    """
    try:
        return ScriptSettings.model_validate({} if raw is None else raw)
    except ValidationError as error:
        text = _explained(error, model=ScriptSettings, prefix="ext.k6d", source=script)
        raise K6dError(text) from None


def fields(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting by its dotted key, in the order of the configuration file."""
    for name, info in model.model_fields.items():
        section = _model(info)
        if section and not issubclass(section, Limit):
            yield from fields(section, f"{prefix}{name}.")
        else:
            yield prefix + name, info


class _Texts(EnvSettingsSource):
    """Settings written as texts; `texts` maps "api__port" to the text and where it was found."""

    def __init__(self, texts: Mapping[str, tuple[str, str]]) -> None:
        super().__init__(
            Settings, case_sensitive=True, env_nested_delimiter="__", env_nested_max_split=2
        )
        self.env_vars = {name: text for name, (text, _) in texts.items()}
        self._labels: dict[Key, str] = {
            tuple(name.split("__", 2)): label for name, (_, label) in texts.items()
        }

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """JSON where it is JSON; validation, which knows the key, complains about the rest."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value

    def __call__(self) -> dict[str, Any]:
        return _sealed(super().__call__())

    def label(self, key: Key) -> str:
        """Where the value of `key` was found."""
        return next(self._labels[key[:n]] for n in (3, 2, 1) if key[:n] in self._labels)


class _Table(InitSettingsSource):
    """Settings that are values already."""

    def __init__(self, values: dict[str, Any], label: str) -> None:
        super().__init__(Settings, values)
        self._label = label

    def __call__(self) -> dict[str, Any]:
        return _sealed(super().__call__())

    def label(self, _key: Key) -> str:
        """Where the values were found."""
        return self._label


def _sealed(values: dict[str, Any]) -> dict[str, Any]:
    # pydantic-settings merges dicts of several sources, but a limit is replaced as a whole.
    limits = values.get("limits")
    if not isinstance(limits, dict):
        return values
    sealed = {k: MappingProxyType(v) if isinstance(v, dict) else v for k, v in limits.items()}
    return {**values, "limits": sealed}


def _nested(flat: dict[str, object]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, last = name.split("__")
        table = nested
        for section in sections:
            table = table.setdefault(section, {})
        table[last] = value
    return nested


def _dotenv(file: Path) -> dict[str, str]:
    try:
        file.read_text(encoding="utf-8")  # dotenv takes an unreadable file for an empty one
    except (FileNotFoundError, IsADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise K6dError(f"{file}: cannot be read: {_reason(error)}; mend or remove it") from None
    values = dotenv_values(file, interpolate=False, encoding="utf-8")
    return {name: text for name, text in values.items() if text}


def _credentials() -> dict[str, str]:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    texts = {}
    try:
        for file in sorted(Path(folder).iterdir()) if folder else ():
            if file.is_file() and not file.name.startswith("."):
                texts[file.name] = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise K6dError(f"credentials in {folder}: cannot be read: {_reason(error)}") from None
    if empty := [name for name, text in texts.items() if not text]:
        raise K6dError(f"credential {empty[0]}: is empty; write its value into it or remove it")
    return texts


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "no access") if isinstance(error, OSError) else "it is not UTF-8 text"


def _toml(config: Path | None, variable: str | None) -> tuple[Path | None, dict[str, Any]]:
    """The configuration file and what is in it; its paths are taken from its own folder."""
    named = config or (Path(variable) if variable else None)
    home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config")
    usual = (Path("k6d.toml"), home / "k6d/k6d.toml", Path("/etc/k6d/k6d.toml"))
    for file in map(_expanded, (named,) if named else usual):
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except tomllib.TOMLDecodeError as error:
            raise K6dError(f"{file}: not valid TOML: {error}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise K6dError(f"{file}: cannot be read: {_reason(error)}") from None
        for section, _, name in (key.rpartition(".") for key in PATHS):
            inner = table.get(section) if section else table
            if isinstance(inner, dict) and isinstance(path := inner.get(name), str) and path:
                inner[name] = file.absolute().parent / _expanded(Path(path))
        return file.absolute(), table
    if named:
        origin = "--config" if config else "K6D_CONFIG"
        raise K6dError(f"{origin}: there is no file {named}; name another or create it")
    return None, {}


def _ours(
    names: Mapping[str, str], prefix: str, label: str, warnings: list[str]
) -> dict[str, tuple[str, str]]:
    """What of `names` are settings; the rest that has our prefix is told in `warnings`."""
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
        if _known(Settings, key.split("__", 2)):
            texts |= {key: (text, label + name)} if text else {}
            continue
        near = difflib.get_close_matches(key, usual, 1)
        meant = prefix + (near[0].upper() if prefix else near[0]) if near else ""
        hint = f", did you mean {meant}?" if near else ""
        warnings.append(f"{label}{name} is not a setting of k6d{hint}")
    return texts


def _original(names: Mapping[str, str], label: str) -> dict[str, tuple[str, str]]:
    given = {name: key for name, key in ORIGINAL_NAMES.items() if names.get(name)}
    return {key: (names[name], label + name) for name, key in given.items()}


def _model(info: FieldInfo) -> type[BaseModel] | None:
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _known(model: type[BaseModel], parts: list[str]) -> bool:
    info = model.model_fields.get(parts[0])
    if info is None or len(parts) == 1:
        return info is not None
    inner = _model(info)
    return _known(inner, parts[1:]) if inner else get_origin(info.annotation) is dict


def _explained(
    error: ValidationError,
    *,
    model: type[BaseModel],
    prefix: str = "",
    source: str = "",
    sources: Iterable[_Texts | _Table] = (),
) -> str:
    """All mistakes in one line: "source: key: problem (meaning)"; never a secret's value."""
    known = dict(fields(model))
    origins = [(key, origin.label(key)) for origin in sources for key in _keys(origin())]
    told = []
    for mistake in error.errors(include_url=False):
        loc = tuple(part for part in mistake["loc"] if part != "[key]")
        where = source or next(
            (label for key, label in origins if key[: len(loc)] == loc[: len(key)]), "settings"
        )
        dotted = ".".join(map(str, loc))
        info = next((known[k] for k in _shorter(dotted) if k in known), None)
        if mistake["type"] == "extra_forbidden":
            problem = _unknown(dotted, known, model, prefix)
        else:
            shown = info is not None and _harmless(info, where) and _scalar(mistake["input"])
            value = f"{mistake['input']!r:.60} " if shown else ""
            problem = value + _wording(mistake["type"], mistake["msg"])
        meaning = f" ({info.description})" if info and info.description else ""
        full = ".".join(filter(None, (prefix, dotted)))
        told.append(f"{where}: {full}: {problem}{meaning}")
    return "".join(c if c.isprintable() else " " for c in "; ".join(told))


def _keys(table: Mapping[str, Any], prefix: Key = ()) -> Iterator[Key]:
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _keys(value, (*prefix, name))
        else:
            yield (*prefix, name)


def _shorter(dotted: str) -> Iterator[str]:
    while dotted:
        yield dotted
        dotted = dotted.rpartition(".")[0]


def _harmless(info: FieldInfo, where: str) -> bool:
    secret = "Secret" in str(info.annotation) or not info.repr
    return not secret and not where.startswith("credential ")


def _scalar(value: object) -> bool:
    return isinstance(value, str | int | float | Path)


def _wording(kind: str, message: str) -> str:
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return "should be a table"
    return message.removeprefix("Value error, ").removeprefix("Input ")


def _unknown(
    dotted: str, known: Mapping[str, FieldInfo], model: type[BaseModel], prefix: str
) -> str:
    """Name the settings that may have been meant: the same name elsewhere, else a similar one."""
    *sections, name = dotted.split(".")
    for section in sections:
        model = _model(model.model_fields[section]) or model
    beside = {".".join((*sections, key)) for key in model.model_fields}
    same = [key for key in known if key.rpartition(".")[2] == name]
    near = difflib.get_close_matches(dotted, beside | set(known), 1)
    if meant := same or near:
        full = (f"{prefix}.{key}".lstrip(".") for key in meant)
        return f"unknown key, did you mean {' or '.join(full)}?"
    return f"unknown key, allowed: {', '.join(model.model_fields)}"
