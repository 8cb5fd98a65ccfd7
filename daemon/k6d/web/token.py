"""Makes and reads the API's token in the data folder; only the owner can read the file."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
from typing import TYPE_CHECKING

from k6d.core.model import K6dError
from k6d.settings.own_secrets import TOKEN_FILE
from k6d.storage.data_folder import read_file
from k6d.storage.files import disk_errors, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

_TOKEN = re.compile(rb"[ -~]+")  # the characters that a header can hold


class _NoTokenError(K6dError):
    """The file is missing or holds no token; a new token can be made."""


def make_token(data: Path) -> str:
    """Return the token in the data folder; make it if there is none."""
    path = data / TOKEN_FILE
    try:
        token = read_token(data)
    except _NoTokenError:
        token = secrets.token_urlsafe(32)
        if path.exists():
            logger.warning("%s held no token; it holds a new one now", path)
        write_atomic(path, f"{token}\n".encode(), root=data)
    else:
        with contextlib.suppress(OSError):  # a copy from a backup may have another mode
            path.chmod(0o600)
    return token


def read_token(data: Path) -> str:
    """Return the token in the data folder; K6dError if it is missing or not readable."""
    path = data / TOKEN_FILE
    with disk_errors("read", path):
        try:
            token = read_file(path).strip()
        except FileNotFoundError:
            raise _NoTokenError(f"there is no {path}: the daemon makes it when it starts") from None
    if not _TOKEN.fullmatch(token):
        raise _NoTokenError(f"{path} holds no token: restart the daemon, which makes a new one")
    return token.decode()
