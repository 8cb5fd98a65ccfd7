"""Every setting: its key, default, allowed values and meaning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from k6d.settings.abort import Abort
from k6d.settings.files import DEFAULT_DATA, DEFAULT_SCRIPTS
from k6d.settings.kubernetes import Kubernetes, Runners
from k6d.settings.limits import Excluded, Limit, Limits
from k6d.settings.notify import Notify
from k6d.settings.prometheus import Metrics, Prometheus
from k6d.settings.running import K6, Capture, Compare, Executor, Forward, Network, Watch
from k6d.settings.suites import Suites
from k6d.settings.upkeep import Retention, Schedule, ScriptSchedule
from k6d.settings.values import (
    EMPTY_IS_NONE,
    AbsolutePath,
    Deadline,
    Duration,
    Origin,
    RunTags,
    Secret,
    Section,
    Tags,
    Url,
    lines,
    lower,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo


SHORTEST_TOKEN = 12  # characters; long enough that guessing over HTTP is hopeless


class Ai(Section):
    """Explanations of findings by Gemini; without an API key there are none."""

    api_key: Annotated[Secret | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="Gemini API key; without it nothing is explained; better as a credential or in "
        "GEMINI_API_KEY.",
    )
    model: str = Field(
        default="gemini-3.6-flash", min_length=1, description="Name of the Gemini model."
    )
    temperature: float = Field(
        default=0.2,
        ge=0,
        le=2,
        description="Temperature of the model, 0 to 2; a higher value gives more varied texts.",
    )
    endpoint: Annotated[Url | None, EMPTY_IS_NONE] = Field(
        default=None, description="URL of another server that speaks Gemini's API; empty: Google's."
    )
    sdk: Literal["auto", "google-generativeai", "google-genai"] = Field(
        default="auto",
        description='Python library for Gemini: "google-generativeai", "google-genai", or "auto" '
        "for the first of them that is installed.",
    )
    when: Literal["anomalous", "always", "never"] = Field(
        default="anomalous",
        description='Which runs are explained: "anomalous", "always" or "never".',
    )
    send_source: bool = Field(
        default=True, description="false: the source of scripts is never sent to Gemini."
    )
    suspicions_alarm: bool = Field(
        default=False,
        description="true: a problem that only Gemini found makes a run anomalous, with severity "
        "low.",
    )
    timeout: Annotated[Deadline, Field(le=300)] = Field(
        default=20.0,
        description="Seconds that an alert waits for the explanation, all attempts together, up to "
        "300.",
    )
    attempts: int = Field(
        default=3, ge=1, le=10, description="Number of requests to Gemini for one run, 1 to 10."
    )
    per_day: int = Field(
        default=200,
        ge=0,
        le=100_000,
        description="Number of requests to Gemini a day (UTC), 0 to 100000.",
    )


class Api(Section):
    """The HTTP API and the dashboard."""

    enabled: bool = Field(default=True, description="false: there is no API and no dashboard.")
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address that the API and the dashboard listen on.",
    )
    port: int = Field(
        default=8000,
        ge=1,
        le=65_535,
        description="TCP port that the API and the dashboard listen on, 1 to 65535.",
    )
    token: Annotated[Secret | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="Bearer token for every request that runs or changes something, and for all "
        "requests when host is not loopback; at least 12 characters; empty: k6d makes "
        "one at its first start and stores it in the file api-token in the data folder.",
    )
    names: Annotated[list[str], BeforeValidator(lines)] = Field(
        default=[],
        description="More host names under which browsers may reach the API, such as a proxy's.",
    )
    origins: Annotated[list[Origin], BeforeValidator(lines)] = Field(
        default=[],
        description="Origins of other web pages that may call the API with the token, such as "
        "http://localhost:5173.",
    )
    idle: Duration = Field(
        default=600.0,
        description="Seconds without a request after which the process that answers requests ends; "
        "the next request starts it again, which takes about a second.",
    )

    @field_validator("token")
    @classmethod
    def _not_to_be_guessed(cls, token: Secret | None) -> Secret | None:
        if token is not None and len(token.get_secret_value()) < SHORTEST_TOKEN:
            raise ValueError(f"should have at least {SHORTEST_TOKEN} characters, made by chance")
        return token


class Settings(BaseSettings):
    """All of k6d's settings; get them from `load`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, case_sensitive=True
    )

    scripts: AbsolutePath = Field(
        default=DEFAULT_SCRIPTS, validate_default=True, description="Folder of the k6 scripts."
    )
    data: AbsolutePath = Field(
        default=DEFAULT_DATA,
        validate_default=True,
        description="Folder where results are stored.",
    )
    debug: bool = Field(
        default=False, description="true: the log level is debug, whatever log_level says."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = (
        Field(
            default="info",
            validate_default=True,
            description="Lowest level that is logged: debug, info, warning or error.",
        )
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(lower)] = Field(
        default="text", description="Format of the log: text, or json for one JSON object a line."
    )
    log_file: Annotated[AbsolutePath | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="File that the log is also written to, as at most ten files of 10 MiB; empty: "
        "none.",
    )
    suites: Suites = Field(
        default=[],
        description="A list of { name, scripts, after, stop, cron }: scripts that run one after "
        "the other.",
    )
    metrics: Metrics = Field(
        default=[],
        description="A list of { title, query, unit, scripts, value, worse, alert, step }: numbers "
        "of the target that are shown and compared with each run; see prometheus.",
    )
    watch: Watch = table("How k6d notices changed scripts.")
    k6: K6 = table("How k6d runs k6.")
    kubernetes: Kubernetes = table("How k6d runs tests on a Kubernetes cluster, with k6-operator.")
    capture: Capture = table("What k6d measures in addition to k6's totals.")
    network: Network = table("How k6d recognises a fault of this machine's own network.")
    limits: Limits = table("Fixed limits for every run, whatever its history.")
    compare: Compare = table("How k6d compares a run with earlier runs of its script.")
    schedule: Schedule = table("When scripts run by the clock.")
    retention: Retention = table("What k6d stores, and for how long.")
    notify: Notify = table("Who gets alerts through Apprise, and when.")
    ai: Ai = table("How Gemini explains findings, if there is an API key.")
    api: Api = table("The HTTP API and the dashboard.")
    forward: Forward = table(
        "Forwarding of k6's metrics to your own Prometheus or OpenTelemetry collector."
    )
    prometheus: Prometheus = table(
        "The Prometheus that has the target's own numbers, which metrics names."
    )
    _config_file: Path | None = PrivateAttr(None)
    _warnings: tuple[str, ...] = PrivateAttr(())
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

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
        return self._origins.get("k6.timeout", "").endswith("K6_TIMEOUT")

    @property
    def origins(self) -> dict[str, str]:
        """The source of each setting that is no default, by its dotted key."""
        return self._origins

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the log, one sentence each.

        They name `K6D_*` variables and credentials that are not settings, lines of `.env` that do
        not parse, and a TZ that cannot be read.
        """
        return self._warnings


class ScriptSettings(Section):
    """A script's own settings, in `export const options = { ext: { k6d: { … } } }`."""

    enabled: bool = Field(default=True, description="false: k6d never runs this script by itself.")
    timeout: Deadline | None = Field(
        default=None, description="Longest time of a run of this script, in seconds."
    )
    limits: Limits = table(
        "Fixed limits for this script; each replaces the limit of the same name in the settings."
    )
    notify: bool | list[Tags] = Field(
        default=True,
        description="false: no alerts about this script; a list: tags of further receivers.",
    )
    schedule: ScriptSchedule | None = Field(
        default=None,
        description="When this script runs by the clock: a cron expression, a table, or false for "
        "never.",
    )
    group: str | None = Field(
        default=None,
        min_length=1,
        description="Name of a group; scripts of one group never run at the same time.",
    )
    abort: Abort = table("When k6d ends a run of this script early: error_rate, response_time_p95.")
    tags: RunTags = Field(
        default={},
        description="Tags of the runs of this script, by which they are searched and compared.",
    )
    executor: Executor | None = Field(
        default=None,
        description='Where this script runs: "local" or "kubernetes"; empty: as k6.executor says.',
    )
    parallelism: Runners | None = Field(
        default=None,
        description="Number of runners on the cluster; empty: as kubernetes.parallelism says.",
    )
    exclude: Excluded = table("Requests that are counted and shown but not judged.")


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
