"""Messages reach real receivers, however these behave; every helper is a real process."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import pytest

from k6d.alerts.delivery.addressing import Addressing
from k6d.alerts.delivery.sender import Sender
from k6d.alerts.records import Change, Chart, Point, State
from k6d.core.model import Severity
from support.delivering import (
    PATIENCE_S,
    SLACK,
    TOKEN,
    error,
    json_url,
    mail_url,
    message,
    notify,
    sending,
    until,
)
from support.receivers import (
    PASSWORD,
    HttpReceiver,
    MailReceiver,
    SlackProxy,
    TestCa,
    basic,
    closed_port,
)

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.alerts.outbox import Outbox


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([404], "HTTP 404: no_service"),
        ([500], "HTTP 500: no_service"),
        ([(429, {"Retry-After": "1"})], "HTTP 429: no_service"),
    ],
)
async def test_json_receiver_that_refuses_at_first(
    answers: list[Any], said: str, outbox: Outbox, http: HttpReceiver, caplog: Any
) -> None:
    """Each refusal is tried again later, by the same key, until it is taken; once."""
    caplog.set_level(logging.DEBUG)
    http.plan = list(answers)
    outbox.put(message())
    async with sending(notify(json_url(http.port)), outbox):
        await until(outbox.done, "the delivery")
    assert [got.answer for got in http.got] == [*answers, 200]
    assert len({got.headers["Idempotency-Key"] for got in http.got}) == 1
    assert {got.headers["Authorization"] for got in http.got} == {basic("user", PASSWORD)}
    if isinstance(answers[0], tuple):
        assert http.got[1].at - http.got[0].at >= 1.0
    (kept,) = outbox.done()
    (delivery,) = (kept.deliveries or {}).values()
    assert (delivery.state, delivery.attempts) == (State.DELIVERED, len(answers))
    assert said in caplog.text
    assert "hunter2" not in caplog.text


async def test_unsure_deliveries_say_so_when_they_are_repeated(
    outbox: Outbox, http: HttpReceiver, caplog: Any
) -> None:
    """After no answer the same message goes out by the same key, with a remark."""
    http.plan = ["close"]
    outbox.put(message())
    async with sending(notify(json_url(http.port)), outbox):
        await until(lambda: http.got, "the first attempt")
        outbox.put(message(2, incident="i-1", script="shop/1.js", change=Change.RESOLVED))
        await until(lambda: len(outbox.done()) == 2, "both deliveries")
    first, again, later = (got.json for got in http.got)
    assert first["title"] == again["title"]
    assert again["message"].startswith("Sent again: an earlier attempt may have reached you")
    assert later["title"].startswith("[RESOLVED]")
    assert "Sent again" not in later["message"]
    assert "it closed the connection without an answer" in caplog.text


async def test_a_receiver_that_hangs_is_cut_off_and_blocks_nobody(
    outbox: Outbox, http: HttpReceiver
) -> None:
    """The others get their messages meanwhile; it is asked again after its time-out."""
    with HttpReceiver() as hanging:
        hanging.plan = ["hang"]
        outbox.put(message())
        urls = [json_url(hanging.port), json_url(http.port)]
        async with sending(notify(*urls, timeout=8), outbox):
            await until(lambda: hanging.got and http.taken, "the healthy one's message")
            outbox.put(message(2))
            await until(lambda: len(http.taken) == 2, "its second message")
            assert not hanging.taken
            await until(lambda: len(outbox.done()) == 2, "all messages everywhere")
    assert len(http.got) == 2
    assert [got.answer for got in hanging.got].count("hang") == 1


async def test_opened_and_resolved_while_the_receiver_was_down_is_one_line(
    outbox: Outbox, http: HttpReceiver
) -> None:
    """What is overtaken is merged, and said to be late."""
    early = datetime.now(UTC) - timedelta(minutes=40)
    outbox.put(message(1, at=early))
    later = early + timedelta(minutes=20)
    outbox.put(message(2, at=later, incident="i-1", script="shop/1.js", change=Change.RESOLVED))
    async with sending(notify(json_url(http.port)), outbox):
        await until(lambda: len(outbox.done()) == 2, "both")
    (got,) = http.got
    assert got.json["title"].startswith("[RESOLVED] shop/1: ")
    assert f"Sent late: from {early:%Y-%m-%d %H:%M} UTC" in got.json["message"]
    assert f"Not told before: opened {early:%Y-%m-%d %H:%M}" in got.json["message"]


async def test_a_disk_that_refuses_does_not_end_the_sender(outbox: Outbox, caplog: Any) -> None:
    """It says so and tries again; the daemon's other work goes on."""
    place = outbox.sending_path("x").parent.parent
    place.parent.mkdir()
    place.write_text("in the way")
    task = asyncio.create_task(Sender(notify(), outbox).run())
    await until(lambda: "messages wait: cannot lock" in caplog.text, "the reason")
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_quiet_hours_let_only_what_is_critical_through(
    outbox: Outbox, http: HttpReceiver
) -> None:
    """The rest waits for their end; who was woken hears of the end of it at once."""
    now = datetime.now(UTC)
    hours = f"{now - timedelta(hours=2):%H:%M}-{now + timedelta(hours=2):%H:%M} UTC"
    outbox.put(message(1))
    outbox.put(message(2, severity=Severity.CRITICAL))
    async with sending(notify(json_url(http.port), quiet_hours=hours), outbox):
        await until(outbox.done, "the critical one")
        over = message(3, severity=Severity.CRITICAL, change=Change.RESOLVED, incident="i-2")
        outbox.put(over)
        await until(lambda: len(outbox.done()) == 2, "the end of it")
    assert [kept.message.id for kept in outbox.waiting()] == ["m-1"]
    assert [got.json["title"].partition("]")[0] for got in http.got] == ["[CRITICAL", "[RESOLVED"]


