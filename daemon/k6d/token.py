"""The API's token in the data folder: the daemon makes it, only its owner can read it."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from k6d.model import K6dError

if TYPE_CHECKING:
    from pathlib import Path

TOKEN_FILE = "api-token"  # noqa: S105  (its name)


def make_token(data: Path) -> str:
    """The token in the data folder, made when there is none; only its owner can read it."""
    path = data / TOKEN_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_token(data)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise K6dError(f"cannot write {path}: {reason}; or set api.token") from error
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{token}\n")
    return token


def read_token(data: Path) -> str:
    """The token in the data folder; K6dError when it is not there or not ours to read."""
    path = data / TOKEN_FILE
    try:
        token = path.read_text().strip()
    except FileNotFoundError:
        raise K6dError(f"there is no {path}: the daemon makes it when it starts") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise K6dError(f"cannot read {path}: {reason}; be its owner or set api.token") from None
    if not token:
        raise K6dError(f"{path} is empty: remove it and restart the daemon, which makes a new one")
    return token
