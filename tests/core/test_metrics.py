"""One list of metrics: every room takes names, titles and units from it."""

from __future__ import annotations

from dataclasses import fields

from k6d.analysis import series, side_by_side
from k6d.core.measurements import Metrics
from k6d.core.metrics import INDEXED, METRICS, ORIGINAL


def test_what_is_stored_and_shown_is_in_the_list() -> None:
    """Each name that is stored, compared or served is described once, under its own name."""
    used = {*ORIGINAL, *series.OVERALL_METRICS, *side_by_side.COMPARED}
    assert used == METRICS.keys()
    assert all(name == metric.name for name, metric in METRICS.items())


def test_what_is_indexed_is_a_field_of_the_record() -> None:
    """The index and the API name fields of the record of a run."""
    assert {*INDEXED, *ORIGINAL, *side_by_side.COMPARED} <= {f.name for f in fields(Metrics)}


def test_labels_and_titles_are_unambiguous() -> None:
    """No two metrics have the same title or label."""
    for texts in ([m.title for m in METRICS.values()], [m.short for m in METRICS.values()]):
        assert len(texts) == len(set(texts))