async def test_undeliverable_is_kept_and_can_be_tried_again(outbox: Outbox) -> None:
    """Beyond the horizon a message is given up, not lost; `retry` sends it after all."""
    outbox.put(message(1, at=datetime.now(UTC) - timedelta(hours=1)))
    dead = f"json://127.0.0.1:{closed_port()}/{TOKEN}"
    async with sending(notify(dead, horizon=1), outbox):
        await until(outbox.undeliverable, "giving up")
    (kept,) = outbox.undeliverable()
    (delivery,) = (kept.deliveries or {}).values()
    assert "could not be reached" in (delivery.error or "")
    assert TOKEN not in json.dumps([str(kept)])
    assert outbox.retry() == 1
    assert [item.message.id for item in outbox.waiting()] == ["m-1"]


async def test_a_message_without_a_receiver_waits_and_says_why(
    outbox: Outbox, http: HttpReceiver, tmp_path: Path
) -> None:
    """Tags that nobody has keep a message waiting; a changed Apprise file lets it out."""
    config = tmp_path / "apprise.yml"
    config.write_text(f'version: 1\nurls:\n  - "{json_url(http.port)}":\n      - tag: team\n')
    outbox.put(message(1, tags=["oncall"]))
    settings = notify(config=config)
    async with sending(settings, outbox):
        await until(lambda: outbox.waiting()[0].problem, "the reason")
        assert "no receiver has the tag oncall" in (outbox.waiting()[0].problem or "")
        config.write_text(config.read_text().replace("team", "team, oncall"))
        outbox.put(message(2, tags=["oncall"]))
        await until(lambda: len(outbox.done()) == 2, "both")
    assert len(http.got) == 2


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        ("urls: [", "holds no URL that Apprise understands"),
        ('urls:\n  - "jsn://h/a"\n  - "{}"\n', "a URL is not understood"),
    ],
)
async def test_receivers_of_a_file_that_does_not_read_lose_nothing(
    broken: str | None, said: str, outbox: Outbox, http: HttpReceiver, tmp_path: Path, caplog: Any
) -> None:
    """Those who are known get their messages at once; the others once the file reads, each once."""
    caplog.set_level(logging.INFO)
    config = tmp_path / "apprise.yml"
    with HttpReceiver() as other, HttpReceiver() as third:
        urls = [json_url(other.port), json_url(third.port)]
        if broken:
            config.write_text(broken.format(urls[1]))
        outbox.put(message(1))
        async with sending(notify(json_url(http.port), config=config), outbox):
            await until(lambda: http.taken, "the message of the receiver that is known")
            (waiting,) = outbox.waiting()
            assert said in (waiting.problem or "")
            assert other.got == []
            config.write_text("urls:\n" + "".join(f'  - "{url}"\n' for url in urls))
            outbox.put(message(2))
            await until(lambda: len(outbox.done()) == 2, "both, everywhere")
        told = [sorted(got.json["title"][:13] for got in r.got) for r in (http, other, third)]
    assert told == 3 * [["[HIGH] shop/1", "[HIGH] shop/2"]]
    assert "all receivers are understood again" in caplog.text


