"""The receivers on the page of settings: those of the settings, and those that got messages."""

from __future__ import annotations

from datetime import timedelta

from k6d.alerts.delivery.apprise_client import Directory
from k6d.alerts.message import notice
from k6d.alerts.records import Delivery, OutboxEntry, Receiver, Severity, State
from k6d.web.dashboard.settings_page import last_deliveries
from support.records import NOON


def test_receivers_with_and_without_messages() -> None:
    """A new receiver has none yet; one that left the settings says so; a URL that Apprise does not
    understand is listed with the reason.
    """
    message = notice(key="k", at=NOON, script="a.js", subject="s", severity=Severity.HIGH)
    old = Delivery(receiver="1", label="slack://…", state=State.DELIVERED, at=NOON)
    late = Delivery(receiver="2", label="mailto://x", state=State.WAITING, error="refused")
    again = Delivery(
        receiver="1", label="slack://…", state=State.DELIVERED, at=NOON + timedelta(hours=1)
    )
    entries = [
        OutboxEntry(message=message, deliveries={"1": old}),
        OutboxEntry(message=message, deliveries={"1": again, "2": late}),
    ]
    now = [Receiver(id="3", label="json://new", tags=[]), Receiver(id="2", label="mailto://x")]
    found = last_deliveries(entries, Directory(receivers=now, problems=[]))
    assert [(one.label, one.configured, one.waiting, one.error) for one in found] == [
        ("json://new", True, 0, None),
        ("mailto://x", True, 1, "refused"),
        ("slack://…", False, 0, None),
    ]
    assert found[2].delivered == NOON + timedelta(hours=1)
    partly = Directory(receivers=now, problems=[("URL 2", "not understood")])
    found = last_deliveries(entries, partly)
    assert [(one.label, one.configured) for one in found][-2:] == [
        ("slack://…", None),
        ("URL 2", None),
    ]
