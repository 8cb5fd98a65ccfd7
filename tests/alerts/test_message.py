"""What an alert says, and how it looks in each format."""

from __future__ import annotations

import html
import re
import struct
import subprocess
import zlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from k6d.alerts.delivery.png import HEIGHT, SCALE, WIDTH, png
from k6d.alerts.delivery.render import MAX_BODY, MAX_TITLE, Rendered, render, without_picture
from k6d.alerts.message import Context, compose, notice
from k6d.alerts.records import Announcement, Change, Chart, Incident, Message, Point
from k6d.core.mark import Mark
from k6d.core.measurements import Breakdown, Metrics
from k6d.core.model import (
    Comparison,
    Execution,
    Explanation,
    Finding,
    FindingKind,
    Outcome,
    Severity,
    Verdict,
)
from k6d.core.tags import Commit
from k6d.explain.merge import merge
from support.records import NOON, make_anomaly, make_endpoint, make_run

CONTEXT = Context(
    data=Path("/var/lib/k6d data"),
    scripts=Path("/srv/k6"),
    previous=make_run(test_id="20261122-110000-3f9a2c"),
)


def told(
    verdict: Verdict | None = None,
    change: Change = Change.OPENED,
    *,
    number: int = 1,
    accepted: str | None = None,
    context: Context = CONTEXT,
    **run: Any,
) -> Message:
    """The message about a run."""
    made = make_run(**{"script": "cart.js", "anomaly_analysis": verdict or make_anomaly(), **run})
    incident = Incident(
        id=f"i{number}",
        script=made.script,
        since=NOON - timedelta(hours=2),
        severity=Severity.HIGH,
        peak=Severity.HIGH,
        problems={"limit broken|response_time_p95|GET /cart": "p95 is high"},
        first_run=made.test_id,
        last_run=made.test_id,
        last_seen=NOON,
        runs=3,
    )
    announcement = Announcement(
        key=f"i{number}-1",
        change=change,
        at=NOON,
        incident=incident,
        run=made.test_id,
        before=Severity.LOW,
        accepted=accepted,
    )
    return compose(announcement, made, context)


def shown(*messages: Message) -> Rendered:
    """How it is sent at once."""
    return render(messages, now=NOON)


@pytest.mark.parametrize(
    ("change", "title", "level"),
    [
        (Change.OPENED, "[HIGH] cart: p95 of GET /cart is 912 ms", "failure"),
        (Change.WORSENED, "[HIGH] cart: worse, was low: p95 of GET /cart", "failure"),
        (Change.CHANGED, "[HIGH] cart: still failing, now p95 of GET /cart", "failure"),
        (Change.REMINDER, "[HIGH] cart: still failing after 2 h: p95 of", "failure"),
        (Change.RESOLVED, "[RESOLVED] cart: healthy again after 2 h", "success"),
    ],
)
def test_the_title_says_it_all_on_one_line(change: Change, title: str, level: str) -> None:
    """Severity, script, and the worst finding or what became of it."""
    rendered = shown(told(make_anomaly("p95 of GET /cart is\n912 ms"), change))
    assert rendered.title.startswith(title)
    assert rendered.level == level


@pytest.mark.parametrize(("reason", "end"), [("", ""), ("new provider", ": new provider")])
def test_an_end_says_what_was_wrong_and_who_ended_it(reason: str, end: str) -> None:
    """A level that somebody accepted is not called healthy."""
    made = told(make_anomaly("p95 of GET /cart is 912 ms"), Change.RESOLVED, accepted=reason)
    rendered = shown(made)
    assert rendered.title == f"[RESOLVED] cart: accepted as the new level after 2 h{end}"
    assert "Was: p95 is high" in rendered.text.splitlines()


