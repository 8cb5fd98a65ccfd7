"""The outbox: messages on the disk until all receivers have them.

    outbox/waiting/<id>.json   a message, and its delivery to each receiver
    outbox/done/<id>.json      the same, when no receiver waits; kept for KEPT_DAYS
    outbox/sending/<key>.json  what a helper is sending to one receiver, and the outcome
    outbox/sending/<key>.lock  locked by that helper until it ends
    outbox/sender.lock         held by the process that sends
    outbox/key                 secret key of the hashes that stand for URLs

Every change is one atomic replacement, in this order: message, sending, begun, outcome, message,
sending removed. After a crash the next process continues at the last step. The helper writes the
outcome itself. Only if the helper dies between the receiver's answer and the next write, it is
unknown whether the message arrived; it is sent again with the same key.
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

from k6d.alerts.records import Delivery, Message, OutboxEntry, Sending, State
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
_T = TypeVar("_T", OutboxEntry, Sending)


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
        self._write(self._waiting, message.id, OutboxEntry(message=message))
        return True

    def waiting(self) -> list[OutboxEntry]:
        """Return the messages that wait for a receiver, oldest first."""
        return sorted(self._all(self._waiting, OutboxEntry), key=_age)

    def done(self) -> list[OutboxEntry]:
        """Return the messages that wait for no receiver, oldest first."""
        return sorted(self._all(self._done, OutboxEntry), key=_age)

    def undeliverable(self) -> list[OutboxEntry]:
        """Return the messages that could not be delivered to some receiver, oldest first."""
        return [entry for entry in self.done() if _has(entry, State.UNDELIVERABLE)]

    def update(self, entry: OutboxEntry) -> None:
        """Store the deliveries of a waiting message; if none waits, the message is done."""
        self._write(self._waiting, entry.message.id, entry)
        if _is_done(entry):
            self._move(entry, self._waiting, self._done)

    def unreadable(self) -> list[Path]:
        """Return the files that were set aside because they did not parse."""
        with disk_errors("read", self._waiting):
            return [self._waiting / name for name in names(self._waiting) if ".unreadable" in name]

    def retry(self) -> int:
        """Let all undeliverable messages wait again; returns their number."""
        found = self.undeliverable()
        for entry in found:
            deliveries = {
                receiver: _again(found)
                for receiver, found in (entry.deliveries or {}).items()
                if receiver != NOBODY
            }
            lost = (entry.deliveries or {}).get(NOBODY)
            again = OutboxEntry(
                message=entry.message,
                deliveries=deliveries or None,
                problem=lost.error if lost and deliveries else None,
            )
            self._write(self._done, entry.message.id, again)
            self._move(entry, self._done, self._waiting)
        return len(found)

    def forget(self) -> int:
        """Remove all undeliverable messages; returns their number."""
        found = self.undeliverable()
        for entry in found:
            self._remove(self._done / f"{entry.message.id}.json")
        return len(found)

    def repair(self, now: datetime) -> None:
        """Remove leftovers of crashes and old messages; the caller holds the sender's lock."""
        places = [self._folder, self._waiting, self._done, self._sending]
        remove_leftovers(places, root=self._data)
        for entry in self.waiting():  # killed between the last write and the move
            if _is_done(entry):
                self._move(entry, self._waiting, self._done)
        for entry in self.done():
            old = (now - entry.message.at).days > KEPT_DAYS
            if old and not _has(entry, State.UNDELIVERABLE):
                self._remove(self._done / f"{entry.message.id}.json")

    def begin(self, sending: Sending) -> TextIO | None:
        """Store a sending before it begins, and return its lock for the helper.

        None if a helper that outlived its daemon still holds the lock.
        """
        with disk_errors("lock", self._sending):
            make_folder(self._sending, root=self._data)
            lock = self._try_lock(sending.key)
        if lock is not None:
            self._write(self._sending, sending.key, sending)
        return lock

    def sendings(self) -> list[tuple[Sending, bool]]:
        """Return the stored sendings, and whether a helper is working on each."""
        found = []
        for sending in self._all(self._sending, Sending):
            lock = self._try_lock(sending.key)
            if lock is not None:
                lock.close()
                # The helper may have written the outcome after the first read.
                found += [(s, False) for s in self._one(self._sending, sending.key, Sending)]
            else:
                found.append((sending, True))
        return found

    def end(self, sending: Sending) -> None:
        """Remove a sending whose outcome was entered, and what a killed helper left of it."""
        path = self.sending_path(sending.key)
        self._remove(path)
        self._remove(path.with_suffix(".lock"))
        remove_leftovers([self._sending], root=self._data)

    def sending_path(self, key: str) -> Path:
        """Return the file to which a helper writes its outcome."""
        return self._sending / f"{key}.json"

    def sender(self, *, daemon: bool) -> TextIO | None:
        """Return the sender's lock, to close at the end; None while another process holds it."""
        with disk_errors("lock", self._folder):
            make_folder(self._folder, root=self._data)
            lock = try_lock(self._folder / "sender.lock", root=self._data)
        if lock is not None:
            lock.truncate(0)
            lock.write(_DAEMON if daemon else "run")
            lock.flush()
        return lock

    def daemon_sends(self) -> bool:
        """Return whether a daemon holds the sender's lock."""
        try:
            return (self._folder / "sender.lock").read_text() == _DAEMON
        except OSError:
            return False

    def changed(self) -> int:
        """Return a number that changes when messages are added or removed."""
        try:
            return self._waiting.stat().st_mtime_ns
        except OSError:  # no folder yet, or a disk error that the next read reports
            return 0

    def key(self) -> str:
        """Return the secret of the hashes that stand for URLs; it protects their passwords."""
        path = self._folder / "key"
        with disk_errors("read", path):
            if (key := _key_in(path)) is not None:
                return key
        with locked(
            self._folder / ".lock", root=self._data
        ):  # of two processes the first one makes the key
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

    def _write(self, folder: Path, name: str, record: OutboxEntry | Sending) -> None:
        contents = orjson.dumps(record, option=orjson.OPT_UTC_Z)
        write_atomic(folder / f"{name}.json", contents, root=self._data)

    def _try_lock(self, key: str) -> TextIO | None:
        return try_lock(self.sending_path(key).with_suffix(".lock"), root=self._data)

    def _move(self, entry: OutboxEntry, source: Path, target: Path) -> None:
        name = f"{entry.message.id}.json"
        with disk_errors("move", source / name):
            move_file(source / name, target / name, root=self._data)

    def _remove(self, path: Path) -> None:
        with disk_errors("remove", path):
            remove_file(path, root=self._data)


def _key_in(path: Path) -> str | None:
    """Return the key in the file; None without a file or a key."""
    try:
        found = _KEY.fullmatch(read_file(path))
    except (FileNotFoundError, NotAFileError):
        return None
    return found[0].decode() if found else None


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter({"OutboxEntry": OutboxEntry, "Sending": Sending}[name])


def _is_done(entry: OutboxEntry) -> bool:
    """Return whether all receivers of the message are known and none waits."""
    known = entry.deliveries is not None and entry.problem is None
    return known and not _has(entry, State.WAITING)


def _again(found: Delivery) -> Delivery:
    """Return an undeliverable delivery as a new one that waits."""
    if found.state is not State.UNDELIVERABLE:
        return found
    fresh = replace(found, state=State.WAITING, attempts=0, next_at=None)
    return replace(fresh, barred_until=None, waited_s=0.0)


def _age(entry: OutboxEntry) -> tuple[datetime, str]:
    return entry.message.at, entry.message.id


def _has(entry: OutboxEntry, state: State) -> bool:
    return any(delivery.state is state for delivery in (entry.deliveries or {}).values())
