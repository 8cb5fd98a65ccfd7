"""Settings of how scripts are watched, run, measured and compared."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, ConfigDict, Field, field_validator

from k6d.settings.limits import Limit, PercentLimit
from k6d.settings.values import (
    EMPTY_IS_NONE,
    AbsolutePath,
    Address,
    Deadline,
    Duration,
    HeaderSecret,
    RunTags,
    Secret,
    Section,
    Url,
    VariableName,
    lines,
    table,
)

Executor = Literal["local", "kubernetes"]


class Watch(Section):
    """How k6d notices changed scripts."""

    ignore: Annotated[list[str], BeforeValidator(lines)] = Field(
        default=[],
        description="Glob patterns of paths that k6d ignores, relative to the scripts folder.",
    )
    settle: Duration = Field(
        default=0.5,
        description="A file that was created but not closed counts as changed after it stayed the "
        "same for this many seconds.",
    )
    rescan: Deadline = Field(
        default=30.0,
        description="k6d reads the whole scripts folder every so many seconds, to find changes that"
        " no event reported.",
    )
    polling: bool = Field(
        default=False,
        description="true: k6d looks for changes at intervals instead of using inotify; network "
        "mounts and some containers need it.",
    )


class K6(Section):
    """How k6d runs k6."""

    model_config = ConfigDict(coerce_numbers_to_str=True)  # VUS = 10 in the table env

    executor: Executor = Field(
        default="local",
        description='Where tests run: "local" is this machine, "kubernetes" a cluster with '
        "k6-operator; ext.k6d.executor sets it for one script.",
    )
    path: Annotated[AbsolutePath | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="Path of the k6 binary; empty: the k6 beside this Python, else on PATH.",
    )
    timeout: Annotated[Deadline | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="Longest time of a run, in seconds; empty: its planned duration plus grace.",
    )
    grace: Duration = Field(
        default=30.0, description="Seconds that a run may take beyond its planned duration."
    )
    stop_grace: Duration = Field(
        default=10.0,
        description="Seconds that k6d waits from SIGINT to SIGTERM, and from SIGTERM to SIGKILL, "
        "when it stops a run.",
    )
    concurrency: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Number of load tests that may run at the same time, 1 to 64; they share this "
        "machine and disturb each other.",
    )
    env: dict[VariableName, str] = Field(
        default={},
        repr=False,
        description="Environment variables that scripts see in __ENV: a table of name = text.",
    )
    config: Annotated[AbsolutePath | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="Path of a configuration file of k6 (JSON) for all scripts; a script's own "
        "options are stronger; empty: k6's usual one, if there.",
    )
    tags: RunTags = Field(
        default={},
        description="Tags that k6 adds to every sample: a table of name = text; a script's own "
        "options.tags stay, and are stronger.",
    )
    secret_sources: Annotated[list[Secret], BeforeValidator(lines)] = Field(
        default=[],
        description="Secret sources of k6 (1.0 or newer) for k6/secrets, such as "
        "file=/etc/k6d/secrets, for runs on this machine.",
    )
    log_bytes: int = Field(
        default=16_384,
        ge=1024,
        le=1_048_576,
        description="Bytes of k6's log that are stored with each run, half from its start and half "
        "from its end, 1024 to 1048576.",
    )
    repeat: bool = Field(
        default=True, description="true: a run that the end of k6d interrupted runs again, once."
    )


class Capture(Section):
    """What k6d measures in addition to k6's totals."""

    max_endpoints: int = Field(
        default=200,
        ge=1,
        le=5000,
        description="Number of endpoints that are measured separately in a run, 1 to 5000.",
    )


class Compare(Section):
    """How k6d compares a run with earlier runs of its script."""

    enabled: bool = Field(
        default=True,
        description="false: runs are judged by fixed limits and thresholds only, not by earlier "
        "runs.",
    )
    min_runs: int = Field(
        default=5,
        ge=3,
        le=100,
        description="Number of comparable runs that a script needs before its runs are compared, 3 "
        "to 100.",
    )
    least_percent: float = Field(
        default=10.0,
        ge=0,
        le=1000,
        description="Changes of a single run below this many percent are never reported.",
    )
    confirm: int = Field(
        default=2,
        ge=0,
        le=10,
        description="Number of immediate re-runs that confirm a regression, 0 to 10.",
    )
    confirm_time: Duration = Field(
        default=1800.0, description="Seconds that all re-runs of one run may take together."
    )
    percent: Limit = table(
        "Severity of a regression: the worst one whose bound its change in percent exceeds.",
        low=0,
        medium=20,
        high=50,
    )
    points: PercentLimit = table(
        "The same for error rate and failed checks, by the change in points.",
        low=0,
        medium=5,
        high=10,
    )
    max_cpu: float = Field(
        default=95.0,
        gt=0,
        le=100,
        description="A finding is marked as doubtful if the machine's CPU use was above this many "
        "percent; 100: never.",
    )
    min_memory: float = Field(
        default=5.0,
        ge=0,
        le=100,
        description="A finding is marked as doubtful if less than this many percent of the "
        "machine's memory was free; 0: never.",
    )


class Network(Section):
    """How a fault of this machine's network is told from one of a target."""

    witness: Annotated[Address | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="host:port or URL that this machine can normally reach; while it cannot be "
        "reached, a run without an answer is inconclusive.",
    )


class Forward(Section):
    """Forwarding of k6's metrics to the user's own Prometheus or OpenTelemetry collector."""

    url: Annotated[Url | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="URL of a Prometheus server's remote write, such as "
        "http://127.0.0.1:9090/api/v1/write; empty: metrics are not forwarded.",
    )
    token: Annotated[HeaderSecret | None, EMPTY_IS_NONE] = Field(
        default=None, description="Bearer token for that server; empty: none."
    )
    otlp: Annotated[Url | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="URL of an OpenTelemetry collector (OTLP over HTTP), such as "
        "http://127.0.0.1:4318, without a login; k6 sends its metrics there from this machine; "
        "empty: none.",
    )

    @field_validator("otlp")
    @classmethod
    def _has_no_login(cls, url: str | None) -> str | None:
        """Scripts can read the address in __ENV, so it must hold no secret."""
        if url is not None and (urlsplit(url).username or urlsplit(url).query):
            raise ValueError("should have no login and no query: scripts can read it in __ENV")
        return url
