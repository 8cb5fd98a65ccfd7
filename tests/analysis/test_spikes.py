"""Spikes, steps and collapses inside one run."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k6d.analysis.spikes import Second, find_spikes

Shape = Callable[[int], float]


def run(
    length: int,
    *,
    rps: Shape = lambda t: 100,
    p95: Shape = lambda t: 80,
    errors: Shape = lambda t: 0,
    vus: Shape | None = None,
    seed: int = 1,
) -> list[Second]:
    """A run with the noise of a real one: Poisson-like requests, 8 % on p95."""
    source = random.Random(seed)
    return [
        Second(
            t_s=t,
            rps=max(0.0, round(source.gauss(rps(t), math.sqrt(rps(t))))),
            errors=errors(t),
            p95_ms=p95(t) * (1 + source.gauss(0, 0.08)),
            vus=vus(t) if vus else None,
        )
        for t in range(length)
    ]


def told(seconds: list[Second]) -> list[tuple[str, str, int, int]]:
    """Kind, shape, start and length of the findings."""
    return [(f.kind, f.shape, f.start_s, f.length_s) for f in find_spikes(seconds)]


@pytest.mark.parametrize("seed", range(8))
def test_a_steady_run_has_no_findings(seed: int) -> None:
    """Two minutes of ordinary noise."""
    assert told(run(120, seed=seed, errors=lambda t: t % 3 == 0)) == []


@pytest.mark.parametrize("seed", range(4))
def test_a_ramp_is_no_spike(seed: int) -> None:
    """From 0 to 300 requests/s and down again, slower under load, 2 % errors all along."""
    load: Shape = lambda t: 5 * min(t, 60, 120 - t) + 1  # noqa: E731  # a formula, not a function
    seconds = run(
        120, rps=load, p95=lambda t: 50 + load(t), errors=lambda t: 0.02 * load(t), seed=seed
    )
    assert told(seconds) == []


def test_a_slow_spike_has_its_second() -> None:
    """Four seconds at four times the response time, in the right place, with both figures."""
    findings = find_spikes(run(60, p95=lambda t: 320 if 30 <= t < 34 else 80))
    assert [(f.kind, f.shape, f.start_s, f.length_s) for f in findings] == [
        ("slow", "spike", 30, 4)
    ]
    assert findings[0].observed == pytest.approx(320, rel=0.15)
    assert findings[0].expected == pytest.approx(80, rel=0.15)


@pytest.mark.parametrize(
    ("rps", "length", "found"), [(10, 1, 0), (10, 3, 1), (40, 3, 1), (200, 1, 1)]
)
def test_a_p95_of_few_requests_needs_company(rps: int, length: int, found: int) -> None:
    """One slow request in ten is the p95 of its second; three such seconds are no chance."""
    seconds = run(60, rps=lambda t: rps, p95=lambda t: 400 if 30 <= t < 30 + length else 80)
    assert len([f for f in find_spikes(seconds) if f.kind == "slow"]) == found


def test_the_end_of_a_fast_ramp_is_no_collapse() -> None:
    """Twenty requests/s more each second, then level: the line doesn't promise more."""
    assert told(run(60, rps=lambda t: 20 * min(t, 15) + 1)) == []


def test_a_slow_step_is_told_once() -> None:
    """The new level is accepted after ten seconds, so it isn't told for the rest of the run."""
    assert told(run(90, p95=lambda t: 240 if t >= 40 else 80)) == [("slow", "step", 40, 10)]


def test_a_spike_on_a_ramp_is_found() -> None:
    """What grows steadily is expected; what jumps out of it is not."""
    seconds = run(90, p95=lambda t: (50 + 2 * t) * (3 if 50 <= t < 53 else 1))
    assert told(seconds) == [("slow", "spike", 50, 3)]


def test_a_burst_of_errors() -> None:
    """Twenty failed requests in one second; the peak is the figure shown."""
    findings = find_spikes(run(60, errors=lambda t: {25: 20, 26: 35}.get(t, 0)))
    assert [(f.kind, f.start_s, f.length_s, f.observed) for f in findings] == [
        ("errors", 25, 2, 35)
    ]


def test_three_errors_are_no_burst() -> None:
    """Three failed requests in a second may be anything."""
    assert told(run(60, errors=lambda t: 3 if t == 25 else 0)) == []


def test_a_collapse_of_throughput() -> None:
    """Requests stop for five seconds; no request means no p95, not a p95 of 0."""
    seconds = [
        Second(t_s=s.t_s, rps=0, errors=0, p95_ms=None) if 30 <= s.t_s < 35 else s for s in run(60)
    ]
    assert told(seconds) == [("collapse", "spike", 30, 5)]


def test_fewer_virtual_users_are_no_collapse() -> None:
    """From 50 virtual users to 10 on purpose; without knowing them it would be one."""
    planned = run(80, rps=lambda t: 20 if t >= 40 else 100, vus=lambda t: 10 if t >= 40 else 50)
    assert told(planned) == []
    unknown = [Second(s.t_s, s.rps, s.errors, s.p95_ms) for s in planned]
    assert told(unknown) == [("collapse", "step", 40, 10)]


