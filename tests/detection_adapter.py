"""The shipped detector for the scorer: make() -> detector(history, new).

python3 evaluate.py --split dev --detector tests/detection_adapter.py:make
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "daemon"))

from typing import TYPE_CHECKING

from k6d.analysis.change_point import Level, follow
from k6d.analysis.prediction_interval import compare

if TYPE_CHECKING:
    from collections.abc import Sequence


class Detector:
    """Follows one series; `history` is ignored but for what has been seen already."""

    stateful = True

    def __init__(self) -> None:
        self.level = Level()

    def __call__(self, history: Sequence[float], new: float) -> dict[str, object] | None:
        """A lasting shift is a regression, one odd run an anomaly, all else nothing."""
        comparison = compare(new, history[self.level.start :])
        self.level = follow(self.level, new)
        if self.level.shift is not None:
            return {"dir": self.level.shift.direction, "kind": "regression"}
        if comparison.state in ("worse", "changed"):
            return {"dir": comparison.direction, "kind": "anomaly"}
        return None


def make() -> Detector:
    """A fresh detector for one series."""
    return Detector()
