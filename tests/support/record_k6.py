"""Record what a k6 does, for tests where it cannot be had: see below

Writes tests/data/k6/VERSION/: one file for each case of k6_cases, and a summary in the new form.
Needs the environment that `make test` sets up:

    PYTHONPATH=tests .venv/bin/python -m support.record_k6 PATH-TO-K6
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from support.k6_cases import CASES, CROSSED, run
from support.k6_tape import tape
from support.paths import DATA
from support.target import Target

RECORDINGS = DATA / "k6"


def main(k6: Path) -> None:
    """Record all cases, one at a time."""
    said = subprocess.run([k6, "version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r" v(\d+\.\d+\.\d+)", said)
    assert match, f"{k6} is not k6: {said}"
    version = said.splitlines()[0].replace(k6.name, "k6", 1)
    about = {"k6": version, "recorded": datetime.now(UTC).date().isoformat()}
    folder = RECORDINGS / match[1]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with Target() as target:
        target.status["/broken"] = 500
        for name in CASES:
            recording = folder / f"{name.replace(' ', '_')}.json"
            recording.write_text(json.dumps(about | _record(name, k6, recording, target), indent=1))
            print(f"{match[1]}: {name}")  # noqa: T201
        (folder / "summary_new_form.json").write_text(_new_summary(k6, target))


def _record(name: str, k6: Path, recording: Path, target: Target) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve()
        places = {"DIR": str(folder), "TARGET": target.url}
        program = tape(folder / "k6", "record", recording, places=places, k6=str(k6))
        asyncio.run(run(CASES[name], binary=program, folder=folder, target=target.url))
    parts = {}
    for command in ("version", "archive", "inspect", "run"):
        part = recording.with_suffix(f".{command}")
        if part.exists():
            parts[command] = json.loads(part.read_text())
            part.unlink()
    return parts


def _new_summary(k6: Path, target: Target) -> str:
    with tempfile.TemporaryDirectory() as folder:
        script, summary = Path(folder) / "s.js", Path(folder) / "summary.json"
        script.write_text(CROSSED)
        flags = ["--quiet", "--no-usage-report", "--new-machine-readable-summary"]
        flags += ["--summary-export", str(summary), "-e", f"TARGET={target.url}"]
        # Its threshold is crossed: exit code 99.
        subprocess.run([k6, "run", *flags, str(script)], capture_output=True, check=False)
        return summary.read_text()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
