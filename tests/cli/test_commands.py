"""The real command in a process of its own, as a user has it: output, JSON, exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from k6d.core.model import Trigger
from k6d.storage.store import Store
from support.binaries import BINARIES
from support.commands import run_k6d
from support.daemon import until
from support.records import make_run

if TYPE_CHECKING:
    from pathlib import Path

    from support.target import Target

PATIENCE_S = 120.0
SECRET = "hunter2-hunter2"
COMMANDS = ("serve", "run", "history", "show", "scripts", "doctor", "reindex", "demo")
NAMES = {  # what users of the original service know, design.md
    *("test_id", "timestamp", "execution_time", "status", "metrics", "anomaly_analysis"),
}
METRICS = {
    *("response_time_avg", "response_time_p95", "error_rate", "requests_per_second"),
    *("virtual_users", "total_requests", "duration_ms"),
}
ANALYSIS = {"anomalies_detected", "severity", "issues", "recommendations", "confidence"}


class Home:
    """A folder with scripts and data, and `k6d` started in it with an environment made for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scripts = folder / "scripts"
        self.data = folder / "k6d-data"
        self.scripts.mkdir()

    def write(self, name: str, text: str) -> str:
        """A script in the folder; its path as a user types it."""
        path = self.scripts / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return f"scripts/{name}"

    def k6d(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end; no stack trace is ever shown."""
        made = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"}
        made |= {"K6D_COMPARE__MAX_CPU": "100"}  # a busy test machine is no doubt of a run
        done = run_k6d(*arguments, cwd=self.folder, env=made | environment, timeout_s=PATIENCE_S)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def json(self, *arguments: str, code: int = 0, **environment: str) -> Any:
        """What a command prints with --json, and nothing beside it."""
        done = self.k6d(*arguments, "--json", **environment)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    def error(self, *arguments: str, **environment: str) -> str:
        """The one line that a user's mistake ends with, exit code 2 and nothing on stdout."""
        done = self.k6d(*arguments, **environment)
        assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
        (line,) = done.stderr.splitlines()
        return line


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    return Home(tmp_path)


def _script(body: str, options: str = "vus: 2, iterations: 10") -> str:
    return f"""import http from 'k6/http';
import {{ check, sleep }} from 'k6';
export const options = {{ {options} }};
export default function () {{ {body} }}
"""


@pytest.mark.parametrize("binary", BINARIES.values(), ids=BINARIES)
def test_a_runs_numbers_are_the_targets_and_k6s_own(
    home: Home, target: Target, binary: Path
) -> None:
    """Counts equal what the target saw and what k6 prints itself; the record is the one kept."""
    target.status["/bad"] = 500
    script = home.write(
        "shop/cart.js",
        _script(
            f"http.get('{target.url}/a'); http.post('{target.url}/bad');"
            "check(1, { one: (x) => x === 1 }); sleep(0.3);",  # k6 counts VUs after a second
            options="vus: 2, iterations: 10, thresholds: { http_req_duration: ['p(95)<60000'] }",
        ),
    )
    run = home.json("run", script, code=1, K6D_K6__PATH=str(binary))
    assert run.keys() >= NAMES
    assert run["metrics"].keys() >= METRICS
    assert run["anomaly_analysis"].keys() >= ANALYSIS
    assert (run["script"], run["trigger"], run["status"]) == (
        *("shop/cart.js", "manual", "completed"),
    )
    metrics = run["metrics"]
    assert metrics["total_requests"] == target.requests.total() == 20
    assert metrics["failed_requests"] == target.requests["POST /bad"] == 10
    assert (metrics["error_rate"], metrics["virtual_users"]) == (50, 2)
    by_title = {(e["method"], e["name"]): e for e in run["breakdown"]["endpoints"]}
    bad = by_title["POST", f"{target.url}/bad"]
    assert (bad["count"], bad["failed"], bad["error_rate"]) == (10, 10, 100)
    assert by_title["GET", f"{target.url}/a"]["failed"] == 0
    assert run["breakdown"]["status_codes"] == {"200": 10, "500": 10}
    longest = max(e["p99_ms"] for e in by_title.values())
    assert longest <= run["metrics"]["response_time_max"]
    assert run["checks"] == [{"name": "one", "group": "", "passes": 10, "fails": 0}]
    assert [t["crossed"] for t in run["thresholds"]] == [False]
    printed = run["output"]["head"]
    (count,) = re.findall(r"http_reqs\.*: (\d+)", printed)
    assert int(count) == 20
    (avg,) = re.findall(r"http_req_duration\.*: avg=([\d.]+)(?:µs|ms)", printed)
    assert float(avg) in (
        *(pytest.approx(metrics["response_time_avg"], abs=0.01),),
        *(pytest.approx(metrics["response_time_avg"] * 1000, abs=10),),  # k6 chose µs
    )
    found = home.json("show", run["test_id"])
    assert found == run
    (listed,) = home.json("history")
    assert (listed["test_id"], listed["severity"]) == (run["test_id"], "high")


def test_run_tells_a_person_and_exits_by_its_verdict(home: Home, target: Target) -> None:
    """0 healthy, 1 anomalous, 2 could not run; no colours, no progress line where no terminal."""
    healthy = home.write("healthy.js", _script(f"http.get('{target.url}/a')", "iterations: 30"))
    done = home.k6d("run", healthy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "healthy" in done.stdout.splitlines()[0]
    assert "GET /a" in done.stdout
    assert "\x1b" not in done.stdout
    target.failing = True
    done = home.k6d("run", healthy, "--iterations", "2")
    assert done.returncode == 1
    assert "CRITICAL" in done.stdout.splitlines()[0]
    assert "every request failed: HTTP 503" in " ".join(done.stdout.split())
    done = home.k6d("run", home.write("broken.js", "export default function ( {"))
    assert done.returncode == 2
    assert "broken.js: Line 1:" in " ".join(done.stdout.split())
    assert [row["severity"] for row in home.json("history")] == ["high", "critical", None]


@pytest.mark.parametrize(
    ("body", "outcome", "code", "words"),
    [
        ("throw new Error('boom')", "no data", 1, "Error: boom"),
        ("", "no data", 1, "nothing was measured"),
        ("http.get('http://127.0.0.1:1/')", "completed", 1, "connection refused"),
        (
            "http.get('http://127.0.0.1:1/', { responseCallback: null })",
            *("completed", 1, "connection refused"),
        ),
        ("exec.test.abort('enough')", "aborted", 1, "the script aborted its run: enough"),
        ("http.get('TARGET'); exec.test.fail('no good')", "completed", 1, "no good"),
        ("http.get('TARGET'); throw new Error('late')", "completed", 1, "Error: late"),
    ],
)
def test_what_scripts_do_to_themselves_is_told(
    home: Home, target: Target, body: str, outcome: str, code: int, words: str
) -> None:
    """Exit codes of k6 become outcomes, findings and our own exit code."""
    text = "import exec from 'k6/execution';\n" + _script(body.replace("TARGET", target.url))
    run = home.json("run", home.write("s.js", text), code=code)
    assert run["execution"]["outcome"] == outcome
    assert words in run["anomaly_analysis"]["issues"][0]
    assert run["status"] == ("completed" if outcome == "completed" else "failed")
    if outcome != "completed":
        assert run["metrics"]["response_time_avg"] is None


def test_crossed_thresholds_are_a_measurement(home: Home, target: Target) -> None:
    """k6's exit 99 is a completed run with a finding of severity high."""
    options = "iterations: 30, thresholds: { http_req_duration: ['max<0.0001'] }"
    run = home.json(
        "run", home.write("s.js", _script(f"http.get('{target.url}')", options)), code=1
    )
    assert (run["execution"]["exit_code"], run["execution"]["outcome"]) == (99, "completed")
    assert run["anomaly_analysis"]["severity"] == "high"
    (threshold,) = run["thresholds"]
    assert threshold["crossed"]
    assert threshold["observed"] == run["metrics"]["response_time_max"]


def test_a_threshold_that_ends_the_run_makes_it_a_part_of_one(home: Home, target: Target) -> None:
    """abortOnFail: judged, yet nothing compares with it; crossed at the end, it is whole."""
    ends_it = "{ threshold: 'max<0.0001', abortOnFail: true }"
    thresholds = f"{{ http_req_duration: [{ends_it}], http_reqs: ['count>99999'] }}"
    options = f"duration: '30s', thresholds: {thresholds}"
    script = home.write("s.js", _script(f"http.get('{target.url}'); sleep(0.05)", options))
    part = home.json("run", script, code=1)
    assert (part["execution"]["exit_code"], part["execution"]["outcome"]) == (99, "aborted")
    assert "stopping test prematurely" in part["execution"]["error"]
    (issue,) = part["anomaly_analysis"]["issues"]
    assert issue.startswith("threshold http_req_duration: max<0.0001 was crossed, it was ")
    assert "a threshold with abortOnFail ended it early" in part["anomaly_analysis"]["doubts"][0]
    assert (part["comparable"], part["comparisons"]) == (False, [])
    report = home.k6d("report", "latest", "--junit").stdout
    assert 'failures="1" errors="0"' in report
    told = "threshold http_reqs: count&gt;99999: crossed, observed"
    assert re.search(rf"{told} .*, which the verdict does not count", report)
    whole = home.json("run", script, "--iterations", "10", code=1)
    assert (whole["execution"]["exit_code"], whole["execution"]["outcome"]) == (99, "completed")
    assert whole["comparable"]


def test_a_setup_that_fails_is_a_script_error(home: Home) -> None:
    """Nothing ran, k6's words say why."""
    text = "export function setup() { throw new Error('no login'); }\n" + _script("")
    run = home.json("run", home.write("s.js", text), code=2)
    assert run["execution"]["outcome"] == "script error"
    assert "Error: no login" in run["execution"]["error"]


def test_options_given_beside_the_script_take_its_place(home: Home, target: Target) -> None:
    """--vus, --iterations and --duration hold for this run, and the record says so."""
    script = home.write("s.js", _script(f"http.get('{target.url}/a'); sleep(0.2)"))
    run = home.json("run", script, "--vus", "3", "--iterations", "21")
    assert (run["metrics"]["total_requests"], run["metrics"]["virtual_users"]) == (21, 3)
    assert run["overrides"] == {"vus": "3", "iterations": "21"}
    slow = home.write("slow.js", _script(f"http.get('{target.url}/b'); sleep(0.05)", ""))
    run = home.json("run", slow, "--duration", "1s", code=0)
    assert run["execution"]["planned_s"] == 31.0
    assert run["metrics"]["duration_ms"] == pytest.approx(1000, rel=0.5)


def test_an_ad_hoc_workload_has_its_own_history(home: Home, target: Target) -> None:
    """It changes neither the state nor the trend of the script's own; so does its replay."""
    script = home.write("s.js", _script(f"http.get('{target.url}/a')", "iterations: 20"))
    own = home.json("run", script)
    ad_hoc = home.json("run", script, "--vus", "2", "--iterations", "30")
    second = ad_hoc["test_id"][:15]  # ids of one second are in no order
    until(lambda: f"{datetime.now(UTC):%Y%m%d-%H%M%S}" > second, "the next second")
    again = home.json("replay", ad_hoc["test_id"])
    assert again["overrides"] == {"vus": "2", "iterations": "30", "replay": ad_hoc["test_id"]}
    (row,) = (one for one in home.json("scripts") if one["script"].endswith("s.js"))
    assert row["last_run"]["test_id"] == own["test_id"]
    trend = home.json("trend", script)
    assert [one["test_id"] for one in trend["runs"]] == [own["test_id"]]
    assert [one["own"] for one in trend["workloads"]] == [True, False]
    other = trend["workloads"][1]
    asked = home.json("trend", script, "--workload", other["id"][:8])
    assert [one["test_id"] for one in asked["runs"]] == [ad_hoc["test_id"], again["test_id"]]
    assert f"{other['id']} (vus 2, iterations 30" in home.error("trend", script, "--workload", "x")
    by_variable = home.json("run", script, "--env", "SHOP=1")
    (row,) = (one for one in home.json("scripts") if one["script"].endswith("s.js"))
    assert row["last_run"]["test_id"] == by_variable["test_id"], "variables alone: the script's own"


def test_files_of_handle_summary_are_kept_with_the_run(home: Home) -> None:
    """Listed by show, in text and JSON, and printed by their names; without secrets."""
    text = """
        export const options = { iterations: 1 };
        import { check } from 'k6';
        export default function () { check(1, { ok: () => true }); }
        export const handleSummary = () => ({
          'report.json': JSON.stringify({ token: 'hunter2-' + 'hunter2' }),
          'report.html': '<b>well</b>',
        });"""
    run = home.json("run", home.write("s.js", text), "--env", f"TOKEN={SECRET}")
    sizes = {file["name"]: file["bytes"] for file in run["files"]}
    assert sizes.keys() == {"report.json", "report.html"}
    assert sizes["report.html"] == 11
    assert "file: report.html, 11 bytes" in home.k6d("show", "latest").stdout
    assert home.k6d("show", "latest", "--file", "report.html").stdout == "<b>well</b>"
    assert SECRET not in home.k6d("show", "latest", "--file", "report.json").stdout
    assert "the run has no file 'other'" in home.error("show", "latest", "--file", "other")


def test_a_variable_reaches_the_script_and_nothing_else(home: Home, target: Target) -> None:
    """--env is seen in __ENV, the daemon's own secrets are not, and no file keeps a value."""
    target.status["/leak"] = 500
    text = _script(
        f"http.get(`{target.url}/${{__ENV.TOKEN === '{SECRET}' ? 'ok' : 'leak'}}`);"
        "for (const name of Object.keys(__ENV)) {"
        "  if (/GEMINI|K6D|NOTIFY/.test(name)) throw new Error(name); }",
        "iterations: 30",
    ).replace(SECRET, "' + 'hunter2-' + 'hunter2")
    run = home.json(
        *("run", home.write("s.js", text), "--env", f"TOKEN={SECRET}"),
        GEMINI_API_KEY=SECRET,
        K6D_NOTIFY__URLS=f"json://127.0.0.1:1/{SECRET}",
    )
    assert target.requests == {"GET /ok": 30}
    assert run["overrides"] == {"env TOKEN": "…"}
    kept = [path for path in home.data.rglob("*") if path.is_file()]
    assert any(path.suffix == ".tar" for path in kept)
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]


def test_console_and_log_are_kept_within_bounds(home: Home) -> None:
    """Of a hundred thousand lines head and tail are kept; show --log says what is not."""
    body = "for (let i = 0; i < 50000; i++) console.log(`line ${__ITER} ${i}`); "
    script = home.write("s.js", _script(body + "check(1, { ok: () => true })", "iterations: 2"))
    run = home.json("run", script)
    log = run["log"]
    assert "line 0 0" in log["head"]
    assert "line 1 49999" in log["tail"]
    kept = len(log["head"].splitlines()) + len(log["tail"].splitlines())
    assert log["cut_lines"] + kept >= 100_000
    (file,) = (home.data / "runs").rglob("*.json")
    assert file.stat().st_size < 50_000
    shown = home.k6d("show", "--log").stdout
    assert f"… {log['cut_lines']:,} lines not kept …" in shown


def test_a_script_outside_the_folder_runs_by_its_path(home: Home, target: Target) -> None:
    """It is known by its absolute path, in history too; odd names are no obstacle."""
    path = home.folder / "else where" / "-ü [b]x\x1b[31m.js"
    path.parent.mkdir()
    path.write_text(_script(f"http.get('{target.url}/a')"))
    run = home.json("run", str(path))
    assert run["script"] == str(path)
    (row,) = home.json("history", str(path))
    assert row["test_id"] == run["test_id"]
    for command in (("history",), ("show",), ("scripts",)):
        done = home.k6d(*command, COLUMNS="200")
        assert done.returncode == 0
        assert "-ü [b]x\ufffd[31m.js" in done.stdout
        assert "\x1b" not in done.stdout
    assert [row["place"] for row in home.json("scripts")] == ["elsewhere"]
    path.unlink()
    assert [row["place"] for row in home.json("scripts")] == ["gone"]
    unseen = f"/{'x' * 300}.js"  # the kernel refuses to look, as in a folder of somebody else
    Store(home.data).save(make_run(script=unseen))
    places = {row["script"]: row["place"] for row in home.json("scripts")}
    assert places == {str(path): "gone", unseen: "elsewhere"}


def test_history_lists_runs_newest_first(home: Home, target: Target) -> None:
    """By script, by number, as a table and as JSON; times are in order."""
    assert home.json("history") == []
    assert "no runs" in home.k6d("history").stdout
    names = ["a.js", "b.js", "a.js"]
    for name in names:
        home.json("run", home.write(name, _script(f"http.get('{target.url}/{name}')")))
    rows = home.json("history")
    assert [row["script"] for row in rows] == names[::-1]
    times = [datetime.fromisoformat(row["timestamp"]) for row in rows]
    assert times == sorted(times, reverse=True)
    assert [row["script"] for row in home.json("history", "scripts/a.js")] == ["a.js", "a.js"]
    assert [row["test_id"] for row in home.json("history", "-n", "1")] == [rows[0]["test_id"]]
    table = home.k6d("history", COLUMNS="80").stdout
    assert all(row["test_id"] in table for row in rows)
    assert max(map(len, table.splitlines())) <= 80
    _lists_scripts(home)
    _reindexes(home, rows)


def _lists_scripts(home: Home) -> None:
    """`scripts` has what is there, in linked folders too, and what ran, helpers told apart."""
    (home.scripts / "b.js").unlink()
    linked = home.scripts.with_name("linked")
    linked.mkdir()
    (linked / "far.js").write_text("export default function () {}")
    (home.scripts / "team").symlink_to(linked)
    home.write("new.js", "export default function () {}")
    found = {row["script"]: row for row in home.json("scripts")}
    assert {name: row["place"] for name, row in found.items()} == {
        "a.js": "folder",
        "b.js": "gone",
        "new.js": "folder",
        "team/far.js": "folder",
    }
    table = {line.split()[0]: line for line in home.k6d("scripts").stdout.splitlines()}
    assert [" gone " in table[name] for name in ("a.js", "b.js")] == [False, True]
    assert found["a.js"]["kind"] == "test"
    assert found["a.js"]["last_run"]["script"] == "a.js"
    assert (found["new.js"]["kind"], found["new.js"]["last_run"]) == (None, None)


def _reindexes(home: Home, rows: list[Any]) -> None:
    """`reindex` makes the index anew from the run files."""
    for path in (home.data / "index").rglob("*"):
        if path.is_file() and path.suffix == ".json":
            path.write_text("broken")
    done = home.k6d("reindex")
    assert (done.returncode, done.stdout) == (0, "3 runs indexed\n")
    assert home.json("history") == rows


def test_show_finds_a_run_by_part_of_its_id(home: Home, target: Target) -> None:
    """The latest without a name; an unknown one is one line."""
    assert "there is no run yet" in home.error("show")
    run = home.json("run", home.write("a.js", _script(f"http.get('{target.url}/a')")))
    assert home.json("show") == home.json("show", run["test_id"][-6:]) == run
    assert "nosuchrun" in home.error("show", "nosuchrun")
    shown = home.k6d("show", "--log", COLUMNS="60").stdout
    printed = next(x for x in run["output"]["head"].splitlines() if "http_req_duration" in x)
    assert printed in shown.splitlines(), "whole, however narrow the terminal is"
    assert "k6's log: empty" in shown


def test_scripts_are_named_as_people_do(home: Home) -> None:
    """Without the ending, by a path, as a run; who mistypes hears what was meant."""
    home.write("shop/cart.js", "export default function () {}")
    home.write("shop/login.ts", "export default function () {}")
    run = home.json("run", "scripts/shop/cart.js", code=1)
    for given in ("shop/cart.js", "shop/cart", "scripts/shop/cart.js"):
        assert [row["test_id"] for row in home.json("history", given)] == [run["test_id"]]
    for given in ("shop/cart.js", "shop/cart"):
        assert home.json("show", given)["test_id"] == run["test_id"]
        assert home.k6d("mute", given).stdout.startswith("shop/cart.js is muted until ")
    assert home.k6d("mute", "shop/cart", "--off").stdout == "shop/cart.js is not muted any more\n"
    assert "shop/crat.js is not muted" in home.error("mute", "shop/crat.js", "--off")
    assert home.json("run", "shop/cart.js", code=1)["script"] == "shop/cart.js"
    assert home.json("history", "shop/login") == []
    said = home.error("trend", "shop/crat.js")
    assert said.startswith("k6d: no script 'shop/crat.js' in ")
    assert said.endswith(", did you mean shop/cart.js?")
    assert home.error("stats", "zzz").endswith("; 'k6d scripts' lists them")
    assert "no script has such a name yet" in home.k6d("mute", "shop/crat*").stdout
    assert "no script has such" not in home.k6d("mute", "shop/*").stdout
    said = home.k6d("mute", "shop/crat*", "--off").stdout
    assert said == "shop/crat* is still muted by shop/*\n"


def test_mistakes_are_one_line_with_a_remedy(home: Home) -> None:
    """Missing file, helper module, bad --env, --duration, settings: what, where, what to do."""
    gone = f"k6d: gone.js is no file, nor in {home.scripts}: name a k6 script"
    assert home.error("run", "gone.js") == gone
    said = home.error("run", home.write("users.csv", "a,b"))
    assert said.startswith("k6d: scripts/users.csv is no k6 script: its name should end in .js or")
    helper = home.write("lib.js", "export function f() {}")
    assert "it is a helper module" in home.error("run", helper)
    script = home.write("s.js", _script(""))
    assert "--env TOKEN: should be NAME=VALUE" in home.error("run", script, "--env", "TOKEN")
    assert "--env : should be" in home.error("run", script, "--env", f"={SECRET}")
    assert "--duration 5 min: should be" in home.error("run", script, "--duration", "5 min")
    assert "--severity zz: should be one of healthy, low" in home.error("search", "--severity=zz")
    assert "-rate nan: should be a number" in home.error("search", "--min-error-rate=nan")
    assert "-time inf: should be a number" in home.error("search", "--max-response-time=inf")
    (home.folder / "k6d.toml").write_text("[k6]\nconcurrency = 'many'\n")
    line = home.error("history")
    assert "k6d.toml" in line
    assert "k6.concurrency" in line
    (home.folder / "k6d.toml").unlink()
    assert "gone.toml" in home.error("history", "--config", "gone.toml")
    assert home.json("history") == []
    file = str(home.folder / script)
    assert home.error("history", "--data", file).endswith("not a directory")


def test_a_misspelt_variable_is_told_and_ends_nothing(home: Home) -> None:
    """A line on standard error names it and the setting that was meant, never its value."""
    done = home.k6d("history", "--json", K6D_AI__MODL=SECRET, K6D_NOTFY__URLS=SECRET)
    assert (done.returncode, done.stdout) == (0, "[]\n")
    assert sorted(done.stderr.splitlines()) == [
        "k6d: warning: K6D_AI__MODL is not a setting of k6d, did you mean K6D_AI__MODEL?",
        "k6d: warning: K6D_NOTFY__URLS is not a setting of k6d, did you mean K6D_NOTIFY__URLS?",
    ]


def test_a_mistake_in_the_scripts_own_settings_names_the_nearest(home: Home) -> None:
    """`ext.k6d.timeuot`: a script error that names the key and what was meant."""
    script = home.write("s.js", _script("", "ext: { k6d: { timeuot: '5s' } }"))
    run = home.json("run", script, code=2)
    assert run["execution"]["outcome"] == "script error"
    assert "ext.k6d.timeuot" in run["execution"]["error"]
    assert "timeout" in run["execution"]["error"]


def test_the_scripts_own_settings_hold(home: Home, target: Target) -> None:
    """Its timeout ends it and keeps what was measured; its limits judge it."""
    target.status["/bad"] = 500
    settings = "ext: { k6d: { timeout: '3s', limits: { error_rate: { low: 90 } } } }"
    body = f"http.get('{target.url}/bad'); http.get('{target.url}/a'); sleep(0.05)"
    script = home.write("s.js", _script(body, f"duration: '1m', {settings}"))
    run = home.json("run", script, code=1)
    assert (run["execution"]["outcome"], run["execution"]["deadline_s"]) == ("timed out", 3)
    assert run["execution"]["signals"] == ["SIGINT"]
    cut_off = target.requests.total() - run["metrics"]["total_requests"]
    assert 0 <= cut_off <= run["metrics"]["virtual_users"], "one each, when the signal came"
    assert target.requests.total() > 10
    kinds = [finding["kind"] for finding in run["anomaly_analysis"]["findings"]]
    assert kinds[0] == "timed out"


def test_a_script_that_sleeps_by_design_is_healthy(home: Home, target: Target) -> None:
    """0.1 requests a second a VU is no anomaly while nobody waits for the target."""
    script = home.write("s.js", _script(f"http.get('{target.url}/a'); sleep(2)", "iterations: 1"))
    limits = "[limits]\nrequests_per_second_per_vu = { medium = 5 }\n"
    (home.folder / "k6d.toml").write_text(limits)
    assert not home.json("run", script)["anomaly_analysis"]["anomalies_detected"]
    target.latency["/a"] = 1.8  # k6 counts its virtual users once a second
    slow = home.write("t.js", _script(f"http.get('{target.url}/a')", "iterations: 1"))
    run = home.json("run", slow, code=1)
    (finding,) = run["anomaly_analysis"]["findings"]
    assert finding["metric"] == "requests_per_second_per_vu"


def test_without_k6_a_run_is_recorded_and_says_how_to_get_one(home: Home) -> None:
    """Exit code 2, inconclusive, and doctor says the same with exit code 1."""
    script = home.write("s.js", _script(""))
    gone = str(home.folder / "no-k6")
    run = home.json("run", script, code=2, K6D_K6__PATH=gone)
    assert run["execution"]["outcome"] == "k6 unavailable"
    assert run["anomaly_analysis"]["severity"] is None
    assert run["anomaly_analysis"]["issues"][0].startswith("inconclusive: nothing was tested")
    done = home.k6d("doctor", K6D_K6__PATH=gone)
    assert done.returncode == 1
    assert "✗ k6: not usable" in done.stdout
    assert gone in done.stdout
    assert "https://grafana.com/docs/k6" in done.stdout


def test_doctor_is_content_with_a_good_home(home: Home) -> None:
    """All is well, as text and as JSON, and no secret of a URL is shown."""
    url = f"json://user:{SECRET}@127.0.0.1:1/{SECRET}"
    checks = home.json("doctor", K6D_NOTIFY__URLS=url)
    assert [check["ok"] for check in checks] == [True] * 6
    assert {check["name"] for check in checks} == {
        *("settings", "k6", "scripts folder", "data folder", "notification", "daemon"),
    }
    assert SECRET not in str(checks)


def test_every_command_explains_itself() -> None:
    """--help is there for each, with what it is for, and so is the version."""
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "100", "LANG": "C.UTF-8"}

    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "k6d", *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout

    with ThreadPoolExecutor(2) as threads:
        overview, version, *texts = threads.map(
            lambda arguments: said(*arguments),
            [("--help",), ("--version",), *((command, "-h") for command in COMMANDS)],
        )
    assert all(command in overview for command in COMMANDS)
    for command, text in zip(COMMANDS, texts, strict=True):
        assert command in text
        if command != "demo":
            assert "--data" in text
        if command not in ("demo", "serve", "reindex"):
            assert "--json" in text
    assert re.fullmatch(r"k6d \d+\.\d+\.\d+\n", version)


def test_the_schedule_has_the_last_run_of_a_suite(home: Home) -> None:
    """The newest scheduled run of its scripts; one by hand is none."""
    suite = '[[suites]]\nname = "both"\nscripts = ["a.js", "b.js"]\ncron = "@hourly"\n'
    (home.folder / "k6d.toml").write_text(suite)
    (row,) = home.json("schedule")["schedules"]
    assert (row["script"], row["last"]) == ("suite:both", None)
    store = Store(home.data)
    ids = [f"20261120-12000{second}-aaaaaa" for second in range(3)]
    scheduled = (Trigger.SCHEDULED, Trigger.SCHEDULED, Trigger.MANUAL)
    for test_id, script, trigger in zip(ids, ("a.js", "b.js", "a.js"), scheduled, strict=True):
        store.save(make_run(test_id=test_id, script=script, trigger=trigger))
    (row,) = home.json("schedule")["schedules"]
    assert row["last"]["test_id"] == ids[1]
    assert "never" not in home.k6d("schedule").stdout
