"""Findings about the pages that a browser opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.analysis.failures import too_many
from k6d.core.model import Finding, FindingKind
from k6d.core.text import plural

if TYPE_CHECKING:
    from k6d.core.model import Result
    from k6d.settings import Limits


def find(result: Result, limits: Limits) -> list[Finding]:
    """Return one finding if all pages failed, or more than the limit for errors allows.

    What a page loads besides is not judged: a missing icon or an advertisement is no alarm.
    """
    pages = result.breakdown.pages
    total = sum(page.count for page in pages)
    failed = sum(page.failed or 0 for page in pages)
    if not (found := too_many(failed, total, limits)):
        return []
    worst = max(pages, key=lambda page: page.failed or 0)
    message = f"every page failed in the browser: {plural(total, 'page')}, first {worst.name}"
    if failed < total:
        message = (
            f"{found.seen} of the pages failed in the browser ({failed:,} of {total:,}), most "
            f"often {worst.name}; at most {found.allowed} expected"
        )
    return [
        Finding(
            kind=FindingKind.LIMIT,
            severity=found.severity,
            metric="browser_http_req_failed",
            endpoint=worst.title,
            observed=found.share,
            expected=found.expected,
            unit="%",
            message=message,
            recommendation="Open that page, and look at the target's log for it.",
        )
    ]
