"""What clients of the original service send, and what they get: one daemon for all of it.

Routes, fields, types and codes are the original's; requests carry the token, which it did not have.
"""

from __future__ import annotations

import http.client
import json
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import hitting, lasting
from support.serving import Answer, Served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.target import Target

PAGE = "http://localhost:5173"
SCENARIO = "executor: 'per-vu-iterations', vus: 1, iterations: 5"
MEASURED = {
    "response_time_avg": float,
    "response_time_p95": float,
    "requests_per_second": float,
    "virtual_users": int,
    "total_requests": int,
    "duration_ms": float,
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A daemon that a web page of another origin may call."""
    made = Served(tmp_path_factory.mktemp("contract"))
    try:
        yield made.start(K6D_API__ORIGINS=PAGE)
    finally:
        made.close()


def _run(served: Served, script: str, **options: Any) -> Answer:
    return served.post("/api/v1/test/run", {"script": script, "options": options})


def test_a_run_has_the_types_of_the_original(served: Served, target: Target) -> None:
    """As its web page posts it; `results` gives the options back in the types they came in."""
    script = f"import http from 'k6/http';\nexport default () => http.get('{target.url}');"
    ran = _run(served, script, vus=2, duration="2s")  # k6 counts its virtual users once a second
    assert ran.status == 200, ran.text
    assert {name: type(ran.json["metrics"][name]) for name in MEASURED} == MEASURED
    assert ran.json["metrics"]["error_rate"] == 0
    assert ran.json["anomaly_analysis"]["severity"] in ("low", "medium", "high", "critical")
    results = served.get(f"/api/v1/test/results/{ran.json['test_id']}").json
    assert results["options"] == {"vus": 2, "duration": "2s"}
    assert type(results["options"]["vus"]) is int
    assert results["notes"] == []


@pytest.mark.parametrize(
    ("exec_", "function"), [(", exec: 'go'", "function go"), ("", "default function")]
)
def test_scenarios_win_over_posted_options(
    served: Served, target: Target, exec_: str, function: str
) -> None:
    """5 requests, not as many as the options would make; answer, record and log say so."""
    script = (
        "import http from 'k6/http';\n"
        f"export const options = {{ scenarios: {{ s: {{ {SCENARIO}{exec_} }} }} }};\n"
        f"export {function} () {{ http.get('{target.url}/scenario'); }}\n"
    )
    ran = _run(served, script, vus=3, duration="4s")
    assert ran.status == 200, ran.text
    assert ran.json["metrics"]["total_requests"] == target.requests["GET /scenario"] == 5
    note = "options.vus and options.duration are not used: the script has scenarios"
    assert any(one.startswith(note) for one in ran.json["notes"])
    record = served.get(f"/api/v1/runs/{ran.json['test_id']}").json
    assert any(one.startswith(note) for one in record["breakdown"]["notes"])
    assert record["overrides"] == {}
    assert f"{record['script']}: {note}" in served.log


def test_options_that_k6d_does_not_take_are_named(served: Served, target: Target) -> None:
    """The run is as the known ones say; the answer, the record and the log name the others."""
    script = f"import http from 'k6/http';\nexport default () => http.get('{target.url}/more');"
    ran = _run(served, script, vus=1, iterations=2, rps=5, thresholds={"checks": ["rate>0.9"]})
    assert ran.status == 200, ran.text
    assert target.requests["GET /more"] == 2
    (note,) = [one for one in ran.json["notes"] if "not used" in one]
    assert note.startswith("options.rps, options.thresholds: not used; k6d takes vus, duration")
    assert note in served.get(f"/api/v1/runs/{ran.json['test_id']}").json["breakdown"]["notes"]
    assert note in served.log


@pytest.mark.parametrize(
    ("script", "options", "words"),
    [
        ("export function help() {}", {}, r"export a default function"),
        ("export function help() {}", {"duration": "1s"}, r"export a default function"),
        ("export default function () {}", {"duration": "1d"}, r'unknown unit "d" in duration "1d"'),
        ("export default function () {}", {"duration": "soon"}, r"body.options.duration"),
        ("export default function ( {", {}, r"Unexpected end of input"),
        ("import './gone.js'; export default () => {}", {}, r"\./gone\.js"),
    ],
)
def test_what_cannot_run_is_422_in_words_that_help(
    served: Served, script: str, options: dict[str, Any], words: str
) -> None:
    """k6's own words where it has any, in `console_output` too; no path of the data folder."""
    answer = _run(served, script, **options)
    assert answer.status == 422
    assert re.search(words, answer.json["detail"])
    assert str(served.data) not in answer.text
    if test_id := answer.json.get("test_id"):
        results = served.get(f"/api/v1/test/results/{test_id}").json
        assert re.search(words, results["console_output"])
        assert results["status"] == "failed"
        assert results["metrics"]["total_requests"] is None


def test_a_script_that_throws_names_no_path_of_the_data_folder(
    served: Served, target: Target
) -> None:
    """k6's stack traces name the file that k6d made of the posted text."""
    script = hitting(target.url).replace("{ http", "{ console.error('a\\nb'); nope(); http")
    ran = _run(served, script)
    results = served.get(f"/api/v1/test/results/{ran.json['test_id']}").json
    assert "nope is not defined" in results["console_output"]
    log = served.get(f"/api/v1/runs/{ran.json['test_id']}/log")
    assert "nope is not defined" in log.text
    record = served.get(f"/api/v1/runs/{ran.json['test_id']}")
    assert record.json["execution"]["command"]
    assert str(served.data) not in repr([ran.json, log.text, record.text, results])


def test_a_posted_text_that_is_gone_names_no_path(served: Served, target: Target) -> None:
    """Whoever asks for the job is told what happened, not where k6d keeps its files."""
    served.write("long.js", lasting(target.url, seconds=20))
    running = served.until(lambda: served.get("/api/v1/queue").json["running"], "a run")
    posted = {"script": hitting(f"{target.url}/gone"), "name": "gone"}
    job = served.post("/api/v1/test/run?wait=false", posted).json["job"]
    for file in served.data.glob("one-off/*/gone.js"):
        file.unlink()
    served.ask("DELETE", f"/api/v1/queue/{running[0]['job']}", token=True)
    ended = served.until(
        lambda: {one["job"]: one for one in served.get("/api/v1/queue").json["ended"]}.get(job),
        "the end of the job",
    )
    assert "gone.js" in ended["error"]
    event = _first_event(served)
    assert b"gone.js" in event
    shown = [ended, served.get(f"/api/v1/queue/{job}").json, event]
    assert str(served.data) not in repr(shown)


def _first_event(served: Served) -> bytes:
    """What a listener is told at once: the queue, with the jobs that ended last."""
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)) as connection:
        connection.request("GET", "/api/v1/live")
        answer = connection.getresponse()
        return answer.readline() + answer.readline()


