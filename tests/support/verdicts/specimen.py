"""A small script with the verdict that a k6 user would sign, and how many of them are run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k6d.core.job import Job
from k6d.core.model import FindingKind as Kind
from k6d.core.model import Outcome, Severity, Trigger
from k6d.jobs.pipeline import Pipeline
from k6d.storage.store import Store
from support.shop import settings_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from k6d.core.model import Run

# Each script waits most of its time, so some run at once.
AT_ONCE = 4
HEAD = """import http from 'k6/http';
import { check, fail, group, sleep } from 'k6';
import exec from 'k6/execution';
import { Counter, Gauge, Rate, Trend } from 'k6/metrics';
"""
Found = tuple[Kind, Severity, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """`script` with B for the target's address; `found` are all findings, the worst first.

    G is the address of the gRPC target, whose protocol is in `files`. Of each finding its kind, its
    severity, and words of its message. `doubt` is in the doubts.
    `files` lie beside the script.
    """

    name: str
    script: str
    found: Sequence[Found] = ()
    outcome: Outcome = Outcome.COMPLETED
    doubt: str = ""
    not_on: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def source(self, url: str, grpc: str = "") -> str:
        """The whole script, for a target at `url`, and a gRPC target at host:port."""
        head = HEAD if "import http" not in self.script else ""
        script = self.script.replace("'B", f"'{url}").replace("`B", f"`{url}")
        return head + script.replace("'G'", f"'{grpc}'")


def run_all(
    specimens: Sequence[Specimen],
    *,
    binary: Path,
    url: str,
    home: Path,
    grpc: str = "",
    at_once: int = AT_ONCE,
    **given: object,
) -> list[Run]:
    """Each of them through the pipeline, so many at once, in folders of their own.

    `given` are settings, as compare__max_cpu=90.
    """

    async def go() -> list[Run]:
        turns = asyncio.Semaphore(at_once)
        settings = {"k6__path": binary} | given
        runs = (_run(one, one.source(url, grpc), home, turns, settings) for one in specimens)
        return await asyncio.gather(*runs)

    return asyncio.run(go())


async def _run(
    specimen: Specimen, source: str, home: Path, turns: asyncio.Semaphore, given: dict[str, object]
) -> Run:
    folder = home / specimen.name.replace(" ", "-").replace("/", "-")
    scripts = folder / "scripts"
    scripts.mkdir(parents=True)
    script = scripts / "s.js"
    script.write_text(source)
    for name, text in specimen.files.items():
        (scripts / name).write_text(text)
    loaded = settings_for(folder, **given)
    pipeline = Pipeline(loaded, Store(loaded.data), stop=asyncio.Event())
    async with turns:
        run = await pipeline.run(Job(name="s.js", path=script, trigger=Trigger.MANUAL))
    assert run is not None
    return run


def mistakes(specimen: Specimen, run: Run) -> list[str]:
    """What of the verdict a k6 user would not sign; none: all is right."""
    verdict = run.anomaly_analysis
    wrong = []
    if run.execution.outcome is not specimen.outcome:
        wrong.append(f"outcome {run.execution.outcome}, not {specimen.outcome}")
    seen = sorted((f.kind.value, f.severity.value) for f in verdict.findings)
    if seen != sorted((kind.value, severity.value) for kind, severity, _ in specimen.found):
        wrong.append(f"findings {seen}")
    wrong += [
        f"no {kind} says {words!r}"
        for kind, severity, words in specimen.found
        if not any(f.kind is kind and words in f.message for f in verdict.findings)
    ]
    if specimen.doubt and not any(specimen.doubt in doubt for doubt in verdict.doubts):
        wrong.append(f"doubts {verdict.doubts}")
    if wrong:
        wrong += [f"it said: {issue}" for issue in verdict.issues] + [
            f"error: {run.execution.error}"
        ]
    return wrong