def test_a_regression_as_people_read_it() -> None:
    """A short title; then what, where, since when, against which baseline, how sure, what changed.

    What fixed the title's length is in the body: the whole finding, and one command to replay it.
    """
    compared = Comparison(
        metric="response_time_p95", endpoint="GET /cart", unit="ms", state="worse",
        observed=412.0, expected=268.0, low=240.0, high=296.0, runs=12, needed=5, seen=3, of=3,
        change_percent=53.7,
    )  # fmt: skip
    message = "p95 of GET /cart 412 ms, was 268 ms (+54 %); also overall p95; confirmed 3 of 3"
    finding = Finding(
        kind=FindingKind.REGRESSION, severity=Severity.HIGH, message=message, recommendation="Look",
        metric="response_time_p95", endpoint="GET /cart", expected="240 ms to 296 ms",
        confidence=0.99, changed="lib/cart.js changed with this run", confirmed="3 of 3",
    )  # fmt: skip
    verdict = replace(make_anomaly(), findings=[finding], issues=[message], doubts=["noise"])
    newer = Execution(outcome=Outcome.COMPLETED, k6_version="1.2.0", machine="ci")
    made = told(verdict, comparisons=[compared], execution=newer)
    rendered = shown(made)
    assert rendered.title == "[HIGH] cart: p95 of GET /cart 412 ms, was 268 ms (+54 %)"
    lines = rendered.text.splitlines()
    assert lines[0] == f"• {message}"
    assert "Where: GET /cart" in lines
    assert "Baseline: 268 ms, usually 240 ms to 296 ms, from 12 comparable runs" in lines
    assert "Before → after: 268 ms → 412 ms (+54 %)" in lines
    assert "Next step: Look at GET /cart first." in lines
    assert "How sure: confirmed in 3 of 3 runs, 99 %" in lines
    assert (
        "Changed: lib/cart.js changed with this run; k6 (from 1.1.0 to 1.2.0), "
        "since 20261122-110000-3f9a2c, the last healthy run"
    ) in lines
    assert ("Run it again: k6d replay 20261122-120000-3f9a2c --data '/var/lib/k6d data'") in lines
    assert "If it is meant to be so: k6d accept cart.js --data '/var/lib/k6d data'" in lines
    assert "k6d accept" not in shown(told()).text, "a broken limit is no level to accept"


def test_marks_and_commits_stand_beside_the_start() -> None:
    """How long after which deployment it began, and the commit that came between."""
    begin = NOON - timedelta(hours=2)
    was = Commit(id="0a1b2c3d" * 5, branch="main", author="Bo", subject="Old")
    new = Commit(id="9f8e7d6c" * 5, branch="main", author="Anna", subject="Faster checkout")
    context = replace(
        CONTEXT,
        marks=[Mark(id="1", at=begin - timedelta(minutes=4), text="checkout 2.14")],
        previous=make_run(test_id="20261122-090000-3f9a2c", commit=was),
    )
    facts = dict(told(commit=new, context=context).facts)
    assert facts["Since"] == "2026-11-22 10:00 UTC, 3 runs, 4 min after “checkout 2.14”"
    assert "the commit (9f8e7d6c on main, Anna: Faster checkout, was 0a1b2c3d)" in facts["Changed"]


def test_the_body_has_what_the_ai_says() -> None:
    """Two sentences of the AI, named as such; no HTML and no mention gets through."""
    opinion = Explanation(
        source="AI",
        summary="The checkout fails. <b>Look</b> @channel at the database.",
        severity=Severity.CRITICAL,
        raised_because="It gets worse.",
        model="gemini",
    )
    verdict, explanation = merge(make_anomaly(), opinion)
    rendered = shown(told(verdict, explanation=explanation))
    for body in (rendered.text, rendered.html, rendered.markdown):
        assert "AI says" in body
        assert "The checkout fails." in body
        assert "raised from high by the AI: It gets worse." in body
    assert "@channel" not in rendered.text + rendered.markdown  # where it would call everybody
    assert "&lt;b&gt;Look" in rendered.html


