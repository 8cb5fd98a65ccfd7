"""The page of settings: what is in force and where it came from, and the receivers of alerts."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from k6d.alerts.outbox import Outbox
from k6d.alerts.records import OutboxEntry, State
from k6d.settings.in_force import in_force
from k6d.web.context import K6d
from k6d.web.dashboard.routing import page_router
from k6d.web.page import page

router = page_router()


@dataclass(frozen=True, slots=True, kw_only=True)
class LastDelivery:
    """The last delivery to a receiver, and its last error since then."""

    label: str
    delivered: datetime | None
    waiting: int
    error: str | None


@router.get("/settings")
def settings(request: Request, k6d: K6d) -> Response:
    """Show the settings in force; they hold addresses and paths, so this needs the token."""
    if not k6d.access.knows(request.headers):
        return RedirectResponse(f"/login?next={quote('/settings', safe='')}", status_code=303)
    outbox = Outbox(k6d.settings.data)
    found = in_force(k6d.settings)
    return page(
        request,
        k6d,
        "settings.html",
        changed=[one for one in found if not one.is_default],
        defaults=[one for one in found if one.is_default],
        file=k6d.settings.config_file,
        warnings=k6d.settings.warnings,
        receivers=last_deliveries([*outbox.done(), *outbox.waiting()]),
        wanted=bool(k6d.settings.notify.urls or k6d.settings.notify.config),
    )


def last_deliveries(entries: list[OutboxEntry]) -> list[LastDelivery]:
    """Return each receiver of the kept messages, by label; their URLs hold secrets."""
    found: dict[str, LastDelivery] = {}
    for entry in entries:
        for one in (entry.deliveries or {}).values():
            known = found.get(one.label)
            delivered = one.at if one.state is State.DELIVERED else None
            before = known.delivered if known else None
            found[one.label] = LastDelivery(
                label=one.label,
                delivered=max(filter(None, (before, delivered)), default=None),
                waiting=(known.waiting if known else 0) + (one.state is State.WAITING),
                error=None if delivered else one.error or (known.error if known else None),
            )
    return sorted(found.values(), key=lambda one: one.label)
