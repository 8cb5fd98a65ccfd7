"""Whether a run is to be explained; this is known without what asks Gemini."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k6d.core.model import Run
    from k6d.settings import Ai


def wanted(run: Run, ai: Ai) -> bool:
    """Return whether `ai.when` asks for an explanation of this run."""
    return ai.when == "always" or (
        ai.when == "anomalous" and run.anomaly_analysis.anomalies_detected
    )
