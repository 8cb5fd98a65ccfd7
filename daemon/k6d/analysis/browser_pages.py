"""Findings about the pages that a browser opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.core.model import Finding, FindingKind, Severity
from k6d.core.numbers import against
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
    if not failed:
        return []
    share = 100 * failed / total
    broken = limits.error_rate.broken(share)
    if failed < total and not broken:
        return []
    worst = max(pages, key=lambda page: page.failed or 0)
    seen, allowed = against(share, broken[1] if broken else 0.0, unit="%")
    message = f"every page failed in the browser: {plural(total, 'page')}, first {worst.name}"
    if failed < total:
        message = (
            f"{seen} of the pages failed in the browser ({failed:,} of {total:,}), most often "
            f"{worst.name}; at most {allowed} expected"
        )
    return [
        Finding(
            kind=FindingKind.LIMIT,
            severity=broken[0] if broken and failed < total else Severity.CRITICAL,
            metric="browser_http_req_failed",
            endpoint=worst.title,
            observed=share,
            expected=f"≤ {allowed}",
            unit="%",
            message=message,
            recommendation="Open that page, and look at the target's log for it.",
        )
    ]
