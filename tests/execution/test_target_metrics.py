"""The target's own numbers, read from a Prometheus that answers well, badly, late or not at all."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from k6d.core.measurements import Timeline
from k6d.execution.target_metrics import Found, Span, filled, target_metrics
from k6d.settings import Metric, Prometheus, load, redactor_of
from support.prometheus import FakePrometheus, matrix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BEGAN, LASTED_S = 1_764_000_000.0, 10
TOKEN = "s3cr3t-Pr0m-t0k3n"
CPU = Metric(title="CPU", query="cpu", unit="%")


def line_of(lasted_s: int = LASTED_S) -> Timeline:
    """The time line of a run that long."""
    return Timeline(t=list(range(1, lasted_s + 1)), began=BEGAN)


def read(
    url: str | None,
    *metrics: Metric,
    line: Timeline | None = None,
    script: str = "shop/cart.js",
    hide: Callable[[str], str] = str,
    stopped: bool = False,
    **settings: Any,
) -> Found:
    """What a Prometheus at `url` says of the run; it ended long ago, so nothing waits."""

    async def ask() -> Found:
        stop = asyncio.Event()
        if stopped:
            stop.set()
        return await target_metrics(
            Span.of(line or line_of()),
            metrics or (CPU,),
            Prometheus.model_validate({"url": url, **settings}),
            script=script,
            hide=hide,
            stop=stop,
        )

    return asyncio.run(ask())


def answering(status: int, body: bytes | str) -> Callable[[dict[str, str]], tuple[int, bytes]]:
    """The same answer to every query."""
    return lambda _: (status, body.encode() if isinstance(body, str) else body)


def grid(form: dict[str, str]) -> list[float]:
    """The moments that a query asks for."""
    start, end, step = (float(form[name]) for name in ("start", "end", "step"))
    return [start + n * step for n in range(round((end - start) / step) + 1)]


def test_numbers_are_on_the_axis_of_the_run() -> None:
    """A value each second from the start to the end; gaps and NaN are None, never 0."""

    def answer(form: dict[str, str]) -> tuple[int, bytes]:
        values = [(at, "NaN" if n == 3 else str(n)) for n, at in enumerate(grid(form))]
        return 200, matrix(values[:5] + values[7:])

    with FakePrometheus(answer) as fake:
        found = read(f"{fake.url}/prom/", CPU)
    (cpu,) = found.metrics
    assert cpu.values == [0, 1, 2, None, 4, None, None, 7, 8, 9, 10]
    assert (cpu.start_s, cpu.step_s) == (0, 1)
    assert cpu.value == pytest.approx(41 / 8)
    assert (cpu.title, cpu.unit, cpu.query) == ("CPU", "%", "cpu")
    assert found.notes == []
    (form,) = fake.seen
    assert form["path"] == "/prom/api/v1/query_range"
    assert (float(form["start"]), float(form["end"])) == (BEGAN, BEGAN + LASTED_S)


@pytest.mark.parametrize(
    ("value", "number"), [("average", 5), ("max", 10), ("min", 0), ("last", 10)]
)
def test_one_number_stands_for_the_run(value: str, number: float) -> None:
    """As the entry says."""
    metric = CPU.model_copy(update={"value": value})
    with FakePrometheus(
        lambda form: (200, matrix([(at, str(n)) for n, at in enumerate(grid(form))]))
    ) as fake:
        assert read(fake.url, metric).metrics[0].value == number


def test_the_last_value_is_at_the_end_of_the_run() -> None:
    """Whatever the step: `increase(…[$duration])` with value = "last" is the sum of the run."""
    metric = CPU.model_copy(update={"step": 4.0, "query": 'x{job="$script"}[$duration] $'})
    with FakePrometheus(lambda form: (200, matrix([(float(form["end"]), "7")]))) as fake:
        (found,) = read(fake.url, metric).metrics
    assert (found.start_s, found.step_s, found.values) == (2, 4, [None, None, 7])
    assert fake.seen[0]["query"] == 'x{job="shop/cart.js"}[10s] $'


def test_long_runs_have_few_values() -> None:
    """Three hours have a hundred values, and 600 at most, however small the step is."""
    fine = Metric(title="fine", query="fine", step=1.0)
    with FakePrometheus(answering(200, matrix([(BEGAN + 10_800, "1")]))) as fake:
        found = read(fake.url, CPU, fine, line=line_of(10_800)).metrics
    assert [len(one.values) for one in found] == [101, 601]


WRONG = {
    "several series": (200, matrix([(BEGAN, "1")], [(BEGAN, "2")])),
    "no series": (200, matrix()),
    "NaN": (200, matrix([(BEGAN, "NaN"), (BEGAN + 1, "+Inf")])),
    "histograms": (
        200,
        b'{"status":"success","data":{"resultType":"matrix","result":[{"histograms":[]}]}}',
    ),
    "bad query": (400, b'{"status":"error","errorType":"bad_data","error":"parse\\nerror at 1:5"}'),
    "an error with 200": (200, b'{"status":"error","error":"out of memory"}'),
}
MEANT = {
    "several series": "CPU: the query gives 2 series: aggregate them, with sum(…), avg(…) or ma",
    "no series": "CPU: there is no data for this time",
    "NaN": "CPU: there is no number for this time, only NaN or infinity",
    "histograms": "CPU: the query gives histograms, not numbers; use histogram_quantile(…)",
    "bad query": "CPU: the query fails: parse error at 1:5",
    "an error with 200": "CPU: the query fails: out of memory",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_query_is_one_note(name: str) -> None:
    """It names the title and the remedy; the next metric is read all the same."""
    good = Metric(title="queue", query="queue")

    def answer(form: dict[str, str]) -> tuple[int, bytes]:
        return WRONG[name] if form["query"] == "cpu" else (200, matrix([(BEGAN, "3")]))

    with FakePrometheus(answer) as fake:
        found = read(fake.url, CPU, good)
    assert [(one.title, one.value) for one in found.metrics] == [("CPU", None), ("queue", 3)]
    assert found.metrics[0].values == []
    (note,) = found.notes
    assert note.startswith(MEANT[name])
    assert "\n" not in note


BROKEN = {
    "no JSON": ((200, "<html>sign in</html>"), "it answers text/plain, not JSON; is prometheus.u"),
    "other JSON": ((200, "[1]"), "its answer is not that of a Prometheus; is prometheus.url ri"),
    "a vector": (
        (200, '{"status":"success","data":{"resultType":"vector","result":[]}}'),
        "not th",
    ),
    "no pairs": (
        (200, '{"status":"success","data":{"resultType":"matrix","result":[{"values":[1]}]}}'),
        "its answer is not that of a Prometheus",
    ),
    "no such path": ((404, "404 page not found"), "answers 404; is prometheus.url right?"),
    "no login": ((401, ""), "refuses the login (401): set prometheus.token or prometheus.headers"),
    "forbidden": ((403, '{"error": "no"}'), "refuses the login (403)"),
    "down": ((502, "bad gateway"), "answers 502"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_server_that_is_no_prometheus_is_one_note(name: str) -> None:
    """It is asked once, not for each metric; all of them are null."""
    given, why = BROKEN[name]
    with FakePrometheus(answering(*given)) as fake:
        found = read(fake.url, CPU, Metric(title="queue", query="queue"))
    assert [one.value for one in found.metrics] == [None, None]
    (note,) = found.notes
    assert note.startswith("the target's own numbers are missing (CPU, queue): ")
    assert why in note
    assert len(fake.seen) == 1


def test_a_server_that_fails_later_keeps_what_was_read() -> None:
    """The note names what is missing."""
    answers = iter([(200, matrix([(BEGAN, "1")])), (503, b"")])
    with FakePrometheus(lambda _: next(answers)) as fake:
        found = read(fake.url, CPU, Metric(title="queue", query="queue"))
    assert [one.value for one in found.metrics] == [1, None]
    assert found.notes[0].startswith("the target's own numbers are missing (qu")


def test_nobody_there_is_one_note(caplog: pytest.LogCaptureFixture) -> None:
    """And one line of the log."""
    with socket.socket() as bound, caplog.at_level(logging.WARNING):
        bound.bind(("127.0.0.1", 0))  # not listening: connections are refused
        found = read(f"http://127.0.0.1:{bound.getsockname()[1]}")
    (note,) = found.notes
    assert note.endswith("cannot be asked: Connection refused")
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("dripping", [False, True])
def test_a_slow_server_costs_the_time_limit(dripping: bool) -> None:
    """Whether it says nothing or sends a byte now and then; what was asked later is missing too."""
    ended = threading.Event()

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" if dripping else b"")
            while not ended.wait(0.05):
                connection.sendall(b" " if dripping else b"")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve, args=(listening,), daemon=True)
        server.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        found = read(url, CPU, Metric(title="queue", query="queue"), timeout=0.5)
        ended.set()
        server.join(30)
    assert [one.value for one in found.metrics] == [None, None]
    (note,) = found.notes
    assert note.endswith("does not answer within 0.5 s (prometheus.timeout)")


def test_a_flood_is_cut() -> None:
    """An answer of many MiB is not read to its end."""
    with FakePrometheus(answering(200, b" " * (9 << 20))) as fake:
        found = read(fake.url)
    assert "CPU: the answer is larger than 4 MiB" in found.notes[0]


def test_the_token_goes_to_the_prometheus_alone() -> None:
    """A redirect is not followed: the other host hears nothing."""
    with (
        FakePrometheus(answering(200, matrix())) as other,
        FakePrometheus(answering(302, "")) as fake,
    ):
        fake.more_headers = {"Location": f"{other.url}/api/v1/query_range"}
        headers = {"X-Scope-OrgID": "shop"}
        found = read(fake.url, token=TOKEN, headers=headers)
    assert "answers 302, a redirect, which is not followed" in found.notes[0]
    assert other.seen == []
    assert fake.headers[0]["Authorization"] == f"Bearer {TOKEN}"
    assert fake.headers[0]["X-Scope-Orgid"] == "shop"


def test_a_server_that_repeats_the_token_does_not_publish_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the notes of the run nor in the log."""
    (tmp_path / "k6d.toml").write_text(f'[prometheus]\ntoken = "{TOKEN}"\n')
    hide = redactor_of(load(tmp_path / "k6d.toml", data=tmp_path)).text
    said = json.dumps({"status": "error", "error": f"no user has {TOKEN}"})
    with FakePrometheus(answering(400, said)) as fake, caplog.at_level(logging.DEBUG):
        found = read(fake.url, token=TOKEN, hide=hide)
    (note,) = found.notes
    assert note.startswith("CPU: the query fails: no user has ")
    assert TOKEN not in note + caplog.text