def test_the_body_has_findings_numbers_advice_and_commands() -> None:
    """Observed against expected, since when, and what to do, in every format."""
    verdict = replace(make_anomaly(), issues=["a", "b"])
    rendered = shown(told(replace(verdict, findings=[verdict.findings[0]] * 2)))
    page = rendered.html.replace("\u00a0", " ")  # numbers stay on one line with their units
    for body in (rendered.text, page, rendered.markdown):
        assert "p95 of GET /cart is 912 ms, the limit is 500 ms" in body
        assert (
            "6,000 requests, 100/s, average 41.5 ms, p95 88.2 ms, errors 0.1 %, 1 min 1 s" in body
        )
        assert "at most 500" in body
        assert "Look at GET /cart first." in body
        assert "2026-11-22 10:00 UTC, 3 runs" in body
        assert "20261122-120000-3f9a2c of cart.js, changed, 2026-11-22 12:00 UTC" in body
    assert "k6d show 20261122-120000-3f9a2c --log --data '/var/lib/k6d data'" in rendered.text
    assert "k6d mute cart.js --for 2h --data '/var/lib/k6d data'" in rendered.markdown
    assert "--data &#x27;/var/lib/k6d data&#x27;</pre>" in rendered.html
    unread = told(snapshot=None)
    assert "k6d run /srv/k6/cart.js --data '/var/lib/k6d data'" in shown(unread).markdown
    over = shown(told(change=Change.RESOLVED)).text
    assert "k6d show" in over
    assert "k6d mute" not in over


def test_of_many_findings_five_are_told_and_the_rest_is_counted() -> None:
    """The worst come first already."""
    finding = make_anomaly().findings[0]
    findings = [replace(finding, message=f"finding {i}") for i in range(9)]
    text = shown(told(replace(make_anomaly(), findings=findings))).text
    assert "finding 4" in text
    assert "finding 5" not in text
    assert "and 4 more findings" in text


def test_long_texts_are_cut_and_say_so() -> None:
    """A title fits a subject line, a body what Slack takes of a section."""
    rendered = shown(told(make_anomaly("x" * 5000)))
    assert len(rendered.title) <= MAX_TITLE
    assert rendered.title.endswith("…")
    assert "• " + "x" * 200 in rendered.text, "what the title lacks"
    finding = replace(make_anomaly().findings[0], message="<&" * 500)
    signs = shown(told(replace(make_anomaly(), findings=[finding] * 5)))
    assert len(html.escape(signs.markdown)) < MAX_BODY + 100, "as it is on its way to Slack"


@pytest.mark.parametrize("number", [2, 12, 40, 400])
def test_a_digest_names_every_script(number: int) -> None:
    """What is cut first are commands and links, then what is wrong; in every format."""
    link = ("Open the dashboard", "https://k6d.example/runs/1")
    scripts = [f"team-{n % 7}/a-rather-long-name-of-a-script-{n}.js" for n in range(number)]
    many = shown(
        *(
            replace(told(make_anomaly("y" * 500), number=n, script=script), link=link)
            for n, script in enumerate(scripts)
        )
    )
    assert many.title.startswith(f"[HIGH] {number} scripts: ")
    for body in (many.text, many.markdown, many.html):
        missing = [name for name in scripts if name.removesuffix(".js") not in body]
        assert missing == []
        assert "more" not in body
    assert ("k6d show" in many.text) == (number == 2)
    assert ("yyy" in many.text) == (number < 40)
    assert (len(many.markdown.encode()) <= MAX_BODY) == (number < 400)
    assert "[HIGH] team-0/" in many.text


def test_nobody_is_called_by_what_a_target_answers() -> None:
    """Mentions and mark-up from scripts and answers are words only."""
    words = "<!channel> @here <script>alert(1)</script> & co [x](http://evil) `rm` *b*"
    rendered = shown(told(make_anomaly(words), script="@all.js"))
    for text in (rendered.title, rendered.text.partition("\n\n")[0], rendered.markdown):
        assert "<!channel>" not in text
        assert "@here" not in text
    assert "@all" not in rendered.title
    assert "[x](" not in shown(told(replace(make_anomaly(words)), Change.WORSENED)).markdown
    assert "<script>" not in rendered.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in rendered.html


