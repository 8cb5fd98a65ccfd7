"""What a person reads in a terminal, narrow or wide, with names of any kind."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from k6d.analysis.backtest import Alarm, Power
from k6d.cli.render import table
from k6d.cli.render.alerts import outbox_table
from k6d.cli.render.baseline import backtest_report, comparison_table
from k6d.cli.render.lists import history_table, scripts_report
from k6d.cli.render.run import run_report
from k6d.cli.render.schedule import schedule_table
from k6d.cli.render.spark import spark
from k6d.core.measurements import Breakdown, Check, Log, Metrics, Runner, Threshold, Timeline
from k6d.core.model import Comparison, Execution, Outcome
from k6d.core.numbers import change
from support.records import make_anomaly, make_endpoint, make_run, make_target

if TYPE_CHECKING:
    from rich.console import RenderableType

LONG = "https://shop.example.org/" + "a/very/long/path/" * 3 + "end?query=1"
ODD = "[bold]x[/]\x1b[31m\n\x07é日本"


def _printed(what: RenderableType, width: int = 80, *, terminal: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, highlight=False, force_terminal=terminal)
    console.print(what)
    text = file.getvalue()
    assert all(cell_len(line) <= width for line in text.splitlines()) or terminal
    return text


def _row(**changes: Any) -> dict[str, Any]:
    return {
        "test_id": "20261122-120000-3f9a2c",
        "timestamp": "2026-11-22T12:00:00.123456+00:00",
        "script": "shop/cart.js",
        "trigger": "changed",
        "severity": None,
        "outcome": "completed",
        "response_time_p95": 88.25,
        "error_rate": 0.1,
        "requests_per_second": 100.0,
        "total_requests": 6000,
    } | changes


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_report_has_everything_within_its_width(width: int) -> None:
    """Numbers, findings, endpoints, thresholds, checks, time line, notes."""
    run = make_run(
        anomaly_analysis=replace(make_anomaly(), doubts=["only 3 requests"]),
        breakdown=replace(make_run().breakdown, notes=["200 endpoints are told apart"]),
        custom_metrics=["my_trend"],
        k6_metrics={"my_trend": {"avg": 3.0}},
    )
    text = " ".join(_printed(run_report(run), width).split())
    for words in (
        *("HIGH", run.script, run.test_id, "2026-11-22 12:00:00 UTC", "changed", "1 min 1 s"),
        *("6,000", "100/s", "0.1 %", "41.5 ms", "88.2 ms"),
        *("p95 of GET /cart is 912 ms", "→ Look at GET /cart first.", "only 3 requests"),
        *("GET /cart", "✓ http_req_duration: p(95)<500", "✗ is 200 (6 of 6,000 failed)"),
        *("my_trend: avg 3", "over 1 min", "up to 100/s", "note: 200 endpoints"),
    ):
        assert words in text


def test_long_endpoints_stand_above_their_numbers_where_they_don_t_fit_beside() -> None:
    """Their origin is said once; no name is cut at either width."""
    rows = [make_endpoint(name=LONG), make_endpoint(name="https://shop.example.org/b", method=None)]
    run = make_run(breakdown=Breakdown(endpoints=[*rows, make_endpoint(name="named")]))
    narrow, wide = _printed(run_report(run)), _printed(run_report(run), 200)
    path = LONG.removeprefix("https://shop.example.org")
    for text in (narrow, wide):
        assert "endpoints of https://shop.example.org" in text
        assert "GET named" in text
    assert f"GET {path}\n" in narrow.replace(" \n", "\n")
    (line,) = [line for line in wide.splitlines() if path in line]
    assert "6,000" in line


def test_of_many_endpoints_and_checks_the_first_are_shown_and_the_rest_is_counted() -> None:
    """JSON has all."""
    run = make_run(
        breakdown=Breakdown(endpoints=[make_endpoint(name=f"/{i}") for i in range(50)]),
        checks=[Check(name=f"check {i}", group="::a::b", passes=1, fails=0) for i in range(30)],
    )
    text = _printed(run_report(run))
    assert "and 30 more (--json has all)" in text
    assert "and 10 more (--json has all)" in text
    assert "✓ a › b › check 0" in text


def test_names_from_outside_are_words_only() -> None:
    """Mark-up is not obeyed, and no control character reaches the terminal."""
    run = make_run(
        script=ODD,
        anomaly_analysis=make_anomaly(ODD),
        breakdown=Breakdown(endpoints=[make_endpoint(name=ODD)], notes=[ODD]),
        checks=[Check(name=ODD, group=f"::{ODD}", passes=1, fails=1)],
        thresholds=[Threshold(metric=ODD, expression="x", crossed=True)],
        log=Log(head=f"one\n{ODD}", tail=ODD, cut_lines=1),
    )
    text = _printed(run_report(run, log=True), 120)
    listed = _printed(history_table([_row(script=ODD)]), 120)
    scripts = [
        {
            "script": ODD,
            "kind": None,
            "in_folder": True,
            "missing": None,
            "left_alone": None,
            "last_run": None,
        }
    ]
    for printed in (text, listed, _printed(scripts_report(scripts), 120)):
        assert "[bold]x[/]\ufffd[31m" in printed
        assert not {c for c in printed if ord(c) < 32} - {"\n", "\t"}


def test_a_script_that_cannot_run_shows_no_empty_numbers() -> None:
    """What went wrong is all there is to say."""
    run = make_run(
        metrics=Metrics(),
        execution=Execution(outcome=Outcome.SCRIPT_ERROR),
        anomaly_analysis=make_anomaly("the script cannot run: Line 1:2"),
        breakdown=Breakdown(),
        checks=[],
        thresholds=[],
    )
    text = _printed(run_report(run))
    assert "requests" not in text
    assert "the script cannot run: Line 1:2" in text


def test_the_log_is_shown_when_asked_for_with_what_was_cut() -> None:
    """k6's log and what it printed."""
    run = make_run(
        log=Log(head="first", tail="last", cut_lines=1234), output=Log(head="http_reqs: 20")
    )
    assert "first" not in _printed(run_report(run))
    text = _printed(run_report(run, log=True))
    assert "first\n… 1,234 lines not kept …\nlast\n" in text
    assert "http_reqs: 20" in text


