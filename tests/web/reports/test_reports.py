"""Reports of a run for others: JUnit XML against its schema, Markdown, and one HTML page."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from lxml import etree

from k6d.analysis.verdict import judge
from k6d.core.measurements import Breakdown, Check, Generator, Log, Runner, Threshold
from k6d.core.model import (
    Comparison,
    Execution,
    Explanation,
    Finding,
    FindingKind,
    Outcome,
    Run,
    Severity,
    Verdict,
)
from k6d.settings import Limits
from k6d.web.reports import write_html, write_junit, write_markdown
from support.paths import DATA
from support.records import make_anomaly, make_endpoint, make_run, make_target
from support.results import result

SCHEMA = etree.XMLSchema(etree.parse(DATA / "junit.xsd"))
HOSTILE = '<script>alert(1)</script>&"\x00\x1b[31m]]> |*_`[x](javascript:y)'


def anomalous(words: str) -> Run:
    """A run with a crossed threshold, a failed check and a broken limit, named by `words`."""
    finding = Finding(
        kind=FindingKind.LIMIT,
        severity=Severity.HIGH,
        message=f"p95 was high {words}",
        recommendation="look",
        metric="response_time_p95",
        endpoint=words,
    )
    crossed = replace(finding, kind=FindingKind.THRESHOLD, metric="a", expected="p(95)<1")
    failed = replace(finding, kind=FindingKind.CHECKS, metric="checks")
    verdict = Verdict(
        anomalies_detected=True,
        severity=Severity.HIGH,
        issues=[finding.message],
        recommendations=["look"],
        findings=[finding, crossed, failed],
    )
    return replace(
        make_run(anomaly_analysis=verdict),
        script=f"{words}.js",
        thresholds=[
            Threshold(metric="a", expression="p(95)<1", crossed=True, observed=2.0),
            Threshold(metric="b", expression=words, crossed=False),
        ],
        checks=[
            Check(name=words, group="::cart", passes=1, fails=2),
            Check(name="", group="", passes=1, fails=0),
        ],
        log=Log(head=words, tail=words, cut_lines=3, cut_bytes=9),
    )


def parsed(run: Run) -> etree._Element:
    """The JUnit document, valid by its schema."""
    root = etree.fromstring(write_junit(run).encode())
    SCHEMA.assertValid(root)
    return root


def test_junit_counts_and_cases() -> None:
    """A case for the run, each threshold, check and other finding; failures are counted."""
    suite = parsed(anomalous("GET /cart"))[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("6", "3", "0")
    failed = [case.get("name") for case in suite.iter("testcase") if len(case)]
    assert failed == [
        "a: p(95)<1",
        "cart › GET /cart",
        "limit broken: response_time_p95 of GET /cart",
    ]
    healthy = make_run(thresholds=[], checks=[])
    assert parsed(healthy)[0].get("failures") == "0"


def test_junit_follows_the_verdict() -> None:
    """Checks without a limit fail nothing, and are told; a crossed threshold always fails."""
    crossed = Threshold(metric="http_req_duration", expression="p(95)<1", crossed=True)
    check = Check(name="paid", group="::cart", passes=1, fails=1)
    made = result(thresholds=(crossed,), checks=(check,), checks_passed=1, checks_failed=1)
    off = Limits.model_validate({"failed_checks": False})
    for reasons, failing in (
        (["short of CPU"], ["k6.threshold", "k6.finding"]),
        ([], ["k6.threshold"]),
    ):
        verdict = judge(replace(made, generator=Generator(reasons=reasons)), limits=off)
        run = make_run(anomaly_analysis=verdict, thresholds=[crossed], checks=[check])
        suite = parsed(run)[0]
        assert [case.get("classname") for case in suite.iter("testcase") if len(case)] == failing
        told = suite.findtext("system-out") or ""
        assert "check cart › paid: 1 of 2 failed, which the verdict does not count" in told
    healthy = make_run(thresholds=[crossed], checks=[check])
    assert parsed(healthy)[0].get("failures") == "0"
    suspected = Verdict(anomalies_detected=True, severity=Severity.LOW, issues=["AI suspects: x"])
    (failure,) = parsed(make_run(checks=[], anomaly_analysis=suspected)).iter("failure")
    assert failure.get("message") == "AI suspects: x"


@pytest.mark.parametrize(
    "outcome", [Outcome.SCRIPT_ERROR, Outcome.K6_UNAVAILABLE, Outcome.ABORTED, Outcome.NO_DATA]
)
def test_junit_of_what_could_not_run_is_an_error(outcome: Outcome) -> None:
    """No data is not a pass."""
    run = make_run(execution=Execution(outcome=outcome, error="why\nand where"))
    suite = parsed(run)[0]
    assert suite.get("errors") == "1"
    assert next(suite.iter("error")).get("message") == "why"


def test_hostile_words_stay_words() -> None:
    """Names and logs with markup, control characters and lone surrogates harm no form."""
    run = anomalous(HOSTILE)
    assert parsed(run)[0].get("failures") == "3"
    page = write_html(run)
    assert "<script" not in page
    page.encode()
    markdown = write_markdown(run)
    markdown.encode()
    assert "<script>" not in markdown
    assert "[x](" not in markdown
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table[:3]}) == 1


def test_the_html_report_has_no_link_that_leads_nowhere() -> None:
    """It may be read far from the dashboard: the run since which it lasts is a text."""
    finding = replace(make_anomaly().findings[0], since="20261122-110000-3f9a2c")
    page = write_html(make_run(anomaly_analysis=replace(make_anomaly(), findings=[finding])))
    assert "Since: 20261122-110000-3f9a2c" in page
    assert "<a " not in page


def test_markdown_has_before_and_after() -> None:
    """Each number beside its baseline, the worst endpoint first, in a section that opens."""
    worse = {"unit": "ms", "state": "worse", "expected": 268.0, "observed": 412.0}
    run = make_run(
        anomaly_analysis=anomalous("GET /cart").anomaly_analysis,
        breakdown=Breakdown(endpoints=[make_endpoint(name="/a"), make_endpoint(p95_ms=412.0)]),
        comparisons=[
            Comparison(metric="response_time_p95", endpoint=None, **worse),
            Comparison(metric="response_time_p95", endpoint="GET /cart", **worse),
        ],
    )
    lines = write_markdown(run).splitlines()
    assert "Next step: look" in lines
    assert "| p95 | 268 ms | 88.2 ms | **+54 %** |" in lines
    details = lines.index("<details><summary>2 endpoints, 1 threshold, 1 check</summary>")
    rows = [line for line in lines[details:] if line.startswith("| GET")]
    assert rows[0] == "| GET /cart | 268 ms | **412 ms** |  | 0.1 % | 6,000 |"
    assert rows[1].startswith("| GET /a |")
    assert lines.index("</details>") > details


def test_markdown_is_short() -> None:
    """Verdict, findings, totals, crossed thresholds and failed checks, whatever their number."""
    text = write_markdown(anomalous("GET /cart"))
    assert "### k6: GET /cart.js: HIGH" in text
    assert "| **crossed** | a: p\\(95\\)\\<1 | 2 |" in text
    assert "| **failed** | cart › GET /cart | 2 of 3 |" in text
    many = replace(
        make_run(),
        checks=[Check(name=f"c{i}", group="", passes=0, fails=1) for i in range(500)],
    )
    assert len(write_markdown(many)) < 2000
    assert "and 490 more" in write_markdown(many)


def test_an_explanation_is_shown_as_text() -> None:
    """What the AI said, or why it said nothing, and no markup of it."""
    said = Explanation(summary="The cart <b>waits</b>.", issues=["i"], model="m", confidence=0.9)
    page = write_html(make_run(explanation=said))
    assert "The cart &lt;b&gt;waits&lt;/b&gt;." in page
    assert "confidence 90 %" in page
    silent = Explanation(unavailable="no answer within 30 s")
    assert "Not explained by the AI: no answer within 30 s" in write_html(
        make_run(explanation=silent)
    )


def test_an_address_that_is_none_is_shown_as_it_is() -> None:
    """A placeholder that nobody filled in, say."""
    endpoint = make_endpoint(name="https://[env].example.com/cart")
    page = write_html(make_run(breakdown=Breakdown(endpoints=[endpoint])))
    assert '<p class="dim">https://[env].example.com</p>' in page


def test_groups_read_as_paths_and_addresses_as_they_are() -> None:
    """Colons of an IPv6 address, or in a name, are no groups."""
    names = ("http://[::1]:80/cart", "Shop::pay")
    groups = [make_endpoint(name=name, method=None) for name in ("::cart", "::cart::add")]
    endpoints = [make_endpoint(name=name) for name in names]
    run = make_run(
        breakdown=Breakdown(endpoints=endpoints, groups=groups),
        checks=[Check(name="in cart", group="::cart::add", passes=0, fails=1)],
    )
    page = write_html(run)
    for told in ("http://[::1]:80<", "> /cart<", "> Shop::pay<", ">cart › add<"):
        assert told in page
    for form in (page, write_markdown(run), write_junit(run)):
        assert "cart › add › in cart" in form


def test_html_needs_nothing_else() -> None:
    """No address is loaded, and its own policy allows nothing but the one style sheet."""
    page = write_html(make_run())
    assert not re.search(r"""(src|href)=["'](?!#|/runs/)""", page)
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "<style>" in page


