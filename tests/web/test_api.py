"""The API of a real daemon, over HTTP, with real k6 runs: the original's contract and ours."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
import pytest

from k6d.core.measurements import KeptFile
from k6d.core.model import Finding, FindingKind, Severity, Verdict
from k6d.storage.locks import daemon_of
from k6d.storage.record import new_test_id
from support.daemon import PATIENCE_S, Gate, hitting, lasting
from support.records import NOON, make_run
from support.serving import Served, small_script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k6d.core.model import Run
    from support.target import Target

# The original service's response models: names and types, none of them optional.
METRICS = {
    "response_time_avg": float,
    "response_time_p95": float,
    "error_rate": (int, float),
    "requests_per_second": float,
    "virtual_users": int,
    "total_requests": int,
    "duration_ms": float,
}
ANALYSIS = {
    "anomalies_detected": bool,
    "severity": str,
    "issues": list,
    "recommendations": list,
    "confidence": float,
}
NUMBERS = ("min_error_rate", "max_response_time")
TEST = {
    "test_id": str,
    "timestamp": str,
    "execution_time": float,
    "metrics": dict,
    "anomaly_analysis": dict,
    "status": str,
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A daemon that runs, for tests that don't mind what others left in it."""
    made = Served(tmp_path_factory.mktemp("shared"))
    try:
        yield made.start()
    finally:
        made.close()


def check_shape(value: dict[str, Any], shape: dict[str, Any]) -> None:
    """Every name is there, with its type."""
    for name, kind in shape.items():
        assert isinstance(value[name], kind), (name, value[name])


def test_original_contract(served: Served, target: Target) -> None:
    """Requests as clients of the original service make them get answers of its shape."""
    served.start()
    script = small_script(f"{target.url}/api")
    body = {"script": script, "options": {"vus": 2, "duration": "2s"}}

    ran = served.post("/api/v1/test/run", body)

    assert ran.status == 200, ran.text
    check_shape(ran.json, TEST)
    check_shape(ran.json["metrics"], METRICS)
    check_shape(ran.json["anomaly_analysis"], ANALYSIS)
    assert ran.json["status"] == "completed"
    asked = target.requests["GET /api"]
    assert ran.json["metrics"]["total_requests"] == asked > 0
    assert ran.json["metrics"]["virtual_users"] == 2
    datetime.fromisoformat(ran.json["timestamp"])
    test_id = ran.json["test_id"]

    history = served.get("/api/v1/test/history?limit=20").json
    assert history["total_count"] == 1
    assert {k: v for k, v in history["tests"][0].items() if k in TEST} == {
        k: v for k, v in ran.json.items() if k in TEST
    }

    results = served.get(f"/api/v1/test/results/{test_id}").json
    check_shape(results, TEST)
    check_shape(results["anomaly_analysis"], ANALYSIS)
    assert results["script_content"] == script
    assert results["options"] == {"vus": 2, "duration": "2s"}
    assert results["raw_output"]["metrics"]["http_reqs"]["count"] == asked
    assert isinstance(results["console_output"], str)

    found = served.get("/api/v1/test/search?anomalies_only=true&min_error_rate=5.0").json
    assert found == {"tests": [], "total_count": 0, "next": None}

    statistics = served.get("/api/v1/test/statistics?days=7").json
    assert statistics["period_days"] == 7
    assert statistics["total_tests"] == 1
    assert statistics["anomaly_tests"] == statistics["anomaly_rate"] == 0
    assert statistics["severity_breakdown"] == {}

    health = served.get("/api/v1/test/health")
    assert (health.status, health.json["status"]) == (200, "healthy")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", health.json["timestamp"])


