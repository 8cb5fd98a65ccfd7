"""`k6d run` on a machine without a network, or that loses it: a network namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from k6d.alerts.outbox import Outbox
from k6d.core.model import Outcome, Severity
from k6d.storage.store import Store
from support.daemon import hitting
from support.paths import ROOT
from support.programs import program
from support.vanishing_network import TARGET

if TYPE_CHECKING:
    from pathlib import Path

ALONE = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
NOT_RUN = 2  # the exit code of `k6d run` when nothing is known of the target


def _need_a_namespace() -> None:
    """Leave the test out where no network namespace can be made."""
    program("unshare")
    program("ip")
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("for want of the right to make a network namespace")


def test_scripts_without_a_network_say_nothing_of_their_targets(tmp_path: Path) -> None:
    """Two scripts, one of them tried twice: inconclusive, no incident, one message for both."""
    _need_a_namespace()
    scripts, data = tmp_path / "scripts", tmp_path / "data"
    scripts.mkdir()
    crossed = "thresholds: { http_req_failed: ['rate<0.01'] }"
    (scripts / "address.js").write_text(hitting("http://203.0.113.5/", options=crossed))
    (scripts / "name.js").write_text(hitting("http://203.0.113.6/"))
    (tmp_path / "k6d.toml").write_text("[notify]\nurls = ['json://127.0.0.1:1/']\nretry = 3600\n")
    command = [sys.executable, "-m", "k6d", "run", "--scripts", str(scripts), "--data", str(data)]
    for name in ("address.js", "name.js", "address.js"):
        ran = subprocess.run(
            [*ALONE, *command, str(scripts / name)], cwd=tmp_path, capture_output=True, check=False
        )
        assert ran.returncode == NOT_RUN, ran.stderr.decode()
    store = Store(data)
    for document in store.history():
        run = store.load(document["test_id"])
        assert run.execution.outcome is Outcome.NO_NETWORK
        assert "network is unreachable" in (run.execution.error or "")
        assert run.anomaly_analysis.severity is None
    assert all(kept["incident"] is None for kept in store.state("incidents").all().values())
    (kept,) = Outbox(data).waiting()
    assert dict(kept.message.facts)["Scripts"] == "address.js, name.js"


LOSING = """import http from 'k6/http';
import { check, sleep } from 'k6';
const thresholds = { checks: ['rate>0.9'] };
export const options = { iterations: 40, noConnectionReuse: true, thresholds };
export default function () {
  check(http.get('%s', { timeout: '2s' }), { answered: (r) => r.status > 0 });
  sleep(0.05);
}
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "outcome", "severity"),
    [("/", Outcome.NO_NETWORK, None), ("/half", Outcome.COMPLETED, Severity.HIGH)],
)
def test_a_network_that_is_lost_in_the_middle_of_a_run(
    tmp_path: Path, path: str, outcome: Outcome, severity: Severity | None
) -> None:
    """A healthy target until then: inconclusive. One that failed is told, by its own answers.

    Of 40 requests 20 were answered; those of the lost network stand apart, with a doubt.
    """
    _need_a_namespace()
    script, data = tmp_path / "s.js", tmp_path / "data"
    script.write_text(LOSING % f"{TARGET}{path}")
    (tmp_path / "k6d.toml").touch()
    inside = [sys.executable, "-m", "support.vanishing_network"]
    command = [sys.executable, "-m", "k6d", "run", str(script), "--data", str(data)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    ran = subprocess.run(
        [*ALONE, *inside, *command],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        check=False,
    )
    store = Store(data)
    (document,) = store.history()
    run = store.load(document["test_id"])
    said = (ran.stdout + ran.stderr).decode(), run.anomaly_analysis
    assert (run.execution.outcome, run.anomaly_analysis.severity) == (outcome, severity), said
    assert run.load is not None
    lost = run.breakdown.lost_requests
    assert lost + (run.load.total_requests or 0) == 40
    assert lost >= 18, "one or two may have been under way"
    assert not run.comparable
    doubts = " ".join(run.anomaly_analysis.doubts)
    assert "this machine lost its network" in doubts + (run.execution.error or "")
    if severity:
        assert any("HTTP 500" in issue for issue in run.anomaly_analysis.issues), said
        assert 45 <= (run.load.error_rate or 0) <= 60