def test_other_protocols_and_what_is_not_judged_are_shown() -> None:
    """Handshakes, gRPC and web vitals with units; setup and exclusions in tables of their own.

    The numbers are those of the load, and the line below says what they are with the rest.
    """
    run = make_run()
    load = replace(run.metrics, total_requests=5950, error_rate=0.0)
    apart = {
        "setup": [make_endpoint(name="/login", count=10)],
        "excluded": [make_endpoint(name="/ad", count=40)],
    }
    run = replace(
        run,
        load=load,
        breakdown=replace(run.breakdown, apart=apart, handshakes={"101": 20, "0": 5}),
        k6_metrics={
            "grpc_req_duration": {"avg": 12.0, "max": 40.0},
            "browser_web_vital_lcp": {"p(95)": 1200.0},
            "browser_web_vital_cls": {"p(95)": 0.1},
        },
    )
    page = write_html(run)
    for words in (
        "<dd>5,950</dd>",
        "Without what is not judged; all 6,000 requests: errors 0.1 %",
        "<h3>setup()</h3>",
        "/login",
        "<h3>Excluded by the script</h3>",
        "/ad",
        "handshakes: HTTP 101 20, no answer 5",
        "grpc_req_duration: avg 12 ms  max 40 ms",
        "browser_web_vital_lcp: p(95) 1,200 ms",
        "browser_web_vital_cls: p(95) 0.1",
    ):
        assert words in page, words
    assert "Not judged" not in write_html(make_run())
    assert "| 5,950 |" in write_markdown(run)


