"""Scores of the shipped detector on recorded series, each beside its goal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stage import Table, verdict

from support.detection_scoring import load, score

if TYPE_CHECKING:
    from pathlib import Path

    from support.detection_scoring import Score

# Least F1, most runs late, most false alarms for 1,000 points; the last four have no goal of their
# own but the best method of ../shared/detection/baselines.py on that set.
GOALS: dict[str, tuple[float, float | None, float | None]] = {
    "k6_local": (0.95, 2.0, 1.0),
    "sap_small": (0.95, None, 1.0),
    "k6_spikes": (0.95, None, None),
    "msft_latency": (0.49, None, None),
    "msft_rates": (0.33, None, None),
    "nab": (0.23, None, None),
    "tcpd": (0.42, None, None),
}


def measure(_work: Path) -> Table:
    """Steps within five runs, odd single runs within three."""
    rows, absent = [], []
    for name, goal in GOALS.items():
        data = load(name)
        if data is None:
            absent.append(name)
            continue
        scored = score(data, within=3 if data["kind"] == "spike" else 5)
        rows.append(_row(name, scored, goal))
    notes = ["F1@5 for steps (k6_local, sap_small, tcpd), F1@3 for odd runs; delay in runs."]
    if absent:
        notes.append(f"Not measured, for they are not at hand: {', '.join(absent)}.")
    return Table(
        title="Detection on recorded series",
        columns=["set", "F1", "TP / FP / FN", "delay", "false / 1,000", "goal"],
        rows=rows,
        notes=notes,
    )


def _row(name: str, scored: Score, goal: tuple[float, float | None, float | None]) -> list[str]:
    least, late, false = goal
    kept = (
        scored.f1 >= least
        and (late is None or scored.delay <= late)
        and (false is None or scored.false <= false)
    )
    wanted = [f"≥ {least:g}"]
    wanted += [f"delay ≤ {late:g}"] if late is not None else []
    wanted += [f"false ≤ {false:g}"] if false is not None else []
    return [
        name,
        f"{scored.f1:.2f}",
        f"{scored.tp} / {scored.fp} / {scored.fn}",
        f"{scored.delay:.1f}",
        f"{scored.false:.1f}",
        f"{', '.join(wanted)}: {verdict(kept)}",
    ]
