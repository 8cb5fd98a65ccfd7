"""Stores the scripts of imported runs as snapshots, and makes such runs baselines with k6."""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from k6d.analysis import series
from k6d.core.errors import K6dError
from k6d.core.measurements import Breakdown, Summary
from k6d.core.model import Result
from k6d.core.snapshot import IMPORTED_TEXT, Snapshot
from k6d.execution import posted
from k6d.execution.local import discovery, variables
from k6d.jobs.regression_check import can_compare

if TYPE_CHECKING:
    from k6d.core.model import Run
    from k6d.execution.archive import Script
    from k6d.execution.local.k6 import K6
    from k6d.settings import Settings
    from k6d.storage.store import Store

OPTIONS = ("vus", "duration", "iterations")


def text_snapshot(script: str, run: Run, store: Store) -> Snapshot:
    """Store the script's text as a snapshot; its imported files and options are unknown."""
    text = script.encode(errors="replace")
    given = options_of(run)
    content = hashlib.sha256(text).hexdigest()
    key = orjson.dumps([content, given], option=orjson.OPT_SORT_KEYS)
    snapshot = Snapshot(
        id=f"{IMPORTED_TEXT}{hashlib.sha256(key).hexdigest()[:16]}",
        fingerprint=content[:16],
        workload=f"{IMPORTED_TEXT}{hashlib.sha256(orjson.dumps(given)).hexdigest()[:8]}",
    )
    if not store.snapshot_path(snapshot.id).exists():
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            file.write(_archive(text, name=Path(run.script).name, options=given))
            file.flush()
            store.put_snapshot(snapshot.id, Path(file.name))
    return snapshot


def options_of(run: Run) -> dict[str, Any]:
    """Return the load options that were posted to the original service with the script."""
    given = (run.imported or {}).get("options")
    named = given if isinstance(given, dict) else {}
    return {name: named[name] for name in OPTIONS if isinstance(named.get(name), (int, str))}


def _archive(text: bytes, *, name: str, options: dict[str, Any]) -> bytes:
    """Return a tar in the format of `k6 archive`."""
    metadata = {
        "type": "js",
        "options": options,
        "filename": f"file:///one-off/{name}",
        "pwd": "file:///one-off",
        "env": {},
        "compatibilityMode": "extended",
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        members = {
            "metadata.json": orjson.dumps(metadata),
            "data": text,
            f"file/one-off/{name}": text,
        }
        for member, contents in members.items():
            info = tarfile.TarInfo(member)
            info.size, info.mode = len(contents), 0o644
            tar.addfile(info, io.BytesIO(contents))
    return out.getvalue()


class Baselines:
    """Gives imported runs the snapshot and the workload that this machine's k6 finds.

    The owner has stated that the runs were made on this machine with this k6. So later runs of the
    same script with the same options are compared with them.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._known: dict[tuple[str, str], Snapshot | str] = {}
        self._k6: K6 = asyncio.run(discovery.find(settings.k6.path))

    def __call__(self, run: Run, script: str) -> tuple[Run, str | None]:
        """Return the run as a baseline and None; else the unchanged run and the reason."""
        given = options_of(run)
        key = script, orjson.dumps(given, option=orjson.OPT_SORT_KEYS).decode()
        if key not in self._known:
            self._known[key] = self._snapshot(script, run, given)
        snapshot = self._known[key]
        if isinstance(snapshot, str):
            return run, snapshot
        run = replace(run, snapshot=snapshot, series=_series(run))
        if not can_compare(run):
            return run, "it did not complete"
        if not run.series:
            return run, "it measured nothing"
        return replace(run, comparable=True), None

    def _snapshot(self, script: str, run: Run, given: dict[str, Any]) -> Snapshot | str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(run.script).name
            path.write_text(script, encoding="utf-8", errors="replace")
            options = {name: str(value) for name, value in given.items()}
            try:
                found = asyncio.run(self._inspect(path, run.script, options))
            except K6dError as error:
                return str(error)
            if found.snapshot is None or found.archive is None:
                return f"k6 refuses its script: {found.error}"
            self._store.put_snapshot(found.snapshot.id, found.archive)
            return replace(found.snapshot, dependencies={})

    async def _inspect(self, path: Path, name: str, options: dict[str, str]) -> Script:
        work = path.parent / "work"
        with suppress(FileExistsError):
            work.mkdir()
        return await posted.look(
            path,
            options=options,
            name=name,
            k6=self._k6,
            workdir=work,
            env=variables.environment(self._settings.k6.env),
        )


def _series(run: Run) -> dict[str, float]:
    """Return the series of the run that are compared."""
    result = Result(
        execution=run.execution, summary=Summary(metrics=run.metrics), breakdown=Breakdown()
    )
    return series.of(result, min_requests=1)
