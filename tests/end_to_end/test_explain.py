"""`k6d explain` and the pipeline: real processes, the real k6."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import orjson
import pytest
from rich.console import Console

from k6d.cli.render.run import run_report
from k6d.cli.shop import Shop
from k6d.core.model import Explanation, Run, Severity
from k6d.explain.merge import merge
from k6d.storage.retention import Tier, slimmed
from k6d.storage.store import Store
from support.commands import run_k6d
from support.gemini_server import KEY, MODEL, TRICKLE, answer, error, gemini
from support.records import make_anomaly, make_run
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 120.0
SLACK_S = 60.0  # to kill a helper and to return, on a busy machine
SCRIPT = """\
import http from 'k6/http';
// The shop's front page.
const password = 'hunter2';
export const options = { vus: 1, iterations: 5, thresholds: { http_req_failed: ['rate<0.01'] } };
export default function () { http.get('%s/'); }
"""


@pytest.fixture
def target() -> Iterator[Target]:
    """A target that fails, so that every run is anomalous."""
    with Target() as target:
        target.failing = True
        yield target


@contextlib.contextmanager
def _receiver() -> Iterator[Shop]:
    """The demo's shop, which takes alerts."""
    shop = Shop()
    threading.Thread(target=shop.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield shop
    finally:
        shop.shutdown()
        shop.server_close()


def _env(endpoint: str | None, **more: str) -> dict[str, str]:
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("K6D_", "AI_", "GEMINI"))}
    if endpoint is not None:
        ours = {"GEMINI_API_KEY": KEY, "K6D_AI__ENDPOINT": endpoint}
        more = ours | {"K6D_AI__TIMEOUT": f"{PATIENCE_S:g}"} | more
    return (
        clean
        | {"AI_MODEL": MODEL, "AI_TEMPERATURE": "0.25", "K6D_AI__ATTEMPTS": "1"}
        | {"K6D_COMPARE__MAX_CPU": "100"}
        | more
    )


