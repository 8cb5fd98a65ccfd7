"""The secrets among the settings; k6d hides them in everything that it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, SecretStr

from k6d.core.reading import text_of
from k6d.core.redact import Redactor, secrets_of_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from k6d.settings.model import Settings

MOST_TOKEN_BYTES = 4096
TOKEN_FILE = "api-token"  # noqa: S105  (a file name in the data folder)


def redactor_of(
    settings: Settings,
    variables: Mapping[str, str] | None = None,
    *,
    all_values: bool = False,
) -> Redactor:
    """A redactor for k6d's own secrets and for the secrets in `k6.env` and `variables`.

    It also hides the API token in the data folder if that file can be read. `all_values` as in
    `Redactor.of`.
    """
    own = [*_secrets(settings), *secrets_of_url(settings.forward.url or "")]
    token = text_of(settings.data / TOKEN_FILE, MOST_TOKEN_BYTES)
    own += [token.strip()] if token else []
    given = settings.k6.env | dict(variables or {})
    return Redactor.of(own, given, all_values=all_values)


def _secrets(value: object) -> Iterator[str]:
    """Every `SecretStr` in the settings, at any depth."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, dict):
        yield from _secrets(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item)