@pytest.mark.parametrize("snapshot", [None, make_run().snapshot])
def test_commands_call_nobody_and_do_what_they_say(snapshot: Any) -> None:
    """A name ends no code of Markdown and no line; a shell reads it as it is."""
    odd = "a` *b* @channel <!here> [x](http:evil)'\\\n\u202e# é.js"
    message = told(script=odd, snapshot=snapshot)
    rendered = shown(message)
    for text in (rendered.text, rendered.markdown):
        lines = [line for line in text.splitlines() if "k6d mute" in line or "k6d run" in line]
        assert len(lines) == (1 if snapshot else 2)
        for line in lines:
            assert not set(line) & set("@<>!\u202e\u200b")
            assert line.count("`") == (2 if text is rendered.markdown else 0)
            command = line.partition("k6d ")[2].strip("`")
            shell = ["bash", "-c", f"printf '%s\\n--\\n' {command}"]
            words = subprocess.run(shell, capture_output=True, text=True, check=True).stdout
            assert words.split("\n--\n")[1] in {odd, f"/srv/k6/{odd}"}


def test_what_nobody_measured_is_left_out() -> None:
    """A script that cannot run has no numbers."""
    text = shown(told(make_anomaly("the script cannot run"), metrics=Metrics())).text
    assert "None" not in text
    assert "Numbers" not in text


def test_scripts_of_one_cause_are_one_message_with_a_line_each() -> None:
    """Worst first; what was overtaken is a remark; late and repeated ones say so."""
    messages = [told(number=n, script=f"{n}.js") for n in (1, 2)]
    link = ("Open the dashboard", "https://k6d.example/runs/1")
    shared = [replace(m, cause="target shop", link=link) for m in messages]
    over = replace(shared[0], id="i1-2", change=Change.RESOLVED, at=NOON + timedelta(minutes=5))
    rendered = render([*shared, over], now=NOON + timedelta(hours=1), repeat=True)
    assert rendered.title.startswith("[HIGH] 1 of 2 scripts: target shop: p95 of GET /cart")
    assert rendered.text.index("[HIGH] 2") < rendered.text.index("[RESOLVED] 1")
    assert "Sent late: from 2026-11-22 12:00 UTC to 2026-11-22 12:05 UTC" in rendered.text
    assert "Not told before: opened 2026-11-22 12:00 UTC" in rendered.text
    assert "Sent again: an earlier attempt may have reached you" in rendered.text
    assert rendered.chart is None
    assert rendered.markdown.count("[Open the dashboard](https://k6d.example/runs/1)") == 2
    assert shown(*shared).title.startswith("[HIGH] 2 scripts: target shop: ")


def test_a_notice_has_no_severity() -> None:
    """A test of the receivers is neither good nor bad."""
    rendered = shown(notice(key="n", at=NOON, script="k6d", subject="a test"))
    assert (rendered.title, rendered.level, rendered.text) == (
        "[k6d] k6d: a test",
        "info",
        "[k6d] k6d: a test",
    )


def test_the_chart_is_a_picture_that_mails_show() -> None:
    """A PNG of the right size, red where it was bad, and no picture without attachments."""
    points = [Point(at=NOON, value=v, bad=v > 300) for v in (270.0, 260.0, 412.0)]
    chart = Chart(title="p95 response time, last 3 runs", unit="ms", points=points)
    picture = png(chart)
    assert struct.unpack(">II", picture[16:24]) == (WIDTH * SCALE, HEIGHT * SCALE)
    start = picture.index(b"IDAT") + 4
    length = struct.unpack(">I", picture[start - 8 : start - 4])[0]
    pixels = zlib.decompress(picture[start : start + length])
    assert bytes((211, 47, 47)) in pixels
    page = shown(replace(told(), chart=chart)).html
    assert 'src="cid:history.png"' in page
    assert "the last 412 ms" in page.replace("\u00a0", " ")
    assert "cid:" not in without_picture(page)
    assert png(replace(chart, points=points[:1])).startswith(b"\x89PNG")


