"""The capture of remote-write pushes: real k6 over a real target, and pushes made by hand."""

from __future__ import annotations

import asyncio
import http.client
import os
import random
import socket
import subprocess
import threading
import tracemalloc
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cramjam
import pytest

from k6d.analysis import series
from k6d.analysis.rules import find
from k6d.core.measurements import Metrics
from k6d.core.model import Execution, Outcome, Result
from k6d.execution import summary
from k6d.execution.capture import OTHER, Capture
from k6d.execution.local import discovery
from k6d.execution.receiver import MAX_BODY_BYTES, Receiver
from k6d.execution.remote_write import Histogram
from k6d.settings import Limits
from support import prompb
from support.binaries import BINARIES
from support.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.core.measurements import Breakdown, RequestStats, Summary

BUCKET = 2 ** (1 / 8)
START_MS = 1_800_000_000_000

MIXED = """
import http from "k6/http";
import { group } from "k6";
export const options = {
  scenarios: {
    browse: { executor: "constant-vus", vus: 4, duration: "3300ms", exec: "browse" },
    buy: { executor: "per-vu-iterations", vus: 2, iterations: 15, exec: "buy" },
  },
  thresholds: {
    "http_req_duration{name:cart,method:GET}": ["p(95)<5000"],
    "http_req_duration{name:cart,method:POST}": ["p(95)<5000"],
    "http_req_duration{scenario:browse}": ["p(95)<5000"],
  },
};
const cart = { tags: { name: "cart" } };
export function browse() {
  group("shop", () => {
    http.get(`${__ENV.TARGET}/cart?item=${__ITER}`, cart);
    group("deep", () => http.get(`${__ENV.TARGET}/missing`));
  });
}
export function buy() {
  http.post(`${__ENV.TARGET}/cart`, "x", cart);
  http.get(`${__ENV.TARGET}/broken`);
  http.get(__ENV.REFUSED, { tags: { name: "refused" } });
}
"""
UNIQUE = """
import http from "k6/http";
export const options = { vus: 3, iterations: 300 };
export default () => http.get(`${__ENV.TARGET}/item/${__VU}-${__ITER}`);
"""
UNJUDGED = """
import http from "k6/http";
http.setResponseCallback(null);
export const options = { iterations: 5 };
export default () => http.get(`${__ENV.TARGET}/broken`);
"""
PARTLY_JUDGED = """
import http from "k6/http";
export const options = { iterations: 40 };
const get = (path, responseCallback) =>
  http.get(`${__ENV.TARGET}/${path}`, { responseCallback, tags: { name: "page" } });
export default () => {
  for (let i = 0; i < 9; i++) get("broken", null);
  get("fine", http.expectedStatuses(__ITER % 2 ? 200 : 201));
};
"""


@dataclass(frozen=True)
class Ran:
    """A real run: what was captured, what k6 summed up, what the target saw."""

    breakdown: Breakdown
    summary: Summary
    target: Target
    capture: Capture


def run_k6(version: str, script: str, folder: Path, *, capture: Capture | None = None) -> Ran:
    """Run a script with the real k6 against a target of its own."""
    capture = capture or Capture()
    file, exported = folder / "script.js", folder / "summary.json"
    file.write_text(script)
    draw = random.Random(1)
    with Target() as target, Receiver(capture) as receiver, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: every connection is refused
        target.latency["/cart"] = lambda: draw.lognormvariate(-4.5, 0.3)
        target.latency["/missing"] = 0.002
        target.status |= {"/missing": 404, "/broken": 500}
        subprocess.run(
            [
                *(str(BINARIES[version]), "run", "--quiet", "--no-usage-report"),
                *("-o", "experimental-prometheus-rw", "--summary-export", str(exported)),
                *("--summary-trend-stats", "avg,min,med,max,p(90),p(95),p(99),count", str(file)),
            ],
            env=asyncio.run(discovery.find(BINARIES[version])).receiving(
                receiver.url,
                {
                    "PATH": os.environ["PATH"],
                    "HOME": str(folder),
                    "TARGET": target.url,
                    "REFUSED": f"http://127.0.0.1:{closed.getsockname()[1]}/",
                },
            ),
            check=True,
            capture_output=True,
            timeout=120,
        )
    totals = summary.parse(exported.read_bytes())
    duration_ms = totals.metrics.duration_ms
    assert duration_ms is not None
    return Ran(capture.result(totals.metrics), totals, target, capture)


