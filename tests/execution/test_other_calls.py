"""gRPC calls and browser pages, by the tags that the real k6 gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.core.measurements import Metrics
from k6d.core.model import Outcome, Severity
from k6d.execution.excluded import Exclude
from k6d.execution.other_calls import GRPC, PAGES, Calls
from k6d.execution.remote_write import Histogram
from k6d.execution.rows import Table
from support.binaries import NEW
from support.programs import program
from support.verdicts.specimen import Specimen, run_all

if TYPE_CHECKING:
    from pathlib import Path

    from support.target import Target

TABLE = Table(most=10, lasted_s=10.0, exact=Metrics(), notes=[])


def _labels(**tags: str) -> tuple[bytes, ...]:
    """Labels as they come in a push: field 1, name, field 2, value, with their lengths."""
    return tuple(
        b"\n" + bytes([len(name)]) + name.encode() + b"\x12" + bytes([len(value)]) + value.encode()
        for name, value in tags.items()
    )


def _seconds(*values: float) -> Histogram:
    return Histogram.of(list(values))


def test_calls_are_counted_by_method_and_status() -> None:
    """The newest total of each series counts; setup() and what the script excludes do not."""
    calls = Calls(GRPC, Exclude(names=["*/Ping"]), str)
    ok = _labels(name="/shop.Cart/Add", scenario="default", status="0")
    calls.take(ok, _seconds(0.01))
    calls.take(ok, _seconds(0.01, 0.01, 0.01))
    calls.take(_labels(name="/shop.Cart/Add", scenario="default", status="13"), _seconds(0.2))
    calls.take(_labels(name="/shop.Cart/Ping", scenario="default", status="14"), _seconds(0.2))
    calls.take(_labels(name="/shop.Cart/Add", group="::setup", status="14"), _seconds(0.2))
    (row,) = calls.rows(TABLE)
    assert (row.title, row.count, row.failed) == ("gRPC /shop.Cart/Add", 4, 1)
    assert (row.error_rate, row.rate) == (25.0, 0.4)
    assert calls.codes() == {"0": 3, "13": 1}


def test_of_a_browser_only_pages_count() -> None:
    """A missing icon is no failed page; a redirect is none either, and no answer is one."""
    calls = Calls(PAGES, Exclude(), str)
    for name, kind, status in (
        ("http://shop/", "Document", "200"),
        ("http://shop/old", "Document", "302"),
        ("http://shop/gone", "Document", "404"),
        ("http://shop/down", "Document", "0"),
        ("http://shop/favicon.ico", "Other", "404"),
    ):
        labels = _labels(name=name, resource_type=kind, scenario="ui", status=status)
        calls.take(labels, _seconds(0.1))
    failed = {row.name: row.failed for row in calls.rows(TABLE)}
    assert failed == {
        "http://shop/": 0,
        "http://shop/old": 0,
        "http://shop/gone": 1,
        "http://shop/down": 1,
    }


def test_a_real_browser_opens_pages(tmp_path: Path, target: Target) -> None:
    """Half of the pages answer 404; web vitals are compared, and the failed pages are told."""
    target.status["/gone"] = 404
    env = {"K6_BROWSER_EXECUTABLE_PATH": program("chromium"), "K6_BROWSER_ARGS": "no-sandbox"}
    script = """import { browser } from 'k6/browser';
const ui = { executor: 'shared-iterations', options: { browser: { type: 'chromium' } } };
export const options = { scenarios: { ui } };
export default async function () {
  const page = await browser.newPage();
  await page.goto('B/');
  await page.goto('B/gone');
  await page.close();
} // import http is not needed"""
    specimen = Specimen(name="browser", script=script)
    (run,) = run_all([specimen], binary=NEW, url=target.url, home=tmp_path, k6__env=env)
    assert run.execution.outcome is Outcome.COMPLETED
    assert {row.name: row.failed for row in run.breakdown.pages} == {
        f"{target.url}/": 0,
        f"{target.url}/gone": 1,
    }
    assert run.anomaly_analysis.severity is Severity.HIGH
    assert "50 % of the pages failed in the browser (1 of 2)" in run.anomaly_analysis.issues[0]
    assert "custom:browser_web_vital_ttfb:p(95):<" in run.series
