"""The shipped detector on the project's own k6 series, by the protocol of ../shared/detection.

Where the original scorer is at hand, it and ours must agree to the last figure.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from detection_adapter import make
from support.detection_scoring import SHARED, Score, load, power, score, stretched, unchanged

ORIGINAL = SHARED / "evaluate.py"


def test_steps_in_real_k6_series() -> None:
    """F1@5 ≥ 0.95, told 2 runs late at most, and one false alarm in 1,000 points at most."""
    data = load("k6_local")
    assert data is not None
    scored = score(data, within=5)
    assert scored.tp + scored.fn == 34
    assert scored.f1 >= 0.95
    assert scored.delay <= 2.0
    assert scored.false <= 1
    _agrees_with_the_original(data, scored, within=5)


def test_single_odd_runs_in_real_k6_series() -> None:
    """F1@3 ≥ 0.95, of ×1.3 to ×3."""
    data = load("k6_spikes")
    assert data is not None
    scored = score(data, within=3)
    assert scored.tp + scored.fn == 24
    assert scored.f1 >= 0.95
    _agrees_with_the_original(data, scored, within=3)


def test_what_is_seen_of_a_step() -> None:
    """+50 % in the noise of unchanged k6 runs, 3 % wide: at once, confirmed, and then for good."""
    data = load("k6_local")
    assert data is not None
    windows = [stretched(values, to=0.03) for values in unchanged(data)]
    seen = power(windows, step=0.5, history=20)
    assert seen.tried == len(windows) == 15
    assert seen.odd >= seen.confirmed >= 14
    assert seen.lasting_within[5] >= 14
    assert power(windows, step=0.0, history=20).confirmed == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "within", "least"),
    [("sap_small", 5, 0.95), ("msft_latency", 3, 0.48), ("msft_rates", 3, 0.33), ("nab", 3, 0.23)],
)
def test_the_other_sets(name: str, within: int, least: float) -> None:
    """Where they are at hand: no worse than the best method of baselines.py, to 0.01."""
    data = load(name)
    if data is None:
        assert not SHARED.exists()
        return
    assert score(data, within=within).f1 >= least


def _agrees_with_the_original(data: dict[str, Any], scored: Score, *, within: int) -> None:
    if not ORIGINAL.exists():
        return
    spec = importlib.util.spec_from_file_location("evaluate", ORIGINAL)
    assert spec is not None
    assert spec.loader is not None
    scorer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scorer)
    theirs = scorer.evaluate_set(make, data, ks=(within,), boot=0)[f"k{within}"]
    assert (theirs["tp"], theirs["fp"], theirs["fn"]) == (scored.tp, scored.fp, scored.fn)
    assert theirs["delay"] == pytest.approx(scored.delay)
    assert theirs["far"] == pytest.approx(scored.false)
    assert theirs["f1"] == pytest.approx(scored.f1)