def _k6d(home: Path, env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_k6d(*arguments, cwd=home, env=env, timeout_s=PATIENCE_S)


def _explained_run() -> Run:
    opinion = Explanation(
        source="AI",
        summary="The checkout fails. <b>Look</b> @channel at the database.",
        issues=["GET /cart is slow."],
        recommendations=["Look at the pool."],
        severity=Severity.CRITICAL,
        confidence=0.7,
        raised_because="It gets worse.",
        model=MODEL,
    )
    verdict, explanation = merge(make_anomaly(), opinion)
    return make_run(anomaly_analysis=verdict, explanation=explanation)


def _shown(run: Run) -> str:
    console = Console(width=120, no_color=True)
    with console.capture() as capture:
        console.print(run_report(run))
    return capture.get()


def test_the_report_says_what_is_from_where() -> None:
    """The AI's part under its model's name; without one, in a line, why."""
    shown = _shown(_explained_run())
    assert f"{MODEL} (AI): critical, confidence 0.7" in shown
    assert "suspects GET /cart is slow." in shown
    assert "raised from high: It gets worse." in shown
    missing = make_run(
        anomaly_analysis=make_anomaly(), explanation=Explanation(unavailable="no key: set it")
    )
    assert "no AI part: no key: set it" in _shown(missing)


def test_explain_an_old_run(tmp_path: Path) -> None:
    """By its id, kept with it, as text and as JSON; when it fails, what was there stays."""
    store = Store(tmp_path / "k6d-data")
    store.save(make_run(anomaly_analysis=make_anomaly()))
    with gemini() as server:
        done = _k6d(tmp_path, _env(server.url), "explain", "latest")
        assert done.returncode == 0, done.stderr
        assert "The checkout fails under load." in done.stdout
        assert len(server.requests) == 1
    kept = store.load(make_run().test_id)
    assert kept.anomaly_analysis.source == "both"
    failed = _k6d(tmp_path, _env("http://127.0.0.1:9"), "explain", "--json")
    assert failed.returncode == 2
    assert "is not explained: Gemini could not be reached" in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert store.load(make_run().test_id) == kept


def test_dry_run(tmp_path: Path) -> None:
    """Without a key: exactly what would be sent, as text and as JSON, and nothing is sent."""
    store = Store(tmp_path / "k6d-data")
    store.save(make_run(anomaly_analysis=make_anomaly()))
    with gemini() as server:
        env = _env(None, K6D_AI__ENDPOINT=server.url)
        printed = _k6d(tmp_path, env, "explain", "latest", "--dry-run").stdout
        fields = json.loads(_k6d(tmp_path, env, "explain", "--dry-run", "--json").stdout)
        assert server.requests == []
        _k6d(tmp_path, _env(server.url), "explain")
        assert fields["data"] == server.said
        assert fields["system"] == server.instructions
        assert server.said in printed
        assert server.instructions in printed
    assert "api_key" not in fields


def _run_one(
    home: Path, target: Target, env: dict[str, str], *more: str
) -> subprocess.CompletedProcess[str]:
    script = home / "shop.js"
    script.write_text(SCRIPT % target.url)
    return _k6d(home, env, "run", str(script), "--json", *more)


def test_a_run_is_explained_and_told(tmp_path: Path, target: Target) -> None:
    """The real k6, its snapshot's source sent without its secret, the alert with the summary."""
    with gemini() as server, _receiver() as shop:
        notify = f"json://{shop.address}/alerts"
        env = _env(server.url, K6D_NOTIFY__URLS=notify)
        done = _run_one(tmp_path, target, env, "--env", "ANIMAL=blue-horse")
        assert done.returncode == 1, done.stderr
        said = json.loads(server.said)
        assert 'const password = "…";' in said["source"]
        assert "hunter2" not in server.said
        assert "blue-horse" not in server.said
        assert "The checkout fails under load." in shop.alerts[0]["message"]
    run = json.loads(done.stdout)
    assert run["explanation"]["source"] == run["anomaly_analysis"]["source"] == "both"
    assert run["explanation"]["unavailable"] is None


def test_the_alert_waits_no_longer_than_the_limit(tmp_path: Path, target: Target) -> None:
    """An AI that never ends its answer: the alert comes all the same, and the run says why."""
    with gemini(TRICKLE) as server, _receiver() as shop:
        env = _env(
            server.url, K6D_NOTIFY__URLS=f"json://{shop.address}/alerts", K6D_AI__TIMEOUT="3"
        )
        done = _run_one(tmp_path, target, env)
        assert len(shop.alerts) == 1
        assert "AI" not in shop.alerts[0]["message"]
    explanation = json.loads(done.stdout)["explanation"]
    assert "did not answer in time" in explanation["unavailable"]
    assert explanation["elapsed_s"] < 3 + SLACK_S


def test_the_record_is_safe_before_the_explanation(tmp_path: Path, target: Target) -> None:
    """Killed while it is explained, a run is on the disk with the rules' verdict."""
    script = tmp_path / "shop.js"
    script.write_text(SCRIPT % target.url)
    with gemini(TRICKLE) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "k6d", "run", str(script)],
            cwd=tmp_path,
            env=_env(server.url),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert server.asked.wait(PATIENCE_S)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
    store = Store(tmp_path / "k6d-data")
    run = store.load(store.find("latest"))
    assert run.anomaly_analysis.anomalies_detected
    assert run.anomaly_analysis.source == "rules"
    assert run.explanation is None


def test_a_run_made_smaller_while_it_is_explained_stays_so(tmp_path: Path) -> None:
    """What was pruned meanwhile does not come back with the explanation."""
    store = Store(tmp_path / "k6d-data")
    store.save(make_run(anomaly_analysis=make_anomaly()))
    run = store.load(store.find("latest"))
    assert run.log.head

    def less(data: bytes) -> bytes:
        return orjson.dumps(slimmed(orjson.loads(data), Tier.DETAIL))

    with gemini(error(500, "INTERNAL", "oops"), answer()) as server, ThreadPoolExecutor() as pool:
        asking = pool.submit(_k6d, tmp_path, _env(server.url, K6D_AI__ATTEMPTS="2"), "explain")
        assert server.asked.wait(PATIENCE_S)
        with server.lock:  # the second answer waits
            store.shrink(run.test_id, less)
        done = asking.result()
    assert done.returncode == 0, done.stderr
    explained = store.load(run.test_id)
    assert explained.explanation
    assert explained.explanation.attempts == 2
    assert explained.log.head == ""
