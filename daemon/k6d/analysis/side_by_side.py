"""Compares two runs: totals and endpoints with before, after and change in percent.

This module does not judge whether a change is more than noise; it only adds the noise.
"""

from __future__ import annotations

from typing import Any

from k6d.core.metrics import METRICS

COMPARED = (
    *("response_time_avg", "response_time_med", "response_time_p95", "response_time_p99"),
    *("error_rate", "requests_per_second", "total_requests", "virtual_users"),
)
ENDPOINT = {"p50_ms": "ms", "p95_ms": "ms", "error_rate": "%", "count": ""}


def compare(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the changes from the run `before` to the run `after`, both as in their JSON files.

    `noise_percent` is the smallest change that is detectable with the baseline of `after`; None
    without a baseline. `noise` is the same in the metric's unit, for baselines close to zero.
    """
    compared = {(c["metric"], c["endpoint"]): c for c in after.get("comparisons", [])}
    noise = {key: c["visible_percent"] for key, c in compared.items()}
    return {
        "before": before["test_id"],
        "after": after["test_id"],
        "same_script": before["script"] == after["script"],
        "same_contents": _snapshot(before, "fingerprint") == _snapshot(after, "fingerprint"),
        "same_workload": _snapshot(before, "workload") == _snapshot(after, "workload"),
        "metrics": [
            {
                "metric": name,
                "title": METRICS[name].short,
                **_change(
                    before["metrics"].get(name), after["metrics"].get(name), METRICS[name].unit
                ),
                "noise_percent": noise.get((name, None)),
                "noise": _noise(compared.get((name, None))),
            }
            for name in COMPARED
        ],
        "endpoints": _endpoints(before, after, noise),
    }


def _endpoints(
    before: dict[str, Any], after: dict[str, Any], noise: dict[tuple[str, str | None], float | None]
) -> list[dict[str, Any]]:
    earlier, later = (_by_title(run) for run in (before, after))
    return [
        {
            "endpoint": title,
            "noise_percent": noise.get(("response_time_p95", title)),
            **{
                name: _change(
                    earlier.get(title, {}).get(name), later.get(title, {}).get(name), unit
                )
                for name, unit in ENDPOINT.items()
            },
        }
        for title in dict.fromkeys([*later, *earlier])
    ]


def _by_title(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rows = run["breakdown"]["endpoints"]
    return {" ".join(filter(None, (row["method"], row["name"]))): row for row in rows}


def _noise(compared: dict[str, Any] | None) -> float | None:
    if compared is None or compared["visible_percent"] is None or compared["expected"] is None:
        return None
    return float(compared["visible_percent"] * compared["expected"] / 100)


def _snapshot(run: dict[str, Any], name: str) -> str | None:
    value: str | None = (run.get("snapshot") or {}).get(name)
    return value


def _change(before: float | None, after: float | None, unit: str) -> dict[str, Any]:
    """Return one row; `change_percent` is None if `before` is zero or a value is missing."""
    percent = round((after - before) / before * 100, 2) if before and after is not None else None
    return {"before": before, "after": after, "change_percent": percent, "unit": unit}