@pytest.fixture(scope="module", params=BINARIES)
def mixed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One run with two scenarios, groups, failures and refused connections, by each k6."""
    return run_k6(request.param, MIXED, tmp_path_factory.mktemp("mixed"))


def result_of(ran: Ran) -> Result:
    """What is judged of it."""
    completed = Execution(outcome=Outcome.COMPLETED, exit_code=0)
    return Result(execution=completed, summary=ran.summary, breakdown=ran.breakdown)


REFUSED, BROKEN = "http.get(__ENV.REFUSED);", "http.get(`${__ENV.TARGET}/broken`);"


@pytest.mark.parametrize(
    ("tags", "body", "message"),
    [
        (None, REFUSED, "the target is unreachable: dial: connection refused for all 4 requests"),
        (None, BROKEN, "every request failed: HTTP 500 for all 4 requests"),
        (
            *(None, 2 * REFUSED + BROKEN),
            "every request failed: dial: connection refused for most of 12 requests",
        ),
        (
            *(["error"], REFUSED),
            "the target is unreachable: dial: connection refused for all 4 requests",
        ),
        (
            *(["error_code"], REFUSED),
            "the target is unreachable: k6's error code 1212 for all 4 requests",
        ),
        (["error_code"], BROKEN, "every request failed: HTTP 500 for all 4 requests"),
        (["name"], REFUSED, "the target is unreachable: no answer for all 4 requests"),
        (["name"], BROKEN, "every request failed: k6 was told not to say why for all 4 requests"),
    ],
)
def test_total_failure_in_k6s_words(
    tmp_path: Path, tags: list[str] | None, body: str, message: str
) -> None:
    """Where nobody answered, not "HTTP 0"; whichever tags the script leaves."""
    options = {"iterations": 4} | ({"systemTags": tags} if tags else {})
    text = f"import http from 'k6/http'; export const options = {options};"
    ran = run_k6("1.1.0", f"{text} export default () => {{ {body} }};", tmp_path)
    (finding,) = find(result_of(ran), Limits())
    assert finding.message == message


def row(rows: list[RequestStats], name: str, method: str | None = None) -> RequestStats:
    """The only row of that name and method."""
    (found,) = [one for one in rows if (one.name, one.method) == (name, method)]
    return found


def test_counts_are_those_of_the_target(mixed: Ran) -> None:
    """Each endpoint has exactly the requests that the target served, busiest first."""
    rows, seen = mixed.breakdown.endpoints, mixed.target.requests
    missing = next(one.name for one in rows if one.name.endswith("/missing"))
    broken = next(one.name for one in rows if one.name.endswith("/broken"))
    assert row(rows, "cart", "GET").count == seen["GET /cart"] > 100
    assert row(rows, "cart", "POST").count == seen["POST /cart"] == 30
    assert row(rows, missing, "GET").count == seen["GET /missing"]
    assert row(rows, broken, "GET").count == seen["GET /broken"] == 30
    assert row(rows, "refused", "GET").count == 30
    assert sum(one.count for one in rows) == mixed.summary.metrics.total_requests
    assert [one.count for one in rows] == sorted((one.count for one in rows), reverse=True)
    assert mixed.breakdown.notes == []


def test_failures_and_rates(mixed: Ran) -> None:
    """Failed requests add up to the summary's; the rate is over the run's exact duration."""
    rows, metrics = mixed.breakdown.endpoints, mixed.summary.metrics
    assert metrics.duration_ms is not None
    assert sum(one.failed or 0 for one in rows) == metrics.failed_requests
    cart, refused = row(rows, "cart", "GET"), row(rows, "refused", "GET")
    assert (cart.failed, cart.error_rate) == (0, 0.0)
    assert (refused.failed, refused.error_rate) == (30, 100.0)
    assert cart.rate == pytest.approx(cart.count / metrics.duration_ms * 1000, abs=0.01)


def test_latencies_against_the_exact_ones(mixed: Ran) -> None:
    """Means agree to rounding with k6's own submetrics, quantiles within one bucket."""
    for key, found in {
        "http_req_duration{name:cart,method:GET}": row(mixed.breakdown.endpoints, "cart", "GET"),
        "http_req_duration{scenario:browse}": row(mixed.breakdown.scenarios, "browse"),
    }.items():
        exact = mixed.summary.k6_metrics[key]
        assert found.count == exact["count"]
        assert found.avg_ms == pytest.approx(exact["avg"], rel=1e-5, abs=0.001)
        for stat, ms in (
            ("med", found.p50_ms),
            ("p(90)", found.p90_ms),
            ("p(95)", found.p95_ms),
            ("p(99)", found.p99_ms),
        ):
            assert ms is not None
            assert exact[stat] / BUCKET <= ms <= exact[stat] * BUCKET, (key, stat)
        assert found.max_bucket_ms is not None
        assert exact["max"] <= found.max_bucket_ms <= exact["max"] * BUCKET


