"""Writes daemon/docs/verdicts.md from the tables of specimens.

PYTHONPATH=tests .venv/bin/python -m support.verdicts.document
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.core.model import INCONCLUSIVE, Outcome
from support.paths import ROOT
from support.verdicts import TABLES

if TYPE_CHECKING:
    from types import ModuleType

    from support.verdicts.specimen import Specimen

DOCUMENT = ROOT / "daemon" / "docs" / "verdicts.md"
_HEAD = """\
# Verdicts

What k6d says of {count} small scripts. `tests/verdicts/test_verdicts.py` runs each of them with the
real k6, 0.57 and 1.1, against a target that is quick, slow, failing or not there, and compares all
findings. The scripts are in `tests/support/verdicts`; this page is made from them:

```sh
PYTHONPATH=tests .venv/bin/python -m support.verdicts.document
```

A finding has a severity, a kind and words of its message. A run is as bad as its worst finding.
“Doubt” is what k6d says beside its findings. The outcome of the run is named where it is not
“completed”. Runs around each limit of the original service are in
`tests/verdicts/test_limits.py`. Runs without a network, without k6 or without the server of a
module are inconclusive; `tests/end_to_end/test_no_network.py` and `test_serve_trouble.py` show
them. k6 reports no requests that were interrupted at the end of a run: no verdict counts them.
"""


def document() -> str:
    """The page as it should be."""
    count = sum(len(table.TABLE) for table in TABLES.values())
    return "\n".join([_HEAD.format(count=count), *map(_section, TABLES.values())])


def _section(table: ModuleType) -> str:
    title = (table.__doc__ or "").rstrip(".")
    head = ["| script | verdict | findings |", "|---|---|---|"]
    return "\n".join([f"## {title}", "", *head, *map(_row, table.TABLE), ""])


def _row(specimen: Specimen) -> str:
    worst_first = sorted(specimen.found, key=lambda found: -found[1].rank)
    found = [f"**{severity}** {kind}: “{words.strip()}”" for kind, severity, words in worst_first]
    if specimen.doubt:
        found.append(f"doubt: “{specimen.doubt}”")
    if specimen.not_on:
        found.append(f"not with k6 {', '.join(specimen.not_on)}")
    cells = [specimen.name, _verdict(specimen), "<br>".join(found)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _verdict(specimen: Specimen) -> str:
    worst = max((severity for _, severity, _ in specimen.found), key=lambda s: s.rank, default=None)
    said = f"anomalous ({worst})" if worst else "healthy"
    if specimen.outcome in INCONCLUSIVE:
        said = "inconclusive"
    completed = specimen.outcome is Outcome.COMPLETED
    return said if completed else f"{said}; {specimen.outcome}"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
