"""Reads files outside the scripts folder, which may be on a mount that does not answer."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, TypeVar

from k6d.core.reading import Probe

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Elsewhere:
    """Queries paths with a time limit, and logs once for each path that it does not answer."""

    def __init__(self) -> None:
        self._probe = Probe()
        self._silent: set[str] = set()

    def ask(self, function: Callable[[str], T], path: str) -> T:
        """Return `function(path)`; OSError if it fails or does not return in time."""
        try:
            answer = self._probe.ask(function, path)
        except OSError as error:
            if error.errno == errno.ETIMEDOUT and path not in self._silent:
                self._silent.add(path)
                logger.error("%s does not answer: its changes are not seen until it does", path)
            raise
        self._silent.discard(path)
        return answer