def test_health_checks_need_no_token(served: Served) -> None:
    """For containers: GET and HEAD, by address or localhost, with the original's keys."""
    answer = served.get("/health")
    assert (answer.status, answer.json["status"]) == (200, "healthy")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", answer.json["timestamp"])
    assert {"status", "message", "timestamp"} == answer.json.keys()
    assert served.ask("HEAD", "/health").status == 200
    assert served.ask("POST", "/health").status == 401


def test_a_foreign_name_is_told_which_setting_knows_it(served: Served) -> None:
    """Another container calls http://backend:8000."""
    answer = served.get("/api/v1/test/history", headers={"Host": "backend:8000"})
    assert answer.status == 421
    assert "'backend'" in answer.json["detail"]
    assert "api.names (K6D_API__NAMES)" in answer.json["detail"]


def test_a_named_page_calls_with_the_token(served: Served) -> None:
    """Preflight without it, as browsers do; then every request with it, reading too."""
    asked = {"Access-Control-Request-Method": "POST"}
    asked |= {"Access-Control-Request-Headers": "authorization,content-type"}
    may = served.ask("OPTIONS", "/api/v1/test/run", headers={"Origin": PAGE} | asked)
    assert may.status == 204
    assert may.headers["access-control-allow-origin"] == PAGE
    assert "POST" in may.headers["access-control-allow-methods"]
    assert "authorization" in may.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in may.headers
    assert may.headers["vary"] == "Origin"
    read = served.get("/api/v1/test/history", headers={"Origin": PAGE}, token=True)
    assert (read.status, read.headers["access-control-allow-origin"]) == (200, PAGE)
    assert "Location" in read.headers["access-control-expose-headers"]
    refused = served.get("/api/v1/test/history", headers={"Origin": PAGE})
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, PAGE)
    changed = served.post("/api/v1/mutes", {"script": "x.js", "duration": "0s"},
                          headers={"Origin": PAGE, "Sec-Fetch-Site": "same-site"})  # fmt: skip
    assert (changed.status, changed.headers["access-control-allow-origin"]) == (200, PAGE)
    foreign = {"Origin": PAGE, "Host": "evil.example"}
    assert served.ask("OPTIONS", "/api/v1/test/run", headers=foreign | asked).status == 421


@pytest.mark.parametrize(
    "origin", ["http://localhost:5174", "https://localhost:5173", "http://evil.example", "null"]
)
def test_other_pages_stay_refused(served: Served, origin: str) -> None:
    """With the token or without, and a preflight gets no leave; the answer names the setting."""
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for answer in (
        served.get("/api/v1/test/history", headers={"Origin": origin}, token=True),
        served.ask("OPTIONS", "/api/v1/test/run", headers=asked),
    ):
        assert answer.status == 403
        assert "api.origins" in answer.json["detail"]
        assert "access-control-allow-origin" not in answer.headers


def test_the_originals_timeout_cuts_no_plan(served: Served, target: Target) -> None:
    """K6_TIMEOUT of its `.env` was never used there: the run has its time, and a note says so."""
    script = served.home / "long.js"
    script.write_text(lasting(target.url, seconds=3))
    done = served.call("run", str(script), "--json", K6_TIMEOUT="1")
    record = json.loads(done.stdout)
    assert record["execution"]["outcome"] == "completed", done.stderr
    assert record["execution"]["deadline_s"] > 3
    assert any(n.startswith("K6_TIMEOUT (1 s) is shorter") for n in record["breakdown"]["notes"])
    assert "long.js: K6_TIMEOUT (1 s) is shorter" in done.stderr
    cut = served.call("run", str(script), "--json", K6D_K6__TIMEOUT="1")
    assert json.loads(cut.stdout)["execution"]["outcome"] == "timed out"