def test_one_off_runs_are_a_history_by_their_text_or_name(shared: Served, target: Target) -> None:
    """The same text, or the same name, makes one series; nothing of it stays behind as a file."""
    body = {"script": hitting(f"{target.url}/a")}
    first, second = (shared.post("/api/v1/test/run", body).json["script"] for _ in range(2))
    named = shared.post("/api/v1/test/run", body | {"name": "ci smoke"}).json
    assert first == second != named["script"] == "one-off/ci smoke.js"
    shared.until(lambda: not list((shared.data / "one-off").glob("*")), "the files to be removed")
    assert not [name for name in shared.store.state("scripts").all() if "one-off" in name]


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ("severity=zz", "critical"),
        ("outcome=zz", "timed out"),
        ("trigger=zz", "scheduled"),
        *((f"{name}={odd}", "number") for name in NUMBERS for odd in ("nan", "inf", "-inf")),
    ],
)
def test_what_no_run_can_have_is_refused(shared: Served, asked: str, allowed: str) -> None:
    """A filter that finds nothing whatever there is: 422 says what it may be, on the page too."""
    answer = shared.get(f"/api/v1/test/search?{asked}")
    assert answer.status == 422
    assert allowed in answer.json["detail"]
    if asked.startswith(("severity", *NUMBERS)):
        page = shared.get(f"/runs?{asked}")
        assert page.status == 422
        assert allowed in page.text.partition('role="alert">')[2].partition("<")[0]


def test_errors_are_problem_details(shared: Served) -> None:
    """A script error is 422 in k6's words, unknown things 404, wrong values name the field."""
    broken = shared.post("/api/v1/test/run", {"script": "export default function ( {"})
    answers = {
        404: shared.get("/api/v1/test/results/20200101-000000-abcdef"),
        405: shared.ask("DELETE", "/api/v1/test/history", token=True),
        422: shared.get("/api/v1/test/history?limit=many"),
    }
    assert broken.status == 422
    assert "Unexpected end of input" in broken.json["detail"]
    for status, answer in [(422, broken), *answers.items()]:
        assert answer.status == answer.json["status"] == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "detail"} <= answer.json.keys()
    assert answers[422].json["errors"][0]["where"] == "query.limit"
    page = shared.get("/nowhere", headers={"Accept": "text/html"})
    assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")


def test_without_k6_health_says_how_to_get_it(served: Served) -> None:
    """503 with the remedy, in the original's fields and as a problem; a run is refused alike."""
    served.start(K6D_K6__PATH=str(served.home / "nowhere"))
    health = served.get("/api/v1/test/health")
    assert health.status == 503
    assert "install k6 from https://" in health.json["detail"]
    assert {"error", "timestamp"} <= health.json.keys()
    refused = served.post("/api/v1/test/run", {"script": "export default function () {}"})
    assert refused.status == 503
    assert served.store.history() == []


def test_jobs_without_waiting_and_their_end(shared: Served, target: Target) -> None:
    """202 with a location that leads to the run; a known script runs by its name."""
    shared.write("shop.js", hitting(f"{target.url}/shop"))
    shared.run("shop.js")

    accepted = shared.post("/api/v1/scripts/run", {"script": "shop.js"})
    assert accepted.status == 202
    location = accepted.headers["location"]
    job = shared.until(
        lambda: (j := shared.get(location).json)["state"] == "finished" and j, "the job's end"
    )
    record = shared.get(f"/api/v1/runs/{job['test_id']}").json
    assert (record["script"], record["trigger"]) == ("shop.js", "manual")

    waited = shared.post("/api/v1/scripts/run?wait=true", {"script": "shop.js"})
    assert waited.json["script"] == "shop.js"
    oneoff = shared.post("/api/v1/test/run?wait=false", {"script": hitting(target.url)})
    assert oneoff.status == 202
    for name in ("nothing.js", "../shop.js", "/etc/passwd", "a/../shop.js", "shop.js\0"):
        assert shared.post("/api/v1/scripts/run", {"script": name}).status == 404


