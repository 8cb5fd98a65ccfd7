"""Scripts that a person has disabled: they run by hand only. Their files are not touched."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.core.text import covers
from k6d.storage.record import encodable

if TYPE_CHECKING:
    from k6d.storage.store import Store

STATE = "disabled"


@frozen
class Disablement:
    """The scripts that match `pattern` are disabled since `at` (ISO 8601, UTC)."""

    pattern: str
    reason: str = ""
    at: str = ""


class Disabled:
    """The disabled scripts of one store; only this class reads and writes the state "disabled"."""

    def __init__(self, store: Store) -> None:
        self._state = store.state(STATE)

    def all(self) -> list[Disablement]:
        """Return every pattern that disables scripts, the oldest first."""
        return [_read(pattern, document) for pattern, document in self._state.all().items()]

    def of(self, script: str) -> Disablement | None:
        """Return what disables the script: its own name, else the first pattern; else None."""
        found = [one for one in self.all() if covers(one.pattern, script)]
        own = (one for one in found if one.pattern == script)
        return next(own, found[0] if found else None)

    def put(self, pattern: str, reason: str) -> Disablement:
        """Disable the scripts that match the pattern."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        pattern, reason = encodable(pattern), encodable(reason.strip())
        made = Disablement(pattern=pattern, reason=reason, at=at)
        self._state.put(pattern, asdict(made))
        return made

    def remove(self, pattern: str) -> bool:
        """Enable what this pattern disabled; False if it disabled nothing."""
        return self._state.delete(encodable(pattern))


def _read(pattern: str, document: dict[str, Any]) -> Disablement:
    return Disablement(
        pattern=pattern, reason=str(document.get("reason") or ""), at=str(document.get("at") or "")
    )
