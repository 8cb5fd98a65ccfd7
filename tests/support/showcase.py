"""A data folder with all that pages show, and the real web process over it.

Scripts with 30 runs and an open incident, 1,000 runs, one run, none, a long name, a script error; a
mute, an accepted level, a schedule, a one-off. The runs are made here, their comparisons, verdicts
and incidents by k6d.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from k6d.alerts.alerting import Alerts
from k6d.alerts.mutes import Mutes
from k6d.analysis import comparison, wording
from k6d.analysis.comparison import Past
from k6d.analysis.verdict import conclude
from k6d.core.measurements import Breakdown, Check, Log, Metrics, Threshold, Timeline
from k6d.core.model import WORSE, Outcome, Trigger, Verdict
from k6d.core.script import Kind
from k6d.core.snapshot import Snapshot
from k6d.daemon.http_supervisor import serving
from k6d.jobs.activity import Activity
from k6d.jobs.queue import JobQueue
from k6d.scripts.registry import Registry, ScriptState
from k6d.settings import load
from k6d.storage.locks import only_daemon
from k6d.storage.marks import marks
from k6d.storage.marks import put as put_mark
from k6d.storage.record import new_test_id
from k6d.storage.store import Store
from support.daemon import PATIENCE_S
from support.records import make_endpoint, make_run
from support.serving import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k6d.core.mark import Mark
    from k6d.core.model import Run
    from k6d.settings import Settings

SHOP, BUSY, ONCE, NEVER = "shop.js", "busy.js", "once.js", "never.js"
LONG = "team-payments/checkout-of-the-new-shop-with-a-very-long-name/black-friday-rehearsal.js"
BROKEN, HELPER, QUIET = "broken.js", "lib/helper.js", "quiet.js"
BROKEN_AT = 22  # of the shop's 30 runs
PLACES = (
    ("GET", "/products", 40.0, 0.5),
    ("POST", "/checkout", 90.0, 0.2),
    ("GET", "/cart", 60.0, 0.3),
)
SHOP_TEXT = "import http from 'k6/http';\nexport default function () { http.get('http://x/'); }\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A made run: factor of /checkout's response times, its failures in percent."""

    slow: float = 1.0
    failing: float = 0.0


