"""Tokens that can start some scripts and do nothing else; only their hashes are stored.

A token has 256 random bits, so its SHA-256 needs no salt and cannot be guessed. Only this module
reads and writes the state "tokens".
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from k6d.core.frozen import frozen
from k6d.core.numbers import kept_time
from k6d.core.text import covers
from k6d.storage.record import encodable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k6d.storage.store import Store

STATE = "tokens"
PREFIX = "k6d-hook"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MOST_TOKENS = 100
USED_EVERY = timedelta(minutes=1)  # each note of a use writes the state
_TOKEN = re.compile(rf"{PREFIX}-([0-9a-f]{{8}})-[A-Za-z0-9_-]{{43}}")


@frozen
class HookToken:
    """The token of the hook `name`, which may start the scripts that a pattern covers.

    Times are aware; `expires` is None for a token without an end, `used` before its first use.
    """

    id: str
    name: str
    scripts: list[str]
    created: datetime
    expires: datetime | None = None
    used: datetime | None = None
    digest: str = field(repr=False)

    def may_start(self, script: str) -> bool:
        """Whether the token can start this script."""
        return any(covers(pattern, script) for pattern in self.scripts)

    def has_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= now

    def shown(self) -> dict[str, Any]:
        """The token for people, without its hash."""
        times = {"created": self.created, "expires": self.expires, "used": self.used}
        return {"id": self.id, "name": self.name, "scripts": self.scripts, **times}


class HookTokens:
    """The tokens of one store."""

    def __init__(self, store: Store) -> None:
        self._state = store.state(STATE)

    def all(self) -> list[HookToken]:
        """Every token, the oldest first; an entry that does not parse opens nothing."""
        found = (_read(token_id, entry) for token_id, entry in self._state.all().items())
        return [token for token in found if token]

    def create(
        self, name: str, scripts: Sequence[str], *, expires: datetime | None
    ) -> tuple[HookToken, str]:
        """Make a token; the text is returned this once and stored nowhere.

        ValueError for a wrong name, without scripts, or above the limit of tokens.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"{name[:64]!r} cannot name a hook: letters, digits and . _ - only")
        if not scripts or not all(scripts):
            raise ValueError("a token needs the scripts that it may start: --script 'shop/*'")
        if len(self._state.all()) >= MOST_TOKENS:
            raise ValueError(f"there are {MOST_TOKENS} tokens already; revoke one first")
        token_id = secrets.token_hex(4)
        text = f"{PREFIX}-{token_id}-{secrets.token_urlsafe(32)}"
        made = HookToken(
            id=token_id,
            name=name,
            scripts=[encodable(pattern) for pattern in scripts],
            created=datetime.now(UTC),
            expires=expires,
            digest=_digest(text),
        )
        self._state.put(token_id, {**made.shown(), "digest": made.digest})
        return made, text

    def revoke(self, token_id: str) -> bool:
        """Make a token worthless at once; False if there is none with this id."""
        return self._state.delete(token_id)

    def find(self, text: str) -> HookToken | None:
        """The token with this text, even if it has expired; None if there is none."""
        match = _TOKEN.fullmatch(text)
        entry = self._state.get(match[1]) if match else None
        token = _read(match[1], entry) if match and entry else None
        if token and hmac.compare_digest(token.digest.encode(), _digest(text).encode()):
            return token
        return None

    def note_use(self, token: HookToken, now: datetime) -> None:
        """Note when the token was used last, unless it was revoked meanwhile."""
        if token.used and now - token.used < USED_EVERY:
            return
        self._state.amend(token.id, {"used": now.isoformat()})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(token_id: str, entry: dict[str, Any]) -> HookToken | None:
    """A stored entry; None if a field is missing or damaged: such a token opens nothing."""
    name, digest, scripts = (entry.get(key) for key in ("name", "digest", "scripts"))
    created, expires = kept_time(entry.get("created")), kept_time(entry.get("expires"))
    texts = isinstance(name, str) and isinstance(digest, str) and isinstance(scripts, list)
    endless = "expires" in entry and entry["expires"] is None
    if not texts or not created or not (expires or endless):
        return None
    return HookToken(
        id=token_id,
        name=str(name),
        scripts=[one for one in scripts or [] if isinstance(one, str)],
        created=created,
        expires=expires,
        used=kept_time(entry.get("used")),
        digest=str(digest),
    )
