"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import hypothesis
import pytest

from support.daemon import Daemon
from support.serving import Served
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest_plugins = ["support.programs"]

# Workers and the processes that tests start keep what they compile: thousands of modules.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A busy machine makes inputs slowly; that says nothing of what is tested.
hypothesis.settings.register_profile(
    "k6d", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("k6d")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup`, tests that share a fixture of their module run in one process."""
    for item in items:
        if isinstance(item, pytest.Function) and any(
            definition.scope == "module"
            for definitions in item._fixtureinfo.name2fixturedefs.values()
            for definition in definitions[-1:]
        ):
            item.add_marker(pytest.mark.xdist_group(item.path.name))


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