def test_what_was_never_answered_has_no_latency(mixed: Ran) -> None:
    """Refused connections count as requests, but their 0 ms are no measurement."""
    refused = row(mixed.breakdown.endpoints, "refused", "GET")
    assert (refused.avg_ms, refused.p50_ms, refused.p95_ms, refused.max_bucket_ms) == (None,) * 4


def test_scenarios_groups_and_codes(mixed: Ran) -> None:
    """Scenarios, groups by k6's path without the top one, statuses and error codes add up."""
    found, seen = mixed.breakdown, mixed.target.requests
    browse = seen["GET /cart"] + seen["GET /missing"]
    assert {one.name: one.count for one in found.scenarios} == {"browse": browse, "buy": 90}
    assert {one.name: one.count for one in found.groups} == {
        "::shop": seen["GET /cart"],
        "::shop::deep": seen["GET /missing"],
    }
    ok = seen["GET /cart"] + seen["POST /cart"]
    assert found.status_codes == {"0": 30, "200": ok, "404": seen["GET /missing"], "500": 30}
    assert found.error_codes == {"1212": 30, "1404": seen["GET /missing"], "1500": 30}
    assert found.errors == {"dial: connection refused": 30}


def test_time_line_of_a_real_run(mixed: Ran) -> None:
    """One entry a second; requests and errors add up to the totals; virtual users are known."""
    line, metrics = mixed.breakdown.timeline, mixed.summary.metrics
    assert line.resolution_s == 1
    assert line.t == list(range(1, len(line.t) + 1))
    assert len(line.t) in {3, 4, 5}
    assert sum(line.requests_per_second) == metrics.total_requests
    assert sum(errors or 0 for errors in line.errors_per_second) == metrics.failed_requests
    assert max(vus for vus in line.vus if vus is not None) in {4, 5, 6}
    assert all(ms is not None and ms > 0 for ms in line.p95_ms)


def test_live_ends_at_the_totals(mixed: Ran) -> None:
    """What a progress bar shows last is what the summary says."""
    live, metrics = mixed.capture.live(), mixed.summary.metrics
    assert (live.requests, live.failed) == (metrics.total_requests, metrics.failed_requests)
    assert live.elapsed_s == pytest.approx(3.5, abs=1.5)


@pytest.mark.parametrize("version", BINARIES)
def test_more_urls_than_rows(version: str, tmp_path: Path) -> None:
    """300 unique URLs become 200 rows and one for the rest, and a note says so."""
    found = run_k6(version, UNIQUE, tmp_path).breakdown
    assert len(found.endpoints) == 201
    assert row(found.endpoints, OTHER).count == 100
    assert sum(one.count for one in found.endpoints) == 300
    (note,) = found.notes
    assert note.startswith("100 endpoints beyond the busiest 200 are summed as 'other'")


def test_more_series_than_are_kept(tmp_path: Path) -> None:
    """With room for 50 sets of tags, 300 unique URLs still add up to 300 requests."""
    capture = Capture(max_series=50)
    found = run_k6("1.1.0", UNIQUE, tmp_path, capture=capture).breakdown
    assert len(found.endpoints) == 51
    assert row(found.endpoints, OTHER).count == 250
    assert sum(found.timeline.requests_per_second) == 300
    assert found.status_codes == {"200": 300}
    assert any("more than 50 distinct sets of tags: at least 250 req" in n for n in found.notes)


def test_errors_that_differ_take_little_memory() -> None:
    """Some name the port of each connection: the first are told apart, all are counted."""
    capture, long = Capture(max_series=10), "x" * 5_000
    tracemalloc.start()
    for port in range(1_000):
        capture.feed(push(1, {"a": [0.01]}, error=f"{long}{port}"))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 600 * len(long)
    found = capture.result(Metrics(duration_ms=1000))
    assert sum(row.count for row in found.endpoints) == 1_000
    assert set(found.errors.values()) == {1}