def test_colours_are_for_terminals_and_not_for_who_wants_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NO_COLOR is honoured, and a pipe gets plain text."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    report = run_report(make_run(anomaly_analysis=make_anomaly()))
    assert "\x1b[" not in _printed(report)
    assert "\x1b[31m" in _printed(report, terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in _printed(report, terminal=True)


@pytest.mark.parametrize("width", [30, 40, 80, 120])
def test_a_table_of_runs_keeps_ids_whole(width: int) -> None:
    """A long name folds, an id never: it is what `show` wants."""
    rows = [
        _row(script="a rather long name " * 5, severity="critical"),
        _row(outcome="k6 unavailable", response_time_p95=None, requests_per_second=None),
    ]
    text = _printed(history_table(rows), width)
    assert text.count("20261122-120000-3f9a2c") == 2
    assert "critical" in text
    assert "k6 unavailable" in text
    assert "…" not in text


def test_a_table_of_scripts_tells_what_each_is() -> None:
    """Also those that nobody looked at."""
    rows = [
        {
            "script": "a.js",
            "kind": "test",
            "in_folder": True,
            "missing": None,
            "left_alone": None,
            "last_run": _row(severity="high"),
        },
        {
            "script": "lib.js",
            "kind": "library",
            "in_folder": True,
            "missing": None,
            "left_alone": None,
            "last_run": None,
        },
        {
            "script": "new.js",
            "kind": None,
            "in_folder": True,
            "missing": None,
            "left_alone": None,
            "last_run": None,
        },
        {
            "script": "b.js",
            "kind": "test",
            "in_folder": True,
            "missing": "users.csv",
            "left_alone": None,
            "last_run": None,
        },
    ]
    lines = _printed(scripts_report(rows)).splitlines()
    assert ["high" in lines[1], "88.2 ms" in lines[1]] == [True, True]
    assert "library" in lines[2]
    assert "not looked at yet" in lines[3]
    assert "waits for users.csv" in lines[4]


@pytest.mark.parametrize("width", [40, 60, 100])
def test_no_table_loses_a_name_or_a_number(width: int) -> None:
    """On a narrow terminal a row's name stands above its numbers, each with its title."""
    name = "api/orders/list-with-filters.js"
    last = _row(script=name, severity="high", trigger="confirmation")
    scripts = [
        {
            "script": name,
            "kind": "test",
            "in_folder": True,
            "missing": None,
            "left_alone": None,
            "last_run": last,
        }
    ]
    compared = Comparison(
        metric="response_time_p95",
        endpoint="GET /cart",
        unit="ms",
        state="worse",
        observed=312.5,
        expected=200.5,
        change_percent=55.9,
        visible_percent=12.5,
    )
    share = replace(compared, metric="error_rate", unit="%", observed=0.5, expected=0.02, high=1.02)
    for printed, words in (
        (history_table([last]), (name, "high re-run", "88.2 ms", "0.1 %", "100")),
        (scripts_report(scripts), (name, "test", "high", "2026-11-22 12:00", "88.2 ms")),
        (
            comparison_table(make_run(), None, [compared, share]),
            ("p95 of GET /cart", "200 ms", "312 ms", "+55.9 %", "± 12.5 %", "± 1 point", "worse"),
        ),
    ):
        text = " ".join(_printed(printed, width).split())
        for word in words:
            assert word in text
        assert "…" not in text


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([], ""),
        ([0.0, 0.0], "▁▁"),
        ([None, None], "  "),
        ([0.0, 5.0, None, 10.0], "▁▅ █"),
        ([1.0] * 600, "█" * 60),
        ([1.0] * 61, "█" * 31),
    ],
)
def test_a_row_of_bars_goes_from_zero_to_the_maximum(values: list[float | None], bars: str) -> None:
    """Gaps stay gaps; a long time line is squeezed into its width."""
    assert spark(values) == bars


