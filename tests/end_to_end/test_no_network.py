"""`k6d run` on a machine without a network: a namespace of its own, with nothing but loopback."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from k6d.alerts.outbox import Outbox
from k6d.core.model import Outcome
from k6d.storage import Store
from support.daemon import hitting
from support.programs import program

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
