"""Parses k6's end-of-test summary, in either of its two formats, into a `Summary`.

`--summary-export` writes the legacy format up to k6 2.2: metrics by name with flat numbers. The
new format (`--new-machine-readable-summary`) lists metrics below `results`. Both are first
converted to one shape, {name: {stat: number}}, with the legacy names of the stats.
"""

from __future__ import annotations

import math
import re
from dataclasses import field
from typing import Any

import orjson

from k6d.core.frozen import frozen
from k6d.core.measurements import Check, Metrics, Summary, Threshold
from k6d.core.model import K6dError

# k6's own metrics: https://grafana.com/docs/k6/latest/using-k6/metrics/reference/
_BUILT_IN = re.compile(
    r"(checks|data_received|data_sent|dropped_iterations|group_duration|iteration_duration"
    r"|iterations|vus|vus_max"
    r"|http_reqs|http_req_(blocked|connecting|duration|failed|receiving|sending|tls_handshaking"
    r"|waiting)"
    r"|ws_(connecting|msgs_received|msgs_sent|ping|session_duration|sessions)"
    r"|grpc_req_duration|grpc_streams|grpc_streams_msgs_(received|sent)"
    r"|browser_.+|webvital_.+)"
)
_AGGREGATE = re.compile(r"\s*(p\(\s*[\d.]+\s*\)|[a-z]+)\s*[<>=!]")
_PERCENTILE = re.compile(r"p\(?([\d.]+)\)?")

EXACT = 2.0**53  # above it, a double cannot hold every whole number

Values = dict[str, float]


@frozen
class Parts:
    """The numbers of a summary as k6 wrote them: metrics by name, checks and thresholds.

    `duration_s` is how long the test lasted, if the format says it.
    """

    metrics: dict[str, Values]
    checks: list[Check] = field(default_factory=list)
    thresholds: list[Threshold] = field(default_factory=list)
    duration_s: float | None = None


def parse(data: bytes) -> Summary:
    """Parse the summary in `data`; K6dError if it is not a summary of k6."""
    return assembled(read(data))


