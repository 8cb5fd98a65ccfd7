"""The check of `k6d doctor` for the Prometheus that has the target's own numbers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from k6d.cli.check import Check, fine, problem
from k6d.core.text import plural
from k6d.execution.target_metrics import Span, read
from k6d.settings import Metric, redactor_of

if TYPE_CHECKING:
    from k6d.settings import Settings

NAME = "prometheus"
LOOK_BACK_S = 60.0
ANY = Metric(title="any number", query="vector(1)")


async def target_checks(settings: Settings) -> list[Check]:
    """Ask every query once, for the last minute; nothing without metrics and without an address."""
    prometheus, metrics = settings.prometheus, settings.metrics
    if prometheus.url is None:
        remedy = "set prometheus.url, or remove metrics from the settings"
        seen = f"prometheus.url is not set, so {plural(len(metrics), 'metric')} cannot be read"
        return [problem(NAME, seen, remedy)] if metrics else []
    span = Span(began=time.time() - LOOK_BACK_S - prometheus.delay, lasted_s=LOOK_BACK_S)
    # What a query about one script gives is known in a run of that script.
    asked = [one for one in metrics if "$script" not in one.query] or [ANY]
    found = await read(asked, prometheus, span, script="")
    remedy = "runs go on without it; correct metrics or prometheus in the settings"
    hide = redactor_of(settings).text
    if found.notes:
        return [problem(NAME, hide(note), remedy) for note in found.notes]
    seen = f"{urlsplit(prometheus.url).netloc} answers {plural(len(asked), 'query', 'queries')}"
    return [fine(NAME, seen, None if metrics else "metrics in the settings say what to read")]
