"""Files that scripts need and that lie elsewhere, maybe on a mount that is gone."""

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
    """Asks about them with a time limit; says once of each that it does not answer."""

    def __init__(self) -> None:
        self._probe = Probe()
        self._silent: set[str] = set()

    def ask(self, function: Callable[[str], T], path: str) -> T:
        """What the function says of the path; OSError when it does not come back."""
        try:
            answer = self._probe.ask(function, path)
        except OSError as error:
            if error.errno == errno.ETIMEDOUT and path not in self._silent:
                self._silent.add(path)
                logger.error("%s does not answer: its changes are not seen until it does", path)
            raise
        self._silent.discard(path)
        return answer