def test_unjudged_responses_have_no_failures(tmp_path: Path) -> None:
    """With setResponseCallback(null) k6 judges nothing: None, not 0, also second by second."""
    ran = run_k6("1.1.0", UNJUDGED, tmp_path)
    (found,) = ran.breakdown.endpoints
    assert (found.count, found.failed, found.error_rate) == (5, None, None)
    assert ran.capture.live().failed is None
    assert ran.summary.metrics.error_rate is None
    assert set(ran.breakdown.timeline.errors_per_second) == {None}
    assert find(result_of(ran), Limits()) == []


@pytest.mark.parametrize("version", BINARIES)
def test_an_error_rate_is_of_what_was_judged(version: str, tmp_path: Path) -> None:
    """Nine of ten requests are not to be judged: half of the others fail, not 5 % of all."""
    ran = run_k6(version, PARTLY_JUDGED, tmp_path)
    (found,) = ran.breakdown.endpoints
    assert (found.count, found.unjudged, found.failed, found.error_rate) == (400, 360, 20, 50.0)
    assert (ran.summary.metrics.error_rate, ran.capture.live().failed) == (50.0, 20)
    assert sum(errors or 0 for errors in ran.breakdown.timeline.errors_per_second) == 20
    (finding,) = find(result_of(ran), Limits())
    assert finding.message == (
        "50 % of the judged requests failed (20 of 40) at GET page; at most 10 % expected"
    )
    assert series.of(result_of(ran), min_requests=20)["error_rate GET page"] == 50
    assert "error_rate GET page" not in series.of(result_of(ran), min_requests=41)


def push(
    at_s: float,
    series: dict[str, list[float]],
    *,
    vus: int | None = None,
    **tags: str,
) -> bytes:
    """A push at `at_s` seconds in which each endpoint has had these latencies (s) so far."""
    request, at_ms = prompb.WriteRequest(), START_MS + round(at_s * 1000)
    for name, values in series.items():
        labels = {"__name__": "k6_http_req_duration_seconds", "name": name, "method": "GET"}
        made = Histogram.of(values)
        message = prompb.Histogram(
            schema=3,
            sum=made.sum,
            count_int=made.count,
            zero_count_int=made.zero,
            timestamp=at_ms,
        )
        last, before = 0, 0
        for index in sorted(made.buckets):
            message.positive_spans.add(offset=index - last, length=1)
            message.positive_deltas.append(made.buckets[index] - before)
            last, before = index + 1, made.buckets[index]
        one = request.timeseries.add(histograms=[message])
        for label, value in (labels | {"expected_response": "true"} | tags).items():
            one.labels.add(name=label, value=value)
    if vus is not None:
        one = request.timeseries.add()
        one.labels.add(name="__name__", value="k6_vus")
        one.samples.add(value=vus, timestamp=at_ms)
    return prompb.pack(request)


def test_only_changed_series_are_pushed() -> None:
    """A series that a push leaves out keeps its total; one that comes back is not counted anew."""
    capture = Capture()
    capture.feed(push(1, {"a": [0.01] * 10, "b": [0.02] * 5}, vus=3))
    capture.feed(push(2, {"a": [0.01] * 30}))
    capture.feed(push(3, {"b": [0.02] * 7}, vus=2))
    found = capture.result(Metrics())
    assert {one.name: one.count for one in found.endpoints} == {"a": 30, "b": 7}
    assert row(found.endpoints, "a", "GET").rate == 10.0
    assert found.timeline.requests_per_second == [15, 20, 2]
    assert found.timeline.vus == [3, None, 2]
    assert capture.live().vus == 2


def test_the_last_push_joins_its_second() -> None:
    """A push 9 ms after a regular one belongs to the same second; one 0.6 s later is its own."""
    for gap_s, expected in ((0.009, [100, 102]), (0.6, [100, 100, 2])):
        capture = Capture()
        capture.feed(push(0.999, {"a": [0.01] * 100}))
        capture.feed(push(1.998, {"a": [0.01] * 200}))
        capture.feed(push(1.998 + gap_s, {"a": [0.01] * 202}))
        assert capture.result(Metrics()).timeline.requests_per_second == expected


