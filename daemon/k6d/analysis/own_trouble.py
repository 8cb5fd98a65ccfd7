"""Adds doubts to the findings of a run in which k6 was short of CPU or memory; removes none.

Response times that k6 measured late may be too high. Crossed thresholds, failed checks and failed
requests keep their severity.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from k6d.analysis import wording
from k6d.core.measurements import TARGET
from k6d.core.model import STEADY, WORSE, Finding, FindingKind, Severity
from k6d.core.numbers import ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k6d.core.measurements import Generator
    from k6d.core.model import Comparison

# k6's own metrics of times and throughput; the meaning of a script's own metrics is unknown.
SPEED = ("http_req", "iteration", "group_duration", "ws_", "grpc_req_", "browser_")
# k6 waits for a CPU before each step of a request, and slow requests are those that waited long.
# So many mean waits a statistic rises at most. Measured in 60 runs of a target of 100 ms, with two
# to sixteen busy processes on two cores: by 3 to 8 (average), 10 to 40 (p95) and 15 to 120 (p99).
REACH_AVG, REACH_P95, REACH_P99 = 10.0, 40.0, 120.0
_EXTREME = re.compile(r"p99|p\(99|\bmax\b")
_MIDDLE = re.compile(r"avg|\bmed\b|_med\b")
THROUGHPUT = ("requests_per_second", "dropped_iterations")


def doubted(findings: Sequence[Finding], generator: Generator) -> list[Finding]:
    """Return the findings; if k6 was short of CPU or memory, findings about times get that doubt.

    The shortage is added as a finding. A finding about times gets severity low if the shortage may
    explain all of it. A wait for CPUs explains a limited number of milliseconds; k6's own use of
    all CPUs or of the memory may explain any number.
    """
    if not generator.reasons:
        return list(findings)
    return [_trouble(generator), *(_with_doubt(finding, generator) for finding in findings)]


def credible(
    comparisons: Sequence[Comparison], generators: Sequence[Generator]
) -> tuple[list[Comparison], list[str]]:
    """Return the comparisons without regressions that k6's waits may explain, and the doubts.

    A worse time must differ from its baseline by more than the time that k6 may have added.
    """
    if not any(one.reasons or one.doubts for one in generators):
        return list(comparisons), []
    trusted, doubts = [], []
    for one in comparisons:
        reach = max(reach_ms(generator, one.metric) for generator in generators)
        added = one.unit == "ms" and one.observed - (one.expected or 0.0) <= reach
        by_k6 = not one.metric.startswith(TARGET)
        if by_k6 and one.state == WORSE and (added or one.metric.startswith(THROUGHPUT)):
            doubts.append(
                f"{wording.change(one)}: may come of k6's own waits, up to {ms(reach)}, "
                f"on a machine whose CPUs or memory were full"
            )
            trusted.append(replace(one, state=STEADY, since=None))
        else:
            trusted.append(one)
    return trusted, doubts


def reach_ms(generator: Generator, metric: str) -> float:
    """Return how many milliseconds of a metric of times may be k6's waits for a CPU."""
    reach = REACH_P99 if _EXTREME.search(metric) else REACH_P95
    reach = REACH_AVG if _MIDDLE.search(metric) else reach
    return reach * (generator.k6_lag_ms or 0.0)


def _with_doubt(finding: Finding, generator: Generator) -> Finding:
    if not is_speed(finding):
        return finding
    doubt = f"{'; '.join(generator.reasons)}: the number may be worse than the target"
    finding = replace(finding, doubt=doubt)
    if finding.kind is FindingKind.THRESHOLD or not _explains(generator, finding):
        return finding
    return replace(finding, severity=Severity.LOW)


def _explains(generator: Generator, finding: Finding) -> bool:
    only_waited = len(generator.reasons) == 1 and "waited" in generator.reasons[0]
    if not only_waited or finding.unit != "ms" or finding.observed is None:
        return True
    return finding.observed <= reach_ms(generator, finding.metric or "")


def is_speed(finding: Finding) -> bool:
    """Return whether a finding is about times or throughput."""
    metric = (finding.metric or "").partition("{")[0]
    if finding.kind is FindingKind.THRESHOLD:
        return metric.startswith(SPEED) and metric != "http_req_failed"
    return finding.kind in (FindingKind.LIMIT, FindingKind.REGRESSION, FindingKind.SPIKE) and (
        metric.startswith(("response_time", "requests_per_second"))
    )


def _trouble(generator: Generator) -> Finding:
    return Finding(
        kind=FindingKind.GENERATOR,
        severity=Severity.LOW,
        message=f"k6 was short of room: {'; '.join(generator.reasons)}; "
        f"response times and throughput may be worse than the target's",
        recommendation=_advice(generator.reasons),
    )


def _advice(reasons: Sequence[str]) -> str:
    text = " ".join(reasons)
    if "k6 itself took" in text:
        return "Give k6 a machine with more CPUs, or less load; simplify what the script computes."
    if "memory" in text:
        return "Give k6 a machine with more memory, or use SharedArray and discardResponseBodies."
    return "Move what else runs on this machine, or k6, to another one."
