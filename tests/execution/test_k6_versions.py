"""Each case of k6_cases, by each k6 that is here and by each that was recorded: the same result.

Real ones: the two that `make test` sets up, and those that K6D_TEST_K6 names. Recorded ones: the
versions in tests/data/k6, which no package registry has (see record_k6).
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from k6d.analysis.verdict import judge
from k6d.core.model import Outcome, Result, Severity
from k6d.execution import summary
from k6d.execution.archive import Kind
from k6d.settings import Limits
from support.binaries import BINARIES
from support.k6_cases import CASES, Ran, run
from support.k6_tape import tape
from support.paths import DATA
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RECORDINGS = {path.name: path for path in (DATA / "k6").iterdir()}
AT_ONCE = 4
KINDS = [*BINARIES, *(f"{version}, recorded" for version in RECORDINGS if version not in BINARIES)]


async def _all(version: str, folder: Path) -> dict[str, Ran]:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, target: Target) -> Ran:
        async with turns:
            (place := folder / name.replace(" ", "_")).mkdir()
            binary = BINARIES.get(version) or _played(version, name, place, target)
            return await run(CASES[name], binary=binary, folder=place, target=target.url)

    with Target() as target:
        target.status["/broken"] = 500
        found = await asyncio.gather(*(one(name, target) for name in CASES))
    return dict(zip(CASES, found, strict=True))


def _played(version: str, name: str, place: Path, target: Target) -> Path:
    recording = RECORDINGS[version.removesuffix(", recorded")] / f"{name.replace(' ', '_')}.json"
    places = {"DIR": str(place), "TARGET": target.url}
    return tape(place / "k6", "play", recording, places=places)


@pytest.fixture(scope="module", params=KINDS)
def ran(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Ran]:
    """All cases by one k6, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("matrix").resolve()
    found = asyncio.run(_all(request.param, folder))
    return found.__getitem__


def _result(ran: Ran) -> Result:
    assert ran.measured is not None, ran.script.error
    return ran.measured.result


def _log(ran: Ran) -> str:
    assert ran.measured is not None, ran.script.error
    return ran.measured.log.head


def test_totals_checks_and_endpoints_of_a_run(ran: Callable[[str], Ran]) -> None:
    """Snapshot, plan, summary, histograms and console of a run as it should be."""
    shop = ran("shop")
    result = _result(shop)
    metrics = result.summary.metrics
    assert (result.execution.outcome, result.execution.exit_code) == (Outcome.COMPLETED, 99)
    assert result.execution.planned_s == 630
    assert (metrics.total_requests, metrics.failed_requests, metrics.iterations) == (60, 30, 30)
    assert (metrics.checks_passed, metrics.checks_failed) == (30, 0)
    rows = {(row.name, row.method): (row.count, row.failed) for row in result.breakdown.endpoints}
    assert rows == {("cart", "GET"): (30, 0), ("pay", "POST"): (30, 30)}
    assert [(row.name, row.count) for row in result.breakdown.groups] == [("::shop", 30)]
    assert result.breakdown.status_codes == {"200": 30, "500": 30}
    assert sum(filter(None, result.breakdown.timeline.requests_per_second)) == 60
    assert result.summary.custom_metrics == ["sold"]
    assert shop.script.raw_settings == {"enabled": True}
    assert "info console bought 9" in _log(shop)


def test_tags_of_ours_leave_those_of_the_script(ran: Callable[[str], Ran]) -> None:
    """A threshold on `options.tags` is judged in a forwarded run; the script's tag wins."""
    result = _result(ran("shop"))
    judged = {
        one.metric: (one.crossed, one.observed is not None) for one in result.summary.thresholds
    }
    assert judged == {
        "http_req_duration{team:a}": (True, True),
        "http_reqs": (False, True),
        "checks": (False, True),
    }
    assert {"testid=t1", "team=a"} <= set(result.execution.command)


@pytest.mark.parametrize("name", [*CASES])
def test_nothing_of_our_own_is_in_a_log(ran: Callable[[str], Ran], name: str) -> None:
    """No word of the variables and flags that k6d sets, nor notes of what is missing."""
    one = ran(name)
    if one.measured is None:
        return
    for word in ("native", "K6_PROMETHEUS", "Legacy", "Experimental", "remote write"):
        assert word not in _log(one)
    noted = CASES[name].env or name in ("no tags of the system", "vus beside scenarios")
    assert noted or not _result(one).breakdown.notes


def test_scenarios_that_need_no_default_function_have_a_plan(ran: Callable[[str], Ran]) -> None:
    """1 s, and 30 s to stop gracefully."""
    result = _result(ran("scenario with exec"))
    assert result.execution.planned_s == 31
    assert result.summary.metrics.iterations


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("machine-readable summary wanted", 1),
        ("no summary wanted", 2),
        ("log and output elsewhere", 5),
    ],
)
def test_variables_change_nothing_of_what_is_read(
    ran: Callable[[str], Ran], name: str, left_out: int
) -> None:
    """Threshold, endpoints and log are there; what had no effect is said."""
    result = _result(ran(name))
    (threshold,) = result.summary.thresholds
    assert (threshold.crossed, result.execution.exit_code) == (True, 99)
    assert threshold.observed is not None
    assert judge(result, limits=Limits()).severity is Severity.HIGH
    assert [row.name for row in result.breakdown.endpoints] == ["cart"]
    assert len(result.breakdown.notes) == left_out
    assert "thresholds on metrics 'http_req_duration' have been crossed" in _log(ran(name))


def test_the_console_stays_in_the_log(ran: Callable[[str], Ran]) -> None:
    """Wherever the user's variables send it."""
    assert "info console hi" in _log(ran("log and output elsewhere"))


