"""Renders the daemon's jobs for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from k6d.cli.render.table import Listing
from k6d.core.numbers import seconds
from k6d.core.text import one_line, printable

if TYPE_CHECKING:
    from rich.console import RenderableType


def queue_report(queue: dict[str, Any]) -> RenderableType:
    """Return a table of the jobs, the running ones first, and why nothing starts at present."""
    jobs = [*queue["running"], *queue["pending"], *queue["ended"]]
    titles = ("job", "state", "trigger", "time", "result")
    table = Listing(name="script", titles=titles, left=frozenset(titles))
    for job in jobs:
        table.add(
            Text(printable(job["script"], "\ufffd")),
            job["job"],
            job["state"],
            job["trigger"],
            _time(job),
            one_line(job.get("verdict") or job.get("error") or "", 60),
        )
    parts: list[RenderableType] = [table] if jobs else [Text("no job waits or runs")]
    for retry in queue["retries"]:
        at = f"at {retry['at'][:16].replace('T', ' ')} UTC" if retry["at"] else "when that is back"
        line = f"{retry['script']} runs again {at}: {one_line(retry['reason'], 200)}"
        parts.append(Text(line, "dim"))
    if queue["held"]:
        parts.append(Text(f"nothing starts now: {queue['held']}", "dim"))
    return Group(*parts)


def _time(job: dict[str, Any]) -> str:
    """Return how long a job has run, of its planned time; or when it ended."""
    if job.get("ended"):
        return f"{job['ended'][11:16]} UTC"
    if job.get("elapsed_s") is None:
        return ""
    planned = f" of {seconds(round(job['planned_s']))}" if job.get("planned_s") else ""
    return f"{seconds(round(job['elapsed_s']))}{planned}"
