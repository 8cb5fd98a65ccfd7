"""Builds the environment of k6: the variables that k6d passes on, and those that it leaves out.

k6 reads each `K6_*` variable as an option, and scripts see the whole environment as `__ENV`. k6d
needs k6's summary, thresholds, histograms and log, so it leaves out the variables that change them,
wherever they were set. All other variables are passed on.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

PASSED_ON = re.compile(
    r"PATH|HOME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|SSL_CERT_(FILE|DIR)"
    r"|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy"
)
# `k6 archive` writes the workload into the snapshot. If a run got these variables again, they would
# replace the snapshot's options, and in k6 2.x its scenarios too.
WORKLOAD = ("K6_VUS", "K6_DURATION", "K6_ITERATIONS", "K6_STAGES")

_ITSELF = "k6d sets this itself"
_SUMMARY = "k6d needs k6's summary in its default form"
_OUTPUT = "k6d reads k6's metrics itself; forward.url passes them on to a Prometheus"
_LOG = "k6d keeps k6's log with the run"
# From the sources of k6 0.57 to 2.2: the options that change the data that k6d reads.
_LEFT_OUT = {
    "K6_ADDRESS": _ITSELF,
    "K6_INCLUDE_SYSTEM_ENV_VARS": _ITSELF,
    "K6_TYPE": _ITSELF,
    "K6_LINGER": "k6 would not end after the test",
    "K6_PAUSED": "nobody can resume a paused test under k6d",
    "K6_OUT": _OUTPUT,
    "K6_LOG_FORMAT": _LOG,
    "K6_LOG_OUTPUT": _LOG,
    "K6_CONSOLE_OUTPUT": _LOG,
    "K6_NO_SUMMARY": _SUMMARY,
    "K6_SUMMARY_EXPORT": _SUMMARY,
    "K6_NEW_MACHINE_READABLE_SUMMARY": _SUMMARY,
}
_RECEIVER = "K6_PROMETHEUS_RW_"
_SUMMARY_MODE = "K6_SUMMARY_MODE"  # only the value "disabled" removes the summary
_FEATURES = "K6_FEATURES"
NATIVE_HISTOGRAMS = "native-histograms"
FEATURES_SINCE = (2, 1)
# At full CPU, pushing its metrics costs k6 4 % of its requests/s. With 150 instead of Go's 100, its
# garbage collector takes as much less, and k6 takes up to a fifth more memory.
_LESS_GARBAGE_COLLECTED = {"GOGC": "150"}
_NO_CERTIFICATES = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
OTLP_STABLE_SINCE = (1, 7)  # the first one tried with that name; the experimental one works, too


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return k6's environment: path, home, locale, proxies and `extra`, no secrets of the daemon.

    Variables of `extra` that would change the data that k6d reads are left out.
    """
    passed = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    passed.setdefault("PATH", os.defpath)
    return passed | given(extra)


def given(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `extra` that do not change the data that k6d reads."""
    return {name: value for name, value in extra.items() if not _reason(name, value)}


def busy(env: Mapping[str, str]) -> dict[str, str]:
    """Return `env` for a k6 that may work hard: it collects less garbage."""
    return {**_LESS_GARBAGE_COLLECTED, **env}


def brief(env: Mapping[str, str]) -> dict[str, str]:
    """Return `env` for a k6 that ends at once and connects to nothing.

    It collects less garbage and reads no root certificates, which takes 12 ms instead of 28 ms of
    CPU time. With 66 MB of data it would take twice as long.
    """
    return {"GOGC": "400", "GOMEMLIMIT": "256MiB", **_NO_CERTIFICATES, **env}


def left_out(extra: Mapping[str, str]) -> list[str]:
    """Return one line for each variable of `extra` that is not passed to k6."""
    return [
        f"{name} is not passed to k6: {reason}"
        for name, value in sorted(extra.items())
        if (reason := _reason(name, value))
    ]


def _reason(name: str, value: str) -> str | None:
    if name.startswith(_RECEIVER):
        return _OUTPUT
    if name == _SUMMARY_MODE and value.strip().lower() == "disabled":
        return _SUMMARY
    return _LEFT_OUT.get(name)


def for_snapshot(env: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the environment for `run` and `inspect` of a snapshot, and flags for the rest.

    The snapshot holds its workload. `--env` shows the workload variables to the script without
    setting k6's options again.
    """
    flags = [part for name in WORKLOAD if name in env for part in ("--env", f"{name}={env[name]}")]
    return {name: value for name, value in env.items() if name not in WORKLOAD}, flags


def otlp_output(version: tuple[int, int]) -> str:
    """Return the name of k6's OpenTelemetry output in that version."""
    return "opentelemetry" if version >= OTLP_STABLE_SINCE else "experimental-opentelemetry"


def otlp(url: str, *, version: tuple[int, int]) -> dict[str, str]:
    """Return the settings of k6's OpenTelemetry output: OTLP over HTTP to the collector at `url`.

    Older versions lose what the end of a run finds unflushed, so it is flushed often.
    """
    parts = urlsplit(url)
    stable = version >= OTLP_STABLE_SINCE
    protocol = ("EXPORTER_PROTOCOL", "http/protobuf") if stable else ("EXPORTER_TYPE", "http")
    settings = {
        protocol[0]: protocol[1],
        "HTTP_EXPORTER_ENDPOINT": parts.netloc,
        "HTTP_EXPORTER_INSECURE": str(parts.scheme == "http").lower(),
        "EXPORT_INTERVAL": "1s",
        "FLUSH_INTERVAL": "200ms",
    }
    if parts.path.strip("/"):
        settings["HTTP_EXPORTER_URL_PATH"] = parts.path
    return {f"K6_OTEL_{name}": value for name, value in settings.items()}


def remote_write(url: str, *, version: tuple[int, int], env: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of k6's remote-write output: a push to `url` each second, histograms.

    `version` is k6's (major, minor). Feature flags that `env` enables stay enabled.
    """
    settings = {
        "K6_PROMETHEUS_RW_SERVER_URL": url,
        "K6_PROMETHEUS_RW_PUSH_INTERVAL": "1s",
    }
    if version < FEATURES_SINCE:
        return settings | {"K6_PROMETHEUS_RW_TREND_AS_NATIVE_HISTOGRAM": "true"}
    flags = [name.strip() for name in env.get(_FEATURES, "").split(",") if name.strip()]
    return settings | {_FEATURES: ",".join(dict.fromkeys([*flags, NATIVE_HISTOGRAMS]))}
