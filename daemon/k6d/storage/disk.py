"""Room on the disk of the data folder: how much is free, and whether a run may start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.storage.files import free_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.settings import Settings

MIB = 1 << 20


def no_room(settings: Settings, free: int) -> str | None:
    """Why nothing may start with so many MiB free; None while that is room enough."""
    least = settings.retention.least_free_mib
    full = free < least
    return f"{settings.data} has less than {least} MiB left; free some space" if full else None


def free_mib(data: Path) -> int:
    """What is free on the disk of the data folder, which need not exist yet."""
    return free_bytes(data) // MIB
