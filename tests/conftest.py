"""Fixtures that several test modules share."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from daemon import Daemon
from serving import Served
from target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest_plugins = ["programs"]


@pytest.fixture
def target() -> Iterator[Target]:
    """A real HTTP target."""
    with Target() as running:
        yield running


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon, not started yet, over folders of its own; ended and looked over afterwards."""
    with closing(Daemon(tmp_path / "home")) as made:
        yield made


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The same with its API on."""
    with closing(Served(tmp_path / "home")) as made:
        yield made
