"""Every kind of receiver with every kind of trouble: once it is well, it has the message once."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from k6d.core import memory
from support.delivering import SLACK, error, json_url, mail_url, message, notify, sending, until
from support.helpers import helpers
from support.receivers import HttpReceiver, MailReceiver, SlackProxy, closed_port

if TYPE_CHECKING:
    from k6d.alerts.outbox import Outbox
    from support.receivers import TestCa

HANGS_S = 6.0  # the time-out of a helper where a receiver hangs
MIB = 1 << 20


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
        slack.plan = [302] * 50
        outbox.put(message())
        async with sending(notify(config=config), outbox):
            await until(lambda: error(outbox), "the refusal")
        said = error(outbox) or ""
    assert "302" in said
    assert "hunter2" not in said.lower()


@pytest.mark.parametrize(
    ("kind", "status"),
    [("json", 301), ("json", 302), ("json", 307), ("slack", 302), ("slack", 308)],
)
async def test_a_redirect_is_a_failure_that_says_where_it_leads(
    kind: str,
    status: int,
    outbox: Outbox,
    ca: TestCa,
    caplog: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The login page at its end answers 200, gets nothing, and has nothing to say; tried again."""
    with HttpReceiver() as login, make(kind, ca) as receiver:
        where = f"http://127.0.0.1:{login.port}/login"
        receiver.plan = [(status, {"Location": f"{where}?session=hunter2"})]
        outbox.put(message())
        async with sending(notify(url_of(kind, receiver.port, monkeypatch)), outbox):
            await until(outbox.done, "the delivery")
        assert [got.answer for got in receiver.got][1:] == [200]
        assert login.got == []
    assert f"HTTP {status}: it redirects to {where}; use that address" in caplog.text
    assert "hunter2" not in caplog.text.lower()


@pytest.mark.parametrize("query", ["redirect=yes", "method=get"])
async def test_no_redirect_is_followed_whatever_the_url_asks_for(
    query: str, outbox: Outbox, http: HttpReceiver
) -> None:
    """Not even to another path of the same server; what has no Location is a failure, too."""
    http.plan = [(302, {"Location": "/elsewhere"}), 304, (307, {"Location": "http://[x"}), 200]
    outbox.put(message())
    async with sending(notify(f"json://127.0.0.1:{http.port}/hook?{query}"), outbox):
        await until(lambda: error(outbox), "the refusal")
        await until(outbox.done, "the delivery")
    assert [got.path.partition("?")[0].rstrip("/") for got in http.got] == 4 * ["/hook"]


async def _deliver_two(outbox: Outbox, http: HttpReceiver) -> None:
    """One message and then another; each arrives once."""
    outbox.put(message())
    async with sending(notify(json_url(http.port)), outbox):
        await until(outbox.done, "the delivery")
        outbox.put(message(2))
        await until(lambda: len(outbox.done()) == 2, "the next one")
    assert len(http.got) == 2


@pytest.mark.parametrize("body", ["drip", "flood", "torn", "deep"])
async def test_a_good_status_is_a_delivery_whatever_the_body_does(
    body: str, outbox: Outbox, http: HttpReceiver
) -> None:
    """It drips, has 3 GB, ends in the middle, or unpacks to 1 GiB: once, at once, and not read."""
    http.plan = [body]
    await _deliver_two(outbox, http)
    assert http.sent < 64 * MIB, "what the buffers of the sockets hold, and no more"


async def test_interim_answers_are_passed_over(outbox: Outbox, http: HttpReceiver) -> None:
    """CDNs send "103 Early Hints" before the answer: one delivery, and it is not sent again."""
    http.plan = ["hints", "hints"]
    await _deliver_two(outbox, http)


async def test_an_answer_that_must_be_read_and_does_not_end_leaves_doubt(
    outbox: Outbox, ca: TestCa, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack says "ok" in the body: without it the message goes again, and says so."""
    with SlackProxy(ca) as slack:
        slack.plan = ["drip"]
        outbox.put(message())
        async with sending(notify(url_of("slack", slack.port, monkeypatch), timeout=10), outbox):
            await until(outbox.done, "the delivery")
        assert "Sent again" not in slack.got[0].body.decode()
        assert "Sent again" in slack.got[1].body.decode()
    assert "HTTP 200, but the rest of its answer did not come within 1.0 s" in caplog.text


@pytest.mark.parametrize("kind", ["slack", "ntfy"])
async def test_a_long_digest_arrives_whole(
    kind: str, outbox: Outbox, ca: TestCa, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack takes 3,000 characters a section, ntfy 7,800 a message: every script is named."""
    for number in range(260):
        outbox.put(message(number, script=f"shop/a-much-longer-name-{number}.js"))
    with SlackProxy(ca) if kind == "slack" else HttpReceiver(ok=b"{}") as receiver:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{receiver.port}")
        url = SLACK if kind == "slack" else f"ntfy://127.0.0.1:{receiver.port}/alerts"
        async with sending(notify(url), outbox):
            await until(lambda: len(outbox.done()) == 260, "all deliveries")
        if kind == "slack":
            (got,) = receiver.got
            blocks = got.json["attachments"][0]["blocks"]
            texts = [block["text"]["text"] for block in blocks]
            assert max(map(len, texts)) <= 3000
            assert len(blocks) <= 50
        else:
            texts = [got.body.decode() for got in receiver.got]
            assert max(map(len, texts)) <= 7800
    assert len(texts) > 1
    named = re.findall(r"shop/a-much-longer-name-(\d+)", "".join(texts))
    assert sorted(map(int, named)) == list(range(260)), "each once"


async def test_helpers_have_a_memory_limit(outbox: Outbox, http: HttpReceiver) -> None:
    """While a receiver keeps its helper waiting the kernel tells how much that may have."""
    http.plan = ["hang"]
    found: list[str] = []

    def look(_got: Any) -> None:
        found.extend(Path(f"/proc/{pid}/limits").read_text() for pid in helpers())

    http.on_request = look
    outbox.put(message())
    async with sending(notify(json_url(http.port), timeout=HANGS_S), outbox):
        await until(lambda: found, "the helper")
        http.released.set()
    assert any(re.search(rf"Max data size +{memory.HELPER_MIB * MIB} ", text) for text in found)


def test_beyond_its_limit_a_helper_gets_no_memory() -> None:
    """The one that asks for more has the error, in time and by itself; no one else is killed."""
    code = "from k6d.core import memory; memory.limit(); bytearray(1 << 30)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "MemoryError" in done.stderr