def test_the_first_seconds_and_the_last_are_not_judged() -> None:
    """Warm-up is slow, the last second is cut off."""
    assert (
        told(run(40, p95=lambda t: 900 if t < 5 else 80, rps=lambda t: 5 if t == 39 else 100)) == []
    )


@pytest.mark.parametrize("length", [0, 1, 2, 10])
def test_short_runs_have_no_findings(length: int) -> None:
    """Too few seconds to know what is normal: no verdict."""
    assert told(run(length, p95=lambda t: 80 * 10**t if t < 10 else 80)) == []


ANY = st.floats(allow_nan=True, allow_infinity=True)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(ANY, ANY, st.none() | ANY, st.none() | ANY), max_size=40))
def test_any_values_get_an_answer(
    rows: list[tuple[float, float, float | None, float | None]],
) -> None:
    """No input makes it fail; findings lie within the run."""
    seconds = [Second(t, *row) for t, row in enumerate(rows)]
    for finding in find_spikes(seconds):
        assert 5 <= finding.start_s < len(seconds) - 1
        assert finding.length_s >= 1


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(20, 50))
def test_when_it_starts_makes_no_difference(seed: int, start: int) -> None:
    """A tenfold second is found wherever it is."""
    seconds = run(60, seed=seed, rps=lambda t: 200, p95=lambda t: 800 if t == start else 80)
    assert ("slow", "spike", start, 1) in told(seconds)


def _phases(first: dict[str, int], then: dict[str, int], *, slow_ms: float) -> list[Second]:
    """A minute of two phases of thirty seconds with these requests, the second slower."""
    return [
        Second(
            t_s=t,
            rps=100.0,
            errors=0.0,
            p95_ms=20.0 + t % 3 if t <= 30 else slow_ms + t % 3,
            vus=10,
            mix=first if t <= 30 else then,
        )
        for t in range(1, 61)
    ]


@pytest.mark.parametrize(
    ("then", "found"),
    [
        ({"s /a": 100}, 1),  # the same page became slow
        ({"s /a": 60, "s /b": 40}, 0),  # a second scenario, on a slower page, began
        ({"s /b": 100}, 0),
        ({"s /a": 97, "s /b": 3}, 1),  # too few of them to make the p95
    ],
)
def test_another_page_or_scenario_is_no_anomaly(then: dict[str, int], found: int) -> None:
    """Where the plan goes on to slower requests, the target did not become slow."""
    assert len(find_spikes(_phases({"s /a": 100}, then, slow_ms=600.0))) == found


def test_that_a_fast_page_is_left_makes_no_slowness() -> None:
    """Only the slow one goes on."""
    assert not find_spikes(_phases({"s /a": 60, "s /b": 40}, {"s /b": 100}, slow_ms=600.0))


def quiet_at(start: int) -> list[Second]:
    """Twenty seconds, with requests in the first two."""
    made = run(20, vus=lambda t: 5)
    quiet = [replace(s, rps=0.0, p95_ms=None) if s.t_s >= 2 else s for s in made]
    return [replace(s, t_s=start + s.t_s) for s in quiet]


def quiet_from(start: int, length: int, **given: Shape) -> list[Second]:
    """A run of which no request ends from a second on; five virtual users, unless given."""
    made = run(length, vus=given.get("vus", lambda t: 5), rps=given.get("rps", lambda t: 90))
    return [replace(s, rps=0.0, p95_ms=None) if s.t_s >= start else s for s in made]


def test_a_target_that_stops_answering_is_a_collapse() -> None:
    """Requests that hang when the run ends are in no number of k6: the silence is what tells."""
    (finding,) = find_spikes(quiet_from(8, 25))
    assert (finding.kind, finding.shape, finding.start_s) == ("collapse", "step", 8)
    assert (finding.length_s, finding.observed) == (16, 0.0)
    assert finding.expected == pytest.approx(90, rel=0.2)


@pytest.mark.parametrize(
    ("why", "seconds"),
    [
        ("the script pauses after its first requests", quiet_from(2, 40)),
        ("it pauses between its requests", [s for t in range(0, 60, 20) for s in quiet_at(t)]),
        ("the load ends as planned", quiet_from(8, 25, vus=lambda t: 5 if t < 8 else 0)),
        ("the load goes down as planned", quiet_from(8, 25, vus=lambda t: 50 if t < 8 else 5)),
        ("the silence is short", quiet_from(8, 16)),
        ("few requests came before", quiet_from(8, 25, rps=lambda t: 2)),
    ],
)
def test_other_silence_is_no_collapse(why: str, seconds: list[Second]) -> None:
    """A script may pause, and a plan may end."""
    assert find_spikes(seconds) == [], why
