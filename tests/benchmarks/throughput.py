"""What k6 delivers under k6d, beside what it delivers alone, at full CPU; and what a run costs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from math import comb
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING

import orjson
from stage import K6, Table, Target, environment, many_requests, median, verdict

from k6d.execution.local import k6 as processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

REQUESTS = int(os.environ.get("THROUGHPUT_REQUESTS", "60000"))
FEW = 20
ROUNDS = int(os.environ.get("THROUGHPUT_ROUNDS", "15"))
GOAL = 0.98
GOAL_FIXED_S = 0.4
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run: requests/s as k6 says, CPU seconds of all processes."""

    rate: float
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Runs in turn; what the two of k6 alone differ by is the machine's noise."""

    alone: Sample
    with_options: Sample
    under_k6d: Sample
    alone_again: Sample

    def ratio(self, one: Sample) -> float:
        """The rate, of the mean of k6 alone before and after."""
        return 2 * one.rate / (self.alone.rate + self.alone_again.rate)

    def more_cpu_s(self, one: Sample) -> float:
        """The CPU seconds beyond those of k6 alone."""
        return one.cpu_s - (self.alone.cpu_s + self.alone_again.cpu_s) / 2


class _Sink(BaseHTTPRequestHandler):
    """Takes pushes, and does nothing with them."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def sink() -> Iterator[str]:
    """The URL of a receiver that costs next to nothing."""
    ThreadingTCPServer.daemon_threads = True
    with ThreadingTCPServer(("127.0.0.1", 0), _Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/write"
        server.shutdown()


def _timed(
    command: Sequence[str | Path], work: Path, env: dict[str, str] | None = None
) -> tuple[bytes, float]:
    before = os.times()
    done = subprocess.run(
        command, cwd=work, env=env or environment(work), capture_output=True, check=False
    )
    after = os.times()
    used = after.children_user + after.children_system
    return done.stdout, used - before.children_user - before.children_system


def _k6(command: Sequence[str | Path], work: Path, env: dict[str, str] | None = None) -> Sample:
    _, cpu_s = _timed(command, work, env)
    summary = orjson.loads((work / "summary.json").read_bytes())
    return Sample(rate=summary["metrics"]["http_reqs"]["rate"], cpu_s=cpu_s)


def alone(script: Path, work: Path) -> Sample:
    """`k6 run`, with its summary in a file for the rate."""
    return _k6([K6, "run", "--quiet", "--summary-export", work / "summary.json", script], work)


def with_options(script: Path, work: Path, *, url: str) -> Sample:
    """k6 with the command line and the variables that k6d gives it, without k6d."""
    k6 = processes.K6(K6, "1.1.0")
    command, env = k6.run_command(
        script, summary=work / "summary.json", options={}, env=environment(work)
    )
    return _k6(command, work, k6.receiving(url, env))


def under_k6d(script: Path, work: Path) -> Sample:
    """`k6d run`, all of it: snapshot, capture, verdict, record."""
    k6d: list[str | Path] = [sys.executable, "-m", "k6d"]
    env = environment(work, K6D_COMPARE__CONFIRM="0")  # a re-run is one more run
    printed, cpu_s = _timed([*k6d, "run", script, "--data", work / "data", "--json"], work, env)
    run = orjson.loads(printed)
    assert run["execution"]["outcome"] == "completed", run["execution"]
    return Sample(rate=run["metrics"]["requests_per_second"], cpu_s=cpu_s)


def rounds(work: Path, *, requests: int, target: str) -> list[Round]:
    """So many rounds of runs with so many requests."""
    script = work / f"requests-{requests}.js"
    script.write_text(many_requests(target, requests=requests))
    with sink() as url:
        return [
            Round(
                alone=alone(script, work),
                with_options=with_options(script, work, url=url),
                under_k6d=under_k6d(script, work),
                alone_again=alone(script, work),
            )
            for _ in range(ROUNDS)
        ]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Bounds of the median with 95 % confidence, by the ranks of the values (the sign test)."""
    ordered, count = sorted(values), len(values)
    outside, rank = 0.0, 0
    while rank < count // 2 and (outside + comb(count, rank) / 2**count) * 2 <= 1 - CONFIDENCE:
        outside += comb(count, rank) / 2**count
        rank += 1
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[count - 1 - rank]


def measure(work: Path) -> Table:
    """Rounds of a few requests for the fixed cost, then of many."""
    with Target() as target:
        few = rounds(work, requests=FEW, target=target.url)
        full = rounds(work, requests=REQUESTS, target=target.url)
    again = [one.alone_again.rate / one.alone.rate for one in full]
    again_cpu = [one.alone_again.cpu_s - one.alone.cpu_s for one in full]
    again_few = [one.alone_again.cpu_s - one.alone.cpu_s for one in few]
    rows = [
        _row("k6 run again (noise)", _rate(one.alone_again for one in full), again, again_few,
             again_cpu, goals=False),
        *(
            _row(
                name,
                _rate(of(one) for one in full),
                [one.ratio(of(one)) for one in full],
                [one.more_cpu_s(of(one)) for one in few],
                [one.more_cpu_s(of(one)) for one in full],
                goals=name == "k6d run",
            )
            for name, of in (
                ("k6 with k6d's options", lambda one: one.with_options),
                ("k6d run", lambda one: one.under_k6d),
            )
        ),
    ]  # fmt: skip
    alone_cpu = median([one.alone.cpu_s for one in full])
    return Table(
        title=f"{REQUESTS:,} requests at full CPU",
        columns=["", "requests/s", "of k6 alone", f"CPU s more, {FEW} requests",
                 f"CPU s more, {REQUESTS:,} requests", "goal"],
        rows=[["k6 run", _rate(one.alone for one in full), "1", "0", "0", ""], *rows],
        notes=[
            f"{ROUNDS} rounds of k6, k6 with k6d's options, k6d, k6. Medians with their 95 % "
            "intervals, of the ratios and differences within each round to the mean of k6 alone.",
            "CPU: user and system time of all processes but the target and, for k6's options, the "
            f"receiver. k6 alone takes {alone_cpu:.2f} s.",
        ],
    )  # fmt: skip


def _row(
    name: str,
    rate: str,
    ratios: Sequence[float],
    few: Sequence[float],
    full: Sequence[float],
    *,
    goals: bool,
) -> list[str]:
    kept = f"≥ {GOAL}, ≤ {GOAL_FIXED_S} s: " + _judged(ratios, few) if goals else ""
    return [name, rate, _shown(ratios, 3), _shown(few, 2), _shown(full, 2), kept]


def _judged(ratios: Sequence[float], few: Sequence[float]) -> str:
    """Whether each goal is reached; undecided where the interval holds it."""
    low, high = interval(ratios)
    rate = "undecided" if low < GOAL <= high else verdict(median(ratios) >= GOAL)
    return f"{rate}, {verdict(median(few) <= GOAL_FIXED_S)}"


def _rate(samples: Iterator[Sample]) -> str:
    return f"{statistics.median(one.rate for one in samples):.0f}"


def _shown(values: Sequence[float], digits: int) -> str:
    low, high = interval(values)
    return f"{median(values):.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"
