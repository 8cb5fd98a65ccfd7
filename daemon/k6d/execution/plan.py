"""Reads the planned load of each scenario from the options that k6 has merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k6d.core.measurements import Scenario
from k6d.core.parse import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

# k6's defaults: https://grafana.com/docs/k6/latest/using-k6/scenarios/executors/
MAX_DURATION = "10m"
TIME_UNIT = "1s"
BY_COUNT = ("shared-iterations", "per-vu-iterations")
BY_RATE = ("constant-arrival-rate", "ramping-arrival-rate")


def scenarios_of(options: Mapping[str, Any]) -> dict[str, Scenario]:
    """Return the scenarios by name; without any, the "default" that k6 derives from the options."""
    named = options.get("scenarios")
    if named:
        return {name: _scenario(plan) for name, plan in named.items()}
    if options.get("stages"):
        return {"default": Scenario(executor="ramping-vus")}
    by_count = options.get("iterations") or not options.get("duration")
    executor = "shared-iterations" if by_count else "constant-vus"
    # With `iterations`, k6 uses `duration` as the maximum duration.
    return {"default": _scenario({"maxDuration": options.get("duration"), **options}, executor)}


def _scenario(plan: Mapping[str, Any], executor: str | None = None) -> Scenario:
    executor = executor or str(plan.get("executor"))
    if executor in BY_RATE:
        most = plan.get("maxVUs") or plan.get("preAllocatedVUs")
        return Scenario(executor=executor, max_vus=most, rate=_peak_rate(plan))
    limit = plan.get("maxDuration") or MAX_DURATION if executor in BY_COUNT else None
    return Scenario(executor=executor, max_vus=plan.get("vus") or 1, max_duration=limit)


def _peak_rate(plan: Mapping[str, Any]) -> float | None:
    """Return the highest planned rate in iterations per second."""
    targets = [stage.get("target") for stage in plan.get("stages") or []]
    rates = [rate for rate in (plan.get("rate"), plan.get("startRate"), *targets) if rate]
    unit_s = parse_duration(plan.get("timeUnit") or TIME_UNIT)
    return max(rates) / unit_s if rates and unit_s else None
