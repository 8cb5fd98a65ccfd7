"""`k6d run` of several scripts, as a pipeline calls it: real k6, one table, one exit code."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from lxml import etree

from k6d.alerts.alerting import Alerts
from k6d.settings import load
from support.daemon import Daemon, hitting
from support.paths import DATA
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA = etree.XMLSchema(etree.parse(DATA / "junit.xsd"))
NAMED = """import http from 'k6/http';
import { check } from 'k6';
export const options = {
  thresholds: { http_reqs: ['count>100'] },
  scenarios: {
    carts: { executor: 'constant-vus', vus: 5, duration: '1m', exec: 'cart', env: { A: 'x' } },
    pays: { executor: 'constant-arrival-rate', rate: 50, duration: '1m', preAllocatedVUs: 5,
      exec: 'pay', startTime: '20s' },
  },
};
export function cart() { check(__ENV.A, { 'has its variable': (a) => a === 'x' }); ask('cart'); }
export function pay() { ask('pay'); }
function ask(what) { http.get(`URL/${what}`); }
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[Target]:
    """A target for all tests here."""
    with Target() as target:
        target.status["/broken"] = 500
        yield target


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shop: Target) -> Daemon:
    """Scripts that are healthy, fail, are broken and are no test; no daemon runs."""
    made = Daemon(tmp_path_factory.mktemp("batch"))
    made.write("smoke/good.js", hitting(f"{shop.url}/good"))
    made.write("smoke/lib.js", "import http from 'k6/http'; export const f = () => http.get('x');")
    made.write("bad.js", hitting(f"{shop.url}/broken", iterations=30))
    made.write("broken.js", "import http from 'k6/http'; throw new Error('no setting');")
    return made


def _run(home: Daemon, *words: str, code: int) -> str:
    done = home.call("run", *words)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout or done.stderr


def test_several_scripts_are_one_table_and_one_exit_code(home: Daemon, tmp_path: Path) -> None:
    """The worst decides; reports hold all of them, and a helper module of a pattern is no error."""
    junit, markdown = tmp_path / "out.xml", tmp_path / "out.md"
    reports = ("--junit", str(junit), "--markdown", str(markdown))
    said = _run(home, "bad.js", "smoke/*", *reports, code=1)
    assert re.search(r"critical +bad\.js", said)
    assert re.search(r"healthy +smoke/good\.js", said)
    assert "smoke/lib.js is a helper module and was left out" in said
    root = etree.parse(junit)
    assert SCHEMA.validate(root), SCHEMA.error_log
    assert root.xpath("//testsuite/@name") == ["bad.js", "smoke/good.js"]
    assert root.xpath("//testsuite/@id") == ["0", "1"]
    text = markdown.read_text()
    assert "| bad.js | critical |" in text
    assert "### k6: smoke/good.js: healthy" in text


def test_a_script_without_a_verdict_ends_with_2(home: Daemon, tmp_path: Path) -> None:
    """The others run nevertheless; JSON has all of them."""
    junit = tmp_path / "out.xml"
    found = json.loads(_run(home, "broken.js", "smoke/*", "--json", "--junit", str(junit), code=2))
    assert [run["script"] for run in found["runs"]] == ["broken.js", "smoke/good.js"]
    assert found["not_run"] == {}
    assert SCHEMA.validate(etree.parse(junit))


def test_fail_on_says_which_severity_counts(home: Daemon, shop: Target) -> None:
    """A run below it ends with 0, with one script and with several."""
    home.write("low.js", hitting(f"{shop.url}/good", options=LOW))
    assert "MEDIUM" in _run(home, "low.js", code=1)
    _run(home, "low.js", "--fail-on", "high", code=0)
    _run(home, "low.js", "smoke/good.js", "--fail-on", "high", code=0)
    _run(home, "low.js", "smoke/good.js", "--fail-on", "medium", code=1)


LOW = "ext: { k6d: { limits: { min_requests: 1, response_time_avg: { medium: 0.0001 } } } }"


def test_no_incident_means_no_incident(home: Daemon) -> None:
    """The run is kept, and nobody is alarmed."""
    home.write("quiet.js", (home.scripts / "bad.js").read_text())
    _run(home, "quiet.js", "--no-incident", code=1)
    alerts = Alerts(load(data=home.data), home.store)
    assert "quiet.js" not in alerts.incident_states()
    assert alerts.missing() == []
    _run(home, "quiet.js", code=1)
    assert alerts.incident_states()["quiet.js"].incident is not None


def test_once_runs_each_scenario_one_time(home: Daemon, shop: Target) -> None:
    """With its own function and variables, without its thresholds; it is no run of the script."""
    home.write("named.js", NAMED.replace("URL", shop.url))
    home.write(
        "plain.js", hitting(f"{shop.url}/once", options="thresholds: { http_reqs: ['count>9'] },")
    )
    before = dict(shop.requests)
    said = _run(home, "named.js", "--once", code=0)
    assert "run once: one iteration of each scenario by one virtual user" in said
    for what in ("cart", "pay"):
        assert shop.requests[f"GET /{what}"] - before.get(f"GET /{what}", 0) == 1
    (run,) = home.runs("named.js")
    assert (run.ad_hoc, run.comparable, run.thresholds) == (True, False, [])
    assert [(check.passes, check.fails) for check in run.checks] == [(1, 0)]
    assert run.execution_time < 30
    _run(home, "plain.js", "--once", code=0)
    assert shop.requests["GET /once"] == 1


def test_the_report_of_a_script_without_a_run_says_why(home: Daemon, tmp_path: Path) -> None:
    """Also when it is the only one; a pipeline reads the report."""
    home.write("lib.js", "export const one = 1;")
    report = tmp_path / "out.xml"
    said = _run(home, "lib.js", "--junit", str(report), code=2)
    assert "it is a helper module" in said
    assert 'type="not run"' in report.read_text()
    assert "it is a helper module" in report.read_text()


def test_a_baseline_comes_from_an_archive(home: Daemon, tmp_path: Path) -> None:
    """A fresh data folder then has its runs, and a wrong file is one line."""
    archive, fresh = tmp_path / "runs.tar.gz", tmp_path / "fresh"
    _run(home, "smoke/good.js", code=0)
    assert home.call("export", str(archive)).returncode == 0
    other = Daemon(tmp_path / "other")
    other.scripts.rmdir()
    other.scripts.symlink_to(home.scripts)
    _run(other, "smoke/good.js", "--baseline", str(archive), code=0)
    stored = [run for run in other.runs("smoke/good.js") if run.confirms is None]
    assert len(stored) == len(home.runs("smoke/good.js")) + 1
    assert "does not exist; 'k6d export FILE' makes one" in _run(
        other, "smoke/good.js", "--baseline", str(fresh), code=2
    )
    fresh.write_text("x")
    assert "is no archive of 'k6d export'" in _run(
        other, "smoke/good.js", "--baseline", str(fresh), code=2
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("gone.js", "bad.js"), "gone.js is no file, nor in "),
        (("gone/*",), "matches 'gone/*'"),
        (("bad.js", "--fail-on", "awful"), "--fail-on awful: should be one of low, medium, high"),
        (("bad.js", "--once", "--vus", "2"), "--once sets the load by itself: leave out --vus"),
    ],
)
def test_mistakes_are_one_line_and_nothing_runs(
    home: Daemon, words: tuple[str, ...], why: str
) -> None:
    """Before any load is made."""
    before = home.counts()
    said = _run(home, *words, code=2)
    assert why in said
    assert said.count("\n") == 1
    assert home.counts() == before