def test_seconds_neither_collide_nor_vanish() -> None:
    """Samples anywhere in their second give one entry a push; missed pushes leave a gap."""
    capture = Capture()
    for number, at_s in enumerate((0.3, 1.95, 2.4, 3.9, 4.2, 7.9), start=1):
        capture.feed(push(at_s, {"a": [0.01] * number}))
    line = capture.result(Metrics()).timeline
    assert line.requests_per_second == [1, 1, 1, 1, 1, None, None, None, None]
    assert "too late for 4 entries" in capture.result(Metrics()).notes[0]
    assert line.p95_ms[6] is None


def test_a_long_run_gets_coarser() -> None:
    """2,000 seconds become 200 entries of 10 s; nothing is lost, p95 is that of all in an entry."""
    capture = Capture()
    for second in range(2000):
        latency = 0.1 if second % 10 == 0 else 0.01
        capture.feed(push(second, {f"e{second}": [latency]}, vus=second))
    line = capture.result(Metrics()).timeline
    assert (line.resolution_s, len(line.t), line.t[0], line.t[-1]) == (10, 200, 10, 2000)
    assert sum(line.requests_per_second) * line.resolution_s == pytest.approx(2000)
    assert line.vus[:2] == [9, 19]
    expected = Histogram.of([0.1] + [0.01] * 9).quantile(0.95)
    assert expected is not None
    assert line.p95_ms[0] == pytest.approx(expected * 1000, abs=0.001)


def test_malformed_pushes_are_refused() -> None:
    """Garbage, a bomb and a bad histogram raise ValueError and leave the totals alone."""
    capture = Capture()
    good = push(1, {"a": [0.01]})
    capture.feed(good)
    raw = bytes(cramjam.snappy.decompress_raw(push(2, {"b": [0.01]})))
    unknown = prompb.WriteRequest.FromString(raw)
    unknown.timeseries[0].histograms[0].schema = -53
    bomb = b"\xff\xff\xff\xff\x0f" + good  # claims to unpack to 4 GiB
    noise = bytes(cramjam.snappy.compress_raw(b"\xff" * 9))
    cut = bytes(cramjam.snappy.compress_raw(raw[:-1]))
    for body in (b"", b"hello", noise, cut, bomb, prompb.pack(unknown)):
        with pytest.raises(ValueError, match=r"push|schema|message|number"):
            capture.feed(body)
    assert [one.name for one in capture.result(Metrics(duration_ms=1000)).endpoints] == ["a"]


def test_feeding_from_many_threads() -> None:
    """Pushes of different series at the same time all arrive."""
    capture = Capture()
    bodies = [push(1, {f"e{number}": [0.01] * 5}) for number in range(40)]
    threads = [threading.Thread(target=capture.feed, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capture.live().requests == 200


def post(url: str, body: bytes, *, path: str | None = None, length: str | None = None) -> int:
    """The status that the receiver answers with."""
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
    try:
        connection.putrequest("POST", parts.path if path is None else path)
        if length != "none":
            connection.putheader("Content-Length", length or str(len(body)))
        connection.endheaders()
        connection.send(body)
        return connection.getresponse().status
    finally:
        connection.close()


def test_receiver_answers(capfd: pytest.CaptureFixture[str]) -> None:
    """204 for a push; 404, 411, 413 and 400 for what is none; nothing on the console."""
    capture = Capture()
    good = push(1, {"a": [0.01] * 3})
    with Receiver(capture) as receiver:
        assert receiver.url.startswith("http://127.0.0.1:")
        assert post(receiver.url, good) == 204
        assert post(receiver.url, b"garbage") == 400
        assert post(receiver.url, good, path="/write") == 404
        assert post(receiver.url, b"", length="none") == 411
        assert post(receiver.url, b"", length=str(MAX_BODY_BYTES + 1)) == 413
        assert post(receiver.url, b"", length="-5") == 400
    assert capture.live().requests == 3
    assert capfd.readouterr() == ("", "")


def test_receiver_closes_for_good() -> None:
    """A connection that is still open doesn't hold it up; afterwards nobody gets in."""
    with Receiver(Capture()) as receiver:
        parts = urllib.parse.urlsplit(receiver.url)
        lingering = socket.create_connection((parts.hostname, parts.port), timeout=5)
    with lingering, pytest.raises(ConnectionRefusedError):
        post(receiver.url, b"")


def test_receivers_have_secret_paths_of_their_own() -> None:
    """Two receivers share neither a port nor a path."""
    with Receiver(Capture()) as one, Receiver(Capture()) as two:
        paths = {urllib.parse.urlsplit(receiver.url).path for receiver in (one, two)}
    assert len(paths) == 2
    assert all(len(path) > 30 for path in paths)
