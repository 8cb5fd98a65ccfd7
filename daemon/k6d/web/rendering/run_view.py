"""What pages and reports show of a run beside its baseline: metrics, endpoints, phases of HTTP."""

from __future__ import annotations

from typing import Any

from k6d.core.measurements import TARGET, target_key
from k6d.core.metrics import METRICS
from k6d.core.model import CHANGED, WORSE
from k6d.core.numbers import LEAST_CHANGE, count, in_unit, number

Row = dict[str, Any]

# The totals of a run, in the order of the page.
TOTALS = (
    *("response_time_p95", "error_rate", "requests_per_second", "response_time_avg"),
    *("response_time_p99", "response_time_max", "total_requests", "virtual_users"),
)
TITLES = {"response_time_max": ("longest", "ms"), "requests_per_second": ("requests/s", "/s")}
PHASES = {
    "blocked": "waiting for a connection",
    "connecting": "TCP connection",
    "tls_handshaking": "TLS handshake",
    "sending": "sending",
    "waiting": "waiting for the answer",
    "receiving": "receiving",
}
BAD = (WORSE, CHANGED)


def totals(run: Row) -> list[Row]:
    """The totals of a run: title, value, and {was, change, state, band} where there is a baseline.

    A total that was not measured is left out.
    """
    measured = run.get("load") or run["metrics"]
    compared = {c["metric"]: c for c in run.get("comparisons") or () if c["endpoint"] is None}
    return [
        {
            "name": name,
            "title": _title(name)[0],
            "value": _shown(measured[name], _title(name)[1]),
            **beside(compared.get(name)),
        }
        for name in TOTALS
        if measured.get(name) is not None
    ]


def others(run: Row) -> list[Row]:
    """What else is compared with the baseline: failed checks, metrics with thresholds, …"""
    found = []
    for one in run.get("comparisons") or ():
        if one["endpoint"] is None and _is_other(one["metric"]) and _matters(one):
            value = in_unit(one["observed"], one["unit"])
            name = named(one["metric"])
            found.append({"name": one["metric"], "title": name, "value": value, **beside(one)})
    return found


def _is_other(metric: str) -> bool:
    return metric not in TOTALS and not metric.startswith(TARGET)


def target(run: Row) -> list[Row]:
    """The target's own numbers, as the rows of `totals`, with what the value is: its `stat`."""
    compared = {c["metric"]: c for c in run.get("comparisons") or ()}
    rows = []
    for one in run.get("target") or ():
        key = target_key(one["title"], one["unit"], one["worse"])
        value = in_unit(one["value"], one["unit"])
        row = {"name": key, "title": one["title"], "stat": one["stat"], "value": value}
        rows.append(row | beside(compared.get(key) if one["value"] is not None else None))
    return rows


def _matters(compared: Row) -> bool:
    """Whether a series says something: zeros that were always zeros do not."""
    return bool(compared["observed"] or compared["expected"])


def named(metric: str) -> str:
    """The name of a series as people read it: "custom:basket_size:avg:<" is "basket_size avg"."""
    if metric.startswith("custom:"):
        return metric.removeprefix("custom:").rpartition(":")[0].replace(":", " ")
    return METRICS[metric].short if metric in METRICS else metric


def beside(compared: Row | None) -> Row:
    """What stands beside a value: what it was, its change, and whether that is bad."""
    none: Row = {"was": None, "change": None, "state": None, "band": None}
    if not compared or compared["expected"] is None:
        return none
    unit, was, now = compared["unit"], compared["expected"], compared["observed"]
    band = None
    if compared["low"] is not None and compared["high"] is not None:
        low, high = max(0.0, compared["low"]), compared["high"]
        band = f"{in_unit(low, unit)} to {in_unit(high, unit)}"
    return {
        "was": in_unit(was, unit),
        "change": changed(was, now, unit),
        "state": "worse" if compared["state"] in BAD else compared["state"],
        "band": band,
    }


def changed(was: float | None, now: float | None, unit: str) -> str | None:
    """A change as "+54 %", or "+1.6 points" of a percentage; None where it cannot be said."""
    if was is None or now is None or (unit != "%" and not was):
        return None
    amount = now - was if unit == "%" else 100 * (now - was) / abs(was)
    if unit != "%" and abs(amount) >= 10:
        amount = round(amount)
    if abs(amount) < LEAST_CHANGE["points" if unit == "%" else "%"]:
        return None
    sign = "+" if amount > 0 else "−"
    size = number(abs(amount), 2 if abs(amount) < 10 else 3)
    return f"{sign}{size} {('point' if size == '1' else 'points') if unit == '%' else '%'}"


def endpoints(run: Row) -> list[Row]:
    """The endpoints, the worst first: each row with `p95` and `errors` beside their baselines."""
    compared: dict[str, dict[str, Row]] = {}
    for one in run.get("comparisons") or ():
        if one["endpoint"]:
            compared.setdefault(one["endpoint"], {})[one["metric"]] = one
    rows = []
    for row in run["breakdown"]["endpoints"]:
        title = f"{row['method']} {row['name']}" if row["method"] else row["name"]
        known = compared.get(title, {})
        p95, errors = (known.get(name) for name in ("response_time_p95", "error_rate"))
        rows.append(
            {
                **row,
                "p95": beside(p95),
                "errors": beside(errors),
                "worse": any(one and one["state"] in BAD for one in (p95, errors)),
                "weight": _weight(errors, row["error_rate"]) + _weight(p95, 0.0),
            }
        )
    return sorted(rows, key=lambda row: (-row["worse"], -row["weight"], -row["count"]))


def _weight(compared: Row | None, otherwise: float | None) -> float:
    """How far a series went to the bad side; without a baseline, `otherwise`."""
    if not compared or compared["expected"] is None:
        return otherwise or 0.0
    if compared["unit"] == "%":
        return 100 * max(0.0, float(compared["observed"] - compared["expected"]))
    return max(0.0, float(compared["change_percent"] or 0.0))


def phases(k6_metrics: dict[str, dict[str, float]]) -> list[Row]:
    """The phases of HTTP requests; those that took no time are left out."""
    found = []
    for name, title in PHASES.items():
        values = k6_metrics.get(f"http_req_{name}") or {}
        if any(values.get(stat) for stat in ("avg", "p(95)", "max")):
            shown = {stat: in_unit(values.get(key), "ms") for stat, key in STATS.items()}
            found.append({"title": title, **shown})
    return found


STATS = {"average": "avg", "p95": "p(95)", "longest": "max"}


def learned(run: Row) -> str | None:
    """How far the baseline is learned: "2 of 5 comparable runs"; None when it is."""
    compared = [c for c in run.get("comparisons") or () if c["endpoint"] is None]
    learning = [c for c in compared if c["state"] == "learning"]
    if not learning or len(learning) < len(compared):
        return None
    return f"{learning[0]['runs']} of {learning[0]['needed']} comparable runs"


def _title(name: str) -> tuple[str, str]:
    if name in TITLES:
        return TITLES[name]
    return METRICS[name].short, METRICS[name].unit


def _shown(value: float, unit: str) -> str:
    return in_unit(value, unit) if unit else count(round(value))
