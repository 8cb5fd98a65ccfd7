"""One run of the real k6 through the pipeline."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from k6d.core.model import FindingKind, Severity
from support.shop import PAGES, Shop, run_shop, settings_for

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.long
def test_a_step_inside_a_run_is_found_at_its_second(tmp_path: Path) -> None:
    """From the sixteenth second of its load on the target takes ten times as long."""
    with Shop() as shop:
        began: list[float] = []

        def latency() -> float:
            began.append(time.monotonic())
            return 0.02 if began[-1] - began[0] < 16 else 0.2

        for page in PAGES:
            shop.target.latency[f"/{page}"] = latency
        shop.write(tmp_path / "scripts", seconds=29)
        run = run_shop(settings_for(tmp_path))
    spikes = [f for f in run.anomaly_analysis.findings if f.kind is FindingKind.SPIKE]
    assert [(f.metric, f.severity) for f in spikes] == [("response_time_p95", Severity.MEDIUM)]
    found = re.match(r"p95 (\d+) ms at second (\d+) from then on, was ", spikes[0].message)
    assert found, spikes[0].message
    assert 180 < int(found[1]) < 400
    assert 15 <= int(found[2]) <= 18