def test_cancel(shared: Served, target: Target) -> None:
    """A run under way ends gracefully and keeps its numbers; a pending one never begins."""
    shared.write("long.js", lasting(f"{target.url}/long"))
    running = shared.until(
        lambda: next(
            (
                j
                for j in shared.get("/api/v1/queue").json["running"]
                if j["script"] == "long.js" and j["live"] and j["live"]["requests"]
            ),
            None,
        ),
        "a run with numbers",
    )
    later = {"script": hitting(f"{target.url}/later")}
    other = shared.post("/api/v1/test/run?wait=false", later).json["job"]
    assert other in [job["job"] for job in shared.get("/api/v1/queue").json["pending"]]
    assert shared.ask("DELETE", f"/api/v1/queue/{other}", token=True).status == 202
    assert shared.get(f"/api/v1/queue/{other}").json["state"] == "not run"
    assert shared.get("/api/v1/queue").json["ended"][0]["error"] == "was cancelled before it ran"
    assert shared.ask("DELETE", f"/api/v1/queue/{running['job']}").status == 401
    assert shared.ask("DELETE", f"/api/v1/queue/{running['job']}", token=True).status == 202
    run = shared.run(running["script"])
    assert run.execution.outcome == "aborted"
    assert run.metrics.total_requests
    assert target.requests["GET /later"] == 0
    ended = shared.until(
        lambda: {job["job"]: job for job in shared.get("/api/v1/queue").json["ended"]}.get(
            running["job"]
        ),
        "the job's end",
    )
    assert (ended["test_id"], ended["verdict"]) == (run.test_id, "aborted")
    assert shared.ask("DELETE", f"/api/v1/queue/{running['job']}", token=True).status == 404


def test_live_events(shared: Served, target: Target) -> None:
    """A listener sees the queue, the run's numbers, and its end; so does `k6d watch-live`."""
    gate = Gate()
    target.latency["/gate"] = gate
    shared.write("gated.js", hitting(f"{target.url}/gate", iterations=1))
    shared.until(gate.reached.is_set, "the request")
    watching = subprocess.Popen(
        shared.command("watch-live", "--once", "--json"),
        stdout=subprocess.PIPE,
        cwd=shared.home,
        env=shared.environment(),
    )
    assert watching.stdout is not None
    first = orjson.loads(watching.stdout.readline())
    gate.opened.set()
    rest, _ = watching.communicate(timeout=120)
    events = [first, *map(orjson.loads, rest.splitlines())]
    assert first["event"] == "queue"
    assert first["data"]["running"][0]["script"] == "gated.js"
    assert events[-1]["event"] == "run"
    assert events[-1]["data"]["test_id"] == shared.run("gated.js").test_id