def made_run(script: str, at: datetime, level: Level, rng: random.Random, *, edited: bool) -> Run:
    """One run of a minute with three endpoints."""
    total, noise = 6000, rng.gauss(1, 0.03)
    endpoints = []
    for method, path, usual, share in PLACES:
        slow = usual * noise * rng.gauss(1, 0.02) * (level.slow if path == "/checkout" else 1)
        count = int(total * share)
        failed = round(count * (level.failing if path == "/checkout" else 0.0) / 100)
        endpoints.append(
            make_endpoint(
                name=f"http://127.0.0.1:8090{path}",
                method=method,
                count=count,
                failed=failed,
                rate=count / 60,
                error_rate=100 * failed / count,
                avg_ms=slow * 0.6,
                p50_ms=slow * 0.55,
                p90_ms=slow * 0.9,
                p95_ms=slow,
                p99_ms=slow * 1.4,
                max_bucket_ms=slow * 2,
            )
        )
    failed = sum(one.failed or 0 for one in endpoints)
    p95 = max(one.p95_ms or 0 for one in endpoints) * 0.97
    metrics = Metrics(
        response_time_avg=p95 * 0.5,
        response_time_min=p95 * 0.1,
        response_time_med=p95 * 0.45,
        response_time_p90=p95 * 0.9,
        response_time_p95=p95,
        response_time_p99=p95 * 1.3,
        response_time_max=p95 * 2,
        error_rate=100 * failed / total,
        failed_requests=failed,
        total_requests=total,
        requests_per_second=100 * rng.gauss(1, 0.01),
        virtual_users=10,
        duration_ms=60_000.0,
        iterations=total // 3,
        iterations_per_second=total / 180,
        checks_passed=total - failed,
        checks_failed=failed,
        data_received_bytes=48_000_000,
        data_sent_bytes=1_200_000,
    )
    series = {
        "response_time_p95": p95,
        "response_time_p99": p95 * 1.3,
        "response_time_avg": p95 * 0.5,
        "requests_per_second": metrics.requests_per_second or 0.0,
        "error_rate": metrics.error_rate or 0.0,
        "failed_checks": 100 * failed / total,
        **{f"response_time_p95 {one.title}": one.p95_ms or 0.0 for one in endpoints},
        **{f"error_rate {one.title}": one.error_rate or 0.0 for one in endpoints},
        "custom:basket_size:avg:<": 3.2 * noise,
    }
    fingerprint = "b" * 16 if edited else "a" * 16
    return make_run(
        test_id=new_test_id(at),
        timestamp=at,
        script=script,
        trigger=Trigger.CHANGED if edited else Trigger.SCHEDULED,
        metrics=metrics,
        snapshot=Snapshot(id=fingerprint, fingerprint=fingerprint, workload="w" * 16),
        breakdown=Breakdown(
            endpoints=endpoints,
            status_codes={"200": total - failed, **({"500": failed} if failed else {})},
            timeline=timeline(60, p95, 100, failed / 60, rng),
        ),
        checks=[
            Check(name="status is 200", group="", passes=total - failed, fails=failed),
            Check(name="has a basket", group="::cart", passes=total // 3, fails=0),
        ],
        thresholds=[
            Threshold(
                metric="http_req_duration",
                expression="p(95)<150",
                crossed=p95 >= 150,
                observed=p95,
            )
        ],
        k6_metrics=phases(p95),
        custom_metrics=["basket_size"],
        series=series,
        comparable=True,
        log=Log(head=LOG * (1 if not failed else 3)),
    )


LOG = (
    'time="2026-11-22T12:00:00Z" level=info msg="begin"\n'
    'time="2026-11-22T12:00:01Z" level=warning msg="Request Failed" error="dial: i/o timeout"\n'
    'time="2026-11-22T12:00:02Z" level=error msg="checkout refused"\n'
)


def phases(p95: float) -> dict[str, dict[str, float]]:
    """k6's metrics of the phases of a request, and one of the script's own."""
    shares = {
        "blocked": 0.02, "connecting": 0.01, "tls_handshaking": 0.0,
        "sending": 0.01, "waiting": 0.9, "receiving": 0.06,
    }  # fmt: skip
    found = {
        f"http_req_{name}": {"avg": p95 * share * 0.5, "p(95)": p95 * share, "max": p95 * share * 2}
        for name, share in shares.items()
    }
    return {**found, "basket_size": {"avg": 3.2, "min": 1.0, "max": 9.0, "p(95)": 7.0}}


def timeline(seconds: int, p95: float, rate: float, errors: float, rng: random.Random) -> Timeline:
    """A run with a ramp at its begin."""
    ramp = [min(1.0, (i + 1) / 10) for i in range(seconds)]
    return Timeline(
        t=list(range(1, seconds + 1)),
        vus=[round(10 * share) for share in ramp],
        requests_per_second=[rate * share * rng.gauss(1, 0.05) for share in ramp],
        errors_per_second=[errors * share * abs(rng.gauss(1, 0.3)) for share in ramp],
        p95_ms=[p95 * rng.gauss(1, 0.08) for _ in ramp],
        p50_ms=[p95 * 0.5 * rng.gauss(1, 0.05) for _ in ramp],
        p99_ms=[p95 * 1.3 * rng.gauss(1, 0.1) for _ in ramp],
        iterations_per_second=[rate / 3 * share * rng.gauss(1, 0.05) for share in ramp],
    )


def judged(runs: Sequence[Run], sizes: wording.Sizes, marks: Sequence[Mark] = ()) -> list[Run]:
    """The runs, the last few with comparisons and verdicts, each against those before it."""
    past: list[Past] = []
    found = []
    for number, run in enumerate(runs):
        late = number >= max(BROKEN_AT, len(runs) - 8)
        compared = comparison.compare_all([run.series], past[-60:]) if late else []
        happened = wording.Happened(script=run.script, at=run.timestamp, marks=marks)
        files = {run.script: run.snapshot.id if run.snapshot else ""}
        findings = wording.findings(compared, past[-60:], files, sizes=sizes, happened=happened)
        verdict = conclude(findings, wording.doubts(compared))
        made = replace(
            run, comparisons=comparison.worth_keeping(compared), anomaly_analysis=verdict
        )
        found.append(made)
        worse = frozenset(comparison.key_of(c) for c in compared if c.state == WORSE)
        past.append(
            Past(
                test_id=run.test_id,
                timestamp=run.timestamp,
                series=run.series,
                files=files,
                worse=worse,
            )
        )
    return found


class Show:
    """A home with scripts and runs; `serve` starts the web process."""

    def __init__(self, home: Path, *, now: datetime | None = None) -> None:
        self.home, self.scripts, self.data = home, home / "scripts", home / "data"
        self.scripts.mkdir(parents=True)
        (home / "k6d.toml").touch()
        self.now = now or datetime.now(UTC).replace(microsecond=0)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.store = Store(self.data)
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @cached_property
    def settings(self) -> Settings:
        """The settings of this home."""
        return load(
            self.home / "k6d.toml",
            data=self.data,
            scripts=self.scripts,
            api={"enabled": True, "port": self.port},
            notify={"urls": ["json://127.0.0.1:9/alerts"]},
        )

    @property
    def token(self) -> str:
        """The token for actions."""
        return (self.data / "api-token").read_text().strip()

    def fill(self, *, many: int = 1000) -> Self:
        """All kinds of scripts, `many` runs of one of them."""
        rng = random.Random(22)
        alerts = Alerts(self.settings, self.store)
        compare = self.settings.compare
        sizes = wording.Sizes(percent=compare.percent, points=compare.points)
        for name in (SHOP, BUSY, ONCE, LONG, QUIET):
            self._script(name)
        self._script(NEVER, ran=None)
        self._script(BROKEN, kind=Kind.BROKEN)
        self._script(HELPER, kind=Kind.LIBRARY, left_alone="a helper module")
        for name, step, broken_at in (
            (SHOP, timedelta(hours=1), BROKEN_AT),
            (LONG, timedelta(minutes=10), 25),
            (QUIET, timedelta(days=1), 99),
        ):
            runs = self._runs(name, 30, step, broken_at, rng)
            if name == SHOP:
                at = runs[broken_at].timestamp - timedelta(minutes=4)
                put_mark("checkout 2.14", self.store, at=at, script=SHOP)
            for run in judged(runs, sizes, marks(self.store)):
                self.store.save(run)
                alerts.record(run)
        for number, (begin, end) in enumerate(((20, 18), (12, 9))):
            self.store.state("recoveries").put(f"r{number}", self._recovery(begin, end))
        busy = self._runs(BUSY, many, timedelta(minutes=13), many + 1, rng)
        self.store.put([*busy[:-60], *judged(busy[-60:], sizes)])
        self.store.put(self._runs(ONCE, 1, timedelta(hours=1), 9, rng))
        self.store.save(self._broken())
        alerts.record(self.store.load(self.store.history(BROKEN, 1)[0]["test_id"]))
        self.store.repair()
        Mutes(self.store).put(LONG, "2h")
        soon = (self.now + timedelta(minutes=24)).isoformat()
        start = {"rule": "0 * * * * (UTC, +0 s)", "next": soon, "at": self.now.isoformat()}
        self.store.state("schedule").put(SHOP, start)
        alerts.accept(QUIET, "the new price list")
        return self

    def _script(
        self,
        name: str,
        *,
        kind: Kind = Kind.TEST,
        ran: str | None = "a",
        left_alone: str | None = None,
    ) -> None:
        path = self.scripts / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SHOP_TEXT)
        state = ScriptState(
            kind=kind,
            fingerprint="a",
            ran=ran,
            dependencies={str(path): "a"},
            settings={"schedule": "0 * * * *"} if name == SHOP else None,
            left_alone=left_alone,
        )
        Registry(self.store, self.scripts).put(name, state)

    def _runs(
        self, name: str, number: int, step: timedelta, broken_at: int, rng: random.Random
    ) -> list[Run]:
        begin = self.now - step * number
        return [
            made_run(
                name,
                begin + step * i,
                Level(slow=2.4, failing=8.0 if name == SHOP else 0.0)
                if i >= broken_at
                else Level(),
                rng,
                edited=i in (0, broken_at),
            )
            for i in range(number)
        ]

    def _recovery(self, begin: int, end: int) -> dict[str, str]:
        """An incident of the quiet script, from a number of days ago to another."""
        since, ended = (self.now - timedelta(days=days) for days in (begin, end))
        runs = {"first_run": new_test_id(since), "last_run": new_test_id(ended)}
        times = {"since": since.isoformat(), "ended": ended.isoformat()}
        return {"script": QUIET, **times, **runs}

    def _broken(self) -> Run:
        message = "SyntaxError: Unexpected token (3:7)\n\tat file:///srv/k6/broken.js:3:7"
        base = make_run()
        return make_run(
            test_id=new_test_id(self.now),
            timestamp=self.now,
            script=BROKEN,
            metrics=Metrics(),
            execution=replace(
                base.execution, outcome=Outcome.SCRIPT_ERROR, exit_code=107, error=message
            ),
            anomaly_analysis=Verdict(anomalies_detected=False),
            breakdown=Breakdown(),
            checks=[],
            thresholds=[],
            status="failed",
            log=Log(),
        )

    def serve(self) -> Self:
        """Start the web process; returns when it accepts connections."""
        ready = threading.Event()

        async def main() -> None:
            self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
            queue = JobQueue()
            with only_daemon(self.settings.data) as lock:
                async with serving(lambda: self.settings, queue, Activity(queue), lock):
                    ready.set()
                    await self._stop.wait()

        self._thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
        self._thread.start()
        assert ready.wait(PATIENCE_S)
        return self

    def answering(self) -> list[int]:
        """The web process, if it runs: it is our child."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                parent = int(status.read_text().rpartition(")")[2].split()[1])
                command = (status.parent / "cmdline").read_bytes()
                if parent == os.getpid() and b"k6d.web.server" in command:
                    found.append(int(status.parent.name))
        return found

    def close(self) -> None:
        """End the web process."""
        if self._loop and self._stop:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread:
            self._thread.join(PATIENCE_S)
