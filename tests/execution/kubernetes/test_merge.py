"""The sum of several runners: real k6 with execution segments against a target that counts.

The thresholds are judged here and by k6 itself, over the same run.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
import pytest

from k6d.execution import summary
from k6d.execution.kubernetes import merge, thresholds
from k6d.execution.kubernetes.streams import Streams
from support import prompb
from support.runners import Ran, run_parts
from support.target import Target

if TYPE_CHECKING:
    from k6d.execution.summary import Parts

THRESHOLDS = {
    "http_req_duration": ["p(95)<500", "p(95)<8", "avg<200", "avg>5", "med<1", "p(99.9)>1"],
    "http_req_duration{name:slow}": ["med>20", "med<20", "min>10", "max<10", "p(50) < 1000"],
    "http_req_duration{name:slow,status:200}": ["p(90)<1", "p(90)>=1"],
    "http_req_duration{name:nowhere}": ["max<=0", "p(95)>0", "avg==0"],
    "http_req_failed": ["rate<0.5", "rate>0.5", "rate<=0.25"],
    "http_req_failed{name:broken}": ["rate==1", "rate<1"],
    "http_reqs": ["count>100", "count<100", "rate>1", "rate>100000"],
    "http_reqs{name:broken}": ["count==40", "count!=40"],
    "checks": ["rate==1", "rate>0.1"],
    "checks{check:even}": ["rate<0.6", "rate>0.6"],
    "odd": ["rate<0.4", "rate>=0.4"],
    "odd{kind:b}": ["rate>0.5", "rate<=0.5"],
    "made": ["count===80", "count>80", "rate<1"],
    "level": ["value<9", "value>9", "value!=1"],
    "steps": ["min>=1", "max<3", "p(50) < 3", "avg>1"],
    "below": ["min<0", "med<0", "max>=0", "p(5)<-10"],
    "never": ["p(95)<1", "avg>0"],
    "never_rate": ["rate<1", "rate>0"],
    "never_count": ["count<1", "count>=1"],
    "iterations": ["count===40", "count<40"],
    "vus_max": ["value>1", "value>100"],
    "data_received": ["count>1000", "rate<1"],
}
SCRIPT = """
import http from "k6/http";
import { check, sleep } from "k6";
import { Counter, Gauge, Rate, Trend } from "k6/metrics";
const made = new Counter("made"), level = new Gauge("level"), odd = new Rate("odd");
const steps = new Trend("steps", true), below = new Trend("below"), never = new Trend("never");
const rate = new Rate("never_rate"), count = new Counter("never_count");
export const options = {
  scenarios: { s: { executor: "shared-iterations", vus: 4, iterations: 40 } },
  thresholds: THRESHOLDS,
};
export default function () {
  http.get(`${__ENV.TARGET}/slow`, { tags: { name: "slow" } });
  http.get(`${__ENV.TARGET}/fast`, { tags: { name: "fast" } });
  http.get(`${__ENV.TARGET}/fast`, { tags: { name: "fast" } });
  http.get(`${__ENV.TARGET}/broken`, { tags: { name: "broken" } });
  check(__ITER, { even: (n) => n % 2 === 0, any: () => true });
  made.add(2); level.add(__VU); odd.add(__ITER % 2 === 1, { kind: __ITER % 3 ? "a" : "b" });
  steps.add(1 + __ITER); below.add(__ITER - 12); sleep(0.2);
}
""".replace("THRESHOLDS", orjson.dumps(THRESHOLDS).decode())
OPTIONS = {"thresholds": THRESHOLDS}
WANTED = thresholds.wanted(OPTIONS)


def _run(tmp_path_factory: pytest.TempPathFactory, runners: int, *flags: str) -> Runs:
    script = tmp_path_factory.mktemp("script") / "s.js"
    script.write_text(SCRIPT)
    with Target() as target:
        target.latency["/slow"] = 0.03
        target.status["/broken"] = 500
        ran = asyncio.run(
            run_parts(
                script,
                runners=runners,
                env={"TARGET": target.url},
                wanted=sorted(thresholds.metrics_of(WANTED)),
                stats=thresholds.trend_stats(WANTED),
                flags=flags,
            )
        )
        return ran, dict(target.requests), [one.latency_s for one in target.served]


Runs = tuple[list[Ran], dict[str, int], list[float]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """One k6 that judges the thresholds itself."""
    return _run(tmp_path_factory, 1)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Three k6 that judge nothing."""
    return _run(tmp_path_factory, 3, "--no-thresholds")


def _parts_of(ran: list[Ran]) -> list[Parts]:
    found = [one.log.parts for one in ran]
    assert None not in found
    return [one for one in found if one is not None]


def test_thresholds_are_judged_as_by_k6(alone: Runs) -> None:
    """Over one runner, each threshold gets k6's own verdict, from the numbers of its summary."""
    (one,), _, _ = alone
    assert one.exit_code == 99
    [numbers] = _parts_of([one])
    by_k6 = {(t.metric, t.expression): t.crossed for t in numbers.thresholds}
    assert len(by_k6) == sum(map(len, THRESHOLDS.values()))

    ours = thresholds.judged(WANTED, numbers.metrics, [one.streams])

    assert {(t.metric, t.expression): t.crossed for t in ours} == by_k6


