"""Free space on the disk of the data folder, and whether it is enough to start a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.storage.files import free_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.settings import Settings

MIB = 1 << 20


def no_room(settings: Settings, free: int) -> str | None:
    """The reason why no run may start with `free` MiB; None when that is enough."""
    least = settings.retention.least_free_mib
    full = free < least
    return f"{settings.data} has less than {least} MiB left; free some space" if full else None


def free_mib(data: Path) -> int:
    """Free MiB on the disk of the data folder; the folder need not exist yet."""
    return free_bytes(data) // MIB