async def test_what_a_file_kept_open_too_long_is_given_up_for_its_receivers_alone(
    outbox: Outbox, http: HttpReceiver, tmp_path: Path
) -> None:
    """Undeliverable, with the reason; tried again, it goes to those who have not got it."""
    config = tmp_path / "apprise.yml"
    settings = notify(json_url(http.port), config=config, horizon=0.5)
    outbox.put(message())
    async with sending(settings, outbox):
        await until(lambda: http.taken, "the message of the receiver that is known")
        outbox.put(message(2))  # a look at the first one, too
        await until(outbox.undeliverable, "giving up")
    found = (outbox.undeliverable()[0].deliveries or {}).values()
    assert [d.state for d in found] == [State.DELIVERED, State.UNDELIVERABLE]
    with HttpReceiver() as other:
        config.write_text(f"urls:\n  - {json_url(other.port)}\n")
        assert outbox.retry() >= 1
        async with sending(notify(json_url(http.port), config=config), outbox):
            await until(lambda: len(outbox.done()) == 2, "both, everywhere")
        assert len(other.got) == len(http.got) == 2


async def test_a_clock_that_jumps_gives_up_nothing_that_nobody_was_named_for(
    outbox: Outbox,
) -> None:
    """A message that is four days old to a clock that was set is looked at for an hour at least."""
    outbox.put(message(at=datetime.now(UTC) - timedelta(days=4)))
    addressing = Addressing(notify(), outbox)
    await addressing.address(outbox.waiting(), datetime.now(UTC))
    (waiting,) = outbox.waiting()
    assert waiting.problem == "there is no receiver; name one in notify.urls or notify.config"


@pytest.mark.parametrize("jump", [timedelta(days=2), timedelta(days=-4)])
async def test_a_clock_that_jumped_delays_no_message(
    jump: timedelta, outbox: Outbox, http: HttpReceiver
) -> None:
    """Its times are two days ahead, or four days old: it goes out now, and is not given up."""
    then = datetime.now(UTC) + jump
    outbox.put(message(at=then))
    dead = closed_port()
    receivers = notify(json_url(dead), json_url(http.port), horizon=3600)
    async with sending(receivers, outbox):
        await until(lambda: http.taken and error(outbox), "a delivery, and a failure")
        (waiting,) = outbox.waiting()
        aged = {
            r: replace(d, at=then, next_at=then + timedelta(seconds=600)) if d.attempts else d
            for r, d in (waiting.deliveries or {}).items()
        }
    outbox.update(replace(waiting, deliveries=aged))
    with HttpReceiver(port=dead):
        async with sending(receivers, outbox):
            await until(outbox.done, "the other delivery")


async def test_mail(outbox: Outbox, ca: TestCa, caplog: Any) -> None:
    """By SMTP with TLS and login: HTML and plain text of ours, the chart inline, a stable id."""
    caplog.set_level(logging.DEBUG)
    points = [Point(at=datetime.now(UTC), value=float(v), bad=v > 300) for v in (270, 260, 412)]
    chart = Chart(title="p95 response time, last 3 runs", unit="ms", points=points)
    with MailReceiver(ca) as mail:
        mail.plan = ["451 try later", "close"]
        outbox.put(message(chart=chart))
        async with sending(notify(mail_url(mail.port)), outbox):
            await until(outbox.done, "the mail")
        (got,) = mail.got
        assert mail.attempts == 3
    kinds = [part.get_content_type() for part in got.walk()]
    assert kinds == ["multipart/related", "multipart/alternative", "text/plain", "text/html", "image/png"]  # fmt: skip  # noqa: E501
    plain, page, picture = (part for part in got.walk() if not part.is_multipart())
    assert "• p95 of GET /cart is 412 ms" in plain.get_content()
    assert 'src="cid:history.png"' in page.get_content()
    assert "&lt;!channel&gt;" in page.get_content()
    assert picture["Content-ID"] == "<history.png>"
    assert picture.get_content().startswith(b"\x89PNG\r\n")
    assert got["Subject"].startswith("[HIGH] shop/1: p95 412 ms")
    (kept,) = outbox.done()
    assert "SMTP 451: try later" in caplog.text
    assert got["Message-ID"].startswith("<") and got["References"] == "<i-1@k6d>"
    assert "hunter2" not in caplog.text
    assert kept.deliveries is not None


