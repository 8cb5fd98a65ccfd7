"""An outbox, a receiver, a certificate authority."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from k6d.alerts.outbox import Outbox
from support.receivers import (
    HttpReceiver,
    TestCa,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    """An empty outbox."""
    return Outbox(tmp_path / "data")


@pytest.fixture
def http() -> Iterator[HttpReceiver]:
    """A receiver for json://."""
    with HttpReceiver() as receiver:
        yield receiver


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestCa:
    """A certificate authority that helpers trust."""
    made = TestCa(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.path))
    return made
