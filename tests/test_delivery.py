"""Messages through the real helper process and Apprise to receivers on this machine."""

from __future__ import annotations

import logging
import socket
from email import message_from_bytes, policy
from typing import TYPE_CHECKING

import pytest
from aiosmtpd.controller import Controller

from k6d import delivery
from k6d.message import Message
from target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage
    from pathlib import Path

    from aiosmtpd.smtp import SMTP, Envelope, Session

SECRET = "hunter2-hunter2"
MESSAGE = Message(
    title="[HIGH] cart.js: 12.5 % of the requests failed",
    text="• first\n\nk6d show 1",
    html="<ul><li>first</li></ul><p><code>k6d show 1</code></p>",
    level="failure",
)


@pytest.fixture
def target() -> Iterator[Target]:
    """An HTTP receiver."""
    with Target() as running:
        yield running


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a receiver that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def test_each_receiver_is_told_and_named_by_itself(
    target: Target, silent: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Ok, 404, 500, refused, hanging, unknown: none hinders another, and no secret is shown."""
    caplog.set_level(logging.DEBUG)
    target.status |= {f"/{SECRET}/404": 404, "/500": 500}
    here = f"127.0.0.1:{target.port}"
    urls = [
        f"json://127.0.0.1:{silent}/{SECRET}",
        f"json://user:{SECRET}@{here}/{SECRET}/ok",
        f"json://{here}/{SECRET}/404?+X-Key={SECRET}",
        f"json://{here}/500?:token={SECRET}",
        f"json://127.0.0.1:{_closed_port()}/{SECRET}",
        f"nosuch://{SECRET}@{here}",
        SECRET,
    ]
    found = await delivery.send(MESSAGE, urls=urls, config=None, timeout_s=2)
    assert sorted(target.requests.items()) == [
        ("POST /500", 1),
        (f"POST /{SECRET}/404", 1),
        (f"POST /{SECRET}/ok", 1),
    ]
    by_error = {one.error or "": one for one in found}
    assert len(found) == len(urls)
    assert [one.receiver for one in found if one.delivered] == [f"json://user:****@{here}/…"]
    for words, receiver in {
        "404": f"json://{here}/…",
        "500": f"json://{here}/…",
        "did not finish": f"json://127.0.0.1:{silent}/…",
        "onnection error": "json://127.0.0.1:",
        "nosuch://": "URL 6",
        "?://": "URL 7",
    }.items():
        (error,) = [error for error in by_error if words in error]
        assert by_error[error].receiver.startswith(receiver)
    assert SECRET not in str(found) + caplog.text


async def test_check_understands_urls_and_sends_nothing(target: Target) -> None:
    """A check says which URL Apprise doesn't know, and the receiver hears nothing."""
    urls = [f"json://127.0.0.1:{target.port}/{SECRET}", f"htp://{SECRET}"]
    bad, good = await delivery.check(urls=urls, config=None, timeout_s=5)
    assert (good.receiver, good.delivered) == (f"json://127.0.0.1:{target.port}/…", True)
    assert (bad.receiver, bad.delivered) == ("URL 2", False)
    assert SECRET not in f"{good}{bad}"
    assert not target.requests


async def test_an_apprise_file_names_receivers_too(target: Target, tmp_path: Path) -> None:
    """URLs of a YAML file are told beside those of the list; an empty file is an error."""
    good, bad = tmp_path / "good.yml", tmp_path / "bad.yml"
    good.write_text(f"version: 1\nurls:\n  - json://127.0.0.1:{target.port}/filed\n")
    bad.write_text("version: 1\nurls: []\n")
    url = f"json://127.0.0.1:{target.port}/listed"
    found = await delivery.send(MESSAGE, urls=[url], config=good, timeout_s=5)
    assert [one.delivered for one in found] == [True, True]
    assert target.requests == {"POST /listed": 1, "POST /filed": 1}
    for file in (bad, tmp_path / "missing.yml"):
        (failed,) = await delivery.send(MESSAGE, urls=[], config=file, timeout_s=5)
        assert (failed.receiver, failed.delivered) == (str(file), False)


class _Inbox:
    """Keeps the mails that a real SMTP server takes."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take one mail."""
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


async def test_a_mail_has_html_and_a_plain_alternative() -> None:
    """Over real SMTP: the title as subject, both forms of the body, the command in each."""
    inbox = _Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=_closed_port())
    controller.start()
    try:
        url = f"mailto://127.0.0.1:{controller.port}?from=k6d@example.org&to=me@example.org"
        (sent,) = await delivery.send(MESSAGE, urls=[url], config=None, timeout_s=10)
    finally:
        controller.stop()
    assert sent.delivered, sent.error
    (mail,) = inbox.mails
    assert mail["Subject"] == MESSAGE.title
    assert (mail["To"], mail.get_content_type()) == ("me@example.org", "multipart/alternative")
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert "<li>first</li>" in html.get_content()
    assert "first" in plain.get_content()
    assert "<" not in plain.get_content()
    assert all("k6d show 1" in part.get_content() for part in (plain, html))