def test_quantiles_of_histograms_are_judged_as_by_k6_or_doubted(alone: Runs) -> None:
    """With percentiles from histograms, as of several runners, a verdict that differs is unsure."""
    (one,), _, _ = alone
    [numbers] = _parts_of([one])
    by_k6 = {(t.metric, t.expression): t.crossed for t in numbers.thresholds}

    ours = thresholds.judged(WANTED, numbers.metrics, [one.streams, Streams()])

    differing = [t for t in ours if t.crossed != by_k6[t.metric, t.expression]]
    assert all(t.doubt for t in differing)
    doubted = {(t.metric, t.expression) for t in ours if t.doubt}
    assert {t for t in doubted if "p(" not in t[1] and "med" not in t[1]} == set()
    for one_of_ours in ours:
        known = numbers.metrics.get(one_of_ours.metric, {}).get(one_of_ours.expression[:5])
        if known is not None and one_of_ours.expression.startswith("p("):
            assert one_of_ours.observed == pytest.approx(known, rel=0.1, abs=1)


def test_judged_while_it_runs(alone: Runs) -> None:
    """From the pushes alone, a threshold is surely crossed only if k6 says so at the end."""
    (one,), _, _ = alone
    [numbers] = _parts_of([one])
    by_k6 = {(t.metric, t.expression): t.crossed for t in numbers.thresholds}
    lasted_s = merge.duration_s(numbers)
    assert lasted_s
    sure = 0
    for want in WANTED:
        aborting = thresholds.Wanted(metric=want.metric, expression=want.expression, aborts=True)
        ends = thresholds.crossed_for_sure([aborting], [one.streams], elapsed_s=lasted_s)
        if ends:
            assert by_k6[want.metric, want.expression.text], (
                f"{want.metric}: {want.expression.text}"
            )
            sure += 1
    assert sure > 15  # of 28 that k6 crosses; unsure are shares of rates, and empty metrics


def test_counts_of_several_runners_are_the_targets(parts: Runs) -> None:
    """Requests, failures, iterations and checks add up exactly; averages follow from sums."""
    ran, requests, _ = parts
    each = _parts_of(ran)
    whole = summary.assembled(merge.merged(each, [one.streams for one in ran]))

    assert requests == {"GET /slow": 40, "GET /fast": 80, "GET /broken": 40}
    totals = whole.metrics
    assert (totals.total_requests, totals.failed_requests, totals.iterations) == (160, 40, 40)
    assert totals.error_rate == 25
    assert totals.virtual_users == 4
    assert {(c.name, c.passes + c.fails) for c in whole.checks} == {("even", 40), ("any", 40)}
    assert whole.k6_metrics["made"]["count"] == 80
    assert whole.k6_metrics["http_reqs{name:broken}"]["count"] == 40
    times = [one.metrics["http_req_duration"] for one in each]
    assert totals.response_time_max == max(one["max"] for one in times)
    assert totals.response_time_min == min(one["min"] for one in times)
    mean = sum(one["avg"] * one["count"] for one in times) / 160
    assert totals.response_time_avg == pytest.approx(mean, rel=1e-9)


def test_percentiles_of_several_runners_lie_within_their_bounds(parts: Runs) -> None:
    """The 0.9 quantile of all runners is that of the slow quarter, within a bucket."""
    ran, _, latencies = parts
    merged = merge.merged(_parts_of(ran), [one.streams for one in ran])
    values = merged.metrics["http_req_duration"]
    found = merge.quantile("http_req_duration", 0.9, values, [one.streams for one in ran])
    assert found is not None
    assert found.low <= values["p(90)"] <= found.high
    assert found.high <= found.low * 2 ** (1 / 8) * 1.001
    by_target = sorted(latencies)[round(0.9 * 159)] * 1000
    assert by_target <= found.high * 1.001  # k6's time contains the target's


def test_values_below_zero_are_the_lowest() -> None:
    """k6's histograms leave them out; a quantile among them is between the minimum and zero."""
    streams = Streams()
    series = prompb.TimeSeries(labels=[{"name": "__name__", "value": "k6_below"}])
    series.histograms.add(
        schema=3, sum=15, positive_spans=[{"offset": 0, "length": 1}], positive_deltas=[4]
    )
    streams.feed([series.SerializeToString()])
    known = {"count": 8.0, "min": -6.0, "max": 1.0}
    low = merge.quantile("below", 0.3, known, [streams])
    high = merge.quantile("below", 1.0, known, [streams])
    assert low is not None
    assert (low.low, low.high) == (-6, 0)
    assert high is not None
    assert high.value == pytest.approx(1, rel=0.1)


def test_each_runner_leaves_its_log_apart(parts: Runs) -> None:
    """A runner's summary is taken out of its log; the text summary stays as output."""
    ran, _, _ = parts
    for one in ran:
        printed = one.log.output.log().head
        assert "TOTAL RESULTS" in printed
        assert '"root_group"' not in printed
        assert one.exit_code == 0


def test_thresholds_of_several_runners_are_judged_over_their_sum(alone: Runs, parts: Runs) -> None:
    """Where the script makes the numbers, the verdict is that of k6 over the whole run.

    The runners alone would cross other thresholds: each has a third of the counts.
    """
    (one,), _, _ = alone
    [numbers] = _parts_of([one])
    by_k6 = {(t.metric, t.expression): t.crossed for t in numbers.thresholds}
    pushed = [one.streams for one in parts[0]]

    ours = thresholds.judged(WANTED, merge.merged(_parts_of(parts[0]), pushed).metrics, pushed)

    timed = ("http_req_duration", "rate>100000", "below", "odd", "steps", "level")
    same = [t for t in ours if not (t.metric + t.expression).startswith(timed)]
    assert {(t.metric, t.expression): t.crossed for t in same} == {
        (t.metric, t.expression): by_k6[t.metric, t.expression] for t in same
    }
    assert len(same) >= 30
