"""Describes comparisons as text: one finding for each cause, improvements, noise and doubts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from k6d.analysis.comparison import key_of
from k6d.analysis.series import CUSTOM, OWN_KEYS, Series, describe
from k6d.core.frozen import frozen
from k6d.core.mark import between
from k6d.core.mark import since as after_marks
from k6d.core.measurements import TARGET
from k6d.core.model import CHANGED, LEARNING, WORSE, Comparison, Finding, FindingKind, Severity
from k6d.core.numbers import against, in_unit, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from k6d.analysis.comparison import Past
    from k6d.core.mark import Mark
    from k6d.settings import Limit

# If this many endpoints, and most of those compared, are worse, no endpoint is named.
EVERYWHERE = 3
# No doubt is written while these are learned: histories of older versions have no values of them.
QUIETLY = ("dropped_iterations", "setup_avg")
MOST_BESIDE = 3  # numbers of the target in the message of a finding
# If the noise is wider than this, a doubt says so: a change of a quarter would not be detected.
COARSE_PERCENT = 25.0


@frozen
class Sizes:
    """The bounds of a regression's severity: in percent of change, or in percentage points."""

    percent: Limit
    points: Limit


@frozen
class Happened:
    """The script and the start of the run that is judged, and the marks of all scripts."""

    script: str
    at: datetime
    marks: Sequence[Mark]


def findings(
    comparisons: Sequence[Comparison],
    history: Sequence[Past],
    files: Mapping[str, str],
    *,
    sizes: Sizes,
    happened: Happened | None = None,
) -> list[Finding]:
    """One finding for each cause: errors lead to latency, latency to throughput.

    Response times that are worse beside errors stand in their finding, and count for its severity.
    `files` are the files of the run by path, with digests. `happened` has the marks. What the
    target's own numbers did stands beside the regression; without one, those that alert are one.
    """
    worse = [c for c in comparisons if c.state == WORSE]
    errors = [c for c in worse if c.metric in ("error_rate", "failed_checks")]
    times = [c for c in worse if c.metric.startswith("response_time")]
    dropped = [c for c in worse if c.metric == "dropped_iterations"]
    throughput = [*dropped, *(c for c in worse if c.metric == "requests_per_second")]
    custom = [c for c in worse if c.metric.startswith(CUSTOM)]
    cause = errors or times or throughput
    groups = [group for group in (cause, custom if not errors else []) if group]
    groups = groups or [group for group in ([c for c in worse if _is_target(c)],) if group]
    return [
        _finding(
            group,
            comparisons,
            history,
            files,
            slower=times if group is errors else [],
            sizes=sizes,
            happened=happened,
        )
        for group in groups
    ]


def _finding(
    group: Sequence[Comparison],
    comparisons: Sequence[Comparison],
    history: Sequence[Past],
    files: Mapping[str, str],
    *,
    slower: Sequence[Comparison],
    sizes: Sizes,
    happened: Happened | None,
) -> Finding:
    lead = _lead(group, comparisons)
    p95 = (c for c in slower if c.metric == "response_time_p95")
    there = next((c for c in p95 if c.endpoint == lead.endpoint), None)
    also_slow = f", and {change(there, place=False)}" if there else ""
    targets = [] if _is_target(lead) else [c for c in comparisons if _is_target(c) and _is_off(c)]
    others = [_title_beside(c) for c in (*group, *slower) if c not in (lead, there)]
    also = f"; also {', '.join(others[:3])}" if others else ""
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    since, changed, marked = _origin(lead, history, files, happened)
    confirmed = f"{lead.seen} of {lead.of}" if lead.of > 1 else None
    certainty = f"; confirmed {confirmed}" if confirmed else "" if lead.since else "; not confirmed"
    return Finding(
        kind=FindingKind.REGRESSION,
        severity=max((_severity(c, sizes) for c in (lead, *slower)), key=lambda s: s.rank),
        metric=lead.metric,
        endpoint=lead.endpoint,
        observed=lead.observed,
        expected=_band(lead),
        unit=lead.unit,
        confidence=_confidence(lead),
        since=lead.since,
        changed=changed,
        confirmed=confirmed,
        message=f"{change(lead)}{_main_place(lead, comparisons)}{also_slow}{also}{more}"
        f"{_beside(targets)}{since}{certainty}",
        recommendation=_advice(lead, changed, marked=marked),
    )


def _is_target(comparison: Comparison) -> bool:
    return comparison.metric.startswith(TARGET)


def _is_off(comparison: Comparison) -> bool:
    return comparison.state in (WORSE, CHANGED)


def _beside(targets: Sequence[Comparison]) -> str:
    """What the target's own numbers did at the same time, the largest changes first."""
    found = [change(c) for c in _largest(targets)]
    more = f" and {len(targets) - len(found)} more" if len(targets) > len(found) else ""
    return f"; the target's {', '.join(found)}{more}" if found else ""


