"""The outbox: messages on the disk until all receivers have them.

    outbox/waiting/<id>.json   a message and where it stands at each receiver
    outbox/done/<id>.json      the same, when there is nothing left to do; kept for a while
    outbox/sending/<key>.json  what a helper is sending to one receiver now, and what came of it
    outbox/sending/<key>.lock  held by that helper as long as it lives
    outbox/sender.lock         held by the process that sends
    outbox/key                 secret key of the hashes that stand for URLs

Every change is one atomic replacement, in this order: message, sending, begun, outcome, message,
sending removed. Whoever is killed in between is taken up where it was: the helper writes the
outcome itself, so only the death of the helper between a receiver's answer and the next write
leaves in doubt whether a message has arrived. Then it is sent again, by the same key.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from k6d.alerts.records import Delivery, Kept, Message, Sending, State
from k6d.core.model import K6dError
from k6d.storage.data_folder import NotAFileError, move_file, read_file, remove_file
from k6d.storage.files import (
    disk_errors,
    locked,
    make_folder,
    names,
    remove_leftovers,
    set_aside,
    write_atomic,
)
from k6d.storage.locks import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path
    from typing import TextIO

logger = logging.getLogger(__name__)

NOBODY = ""  # the receiver's id in a delivery that found no receiver
KEPT_DAYS = 14  # delivered messages are kept, so that a repeated key is recognised
_ID = re.compile(r"[0-9a-z][0-9a-z-]{0,100}")
_KEY = re.compile(rb"[0-9a-f]{64}")
_DAEMON = "daemon"
_T = TypeVar("_T", Kept, Sending)


class Outbox:
    """The outbox under the folder `data`; opening it touches nothing."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._folder = data / "outbox"
        self._waiting = self._folder / "waiting"
        self._done = self._folder / "done"
        self._sending = self._folder / "sending"

    def put(self, message: Message) -> bool:
        """Store a message on the disk; False when a message with its id was stored before."""
        if not _ID.fullmatch(message.id):
            raise K6dError(f"{message.id!r} cannot name a message; use a-z, 0-9 and -")
        places = (self._waiting, self._done)
        if any((place / f"{message.id}.json").exists() for place in places):
            return False
        self._write(self._waiting, message.id, Kept(message=message))
        return True

    def waiting(self) -> list[Kept]:
        """The messages that some receiver has not got yet, oldest first."""
        return sorted(self._all(self._waiting, Kept), key=_age)

    def done(self) -> list[Kept]:
        """The messages with nothing left to do, oldest first."""
        return sorted(self._all(self._done, Kept), key=_age)

    def undeliverable(self) -> list[Kept]:
        """The messages that were given up at one receiver at least, oldest first."""
        return [kept for kept in self.done() if _has(kept, State.UNDELIVERABLE)]

    def update(self, kept: Kept) -> None:
        """Write where a waiting message stands; it is done when nobody can get it any more."""
        self._write(self._waiting, kept.message.id, kept)
        if _is_done(kept):
            self._move(kept, self._waiting, self._done)

    def unreadable(self) -> list[Path]:
        """The files of messages that were set aside, for they did not parse."""
        with disk_errors("read", self._waiting):
            return [self._waiting / name for name in names(self._waiting) if ".unreadable" in name]

    def retry(self) -> int:
        """Let all undeliverable messages wait again; returns their number."""
        found = self.undeliverable()
        for kept in found:
            deliveries = {
                receiver: _again(found)
                for receiver, found in (kept.deliveries or {}).items()
                if receiver != NOBODY
            }
            lost = (kept.deliveries or {}).get(NOBODY)
            again = Kept(
                message=kept.message,
                deliveries=deliveries or None,
                problem=lost.error if lost and deliveries else None,
            )
            self._write(self._done, kept.message.id, again)
            self._move(kept, self._done, self._waiting)
        return len(found)

    def forget(self) -> int:
        """Remove all undeliverable messages; returns their number."""
        found = self.undeliverable()
        for kept in found:
            self._remove(self._done / f"{kept.message.id}.json")
        return len(found)

    def repair(self, now: datetime) -> None:
        """Remove leftovers of crashes and old messages; the caller holds the sender's lock."""
        places = [self._folder, self._waiting, self._done, self._sending]
        remove_leftovers(places, root=self._data)
        for kept in self.waiting():  # killed between the last write and the move
            if _is_done(kept):
                self._move(kept, self._waiting, self._done)
        for kept in self.done():
            old = (now - kept.message.at).days > KEPT_DAYS
            if old and not _has(kept, State.UNDELIVERABLE):
                self._remove(self._done / f"{kept.message.id}.json")

    def begin(self, sending: Sending) -> TextIO | None:
        """Lock and write down what is about to be sent; give the lock to the helper, then close it.

        None when a helper that outlived its daemon is at it still.
        """
        with disk_errors("lock", self._sending):
            make_folder(self._sending, root=self._data)
            lock = self._try_lock(sending.key)
        if lock is not None:
            self._write(self._sending, sending.key, sending)
        return lock

    def sendings(self) -> list[tuple[Sending, bool]]:
        """What is written down as being sent, and whether a helper is at it."""
        found = []
        for sending in self._all(self._sending, Sending):
            lock = self._try_lock(sending.key)
            if lock is not None:
                lock.close()
                # Written between our reading it and the helper's end?
                found += [(s, False) for s in self._one(self._sending, sending.key, Sending)]
            else:
                found.append((sending, True))
        return found

    def end(self, sending: Sending) -> None:
        """Remove a sending whose outcome was entered into its messages."""
        path = self.sending_path(sending.key)
        self._remove(path)
        self._remove(path.with_suffix(".lock"))

    def sending_path(self, key: str) -> Path:
        """The file that a helper writes its outcome to."""
        return self._sending / f"{key}.json"

    def sender(self, *, daemon: bool) -> TextIO | None:
        """The right to send, until it is closed; None while another process has it."""
        with disk_errors("lock", self._folder):
            make_folder(self._folder, root=self._data)
            lock = try_lock(self._folder / "sender.lock", root=self._data)
        if lock is not None:
            lock.truncate(0)
            lock.write(_DAEMON if daemon else "run")
            lock.flush()
        return lock

    def daemon_sends(self) -> bool:
        """Whether the process that has the right to send is a daemon, which stays."""
        try:
            return (self._folder / "sender.lock").read_text() == _DAEMON
        except OSError:
            return False

    def changed(self) -> int:
        """A number that differs when messages came or went."""
        try:
            return self._waiting.stat().st_mtime_ns
        except OSError:  # nothing there yet, or a disk of which the next look will tell
            return 0

    def key(self) -> str:
        """The secret that hashes of URLs are made with, so that they tell nothing of a password."""
        path = self._folder / "key"
        with disk_errors("read", path):
            if (key := _key_in(path)) is not None:
                return key
        with locked(self._folder / ".lock", root=self._data):  # of two, the first one wins
            if (key := _key_in(path)) is None:
                if os.path.lexists(path):
                    aside = set_aside(path, root=self._data)
                    logger.error("%s held no key and was set aside; a new one is made", aside)
                key = secrets.token_hex(32)
                write_atomic(path, key.encode(), root=self._data)
        return key

    def _all(self, folder: Path, kind: type[_T]) -> Iterator[_T]:
        with disk_errors("read", folder):
            found = names(folder)
        for name in found:
            stem = name.removesuffix(".json")
            if stem != name and _ID.fullmatch(stem):
                yield from self._one(folder, stem, kind)

    def _one(self, folder: Path, name: str, kind: type[_T]) -> list[_T]:
        path = folder / f"{name}.json"
        try:
            with disk_errors("read", path):
                return [_adapter(kind.__name__).validate_python(orjson.loads(read_file(path)))]
        except K6dError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return []
            if not isinstance(error, NotAFileError):
                raise
        except (ValidationError, ValueError):
            pass
        logger.error("%s does not parse and was set aside", path)
        set_aside(path, root=self._data)
        return []

    def _write(self, folder: Path, name: str, record: Kept | Sending) -> None:
        contents = orjson.dumps(record, option=orjson.OPT_UTC_Z)
        write_atomic(folder / f"{name}.json", contents, root=self._data)

    def _try_lock(self, key: str) -> TextIO | None:
        return try_lock(self.sending_path(key).with_suffix(".lock"), root=self._data)

    def _move(self, kept: Kept, source: Path, target: Path) -> None:
        name = f"{kept.message.id}.json"
        with disk_errors("move", source / name):
            move_file(source / name, target / name, root=self._data)

    def _remove(self, path: Path) -> None:
        with disk_errors("remove", path):
            remove_file(path, root=self._data)


def _key_in(path: Path) -> str | None:
    """The key that the file holds; None when there is no file, or no key in it."""
    try:
        found = _KEY.fullmatch(read_file(path))
    except (FileNotFoundError, NotAFileError):
        return None
    return found[0].decode() if found else None


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter({"Kept": Kept, "Sending": Sending}[name])


def _is_done(kept: Kept) -> bool:
    """Whether all who should get the message are known, and none of them waits."""
    known = kept.deliveries is not None and kept.problem is None
    return known and not _has(kept, State.WAITING)


def _again(found: Delivery) -> Delivery:
    """A delivery that was given up waits again, as if it was new."""
    if found.state is not State.UNDELIVERABLE:
        return found
    fresh = replace(found, state=State.WAITING, attempts=0, next_at=None)
    return replace(fresh, barred_until=None, waited_s=0.0)


def _age(kept: Kept) -> tuple[datetime, str]:
    return kept.message.at, kept.message.id


def _has(kept: Kept, state: State) -> bool:
    return any(delivery.state is state for delivery in (kept.deliveries or {}).values())