async def test_mail_with_a_wrong_password_waits_for_the_right_one(
    outbox: Outbox, ca: TestCa
) -> None:
    """A mended URL gets what waits for the receiver under its old one."""
    with MailReceiver(ca) as mail:
        outbox.put(message())
        async with sending(notify(mail_url(mail.port, "wrong-hunter2")), outbox):
            await until(lambda: error(outbox), "the refusal")
        assert "SMTP 535" in (error(outbox) or "")
        async with sending(notify(mail_url(mail.port)), outbox):
            await until(outbox.done, "the mail")
        assert len(mail.got) == 1


async def test_slack(
    outbox: Outbox, ca: TestCa, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack's own plugin, over TLS: our blocks, the title as preview, nobody called."""
    caplog.set_level(logging.DEBUG)
    with SlackProxy(ca) as slack:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{slack.port}")
        slack.plan = [(429, {"Retry-After": "1"}), 404]
        outbox.put(message())
        async with sending(notify(SLACK), outbox):
            await until(outbox.done, "the message")
    assert {got.path for got in slack.got} == {
        "/services/T1JJ3T3L2/B1HUNTER2/aaaaaaaaHUNTER2aaaaaaaa1"
    }
    assert slack.got[1].at - slack.got[0].at >= 1.0
    payload = slack.taken[0].json
    assert payload["text"].startswith("*[HIGH] shop/1: p95 412 ms, was 268 ms (+54 %) &lt;b&gt;")
    header, fields, findings, commands = payload["attachments"][0]["blocks"]
    assert header["text"]["text"].startswith("[HIGH] shop/1: p95 412 ms, was 268 ms (+54 %)")
    assert fields["fields"][0] == {
        "type": "mrkdwn",
        "text": "*Where*\nGET /cart?a=1&amp;b=&lt;2&gt;",
    }
    assert "`k6d show m-1`" in commands["text"]["text"]
    assert "<!channel>" not in findings["text"]["text"]
    assert "@channel" not in payload["text"]
    assert "HTTP 404: no_service" in caplog.text or "HTTP 429" in caplog.text
    assert "hunter2" not in caplog.text.lower()


NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
CHART = Chart(
    title="p95 of GET /cart",
    unit="ms",
    points=[Point(at=NOW + timedelta(hours=n), value=100.0 + n, bad=n > 5) for n in range(9)],
)


@pytest.mark.parametrize("upload", [200, 500])
async def test_a_chart_goes_to_who_takes_files_and_repeats_no_message(
    upload: int, outbox: Outbox, http: HttpReceiver
) -> None:
    """ntfy gets the picture after the message. If the upload fails, the message is delivered."""
    http.plan = [200, upload]
    outbox.put(message(chart=CHART))
    async with sending(notify(f"ntfy://127.0.0.1:{http.port}/alerts"), outbox):
        await until(outbox.done, "the delivery")
        await until(lambda: len(http.got) == 2, "the picture")
    told, picture = http.got
    assert "p95 412 ms" in told.body.decode()
    assert picture.body.startswith(b"\x89PNG")
    assert "p95 of GET /cart: 108 ms in the last run" in unquote_plus(picture.path)


async def test_programs_get_no_picture(outbox: Outbox, http: HttpReceiver) -> None:
    """They read JSON."""
    outbox.put(message(chart=CHART))
    async with sending(notify(json_url(http.port)), outbox):
        await until(outbox.done, "the delivery")
    assert [got.json["attachments"] for got in http.got] == [[]]


async def test_stopped_at_the_instant_a_helper_ends(outbox: Outbox, http: HttpReceiver) -> None:
    """The sender stops, and has entered the delivery."""
    outbox.put(message())
    stopping = asyncio.create_task(Sender(notify(json_url(http.port)), outbox).run())

    def helpers() -> list[asyncio.Task[Any]]:
        named = ((task, task.get_coro()) for task in asyncio.all_tasks())
        return [task for task, coro in named if getattr(coro, "__qualname__", "") == "send"]

    await until(helpers, "the helper")
    helpers()[0].add_done_callback(lambda _: stopping.cancel())
    ended, _ = await asyncio.wait({stopping}, timeout=PATIENCE_S)
    assert ended, "the sender went on"
    assert len(http.got) == 1
    assert outbox.done(), "the delivery was not entered"