def _largest(targets: Sequence[Comparison]) -> list[Comparison]:
    return sorted(targets, key=_size, reverse=True)[:MOST_BESIDE]


def _lead(group: Sequence[Comparison], comparisons: Sequence[Comparison]) -> Comparison:
    """The series that the finding names: the worst endpoint, or an overall series.

    It is overall if no endpoint is worse, or if most endpoints are.
    """
    overall = [c for c in group if c.endpoint is None]
    places = [c for c in group if c.endpoint is not None]
    alike = [c for c in comparisons if c.endpoint and c.metric == (places or group)[0].metric]
    if overall and (not places or (len(places) >= EVERYWHERE and 2 * len(places) > len(alike))):
        order = (
            *("error_rate", "response_time_p95", "response_time_avg", "response_time_p99"),
            "dropped_iterations",
        )
        return min(overall, key=lambda c: order.index(c.metric) if c.metric in order else 9)
    return max(places or group, key=_size)


def _size(comparison: Comparison) -> float:
    """The size of a change: in points for a percentage, else in percent."""
    if comparison.unit == "%":
        return abs(comparison.observed - (comparison.expected or 0.0))
    return math.inf if comparison.change_percent is None else abs(comparison.change_percent)


def _main_place(lead: Comparison, comparisons: Sequence[Comparison]) -> str:
    """The endpoint at which an overall change happened, as words; empty if that is not clear.

    No endpoint is worse by itself, because its noise is wider. An endpoint is named if it changed
    twice as much as any other.
    """
    metric = "response_time_p95" if lead.metric.startswith("response_time") else lead.metric
    places = [c for c in comparisons if c.endpoint and c.metric == metric and c.expected]
    if lead.endpoint or len(places) < 2 or any(c.state == WORSE for c in places):
        return ""
    second, first = sorted(places, key=lambda c: c.change_percent or 0.0)[-2:]
    most, next_most = first.change_percent or 0.0, second.change_percent or 0.0
    if most <= 0 or most < 2 * next_most:
        return ""
    return f", mostly at {first.endpoint} ({most:+.0f} %)"


def _title_beside(comparison: Comparison) -> str:
    """The title beside others: "overall p95"."""
    overall = comparison.endpoint is None and not comparison.metric.startswith(OWN_KEYS)
    return f"overall {title(comparison)}" if overall else title(comparison)


def title(comparison: Comparison) -> str:
    """ "p95 of GET /cart"."""
    return _series(comparison).title


def _series(comparison: Comparison) -> Series:
    return describe(key_of(comparison))


def change(comparison: Comparison, *, place: bool = True) -> str:
    """ "p95 of GET /cart 412 ms, was 268 ms (+54 %)"; not `place`: without the endpoint."""
    observed, *expected = _shown(comparison)
    percent = comparison.change_percent
    relative = "" if percent is None or comparison.unit == "%" else f" ({percent:+.0f} %)"
    was = f", was {expected[0]}" if expected else ""
    name = title(comparison if place else replace(comparison, endpoint=None))
    return f"{name} {observed}{was}{relative}"


def _shown(comparison: Comparison) -> list[str]:
    """What was observed, what was expected, and the ends of the band, as far as they are known."""
    low = None if comparison.low is None else max(0.0, comparison.low)
    known = (b for b in (comparison.expected, low, comparison.high) if b is not None)
    return against(comparison.observed, *known, unit=comparison.unit)


def _band(comparison: Comparison) -> str | None:
    if comparison.low is None or comparison.high is None:
        return None
    low, high = _shown(comparison)[-2:]
    return f"{low} to {high}"


def _origin(
    lead: Comparison,
    history: Sequence[Past],
    files: Mapping[str, str],
    happened: Happened | None,
) -> tuple[str, str | None, bool]:
    """Since which run the change lasts, which files changed with it, and which marks precede it.

    Returns the words for the message, what changed alone (None without any), and whether a mark is
    among it.
    """
    index = next((i for i, run in enumerate(history) if run.test_id == lead.since), len(history))
    began = history[index].files if index < len(history) else files
    before = history[index - 1].files if index else {}
    names = _changed(before, began) if before and began else []
    changed = ", ".join(_short(name) for name in names[:3])
    when = f" changed with {'that' if lead.since else 'this'} run"
    because = f"{changed}{when}" if changed else None
    marked = _marked(index, history, happened)
    cause = ", ".join(filter(None, (because, marked))) or None
    if index == len(history):
        return (f"; {cause}" if cause else ""), cause, bool(marked)
    run = history[index]
    since = f"; since run {run.test_id} on {run.timestamp:%-d %b, %H:%M} UTC"
    since += f", {marked}" if marked else ""
    return since + (f", when {changed} changed" if changed else ""), cause, bool(marked)


