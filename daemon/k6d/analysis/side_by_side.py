"""Two runs side by side: totals and endpoints with before, after, change and noise.

The answer is that of `comparison.between`, which `k6d compare` shows as well. Totals that are no
series, such as the number of requests, are added without noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k6d.analysis.comparison import between, key_of
from k6d.analysis.wording import title
from k6d.core.metrics import METRICS

if TYPE_CHECKING:
    from k6d.core.model import Comparison, Run

COMPARED = (
    *("response_time_avg", "response_time_med", "response_time_p95", "response_time_p99"),
    *("error_rate", "requests_per_second", "total_requests", "virtual_users"),
)
# Of an endpoint: the column, its unit and the series that it is.
ENDPOINT = {
    "p50_ms": ("ms", ""),
    "p95_ms": ("ms", "response_time_p95"),
    "error_rate": ("%", "error_rate"),
    "count": ("", ""),
}

Row = dict[str, Any]


def compare(before: Run, after: Run) -> Row:
    """The changes from the run `before` to the run `after`.

    `change_points` is the change of a share, in percentage points; None for other units.
    `noise_percent` is the smallest change that is detectable with the baseline of `after`; None
    without a baseline. `noise` is the same in the metric's unit, for baselines close to zero.
    `state` is that of a Comparison; None for a number that is no series.
    """
    found = {key_of(comparison): comparison for comparison in between(after, before)}
    others = [c for key, c in found.items() if c.endpoint is None and key not in COMPARED]
    return {
        "before": before.test_id,
        "after": after.test_id,
        "same_script": before.script == after.script,
        "same_contents": _snapshot(before, "fingerprint") == _snapshot(after, "fingerprint"),
        "same_workload": _snapshot(before, "workload") == _snapshot(after, "workload"),
        "metrics": [
            *(_total(name, before, after, found.get(name)) for name in COMPARED),
            *(
                {"metric": c.metric, "title": title(c), **_row(c, None, None, unit=c.unit)}
                for c in others
            ),
        ],
        "endpoints": _endpoints(before, after, found),
    }


def _total(name: str, before: Run, after: Run, compared: Comparison | None) -> Row:
    values = (getattr(before.judged, name), getattr(after.judged, name))
    about = METRICS[name]
    return {
        "metric": name,
        "title": about.short,
        **_row(compared, *values, unit=about.unit),
    }


def _endpoints(before: Run, after: Run, found: dict[str, Comparison]) -> list[Row]:
    earlier, later = (
        {row.title: row for row in run.breakdown.endpoints} for run in (before, after)
    )
    rows = []
    for name in dict.fromkeys([*later, *earlier]):
        row: Row = {"endpoint": name}
        for column, (unit, series) in ENDPOINT.items():
            values = (getattr(one.get(name), column, None) for one in (earlier, later))
            row[column] = _row(found.get(f"{series} {name}"), *values, unit=unit)
        rows.append(row | {"noise_percent": row["p95_ms"]["noise_percent"]})
    return rows


def _row(
    compared: Comparison | None, before: float | None, after: float | None, *, unit: str
) -> Row:
    """A row of a series; of a number that is no series, it has no noise and no state.

    `change_percent` is None if `before` is zero or a value is missing.
    """
    percent = noise = None
    if compared:
        before, after, percent = compared.expected, compared.observed, compared.change_percent
        if compared.high is not None and before is not None:
            noise = compared.high - before
    elif before and after is not None:
        percent = round((after - before) / before * 100, 2)
    known = unit == "%" and before is not None and after is not None
    return {
        "before": before,
        "after": after,
        "change_percent": percent,
        "change_points": round((after or 0) - (before or 0), 4) if known else None,
        "unit": unit,
        "noise_percent": compared.visible_percent if compared else None,
        "noise": noise,
        "state": compared.state if compared else None,
    }


def _snapshot(run: Run, name: str) -> str | None:
    return getattr(run.snapshot, name, None)
