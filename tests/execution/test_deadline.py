"""How long a run may take beyond what k6 plans."""

from __future__ import annotations

import asyncio
import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from k6d.execution.deadline import deadline_s, phases_s
from k6d.execution.executor import Order

if TYPE_CHECKING:
    from pathlib import Path


def archive(folder: Path, *sources: str) -> Path:
    """An archive as k6 writes it: the script, and what it imports."""
    made = folder / "a.tar"
    with tarfile.open(made, "w") as tar:
        for number, source in enumerate(sources):
            info = tarfile.TarInfo("data" if number == 0 else f"file/lib{number}.js")
            info.size = len(source)
            tar.addfile(info, io.BytesIO(source.encode()))
    return made


@pytest.mark.parametrize(
    ("sources", "options", "seconds"),
    [
        (["export default function () {}"], {"setupTimeout": "120s"}, 0),
        (["export function setup() {}"], {}, 60),
        (["export function setup() {}"], {"setupTimeout": "120s"}, 120),
        (["export function setup() {}"], {"setupTimeout": 90_000}, 90),
        (["export function teardown() {}"], {"teardownTimeout": "2m"}, 120),
        (["export function handleSummary() {}"], {}, 120),
        (["export function handleSummary() {}"], {"handleSummaryTimeout": "5m"}, 300),
        (["export { setup, teardown } from './lib1.js'", "handleSummary"], {}, 240),
        (["const setups = 1"], {}, 0),
    ],
)
def test_each_phase_of_the_script_has_its_time(
    sources: list[str], options: dict[str, object], seconds: float, tmp_path: Path
) -> None:
    """As k6 grants it by default, or as the script says."""
    assert phases_s(archive(tmp_path, *sources), options) == seconds


def test_an_archive_that_does_not_read_has_all_phases(tmp_path: Path) -> None:
    """Too much time harms nobody."""
    (tmp_path / "a.tar").write_bytes(b"x" * 600)
    assert phases_s(tmp_path / "a.tar", {}) == 240


async def test_the_users_time_limit_waits_for_no_plan(tmp_path: Path) -> None:
    """It holds from the start, however long k6 takes to say what it plans."""
    order = Order(
        archive=tmp_path / "a.tar", folder=tmp_path, env={}, options={}, tags={}, timeout_s=1.5
    )
    plan = asyncio.create_task(asyncio.Event().wait())  # a plan that never comes
    async with asyncio.timeout(60):
        assert await deadline_s(order, plan, grace_s=30) == 1.5
    plan.cancel()