def _marked(index: int, history: Sequence[Past], happened: Happened | None) -> str:
    """How long after the marks since the run before it the run at `index` began; "" without any."""
    if happened is None:
        return ""
    began = history[index].timestamp if index < len(history) else happened.at
    before = history[index - 1].timestamp if index else None
    near = between(happened.marks, happened.script, after=before, until=began)
    return after_marks(near, began)


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Files with new or removed contents; a file that only moved is not changed.

    A module from a server counts only if both runs know it: runs of older versions do not, and a
    script that imports another module has changed itself.
    """
    new = {path for path, known in after.items() if known not in before.values()}
    gone = {p for p, known in before.items() if p not in after and known not in after.values()}
    on_one_side = {path for path in before.keys() ^ after.keys() if "://" in path}
    return sorted((new | gone) - on_one_side)


def _short(path: str) -> str:
    return "/".join(path.rsplit("/", 2)[-2:])


def _severity(lead: Comparison, sizes: Sizes) -> Severity:
    if lead.unit == "%":
        broken = sizes.points.broken(_size(lead))
    else:
        broken = sizes.percent.broken(abs(lead.change_percent or 0.0))
    return broken[0] if broken else Severity.LOW


def _confidence(lead: Comparison) -> float:
    if lead.since:
        return 0.95
    return round(min(0.99, 0.7 + 0.29 * lead.seen / lead.of if lead.of > 1 else 0.6), 2)


def _advice(lead: Comparison, changed: str | None, *, marked: bool) -> str:
    if marked:
        return "Look at what was deployed or changed then; k6d compare shows every series."
    if changed:
        return "Look at what changed in the script first, then at what the target deployed."
    if _is_target(lead):
        return "Look at what the target deployed or changed, and at its own dashboards."
    if lead.metric == "dropped_iterations":
        return "No virtual user was free for them: look for what slowed the target."
    if lead.metric == "requests_per_second":
        return "Fewer requests at the same load: look for what VUs wait for between requests."
    return "Look at what the target deployed or changed; k6d compare shows every series."


def improvements(comparisons: Sequence[Comparison]) -> list[str]:
    """The improvements, which never alarm; none if errors explain the faster responses."""
    if any(c.state == WORSE and c.metric == "error_rate" for c in comparisons):
        return []
    return [change(c) for c in comparisons if c.state == "better"]


def remarks(comparisons: Sequence[Comparison]) -> list[str]:
    """The regressions of series that are not judged, without those that stand in a finding."""
    regressed = any(c.state == WORSE and not _is_target(c) for c in comparisons)
    targets = [c for c in comparisons if _is_target(c) and _is_off(c)]
    told = [key_of(c) for c in _largest(targets)] if regressed else []
    return [
        f"the target's {change(c)}{f', since run {c.since}' if c.since else ''}: alone no alert"
        if _is_target(c)
        else f"{change(c)}: not the load, so not judged"
        for c in comparisons
        if c.state == CHANGED and key_of(c) not in told
    ]


def noise(
    first: Sequence[Comparison],
    together: Sequence[Comparison],
    values: Sequence[Mapping[str, float]],
) -> list[str]:
    """The regressions of the first run alone that its re-runs, with `values`, did not repeat."""
    unrepeated = []
    for alone, confirmed in zip(first, together, strict=True):
        if alone.state == WORSE and confirmed.state != WORSE:
            key = key_of(alone)
            again = ", ".join(in_unit(v[key], alone.unit) for v in values[1:] if key in v)
            seen = in_unit(alone.observed, alone.unit)
            unrepeated.append(f"{title(alone)} was {seen}, then {again}: noise")
    return unrepeated


def doubts(comparisons: Sequence[Comparison]) -> list[str]:
    """What is missing for a baseline, and which changes it cannot show."""
    overall = [
        c
        for c in comparisons
        if c.endpoint is None and c.metric not in QUIETLY and not _is_target(c)
    ]
    learning = [c for c in overall if c.state == LEARNING]
    if learning:
        n, needed = min((c.runs, c.needed) for c in learning)
        some = ", ".join(map(title, learning[:3])) if len(learning) < len(overall) else ""
        return [f"learning{f' {some}' if some else ''}, {n} of {needed} comparable runs"]
    p95 = next((c for c in overall if c.metric == "response_time_p95"), None)
    if p95 and p95.visible_percent and p95.visible_percent > COARSE_PERCENT:
        return [
            f"p95 must move ≥ {number(p95.visible_percent)} % to be seen; "
            "a longer run shows smaller changes"
        ]
    return []
