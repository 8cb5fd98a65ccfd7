"""Makes the arguments and the environment of the runners' k6."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.execution.kubernetes.testrun import PUSH
from k6d.execution.local import variables
from k6d.execution.local.k6 import TREND_STATS, tag_flags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k6d.execution.executor import Order


def arguments(
    order: Order, *, stats: Sequence[str], forward: bool
) -> tuple[list[str], dict[str, str]]:
    """Return the arguments of `k6 run` beside the operator's own, and the script's variables.

    `stats` are the percentiles that thresholds need. The runners judge no thresholds: each has only
    its part of the numbers. The script's own tags are flags, because the operator's `--tag` would
    replace them.
    """
    env, shown = variables.for_snapshot(order.given)
    own = order.options.get("summaryTrendStats") or []
    trend = list(dict.fromkeys([*own, *TREND_STATS, *stats]))
    tags = order.options.get("tags") or {}
    ours = {**order.sample_tags, **(order.tags if forward else {})}
    flags = tag_flags(ours or dict(list(tags.items())[:1]), tags)
    args = [
        *("--no-color", "--no-usage-report", "--log-format", "json", "--linger=false"),
        *("--no-thresholds", "--include-system-env-vars", *shown),
        *("--summary-export", "/dev/stdout", "--summary-trend-stats", ",".join(trend)),
        *flags,
        *("--out", "experimental-prometheus-rw"),
    ]
    return args, env


def environment(
    env: Mapping[str, str], *, receiver_url: str, release: tuple[int, int]
) -> dict[str, str]:
    """Return the runners' variables: the script's, and those by which k6 pushes its metrics."""
    return {**env, **variables.remote_write(receiver_url + PUSH, version=release, env=env)}