def test_thresholds_that_k6_does_not_judge_are_noted(ran: Callable[[str], Ran]) -> None:
    """K6_NO_THRESHOLDS is the user's wish; the run says what it costs."""
    result = _result(ran("no thresholds wanted"))
    assert result.execution.exit_code == 0
    assert result.breakdown.notes == [
        "k6's summary does not say what became of 1 threshold of the script"
    ]


def test_missing_tags_are_noted(ran: Callable[[str], Ran]) -> None:
    """Requests without name, url, status and expected_response."""
    notes = "; ".join(_result(ran("no tags of the system")).breakdown.notes)
    assert "name and url: requests by endpoint are missing" in notes
    assert "expected_response: failed requests by endpoint are missing" in notes
    assert "status: status codes are missing" in notes


def test_a_threshold_ends_the_run(ran: Callable[[str], Ran]) -> None:
    """abortOnFail: aborted, in k6's words."""
    result = _result(ran("threshold aborts"))
    assert result.execution.cut_by_threshold
    assert "were crossed; at least one has abortOnFail enabled" in (result.execution.error or "")


def test_a_snapshot_holds_the_workload_of_variables(ran: Callable[[str], Ran]) -> None:
    """K6_VUS and K6_ITERATIONS at the snapshot decide; the script still sees them when it runs."""
    result = _result(ran("workload by variables"))
    assert result.summary.metrics.iterations == 6
    assert result.exceptions == 0


def test_what_vus_did_beside_scenarios_is_noted(ran: Callable[[str], Ran]) -> None:
    """Up to k6 2.0 nothing; since then they replace the scenarios."""
    result = _result(ran("vus beside scenarios"))
    replaced = result.summary.metrics.iterations == 2
    (note,) = result.breakdown.notes
    assert note.startswith("vus=2 replaced" if replaced else "vus=2 was not used")
    assert replaced is (tuple(map(int, (result.execution.k6_version or "").split("."))) >= (2, 1))
    assert result.summary.metrics.iterations == (2 if replaced else 3)


def test_nobody_listens(ran: Callable[[str], Ran]) -> None:
    """A refused connection has its error and its code."""
    breakdown = _result(ran("refused")).breakdown
    assert breakdown.error_codes == {"1212": 1}
    assert breakdown.errors == {"dial: connection refused": 1}
    assert "warning Request Failed" in _log(ran("refused"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("throws in init", "ReferenceError: missing is not defined at s.js:1:11"),
        ("fails in init", "no luck at "),
        ("misses a file", "users.json: no such file or directory"),
        ("is no JavaScript", "s.js: Line 1:"),
        ("is paused", "options.paused is true"),
    ],
)
def test_a_script_that_cannot_run_is_told_in_k6s_words(
    ran: Callable[[str], Ran], name: str, words: str
) -> None:
    """With file and line, on one line; nothing runs."""
    one = ran(name)
    assert one.measured is None
    assert words in (one.script.error or "")
    assert "\n" not in (one.script.error or "")
    assert "could not initialize" not in (one.script.error or "")


def test_a_file_that_a_script_misses_is_one_of_its_dependencies(ran: Callable[[str], Ran]) -> None:
    """So that the script runs as soon as somebody makes it."""
    script = ran("misses a file").script
    assert script.dependencies[str(script.path.with_name("users.json"))] == ""


def test_a_file_without_a_test_is_a_module(ran: Callable[[str], Ran]) -> None:
    """k6's words for it are the same in each version."""
    assert ran("is a module").script.kind is Kind.LIBRARY


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("throws in setup", 107, "Error: no login at setup ("),
        ("is slow in setup", 100, "setup() took too long: setup() execution timed out after 1 sec"),
        ("throws in teardown", 107, "Error: tear at teardown ("),
    ],
)
def test_a_run_that_fails_is_told_in_k6s_words(
    ran: Callable[[str], Ran], name: str, code: int, words: str
) -> None:
    """The error that ended it, not one of an iteration; the log has it, too."""
    execution = _result(ran(name)).execution
    assert (execution.outcome, execution.exit_code) == (Outcome.SCRIPT_ERROR, code)
    assert words in (execution.error or "")
    assert "error " in _log(ran(name))


def test_exceptions_of_iterations_are_counted(ran: Callable[[str], Ran]) -> None:
    """They don't end a run, whatever else it says."""
    result = _result(ran("throws in iterations"))
    assert (result.exceptions, result.execution.exit_code) == (2, 0)
    assert (result.first_exception or "").startswith("Error: boom at default (")
    assert _result(ran("throws in teardown")).exceptions == 1


def test_a_script_aborts_its_run(ran: Callable[[str], Ran]) -> None:
    """In its own words."""
    execution = _result(ran("aborts")).execution
    assert (execution.outcome, execution.exit_code) == (Outcome.ABORTED, 108)
    assert "enough" in (execution.error or "")


@pytest.mark.parametrize("version", RECORDINGS)
def test_a_recording_says_which_k6_it_is_of_and_when(version: str) -> None:
    """For each case, so that old ones are known."""
    for name in CASES:
        path = RECORDINGS[version] / f"{name.replace(' ', '_')}.json"
        recorded = json.loads(path.read_text())
        assert f"v{version} " in recorded["k6"]
        assert len(recorded["recorded"]) == len("2026-11-27")


@pytest.mark.parametrize("version", RECORDINGS)
def test_the_new_form_of_the_summary_is_read(version: str) -> None:
    """Though nothing asks k6 for it: it may be the default one day. It has no thresholds."""
    found = summary.parse((RECORDINGS[version] / "summary_new_form.json").read_bytes())
    metrics = found.metrics
    assert (metrics.total_requests, metrics.iterations, metrics.error_rate) == (1, 1, 0)
    assert metrics.response_time_avg
    assert metrics.response_time_p95
