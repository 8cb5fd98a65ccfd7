"""The table of verdicts that a k6 user would sign, with the real k6, old and new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.binaries import BINARIES
from support.grpc_target import serving_grpc
from support.target import Target
from support.verdicts import TABLES
from support.verdicts.specimen import Specimen, mistakes, run_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@pytest.fixture(scope="module")
def shared() -> Iterator[Target]:
    """A target with fast, slow and failing paths."""
    with Target() as target:
        for ms in (100, 500, 1500):
            target.latency[f"/{ms}ms"] = ms / 1000
        for status in (400, 401, 404, 500, 503):
            target.status[f"/{status}"] = status
        yield target


@pytest.mark.parametrize("version", BINARIES)
@pytest.mark.parametrize("table", TABLES)
def test_every_verdict_is_one_that_a_k6_user_would_sign(
    table: str, version: str, shared: Target, tmp_path: Path
) -> None:
    """All findings, their severity and their words; all that is wrong is listed at once."""
    specimens: Sequence[Specimen] = [
        one for one in TABLES[table].TABLE if version not in one.not_on
    ]
    with serving_grpc() as grpc:
        runs = run_all(
            specimens, binary=BINARIES[version], url=shared.url, grpc=grpc, home=tmp_path
        )
    wrong = {
        one.name: found
        for one, run in zip(specimens, runs, strict=True)
        if (found := mistakes(one, run))
    }
    told = "\n".join(f"{name}:\n    " + "\n    ".join(lines) for name, lines in wrong.items())
    assert not wrong, f"{len(wrong)} of {len(specimens)}\n{told}"
