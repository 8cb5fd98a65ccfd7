"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from support.daemon import Daemon
from support.serving import Served
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xdist.remote import Producer

pytest_plugins = ["support.programs"]

# Workers and the processes that tests start keep what they compile: thousands of modules.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# k6 reads about 150 root certificates at each of 3,800 starts; targets of tests have their own.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "data" / "one_root.pem")
os.environ["SSL_CERT_DIR"] = os.devnull

# A busy machine makes inputs slowly; that says nothing of what is tested.
hypothesis.settings.register_profile(
    "k6d", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("k6d")


class Grouped(LoadScopeScheduling):
    """Each test goes to whichever process is free; those of a file with shared fixtures to one.

    `--dist loadgroup` of pytest-xdist 3.8 would do this, but pytest 9.2 ignores its group names.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if _shares_fixtures(self.config.rootpath / file) else nodeid


@cache
def _shares_fixtures(file: Path) -> bool:
    return 'scope="module"' in file.read_text(encoding="utf-8")


@pytest.hookimpl(optionalhook=True)  # also without pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Grouped:
    """Distribute the tests by file where they share what is expensive."""
    return Grouped(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start early what takes long, so that no process works on at the end while others wait.

    Files with shared fixtures come first, and long tests are spread over the first part. The others
    are mixed. So tests that compute and tests that wait run side by side.
    """
    files: dict[Path, list[pytest.Item]] = {}
    long: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        if _shares_fixtures(item.path):
            files.setdefault(item.path, []).append(item)
        else:
            (long if item.get_closest_marker("long") else others).append(item)
    others.sort(key=lambda item: crc32(item.nodeid.encode()))
    scopes = [*sorted(files.values(), key=len, reverse=True), *([item] for item in others)]
    half, left = len(others) // 2, len(long) - len(files)
    places = [*range(1, len(files) + 1), *(len(files) + half * at // left for at in range(left))]
    for place, item in reversed([*zip(places, long, strict=False)]):
        scopes.insert(place, [item])
    items[:] = chain.from_iterable(scopes)
    config.option.loadscopereorder = False  # pytest-xdist would sort them again


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
