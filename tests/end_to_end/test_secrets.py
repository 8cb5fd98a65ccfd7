"""The secrets of receivers, through a whole life with trouble: told to the receivers, nowhere else.

The same life shows that each receiver has each message once, though the daemon is killed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from k6d.alerts.outbox import Outbox
from support.daemon import hitting
from support.delivering import SLACK, json_url, mail_url
from support.receivers import HttpReceiver, MailReceiver, SlackProxy, TestCa
from support.serving import Served
from support.target import Target

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2"  # part of every secret below, whatever its case
COMMANDS = (
    *("doctor", "outbox", "outbox --all --json", "incidents", "incidents --all --json"),
    *("history", "show latest --log", "show latest --json", "scripts", "schedule", "stats"),
    *("notify-test --json", "notify-test", "report latest --markdown", "explain latest --dry-run"),
)
PAGES = ("/", "/script?name=shop.js", "/runs", "/queue", "/statistics", "/docs", "/openapi.json")


def told(titles: list[str]) -> dict[str, int]:
    """How often each change of the incident came, tests of `k6d notify-test` left out."""
    marks = (title.partition("]")[0].strip("*[") for title in titles)
    return dict(Counter(mark for mark in marks if mark != "k6d"))


def places(served: Served, test_id: str) -> list[str]:
    """The addresses of all that can be read of the daemon, but for the stream of events."""
    api = [
        path for path, ways in served.get("/openapi.json").json["paths"].items() if "get" in ways
    ]
    filled = [path.replace("{test_id}", test_id).replace("{job}", "1") for path in api]
    pages = [*PAGES, f"/runs/{test_id}", "/api/v1/series?script=shop.js"]
    return [path for path in [*filled, *pages] if "{" not in path and "/live" not in path]


@pytest.mark.long
def test_secrets_of_receivers_are_in_no_log_file_output_or_answer(tmp_path: Path) -> None:
    """Two lives with a kill between them, three receivers in trouble, two URLs with a mistake.

    1. The target fails, and so does every receiver. 2. kill -9 while messages wait. 3. All is well
    again. 4. Every command and page. Result: each receiver was told once that it opened and once
    that it is over; a secret is in the settings alone.
    """
    ca, served = TestCa(tmp_path), Served(tmp_path / "home")
    settings = tmp_path / "settings"
    settings.mkdir()
    with (
        Target() as target,
        HttpReceiver() as http,
        HttpReceiver() as beats,
        SlackProxy(ca) as slack,
        MailReceiver(ca) as mail,
    ):
        file = settings / "apprise.yml"
        file.write_text(
            f'urls:\n  - "{SLACK}"\n  - "{mail_url(mail.port)}"\n  - "slack://{SECRET}-broken/x"\n'
        )
        (settings / "notify__heartbeat").write_text(f"http://127.0.0.1:{beats.port}/{SECRET}")
        variables = {
            "K6D_LOG_LEVEL": "debug",
            "K6D_NOTIFY__URLS": f"{json_url(http.port)}\njsno://{SECRET}:{SECRET}@h/{SECRET}",
            "K6D_NOTIFY__CONFIG": str(file),
            "K6D_NOTIFY__RETRY": "0.3",
            "K6D_NOTIFY__TIMEOUT": "8",
            "K6D_NOTIFY__RESOLVE_AFTER": "1",
            "CREDENTIALS_DIRECTORY": str(settings),
            "HTTPS_PROXY": f"http://127.0.0.1:{slack.port}",
            "REQUESTS_CA_BUNDLE": str(ca.path),
            "SSL_CERT_FILE": str(ca.path),
        }
        refused: list[Any] = [401, 404, "hang", (429, {"Retry-After": "1"})]
        http.plan, slack.plan, mail.plan = [*refused], [500, "close", 404], ["451 no", "close"]
        target.failing = True
        script = hitting(target.url) + "console.log(JSON.stringify(__ENV)); // "
        try:
            served.start(**variables)
            served.write("shop.js", script + "1")
            served.until(
                lambda: http.got and slack.got and mail.attempts, "every receiver's trouble"
            )
            assert served.process is not None
            served.process.kill()
            served.process.wait()
            served.start(**variables)

            def everybody_has(messages: int) -> bool:
                return min(len(http.taken), len(slack.taken), len(mail.got)) == messages

            served.until(lambda: everybody_has(1), "all opened")
            target.failing = False
            served.write("shop.js", script + "2")
            served.until(lambda: everybody_has(2), "all resolved")
            waiting = Outbox(served.data).waiting()
            assert len(waiting) == 2, "open for the two receivers that cannot be known"
            (run, *_) = served.store.history("shop.js")
            answers = [served.get(path, token=True) for path in places(served, run["test_id"])]
            http.plan = [500, 500]
            said = [served.call(*words.split(), **variables) for words in COMMANDS]
        finally:
            served.close()
    titles = (
        [got.json["title"] for got in http.taken],
        [got.json["text"] for got in slack.taken],
        [got["Subject"] for got in mail.got],
    )
    assert [told(each) for each in titles] == [{"CRITICAL": 1, "RESOLVED": 1}] * 3
    assert {got.path for got in beats.taken} == {f"/{SECRET}"}, "signs of life"

    assert "URL 2: Apprise does not understand it (schema jsno://)" in said[0].stdout
    assert "apprise.yml: entry #3, item #1 is not understood" in " ".join(said[0].stdout.split())
    assert "HTTP 500: no_service" in said[COMMANDS.index("notify-test --json")].stdout
    assert len(answers) > 20
    assert all(answer.status < 500 for answer in answers)
    texts = {"the log": served.log}
    texts |= {
        f"k6d {words}": done.stdout + done.stderr
        for words, done in zip(COMMANDS, said, strict=True)
    }
    texts |= {f"answer {number}": answer.text for number, answer in enumerate(answers)}
    files = [path for path in served.home.rglob("*") if path.is_file()]
    texts |= {str(path): path.read_bytes().decode(errors="replace") for path in files}
    assert len(files) > 10
    assert [where for where, text in texts.items() if SECRET in text.lower()] == []