def test_a_time_line_of_gaps_is_no_error() -> None:
    """Nothing was measured in any second."""
    timeline = Timeline(
        t=[1, 2],
        vus=[None, None],
        requests_per_second=[0, 0],
        errors_per_second=[0, 0],
        p95_ms=[None] * 2,
    )
    assert "over 2 s" in _printed(run_report(make_run(breakdown=Breakdown(timeline=timeline))))


def test_the_outbox_names_quiet_hours() -> None:
    """A message that waits for their end says so; a critical one does not wait for it."""
    row = {
        "at": datetime(2026, 11, 22, 23, tzinfo=UTC),
        "script": "shop.js",
        "change": "opened",
        "subject": "every request failed",
        "cause": None,
        "receiver": "json://…",
        "attempts": 0,
        "next_at": None,
        "error": None,
        "state": "waiting",
        "severity": "high",
    }
    end = datetime(2026, 11, 23, 6, tzinfo=UTC)
    for severity, waits in (("high", True), ("critical", False)):
        shown = outbox_table([row | {"severity": severity}], width=160, quiet_until=end)
        assert ("quiet hours until 2026-11-23 06:00 UTC" in _printed(shown, 160)) is waits


def test_runners_have_a_table_of_their_own() -> None:
    """A row for each runner, then what went wrong; a threshold shows its doubt."""
    run = make_run(
        runners=[
            Runner(number=1, node="node-1", exit_code=0, requests=41, error_rate=0.0, p95_ms=12.0),
            Runner(number=2, exit_code=137, error="killed: out of memory (OOMKilled)"),
        ],
        thresholds=[Threshold(metric="a", expression="p(95)<1", crossed=True, doubt="too near")],
    )
    text = _printed(run_report(run), width=100)
    assert "runner  requests  errors    p95  exit code  node" in text
    assert "1             41     0 %  12 ms          0  node-1" in text
    assert "runner 2: killed: out of memory (OOMKilled)" in text
    assert "doubt: too near" in text
    assert "exit code" not in _printed(run_report(make_run()), width=100)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_run_beside_its_baseline(width: int) -> None:
    """Series that left their band, the worst first, with before, now and change (trials E)."""
    worse: dict[str, Any] = {"unit": "ms", "state": "worse", "expected": 268.0, "observed": 412.0}
    run = make_run(
        comparisons=[
            Comparison(metric="response_time_p95", endpoint=None, change_percent=54.0, **worse),
            Comparison(
                metric="error_rate", endpoint="GET /cart", unit="%", state="worse", expected=0.5,
                observed=8.5, change_percent=1600.0,
            ),
            Comparison(metric="response_time_avg", endpoint=None, **worse | {"state": "steady"}),
        ]
    )  # fmt: skip
    text = _printed(run_report(run), width)
    assert "against the baseline" in text
    if width > 40:
        lines = text.splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("error rate of GET /cart"))
        assert lines[at].split()[-6:] == ["0.5", "%", "8.5", "%", "+8", "points"]
        assert lines[at + 1].split() == ["p95", "268", "ms", "412", "ms", "+54", "%"]
    assert "against the baseline" not in _printed(run_report(make_run()), width)