def test_search_and_paging(served: Served) -> None:
    """Every filter holds, pages follow each other without gap or repetition."""
    for number in range(25):
        served.store.save(_stored(number))
    served.start()

    def ids(query: str) -> list[str]:
        answer = served.get(f"/api/v1/test/search?{query}")
        assert answer.status == 200, answer.text
        return [test["test_id"] for test in answer.json["tests"]]

    everything = ids("limit=100")
    assert len(everything) == 25
    assert ids("anomalies_only=true") == [i for i in everything if int(i[-2:], 16) % 5 == 0]
    assert ids("min_error_rate=20") == everything[:5]
    assert ids("max_response_time=103") == everything[-4:]
    assert (
        ids("script=a%20%26%20b.js&limit=2") == [i for i in everything if int(i[-2:], 16) % 2][:2]
    )
    assert ids("text=SLOW") == ids("severity=high") == ids("anomalies_only=1")
    assert ids("since=2026-11-22T12:20:00Z") == everything[:5]
    page = served.get("/runs?since=2026-11-22T14:20:00%2B02:00").text
    assert re.findall(r'<td class="nowrap"><a href="/runs/([^"]+)', page) == everything[:5]
    assert "is not allowed" in served.get("/runs?since=0001-01-01T00:00%2B14:00").text
    assert served.get("/api/v1/test/search?since=0001-01-01T00:00%2B14:00").status == 422
    assert ids("until=2026-11-22T12:04:00") == everything[-5:]
    assert ids("status=failed") == []
    pages, before = [], ""
    while True:
        page = served.get(f"/api/v1/test/history?limit=10{before}").json
        pages += [test["test_id"] for test in page["tests"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert pages == everything


def _stored(number: int) -> Any:
    at = NOON + timedelta(minutes=number)
    finding = Finding(
        kind=FindingKind.LIMIT, severity=Severity.HIGH, message="too slow", recommendation="look"
    )
    bad = Verdict(
        anomalies_detected=True,
        severity=Severity.HIGH,
        issues=["too slow"],
        recommendations=["look"],
        findings=[finding],
    )
    run = make_run(
        test_id=f"{at:%Y%m%d-%H%M%S}-0000{number:02x}",
        timestamp=at,
        script="a & b.js" if number % 2 else "c.js",
    )
    metrics = replace(run.metrics, response_time_avg=100.0 + number, error_rate=float(number))
    verdict = run.anomaly_analysis if number % 5 else bad
    return replace(run, metrics=metrics, anomaly_analysis=verdict)


def test_run_files(shared: Served, target: Target) -> None:
    """The record has an ETag, log and snapshot are downloads, reports come in three forms."""
    ran = shared.post("/api/v1/test/run", {"script": hitting(target.url)}).json["test_id"]
    record = shared.get(f"/api/v1/runs/{ran}")
    kept = orjson.loads(shared.store.load_raw(ran))
    name = kept["script"].rpartition("/")[2]
    ((path, digest),) = kept["snapshot"]["dependencies"].items()
    assert path.startswith(f"{shared.data}/one-off/")
    kept["snapshot"]["dependencies"] = {name: digest}
    assert record.json == kept
    again = shared.get(f"/api/v1/runs/{ran}", headers={"If-None-Match": record.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    snapshot = shared.get(f"/api/v1/runs/{ran}/snapshot")
    assert snapshot.body == shared.store.snapshot_path(record.json["snapshot"]["id"]).read_bytes()
    for path, kind in [
        ("log", "text/plain"),
        ("report", "text/html"),
        ("report?form=markdown", "text/markdown"),
        ("report?form=junit", "application/xml"),
    ]:
        answer = shared.get(f"/api/v1/runs/{ran}/{path}")
        assert answer.status == 200
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["content-disposition"].startswith("attachment")
    routes = shared.get("/openapi.json").json["paths"]
    documented = routes["/api/v1/runs/{test_id}/report"]["get"]["responses"]["200"]["content"]
    assert {"text/html", "text/markdown", "application/xml"} <= documented.keys()
    assert shared.get("/api/v1/runs/latest").body == record.body


def _ad_hoc_beside(served: Served, own: Run) -> None:
    """A run with other options is no state of its script, and its page draws it when asked."""
    assert own.snapshot is not None
    snapshot = replace(own.snapshot, workload="0123456789abcdef")
    ad_hoc = replace(
        own, test_id=new_test_id(datetime.now(UTC)), snapshot=snapshot, overrides={"vus": "1"}
    )
    served.store.save(ad_hoc)
    rows = {row["script"]: row for row in served.get("/api/v1/scripts").json["scripts"]}
    assert rows["c.js"]["last_run"]["test_id"] == own.test_id
    address = "/api/v1/scripts/series?script=c.js&workload="
    counts = [len(served.get(f"{address}{one}").json["points"]) for one in ("own", "all", "0123")]
    assert counts == [2, 3, 1]
    page = served.get("/script?name=c.js&workload=0123456789abcdef").text
    assert '<option value="0123456789abcdef" selected>vus 1 (1 run)</option>' in page
    assert "Fewer than two of these runs measured it." in page
    assert "other options</span>" in page


def _downloads(served: Served, test_id: str) -> None:
    """What a script wrote is listed, and comes as a download that no browser runs as a page."""
    address = f"/api/v1/runs/{test_id}"
    names = [file["name"] for file in served.get(address).json["files"]]
    assert names == ["out/ü.html", "shot.png"]
    page = served.get(f"{address}/files/out/%C3%BC.html")
    assert page.text == "<script>ü</script>"
    assert page.headers["content-type"] == "text/plain; charset=utf-8"
    assert page.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%BC.html"
    assert page.headers["x-content-type-options"] == "nosniff"
    picture = served.get(f"{address}/files/shot.png")
    assert picture.headers["content-type"] == "application/octet-stream"
    for other in ("other", "..%2F..%2Fstate", "out"):
        assert served.get(f"{address}/files/{other}").status == 404
    assert f"{address}/files/out/%C3%BC.html" in served.get(f"/runs/{test_id}").text


def test_scripts_series_comparison_and_acceptance(served: Served) -> None:
    """The catalogue, a metric over the runs, two runs side by side, and a level accepted."""
    runs = [_stored(number) for number in range(4)]
    wrote = [("out/ü.html", "<script>ü</script>".encode()), ("shot.png", b"\x89PNG\0")]
    kept = [KeptFile(name=name, bytes=len(contents)) for name, contents in wrote]
    runs[0] = replace(runs[0], files=kept)
    served.store.keep_files(runs[0].test_id, wrote)
    for run in runs:
        served.store.save(run)
    served.start()
    _downloads(served, runs[0].test_id)
    served.write("new.js", "export const helper = 1;\n")
    known = served.store.state("scripts")
    served.until(lambda: known.get("new.js"), "the daemon to know the script")
    rows = {row["script"]: row for row in served.get("/api/v1/scripts").json["scripts"]}
    assert rows["new.js"]["kind"] == "library"
    assert rows["c.js"]["last_run"]["test_id"] == runs[2].test_id
    assert not rows["c.js"]["in_folder"]
    series = served.get("/api/v1/scripts/series?script=c.js&metric=error_rate").json
    assert [point["value"] for point in series["points"]] == [0.0, 2.0]
    (own,) = series["workloads"]
    assert (series["workload"], own["label"], own["runs"]) == ("own", "the script's own", 2)
    asked = f"/api/v1/scripts/series?script=c.js&workload={own['id'][:6]}"
    assert len(served.get(asked).json["points"]) == 2
    assert served.get("/api/v1/scripts/series?script=c.js&workload=nine").status == 422
    _ad_hoc_beside(served, runs[2])
    compared = served.get(f"/api/v1/runs/{runs[2].test_id}/compare?to={runs[0].test_id}").json
    average = next(m for m in compared["metrics"] if m["metric"] == "response_time_avg")
    assert (average["before"], average["after"], average["change_percent"]) == (100.0, 102.0, 2.0)
    assert served.post("/api/v1/scripts/accept", {"script": "c.js"}).status == 404


def test_the_run_of_a_newer_k6d_says_so_on_its_page(served: Served) -> None:
    """Instead of a browser full of JSON."""
    newer = make_run()
    served.start()
    served.store.save(newer)
    record = orjson.loads(served.store.load_raw(newer.test_id)) | {"schema_version": 99}
    served.store.run_path(newer.test_id).write_bytes(orjson.dumps(record))
    answer = served.get(f"/runs/{newer.test_id}")
    assert answer.status == 500
    assert "<h1>This did not work</h1>" in answer.text
    assert "written by a newer k6d" in answer.text


def test_switched_off_nothing_of_it_is_loaded(served: Served) -> None:
    """With api.enabled = false nothing listens and no module of it is in memory."""
    served.start(K6D_API__ENABLED="false")
    with pytest.raises(ConnectionRefusedError):
        served.get("/")
    assert served.process is not None
    code = (
        "import sys, k6d.cli, k6d.daemon.service; "
        "print([m for m in ('fastapi', 'uvicorn', 'starlette', 'jinja2', 'k6d.web')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_taken_port_is_a_line_in_the_log(served: Served, target: Target) -> None:
    """Load tests go on without an API; log and lock name the port and what to do."""
    with socket.create_server(("127.0.0.1", served.port)):
        served.start()
        why = f"cannot listen on 127.0.0.1 port {served.port}: address already in use; choose "
        served.until_logged(why)
        running = daemon_of(served.data)
        assert running
        assert running.no_api.startswith(why)
        served.write("a.js", hitting(target.url))
        served.run("a.js")


def test_stop_ends_listeners_and_waiting_clients(served: Served, target: Target) -> None:
    """SIGTERM: an event stream closes, a client that waits for a run gets the run as it ended."""
    served.start()
    answers: list[Any] = []
    body = {"script": lasting(f"{target.url}/x")}
    posting = threading.Thread(target=lambda: answers.append(served.post("/api/v1/test/run", body)))
    listening = threading.Thread(target=lambda: answers.append(served.get("/api/v1/live")))
    posting.start()
    listening.start()
    served.until(lambda: target.requests["GET /x"] > 15, "the run")
    assert served.end() == 0
    posting.join(30)
    listening.join(30)
    assert sorted(answer.status for answer in answers) == [200, 200]
    ran = next(a for a in answers if a.headers["content-type"] == "application/json")
    assert ran.json["status"] == "failed"
    assert ran.json["metrics"]["total_requests"]


def test_incidents_and_mutes(shared: Served) -> None:
    """A failing script is an open incident, in the API, on pages, in /metrics; it can be muted."""
    shared.write("bad.js", "import 'k6'; export default function ( {")
    shared.run("bad.js")

    def open_ones() -> list[str]:
        return [one["script"] for one in shared.get("/api/v1/incidents").json["incidents"]]

    shared.until(lambda: "bad.js" in open_ones(), "the incident")
    assert "Open incident" in shared.get("/script?name=bad.js").text
    assert "open incident" in shared.get("/").text
    assert re.search(r'k6d_open_incidents\{severity="high"\} [1-9]', shared.get("/metrics").text)
    misspelt = shared.post("/api/v1/mutes", {"script": "bad.js", "for": "1h"})
    assert misspelt.status == 422, "nothing is muted for a time that nobody asked for"
    assert "for" in misspelt.text
    muted = shared.post("/api/v1/mutes", {"script": "bad.js", "duration": "1h"})
    assert muted.json["until"] == shared.get("/api/v1/incidents").json["mutes"]["bad.js"]
    assert "Muted until" in shared.get("/script?name=bad.js").text
    assert shared.post("/api/v1/mutes", {"script": "bad.js", "duration": "0s"}).status == 200
    assert shared.get("/api/v1/incidents").json["mutes"] == {}
    assert shared.post("/api/v1/mutes", {"script": "bad.js", "duration": "soon"}).status == 422


def test_the_page_of_statistics_draws_a_year_at_most(shared: Served) -> None:
    """Whoever reads needs no token: no number in its address may take a CPU for long."""
    for days in ("3650", "9" * 5000, "-1", "nan", "0", "²"):
        page = shared.get(f"/statistics?days={quote(days)}")
        assert page.status == 200
        assert len(page.body) < 1_000_000, days


def test_who_leaves_in_the_middle_of_a_body_is_no_mistake(shared: Served) -> None:
    """Others could fill the log: each would cost 8 KB of traceback."""
    head = f"POST /login HTTP/1.1\r\nHost: 127.0.0.1:{shared.port}\r\nContent-Length: 50\r\n\r\n"
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", shared.port)) as client:
            client.sendall(head.encode() + b"x")
            client.shutdown(socket.SHUT_WR)
            client.settimeout(PATIENCE_S)
            while client.recv(4096):
                pass
    assert shared.get("/health").status == 200
    assert "Traceback" not in shared.log