def test_an_overall_finding_names_the_endpoint_that_fails() -> None:
    """If one endpoint has most of the failed requests; without such a one, none is named."""
    finding = replace(make_anomaly().findings[0], metric="error_rate", endpoint=None)
    verdict = replace(make_anomaly(), findings=[finding])
    rows = [make_endpoint(name="/a", failed=1), make_endpoint(name="/pay", failed=12)]
    facts = dict(told(verdict, breakdown=Breakdown(endpoints=rows)).facts)
    assert facts["Where"] == "GET /pay, 12 of 13 failed requests"
    even = [make_endpoint(name="/a", failed=6), make_endpoint(name="/pay", failed=6)]
    assert "Where" not in dict(told(verdict, breakdown=Breakdown(endpoints=even)).facts)
    slow = replace(finding, metric="response_time_p95")
    calm = replace(verdict, findings=[slow])
    assert "Where" not in dict(told(calm, breakdown=Breakdown(endpoints=rows)).facts)


def test_slack_blocks() -> None:
    """A header, fields, findings with one next step, commands, context, and buttons as links."""
    compared = Comparison(
        metric="response_time_p95", endpoint="GET /cart", unit="ms", state="worse",
        observed=912.0, expected=268.0, change_percent=240.3,
    )  # fmt: skip
    context = replace(CONTEXT, dashboard=("Open the dashboard", "https://k6d.example/"))
    made = told(comparisons=[compared], context=context)
    header, fields, findings, commands, about, actions = shown(made).blocks
    assert header["text"]["text"] == "[HIGH] cart: p95 of GET /cart is 912 ms, the limit is 500 ms"
    shown_fields = dict(one["text"].split("\n") for one in fields["fields"])
    assert shown_fields["*Where*"] == "GET /cart"
    assert shown_fields["*Before → after*"] == "268 ms → 912 ms (+240 %)"
    assert "*Since*" in shown_fields
    assert findings["text"]["text"].count("*Next step:* Look at GET /cart first.") == 1
    assert "k6d mute cart.js" in commands["text"]["text"]
    assert [one["text"].partition(" ")[0] for one in about["elements"]] == ["6,000", made_run_id()]
    links = {one["text"]["text"]: one["url"] for one in actions["elements"]}
    assert links == {
        "Open the dashboard": f"https://k6d.example/runs/{made_run_id()}",
        "Compare with before": f"https://k6d.example/compare?run={made_run_id()}",
        "Script": "https://k6d.example/script?name=cart.js",
        "Mute": "https://k6d.example/script?name=cart.js#force",
    }


def test_slack_blocks_within_its_limits() -> None:
    """Long and hostile texts are cut and calm; a digest has no blocks of its own."""
    nasty = "<!channel> @here *bold* & " * 300
    verdict = make_anomaly(nasty)
    blocks = shown(told(verdict, script="x" * 300 + ".js")).blocks
    texts = [one["text"]["text"] for one in blocks if "text" in one]
    assert len(texts[0]) <= 150
    assert max(map(len, texts)) <= 3000
    assert not any("<!channel>" in text or "@here" in text for text in texts)
    two = [told(number=1), told(number=2)]
    assert render(two, now=NOON).blocks == []


def test_the_chart_of_a_mail_has_a_scale() -> None:
    """The largest value stands beside its upper edge, zero beside the lower one (trials E)."""
    points = [Point(at=NOON + timedelta(hours=n), value=100.0 + n) for n in range(5)]
    chart = Chart(title="p95, last 5 runs", unit="ms", points=points)
    page = shown(replace(told(), chart=chart)).html
    upper, lower = re.findall(r'<td valign="(?:top|bottom)"[^>]*>([^<]*)</td>', page)
    assert lower == "0 ms"
    assert float(upper.split()[0]) >= 104


def made_run_id() -> str:
    """The id of the run that `told` makes."""
    return make_run().test_id
