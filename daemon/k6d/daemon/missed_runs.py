"""Notifies of scheduled runs that did not happen."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from k6d.core.job import Missed
from k6d.core.model import K6dError, Severity
from k6d.core.text import plural
from k6d.execution.archive import digest
from k6d.jobs.scheduler import UNDER_WAY

if TYPE_CHECKING:
    from k6d.alerts.alerting import Alerts
    from k6d.core.job import Job

logger = logging.getLogger(__name__)


def notify_of_missed(missed: Missed, alerts: Alerts) -> None:
    """Notify of scheduled runs that did not start, unless another run replaces them."""
    if missed.caught_up:
        return
    # A script may take longer than its interval and miss each start. Report that once a day;
    # `k6d schedule` lists all missed starts.
    often = missed.reason == UNDER_WAY
    stamp = f"{missed.first:%Y%m%d}-late" if often else f"{missed.first:%Y%m%d%H%M%S}"
    due = f"{missed.first:%Y-%m-%d %H:%M} UTC"
    last = f" to {missed.last:%Y-%m-%d %H:%M} UTC" if missed.count > 1 else ""
    alerts.announce(
        key=f"missed-{digest(missed.script.encode())[:12]}-{stamp}",
        script=missed.script,
        subject=f"{plural(missed.count, 'scheduled run')} did not happen: {missed.reason}",
        severity=Severity.MEDIUM,
        facts=[("Due", due + last)],
    )


def notify_of_no_result(job: Job, reason: str, alerts: Alerts) -> None:
    """Notify of a scheduled run as missed when its result could not be saved."""
    if job.due is None:
        return
    missed = Missed(script=job.name, first=job.due, last=job.due, count=1, reason=reason)
    try:
        notify_of_missed(missed, alerts)
    except K6dError as error:
        logger.error("%s: the missed run is not notified: %s", job.name, error)
