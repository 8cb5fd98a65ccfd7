"""Every kind of receiver with every kind of trouble: once it is well, it has the message once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from test_sender import (
    SLACK,
    ca,
    error,
    json_url,
    mail_url,
    message,
    notify,
    outbox,
    sending,
    until,
)

from receivers import HttpReceiver, MailReceiver, SlackProxy, closed_port

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.alerts.outbox import Outbox
    from receivers import TestCa

__all__ = ["ca", "outbox"]

HANGS_S = 6.0  # the time-out of a helper where a receiver hangs


def make(kind: str, ca: TestCa, port: int = 0) -> Any:
    """A receiver."""
    if kind == "json":
        return HttpReceiver(port=port)
    return (SlackProxy if kind == "slack" else MailReceiver)(ca, port=port)


def url_of(kind: str, port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its Apprise URL; Slack is reached through the proxy that the receiver is."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    return {"json": json_url, "slack": lambda _: SLACK, "mail": mail_url}[kind](port)


def taken(receiver: Any) -> int:
    """How many messages it said it has."""
    return len(receiver.got if isinstance(receiver, MailReceiver) else receiver.taken)


@pytest.mark.parametrize(
    ("kind", "trouble", "said"),
    [
        *(
            (kind, trouble, said)
            for kind in ("json", "slack")
            for trouble, said in (
                ([404], "HTTP 404: no_service"),
                ([500, 503], "HTTP 50"),
                ([(429, {"Retry-After": "1"})], "HTTP 429: no_service"),
                (["close"], "closed the connection without an answer"),
                (["hang"], "did not answer in time"),
            )
        ),
        ("mail", ["550 no"], "SMTP 550: no"),
        ("mail", ["451 later", "554 no"], "SMTP 451: later"),
        ("mail", ["close"], "the mail server ended the connection"),
        ("mail", ["hang"], "the mail server did not answer in time"),
        ("mail", ["250 close"], None),
    ],
)
async def test_trouble_and_then_once(
    kind: str,
    trouble: list[Any],
    said: str | None,
    outbox: Outbox,
    ca: TestCa,
    caplog: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Said why, tried again until it is taken, and then never again; no secret is told."""
    caplog.set_level(logging.DEBUG)
    with make(kind, ca) as receiver:
        receiver.plan = list(trouble)
        url = url_of(kind, receiver.port, monkeypatch)
        outbox.put(message())
        async with sending(notify(url, timeout=HANGS_S), outbox):
            await until(outbox.done, "the delivery")
            outbox.put(message(2))
            await until(lambda: len(outbox.done()) == 2, "the next one")
        assert taken(receiver) == 2
    assert said is None or said in caplog.text
    assert "hunter2" not in caplog.text.lower()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("json", "it could not be reached: connection refused"),
        ("slack", "the proxy could not reach it"),
        ("mail", "the mail server could not be reached: connection refused"),
    ],
)
async def test_nobody_listens_at_first(
    kind: str,
    said: str,
    outbox: Outbox,
    ca: TestCa,
    caplog: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A receiver that comes up later gets what waited for it, once."""
    port = closed_port()
    outbox.put(message())
    async with sending(notify(url_of(kind, port, monkeypatch)), outbox):
        await until(lambda: said in caplog.text.lower(), "the reason")
        with make(kind, ca, port) as receiver:
            await until(outbox.done, "the delivery")
            assert taken(receiver) == 1


async def test_nobody_gets_a_mail_again_because_of_others(outbox: Outbox, ca: TestCa) -> None:
    """One recipient has it, the next one's server hangs, a copy is refused: each gets it once."""
    to = "a@localhost,b@localhost&cc=c@localhost"
    with MailReceiver(ca) as mail:
        mail.refused = {"c@localhost"}
        mail.plan = ["250 OK", "hang"]
        outbox.put(message())
        async with sending(notify(mail_url(mail.port, to=to), timeout=HANGS_S), outbox):
            await until(lambda: error(outbox) == "SMTP 450: mailbox is full", "the refusal")
            await until(lambda: len(mail.taken_for) == 2, "the other one's mail")
            mail.refused = set()
            await until(outbox.done, "the delivery")
        everybody = sorted(address for taken in mail.taken_for for address in taken)
    assert everybody == ["a@localhost", "b@localhost", "c@localhost"]
    assert len({got["Message-ID"] for got in mail.got}) == 1


async def test_what_is_said_of_one_receiver_tells_nothing_of_another(
    outbox: Outbox, ca: TestCa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apprise complains of a broken entry, token and all, while it reads the file for any other."""
    config = tmp_path / "apprise.yml"
    config.write_text(f'urls:\n  - "{SLACK}"\n  - "slack://hunter2-broken/x"\n')
    with SlackProxy(ca) as slack:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{slack.port}")
        slack.plan = [302] * 50  # nothing that HTTP calls an error, but not taken
        outbox.put(message())
        async with sending(notify(config=config), outbox):
            await until(lambda: error(outbox), "the refusal")
        said = error(outbox) or ""
    assert "302" in said
    assert "hunter2" not in said.lower()