def read(data: bytes) -> Parts:
    """Read the numbers of the summary in `data`; K6dError if it is not a summary of k6."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise K6dError(
            f"k6's summary is not valid JSON ({error}); k6 was probably killed while writing it"
        ) from error
    return read_document(document)


def read_document(document: object) -> Parts:
    """Do what `read` does with the parsed JSON."""
    try:
        if isinstance(document, dict) and isinstance(document.get("metrics"), dict):
            return _legacy(document)
        if isinstance(document, dict) and isinstance(document.get("results"), dict):
            return _machine_readable(document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise K6dError(
            f"k6's summary has an unexpected shape ({type(error).__name__}: {error});"
            " please report it with the k6 version"
        ) from error
    raise K6dError(
        "k6's summary has neither a 'metrics' object nor a 'results' object;"
        " is the file from k6 --summary-export?"
    )


def _legacy(document: dict[str, Any]) -> Parts:
    metrics: dict[str, Values] = {}
    thresholds: list[Threshold] = []
    for name, entry in document["metrics"].items():
        # The format of handleSummary holds the same numbers in `values`.
        values = _numbers(entry.get("values", entry))
        metrics[name] = values
        for expression, state in (entry.get("thresholds") or {}).items():
            crossed = not state["ok"] if isinstance(state, dict) else bool(state)
            thresholds.append(_threshold(name, expression, values, crossed=crossed))
    checks: list[Check] = []
    _walk(document.get("root_group") or {}, checks)
    return Parts(metrics=metrics, checks=checks, thresholds=thresholds)


def _machine_readable(document: dict[str, Any]) -> Parts:
    results = document["results"]
    listed = [*(results.get("metrics") or [])]
    metrics = {entry["name"]: _numbers(entry.get("values") or {}) for entry in listed}
    section = results.get("checks") or {}
    checks = [
        Check(name=c["name"], group=c.get("group", ""), passes=c["passes"], fails=c["fails"])
        for c in section.get("results") or section.get("ordered_checks") or []
    ]
    if checks and "checks" not in metrics:
        passes, fails = sum(c.passes for c in checks), sum(c.fails for c in checks)
        metrics["checks"] = _numbers({"matches": passes, "total": passes + fails})
    thresholds = [
        _threshold(name, expression, metrics.get(name, {}), crossed=crossed)
        for name, expression, crossed in _listed_thresholds(results.get("thresholds"), listed)
    ]
    duration_s = (document.get("config") or {}).get("duration")
    return Parts(metrics=metrics, checks=checks, thresholds=thresholds, duration_s=duration_s)


def _listed_thresholds(section: Any, metrics: list[Any]) -> list[tuple[str, str, bool]]:
    """Return (metric, expression, crossed) for the thresholds of the new format.

    The published schema 1.0.0 has no thresholds. So this accepts every known later shape: a list
    of thresholds or of metrics with thresholds, under `results` or under each metric.
    """
    found: list[tuple[str, str, bool]] = []
    if isinstance(section, dict):
        inner = section.get("results") or section.get("thresholds")
        section = inner or [{"metric": m, "thresholds": t} for m, t in section.items()]
    for entry in [*(section or []), *metrics]:
        if not isinstance(entry, dict):
            continue
        metric = entry.get("metric") or entry.get("metric_name") or entry.get("name") or ""
        metric = metric["name"] if isinstance(metric, dict) else metric
        inner = entry.get("thresholds")
        if isinstance(inner, dict):
            inner = [
                {"source": source, **(state if isinstance(state, dict) else {"ok": state})}
                for source, state in inner.items()
            ]
        for one in inner if inner is not None else [entry]:
            source = one.get("source") or one.get("expression") or one.get("threshold")
            kept = next((one[key] for key in ("ok", "passed", "pass") if key in one), None)
            if isinstance(source, str) and isinstance(kept, bool):
                found.append((metric, source, not kept))
    return list(dict.fromkeys(found))


def _numbers(values: dict[str, Any]) -> Values:
    """Return the numbers of a metric with their legacy names; a rate has `passes` and `fails`."""
    found = {
        f"p({m[1]})" if (m := _PERCENTILE.fullmatch(stat)) else stat: number
        for stat, number in values.items()
        if isinstance(number, int | float)
        and not isinstance(number, bool)
        and math.isfinite(number)
    }
    if "matches" in found and "total" in found:
        matches, total = found.pop("matches"), found.pop("total")
        found |= {"passes": matches, "fails": total - matches}
    if "passes" in found and "fails" in found:
        total = found["passes"] + found["fails"]
        rate = found.pop("rate", None)
        found.setdefault("value", found["passes"] / total if total else rate or 0)
    return found


def _threshold(metric: str, expression: str, values: Values, *, crossed: bool) -> Threshold:
    """Return a threshold with its observed value, or None if the summary does not hold it."""
    match = _AGGREGATE.match(expression)
    stat = match[1].replace(" ", "") if match else ""
    if stat == "rate" and "passes" in values:
        stat = "value"  # the legacy name of a rate's number
    observed = values.get(stat)
    if not _measured(values):
        observed = None
    return Threshold(metric=metric, expression=expression, crossed=crossed, observed=observed)


def _measured(values: Values) -> bool:
    """Return False for a rate or trend without samples, for which k6 prints zeros."""
    if "passes" in values:
        return values["passes"] + values["fails"] > 0
    return values.get("count", 1) > 0 or "avg" not in values


def _walk(group: dict[str, Any], into: list[Check]) -> None:
    """Collect the checks of a group and its subgroups; newer k6 writes lists, older k6 objects."""
    for check in _children(group.get("checks")):
        passes, fails = check["passes"], check["fails"]
        path = group.get("path", "")
        into.append(Check(name=check["name"], group=path, passes=passes, fails=fails))
    for child in _children(group.get("groups")):
        _walk(child, into)


def _children(nodes: Any) -> list[Any]:
    return list(nodes.values()) if isinstance(nodes, dict) else list(nodes or [])


def assembled(parts: Parts) -> Summary:
    """Make the summary of these numbers.

    Response times are None if k6 recorded no request or if no request was answered: k6 then
    reports 0 ms for all of them. If only some connections were refused, the mean counts them as
    0 ms, as k6 does.
    """
    metrics = parts.metrics
    own = {name for name in metrics if not _BUILT_IN.fullmatch(name.partition("{")[0])}
    return Summary(
        metrics=_totals(metrics, parts.duration_s),
        checks=parts.checks,
        # k6 writes thresholds in random order; sorting makes the files of equal runs equal.
        thresholds=sorted(parts.thresholds, key=lambda one: (one.metric, one.expression)),
        k6_metrics={
            name: {stat: _rounded(number) for stat, number in sorted(metrics[name].items())}
            for name in sorted(metrics)
        },
        custom_metrics=sorted(name for name in own if "{" not in name),
    )


def _totals(metrics: dict[str, Values], duration_s: float | None) -> Metrics:
    requests, failed = metrics.get("http_reqs", {}), metrics.get("http_req_failed", {})
    iterations, checks = metrics.get("iterations", {}), metrics.get("checks", {})
    judged = failed.get("passes", 0) + failed.get("fails", 0)
    if not _measured(checks):
        checks = {}
    times = metrics.get("http_req_duration", {})
    answered = any(number for stat, number in times.items() if stat != "count")
    if not requests.get("count") or not answered:
        times = {}
    if duration_s is None:
        duration_s = _duration_s(requests) or _duration_s(iterations)
    vus = metrics.get("vus", {}).get("max")
    if vus is None or (not vus and iterations.get("count")):
        # k6 samples `vus` once a second, between iterations, so a short run may have no sample.
        # The number of allocated VUs replaces it.
        vus = metrics.get("vus_max", {}).get("max")
    return Metrics(
        response_time_avg=times.get("avg"),
        response_time_min=times.get("min"),
        response_time_med=times.get("med"),
        response_time_p90=times.get("p(90)"),
        response_time_p95=times.get("p(95)"),
        response_time_p99=times.get("p(99)"),
        response_time_max=times.get("max"),
        error_rate=100 * failed["passes"] / judged if judged else None,
        failed_requests=_whole(failed.get("passes")) if judged else None,
        total_requests=_whole(requests.get("count")),
        requests_per_second=_rate(requests, duration_s),
        virtual_users=_whole(vus),
        duration_ms=None if duration_s is None else duration_s * 1000,
        iterations=_whole(iterations.get("count")),
        iterations_per_second=_rate(iterations, duration_s),
        dropped_iterations=_whole(metrics.get("dropped_iterations", {}).get("count")),
        checks_passed=_whole(checks.get("passes")),
        checks_failed=_whole(checks.get("fails")),
        data_received_bytes=_whole(metrics.get("data_received", {}).get("count")),
        data_sent_bytes=_whole(metrics.get("data_sent", {}).get("count")),
    )


def _duration_s(counter: Values) -> float | None:
    """Return the duration as count / rate, since k6 divides each counter by the test's duration."""
    count, rate = counter.get("count"), counter.get("rate")
    return count / rate if count and rate else None


def _rate(counter: Values, duration_s: float | None) -> float | None:
    """Return k6's rate per second; if the new format lacks it, calculate it."""
    if "rate" in counter or "count" not in counter:
        return counter.get("rate")
    return counter["count"] / duration_s if duration_s else None


def _whole(number: float | None) -> int | None:
    return None if number is None else round(min(number, EXACT))


def _rounded(number: float) -> float:
    """Round to six significant digits; whole numbers up to 2^53 stay exact."""
    if abs(number) < EXACT and number == int(number):
        return int(number)
    return float(f"{number:.6g}")
