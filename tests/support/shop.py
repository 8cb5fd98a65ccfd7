"""A shop with five pages under load, its runs through the real k6, for what needs many of them.

`Shop.slow["pay"] = 1.6` makes one page that much slower from then on; latencies are log-normal.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Self

from k6d import settings as sources
from k6d.core.job import Job
from k6d.core.model import Trigger
from k6d.jobs.pipeline import Pipeline
from k6d.storage.store import Store
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from k6d.core.model import Run
    from k6d.jobs.stages import Watching
    from k6d.settings import Settings

PAGES = ("cart", "home", "pay", "search", "user")
SCRIPT = "shop.js"
LATENCY_S = 0.02
SPREAD = 0.1
# A busy test machine is no excuse here: what is judged is the target.
COMPARE = {"compare__max_cpu": 100}


class Shop:
    """The target, and how a run of its script is made."""

    def __init__(self, *, seed: int = 1) -> None:
        self.slow: dict[str, float] = {}
        self.target = Target()
        self._chance = random.Random(seed)
        for page in PAGES:
            self.target.latency[f"/{page}"] = self._latency(page)

    def _latency(self, page: str) -> Callable[[], float]:
        return lambda: LATENCY_S * self.slow.get(page, 1.0) * self._chance.lognormvariate(0, SPREAD)

    def __enter__(self) -> Self:
        self.target.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.target.__exit__()

    def write(
        self, folder: Path, *, seconds: float | None = None, iterations: int = 0, url: str = ""
    ) -> None:
        """The script: two virtual users ask for one page after the other, at `url` if given.

        For some seconds, or so many times: then a busy machine makes no fewer requests.
        """
        length = f"iterations: {iterations}" if seconds is None else f"duration: '{seconds:g}s'"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lib").mkdir(exist_ok=True)
        (folder / "lib" / "pages.js").write_text(f"export const pages = {list(PAGES)};\n")
        (folder / SCRIPT).write_text(
            f"""import http from 'k6/http';
import {{ pages }} from './lib/pages.js';
export const options = {{ vus: 2, {length} }};
export default function () {{
  for (const name of pages) http.get(`{url or self.target.url}/${{name}}`, {{ tags: {{ name }} }});
}}
"""
        )


def settings_for(home: Path, **given: object) -> Settings:
    """Settings over folders of `home`, none of the machine's own."""
    config = home / "k6d.toml"
    config.touch()
    return sources.load(config, scripts=home / "scripts", data=home / "data", **(COMPARE | given))


def run_shop(
    loaded: Settings,
    *,
    stop: asyncio.Event | None = None,
    watching: Watching | None = None,
    **options: str,
) -> Run:
    """One job through the pipeline, as `k6d run` does it."""
    job = Job(name=SCRIPT, path=loaded.scripts / SCRIPT, trigger=Trigger.MANUAL, options=options)
    pipeline = Pipeline(loaded, Store(loaded.data), stop=stop or asyncio.Event())
    run = asyncio.run(pipeline.run(job, watching=watching))
    assert run is not None
    return run
