"""Lists the data that k6 did not deliver for a run, and restores crossed thresholds."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from k6d.core.measurements import Threshold
from k6d.core.model import THRESHOLDS_CROSSED
from k6d.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from k6d.core.measurements import Breakdown, Summary
    from k6d.execution.local.k6 import Ended

# k6's error with exit code 99, and when a threshold with abortOnFail ends the run.
_CROSSED = re.compile(r"^thresholds on metrics '([^']+)' (?:have been|were) crossed")
VUS_REPLACE_SCENARIOS = (2, 1)  # first release where `vus` wins; up to k6 2.0 scenarios win
# Tags that k6d needs, and the data that is missing without them.
_NEEDED_TAGS = (
    ({"name", "url"}, "requests by endpoint"),
    ({"expected_response"}, "failed requests by endpoint"),
    ({"status"}, "status codes"),
)


def with_crossed(summary: Summary, ended: Ended, options: Mapping[str, Any]) -> Summary:
    """Add the crossed thresholds that the summary lacks, and return the summary.

    k6's new summary format has no thresholds. Then the exit code shows that one was crossed, k6's
    log names the metrics, and k6's `options` hold the expressions.
    """
    if ended.exit_code != THRESHOLDS_CROSSED or any(one.crossed for one in summary.thresholds):
        return summary
    wanted = _expressions(options)
    named = [m[1].split(", ") for error in ended.errors if (m := _CROSSED.match(error))]
    metrics = named[-1] if named else list(wanted) if len(wanted) == 1 else ["(not named by k6)"]
    crossed = [
        Threshold(
            metric=metric,
            expression=" or ".join(wanted.get(metric, [])) or "k6's exit code 99",
            crossed=True,
        )
        for metric in metrics
    ]
    return replace(summary, thresholds=[*summary.thresholds, *crossed])


def workload_note(options: Mapping[str, Any], release: tuple[int, int]) -> list[str]:
    """Return a note if both `vus` and scenarios are set: k6's versions treat that differently."""
    vus = options.get("vus")
    if vus is None or not options.get("scenarios"):
        return []
    if release < VUS_REPLACE_SCENARIOS:
        return [f"vus={vus} was not used: the script's scenarios decide"]
    times = plural(vus, "iteration")
    return [f"vus={vus} replaced the script's scenarios: k6 ran {times} of the default function"]


def gaps(
    *,
    options: Mapping[str, Any],
    summary: Summary | None,
    breakdown: Breakdown,
    ended: Ended,
) -> list[str]:
    """Return one line for each piece of data that k6 should have delivered and did not.

    `summary` is as k6 wrote it, None if k6 wrote none.
    """
    return list(_gaps(options, summary, breakdown, ended))


def _gaps(
    options: Mapping[str, Any], summary: Summary | None, breakdown: Breakdown, ended: Ended
) -> Iterator[str]:
    if summary is None:
        if ended.exit_code >= 0:
            yield "k6 wrote no summary: totals, checks and thresholds are missing"
        return
    if summary.metrics.total_requests and not (breakdown.endpoints or breakdown.apart):
        yield (
            "k6 sent no histograms of http_req_duration: endpoints, status codes and the time line"
            " are missing"
        )
    found = {_plain(one.metric) for one in summary.thresholds}
    wanted = _expressions(options).items()
    if lost := sum(len(expressions) for name, expressions in wanted if _plain(name) not in found):
        yield f"k6's summary does not say what became of {plural(lost, 'threshold')} of the script"
    tags = options.get("systemTags")
    for needed, what in _NEEDED_TAGS:
        if isinstance(tags, list) and summary.metrics.total_requests and not needed & set(tags):
            names = " and ".join(sorted(needed))
            yield f"systemTags of the script leave out {names}: {what} are missing"


def _plain(metric: str) -> str:
    """Remove spaces and quotes from a metric's name, as k6 does."""
    return re.sub(r"[\s\"']", "", metric)


def _expressions(options: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the threshold expressions by metric; k6 gives each as a text or in an object."""
    return {
        metric: [one["threshold"] if isinstance(one, dict) else str(one) for one in listed or []]
        for metric, listed in (options.get("thresholds") or {}).items()
    }