def test_a_warning_is_a_note_and_the_numbers_stay() -> None:
    """Of a Thanos with a store that does not answer."""
    body = matrix([(BEGAN, "1")], warnings=["store 3 is down"])
    with FakePrometheus(answering(200, body)) as fake:
        found = read(fake.url)
    assert found.metrics[0].value == 1
    assert found.notes == ["CPU: the server warns: store 3 is down"]


def test_scripts_choose() -> None:
    """A metric is read for the scripts that its patterns cover; $script must be able to stand."""
    shop = Metric(title="shop", query="shop", scripts=["shop/*"])
    bank = Metric(title="bank", query="bank", scripts=["bank/*"])
    with FakePrometheus(answering(200, matrix([(BEGAN, "1")]))) as fake:
        assert [one.title for one in read(fake.url, shop, bank).metrics] == ["shop"]
        own = shop.model_copy(update={"query": 'x{script="$script"}'})
        found = read(fake.url, own, script='shop/"}.js')
    assert len(fake.seen) == 1
    assert "has a quote or a backslash" in found.notes[0]


def test_other_dollars_stay() -> None:
    """Regular expressions end in one."""
    assert filled('x{a=~"b$",c="$scripts"}', script="s", lasted_s=9.2) == 'x{a=~"b$",c="$scripts"}'


