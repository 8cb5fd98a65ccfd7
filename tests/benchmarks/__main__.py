"""`python tests/benchmarks [NAME...]`: measure, print a table for each, ready for README.md."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

sys.path.insert(1, str(Path(__file__).parents[1]))  # tests/: its daemon and its records

NAMES = (
    *("latency", "throughput", "save", "idle", "api", "cluster"),
    *("detection", "power", "regression_trials"),
)
LONG = ("pages", "store", "storm", "crash", "messages", "soak")  # these only when they are named


def main(wanted: list[str]) -> int:
    """Run those named, or all; 2 for a name that is none."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    known = NAMES + LONG
    unknown = set(wanted) - set(known)
    if unknown:
        console.print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        return 2
    import_module("support.daemon").Daemon.forks = False  # each daemon is a Python of its own
    for name in wanted or NAMES:
        before = os.getloadavg()[0]
        with tempfile.TemporaryDirectory(prefix=f"k6d-{name}-") as work:
            measured = import_module(name).measure(Path(work))
        table = RichTable(box=box.MARKDOWN)
        for number, column in enumerate(measured.columns):
            table.add_column(column, justify="right" if 0 < number < 3 else "left")
        for row in measured.rows:
            table.add_row(*row)
        console.print(f"### {measured.title}", table, *measured.notes, sep="\n", markup=False)
        load = f"{before:.1f} before, {os.getloadavg()[0]:.1f} after"
        console.print(f"Load (1 min) {load}; {os.cpu_count()} CPUs.\n", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
