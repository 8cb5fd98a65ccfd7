"""The secrets among the settings, which are hidden in all that k6d writes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pydantic import BaseModel, SecretStr

from k6d.core.redact import Redactor, secrets_of_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from k6d.settings.model import Settings

TOKEN_FILE = "api-token"  # noqa: S105  (its name, in the data folder)


def redactor_of(
    settings: Settings,
    variables: Mapping[str, str] | None = None,
    *,
    all_values: bool = False,
) -> Redactor:
    """Hides k6d's own secrets, and of `k6.env` and the further `variables` those that look secret.

    Also the API's token in the data folder, as far as it is there and ours to read. `all_values` as
    in `Redactor.of`.
    """
    own = [*_secrets(settings), *secrets_of_url(settings.forward.url or "")]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        own.append((settings.data / TOKEN_FILE).read_text().strip())
    given = settings.k6.env | dict(variables or {})
    return Redactor.of(own, given, all_values=all_values)


def _secrets(value: object) -> Iterator[str]:
    """Every `SecretStr` in the settings, in whatever section or list."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item)