def test_nothing_is_asked_without_need() -> None:
    """Without an address, after a stop, and for a run in which k6 measured nothing."""
    with FakePrometheus(answering(200, matrix())) as fake:
        (note,) = read(None).notes
        assert note == "the target's own numbers are missing (CPU): prometheus.url is not set"
        (note,) = read(fake.url, stopped=True).notes
        assert note.endswith("the run was stopped before they were read")
        assert read(fake.url, line=Timeline()) == Found()
    assert fake.seen == []


def test_the_last_samples_are_waited_for() -> None:
    """`delay` seconds from the end of the run, of which some are over already."""
    line = Timeline(t=list(range(1, 11)), began=time.time() - 10.5)
    asked: list[float] = []

    def answer(form: dict[str, str]) -> tuple[int, bytes]:
        asked.append(time.time() - float(form["end"]))
        return 200, matrix([(float(form["end"]), "1")])

    with FakePrometheus(answer) as fake:
        assert read(fake.url, line=line, delay=1.5).metrics[0].value == 1
    assert asked[0] >= 1.49


@pytest.mark.parametrize(
    ("duration_ms", "lasted_s"),
    [(None, 1230), (1_204_200, 1205), (1_230_400, 1230), (900_000, 1201)],
)
def test_the_end_of_a_long_run_is_that_of_k6(duration_ms: float | None, lasted_s: float) -> None:
    """Entries of 30 s: the last one may reach beyond the end, when the target was idle again."""
    line = Timeline(resolution_s=30, t=list(range(30, 1231, 30)), began=BEGAN)
    assert Span.of(line, duration_ms) == Span(began=BEGAN, lasted_s=lasted_s)