def test_a_backtest_has_current_and_tried_side_by_side() -> None:
    """Who gives each alarm, and the steps that each would show (trials E)."""
    alarm = {n: Alarm(test_id=f"run-{n}", what=f"p95 {n}", lasting=False) for n in range(3)}
    seen = {n: [Power(step_percent=10, tried=9, seen=n, delay_runs=1.0)] for n in (3, 7)}
    result = {"script": "a.js", "runs": 30, "alarms": [alarm[0], alarm[1]], "steps": seen[3]}
    current = {"alarms": [alarm[1], alarm[2]], "steps": seen[7]}
    text = _printed(backtest_report([{**result, "current": current}]))
    for line in ("tried    run-0  p95 0", "both     run-1  p95 1", "current  run-2  p95 2"):
        assert line in text
    assert "2 alarms before confirmation with the settings tried, 2 with the current" in text
    (row,) = [line.split() for line in text.splitlines() if line.strip().startswith("+10 %")]
    assert row == ["+10", "%", "3", "of", "9", "1", "7", "of", "9", "1"]
    alone = _printed(backtest_report([result]))
    assert "with the current" not in alone
    assert "  run-0  p95 0" in alone


FINDING = "p95 of POST https://shop.example.org/checkout 219 ms, was 89 ms; also overall p95"


@pytest.mark.parametrize(
    ("width", "name", "finding"),
    [
        (80, "cart.js", None),
        (110, "cart.js", "p95 of POST /checkout 219 ms, was"),
        (140, "cart.js", "p95 of POST /checkout 219 ms, was 89 ms"),
        (140, "teams/checkout/" * 6, "p95 of POST /checkout 219 ms, wa"),
        (200, "teams/checkout/" * 6, "p95 of POST /checkout 219 ms, was 89 ms"),
    ],
)
def test_a_wide_terminal_shows_the_finding_of_each_run(
    width: int, name: str, finding: str | None
) -> None:
    """`history`, `search` and `scripts` show it, shortened to its first clause and to one line."""
    last = _row(script=name, severity="high", issue=FINDING)
    scripts = [
        {
            "script": name,
            "kind": "test",
            "in_folder": True,
            "missing": None,
            "left_alone": None,
            "last_run": last,
        }
    ]
    for printed in (history_table([last]), scripts_report(scripts)):
        text = _printed(printed, width)
        if finding is None:
            assert "finding" not in text
            assert "checkout 219" not in text
        else:
            assert "finding" in text
            assert finding in text
            assert "shop.example.org" not in text
        assert text.replace("req/s", "").count("/") == name.count("/") + ("finding" in text)


def test_a_table_without_findings_has_no_column_for_them() -> None:
    """An empty column would only widen the table."""
    assert "finding" not in _printed(history_table([_row()]), 200)


def test_every_command_prints_tables_of_one_style() -> None:
    """Only the module of tables makes one; lines around cells would be a second style."""
    folder = Path(table.__file__).parents[1]
    made = [
        file.name
        for file in folder.rglob("*.py")
        if re.search(r"(?<![.\w])Table\(|from rich import box", file.read_text(encoding="utf-8"))
    ]
    assert made == ["table.py"]


def test_a_change_is_written_alike_everywhere() -> None:
    """One point is no plural; a change that rounds to nothing has no sign of its own."""
    shown = [change(amount, "points") for amount in (1.0, -0.698, 8.0, 0.0001)]
    assert shown == ["+1 point", "−0.698 points", "+8 points", "±0 points"]
    assert [change(amount) for amount in (151.1, -0.0167, -4.0, None)] == [
        "+151 %",
        "±0 %",
        "−4 %",
        "–",
    ]


def test_a_schedule_reads_well_at_every_width() -> None:
    """On a narrow terminal a script is a paragraph; no time is broken."""
    at = datetime(2026, 11, 27, 16, 0, tzinfo=UTC)
    last = {"timestamp": at.isoformat(), "outcome": "completed"}
    row = {"script": "shop.js", "rule": "0 * * * *", "next": [at], "last": last, "missed": []}
    for width in (60, 80, 120):
        text = _printed(schedule_table([row], width=width), width)
        assert "─" not in text
        assert text.count(f"{at.astimezone():%a %Y-%m-%d %H:%M:%S %Z}") == 2


def test_the_targets_own_numbers_stand_beside_the_run() -> None:
    """Each with what it was and how it went; one that was not measured has no number."""
    queue = make_target(title="queue", unit="", value=None, values=[])
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
    run = make_run(target=[make_target(), queue], comparisons=[cpu])
    text = _printed(run_report(run), 120)
    lines = text.partition("the target's own numbers")[2].splitlines()
    assert lines[2].split()[:9] == [
        "checkout",
        "CPU",
        "average",
        "40",
        "%",
        "55",
        "%",
        "+15",
        "points",
    ]
    assert lines[2].endswith(spark(make_target().values))
    assert lines[3].split() == ["queue", "average", "–", "–", "–"]
    assert "the target's own numbers" not in _printed(run_report(make_run()))
