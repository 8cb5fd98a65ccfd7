"""The page of settings: what is in force and where it came from, and the receivers of alerts."""

import asyncio
import contextlib
from datetime import datetime
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from k6d.alerts.delivery import apprise_client
from k6d.alerts.delivery.addressing import addresses
from k6d.alerts.delivery.apprise_client import Directory
from k6d.alerts.outbox import NOBODY, Outbox
from k6d.alerts.records import OutboxEntry, State
from k6d.core.frozen import frozen
from k6d.core.model import K6dError
from k6d.settings.in_force import in_force
from k6d.web.context import Context, K6d
from k6d.web.dashboard.routing import page_router
from k6d.web.page import page

router = page_router()

LISTED_IN_S = 10.0  # for the helper that names the receivers; then the page goes without it


@frozen
class LastDelivery:
    """The last delivery to a receiver, and its last error since then.

    `configured`: it is among the receivers of the settings; None if these are not known.
    """

    label: str
    delivered: datetime | None = None
    waiting: int = 0
    error: str | None = None
    configured: bool | None = None


@router.get("/settings")
async def settings(request: Request, k6d: K6d) -> Response:
    """Show the settings in force; they hold addresses and paths, so this needs the token."""
    if not k6d.access.knows(request.headers):
        return RedirectResponse(f"/login?next={quote('/settings', safe='')}", status_code=303)
    return await asyncio.to_thread(_page, request, k6d, await _receivers(k6d))


def _page(request: Request, k6d: Context, directory: Directory) -> Response:
    outbox, found = Outbox(k6d.settings.data), in_force(k6d.settings)
    return page(
        request,
        k6d,
        "settings.html",
        changed=[one for one in found if not one.is_default],
        defaults=[one for one in found if one.is_default],
        file=k6d.settings.config_file,
        warnings=k6d.settings.warnings,
        receivers=last_deliveries([*outbox.done(), *outbox.waiting()], directory),
    )


async def _receivers(k6d: Context) -> Directory:
    """Name the receivers of the settings as Apprise understands them, without their secrets."""
    notify, nobody = k6d.settings.notify, Directory(receivers=[], problems=[])
    if not notify.urls and not notify.config:
        return nobody
    stamp: object = None
    if notify.config:
        with contextlib.suppress(OSError):
            stamp = (await asyncio.to_thread(notify.config.stat)).st_mtime_ns
    known = k6d.cache.get("receivers")
    if isinstance(known, tuple) and known[0] == stamp and not known[1].problems:
        directory: Directory = known[1]
        return directory
    try:
        key = await asyncio.to_thread(Outbox(k6d.settings.data).key)
        async with asyncio.timeout(LISTED_IN_S):
            found = await apprise_client.directory(addresses(notify, key=key))
    except (K6dError, TimeoutError) as error:
        why = str(error) or f"their names are not known within {LISTED_IN_S:g} s"
        return Directory(receivers=[], problems=[("all receivers", why)])
    k6d.cache["receivers"] = (stamp, found)
    return found


def last_deliveries(entries: list[OutboxEntry], directory: Directory) -> list[LastDelivery]:
    """Return each receiver of the settings and of the kept messages, by label.

    URLs hold secrets; labels hold none.
    """
    labels = {one.label for one in directory.receivers}
    found = {label: LastDelivery(label=label, configured=True) for label in labels}
    whole = labels and not directory.problems
    for entry in entries:
        for one in (entry.deliveries or {}).values():
            configured = one.label in labels if whole and one.receiver != NOBODY else None
            known = found.get(one.label, LastDelivery(label=one.label, configured=configured))
            delivered = one.at if one.state is State.DELIVERED else None
            found[one.label] = LastDelivery(
                label=one.label,
                delivered=max(filter(None, (known.delivered, delivered)), default=None),
                waiting=known.waiting + (one.state is State.WAITING),
                error=None if delivered else one.error or known.error,
                configured=known.configured,
            )
    wrong = [LastDelivery(label=label, error=problem) for label, problem in directory.problems]
    return [*sorted(found.values(), key=lambda one: one.label), *wrong]
