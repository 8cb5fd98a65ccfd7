"""The helpers that work for this process: which there are, and a server for them of its own."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from k6d.alerts.delivery import apprise_client
from k6d.core import fork_server

if TYPE_CHECKING:
    from collections.abc import Iterator


def helpers(module: str = apprise_client.HELPER) -> list[int]:
    """The processes that answer this process; their parent is the server of this process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            parent = _parent(int(folder.name))
            if module.encode() in (folder / "cmdline").read_bytes() and parent != os.getpid():
                found += [int(folder.name)] if _parent(parent) == os.getpid() else []
    return found


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@contextlib.contextmanager
def own_fork_server() -> Iterator[None]:
    """Helpers fork from a server that starts within the context, with the environment of then."""
    _end_servers()
    try:
        yield
    finally:
        _end_servers()


def _end_servers() -> None:
    for server in fork_server._servers.values():
        server.control.close()
        server.process.wait(60)
    fork_server._servers.clear()