def test_a_run_on_a_cluster_has_a_table_of_its_runners() -> None:
    """Requests, errors, p95, exit code and node of each, and what went wrong with one."""
    page = write_html(
        make_run(
            runners=[
                Runner(number=1, node="node-1", exit_code=0, requests=41, p95_ms=12.0),
                Runner(number=2, exit_code=137, error="killed: out of memory (OOMKilled)"),
            ],
            thresholds=[Threshold(metric="a", expression="p(95)<1", crossed=True, doubt="near")],
        )
    )
    table = etree.HTML(page).xpath("//section[@aria-labelledby='runners']")[0]
    cells = [" ".join(row.itertext()).split() for row in table.xpath(".//tbody/tr")]
    assert cells[0] == ["1", "41", "–", "12", "ms", "0", "node-1"]
    assert cells[1][:2] == ["2", "0"]
    assert "Runner 2: killed: out of memory (OOMKilled)" in "".join(table.itertext())
    assert "Doubt: near" in page


def test_the_targets_own_numbers_are_in_every_report() -> None:
    """With what they were; what was not measured is a dash, and its note says why."""
    cpu = Comparison(
        metric=make_target().key,
        endpoint=None,
        unit="%",
        state="changed",
        observed=55.0,
        expected=40.0,
        low=38.0,
        high=42.0,
        change_percent=37.5,
    )
    queue = make_target(title="<queue>", unit="", value=None, values=[])
    note = "<queue>: there is no data for this time"
    run = make_run(
        target=[make_target(), queue],
        comparisons=[cpu],
        breakdown=replace(make_run().breakdown, notes=[note], endpoints=[]),
    )
    page = write_html(run)
    assert "The target&#39;s own numbers" in page or "The target's own numbers" in page
    assert "Target: checkout CPU" in page
    assert "was 40 %, +15 points" in page
    assert "&lt;queue&gt;: there is no data for this time" in page
    assert "<queue>" not in page
    text = write_markdown(run)
    assert "| target: checkout CPU | 40 % | 55 % | **+15 points** |" in text
