"""Secrets out of a text, before anything leaves the machine.

Literal values that the caller knows to be secret, what is secret by its shape, and what a telling
name stands beside. When in doubt a text is redacted: a word too few costs the reader little, a
secret too many cannot be called back.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from k6d.explain.named import hide_named, tells
from k6d.explain.shapes import MARK, hide_places, hide_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MARK", "forms", "hide_known", "redact"]

SHORTEST_KNOWN = 4  # a shorter value ("1", "dev") would blot out half of what is not secret
SHORTEST_TOLD = 3  # unless its name says that it is secret
SHORTEST_INSIDE = 12  # so long a text is no part of a longer word by chance


def redact(text: str, *, known: Mapping[str, str] | None = None, code: bool = False) -> str:
    """`text` without what is, or looks like, a secret.

    `known` maps values to the names they go by and are shown as. In `code`, a telling name that is
    given an expression rather than a text ("token: login()") keeps it. Linear in the text but for
    a small factor; idempotent.
    """
    text = hide_known(text, known or {})
    return hide_shapes(hide_named(hide_places(text), code=code))


def hide_known(text: str, known: Mapping[str, str]) -> str:
    """`text` with every value of `known` replaced by its name, longest first."""
    worth = (value for value, name in known.items() if _worth_hiding(value, name))
    for value in sorted(worth, key=len, reverse=True):
        if value in text:
            shown = f"[{known[value]}]".replace("\\", "\\\\")
            text = _whole(value).sub(shown, text)
    return text


def forms(value: str) -> set[str]:
    """How else a value may be written: as in a URL, in base 64, in JSON, line by line."""
    data = value.encode("utf-8", "surrogateescape")
    urls = {quote(data, safe=""), quote(data), quote(data, safe="!'()*"), quote_plus(data)}
    urls |= {re.sub("%..", lambda code: code[0].lower(), url) for url in urls}
    encoded = {function(data).decode() for function in (base64.b64encode, base64.urlsafe_b64encode)}
    inside = {part for offset in range(3) if len(part := _inside(data, offset)) >= SHORTEST_INSIDE}
    texts = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    lines = {line.strip() for line in value.splitlines() if len(line.strip()) >= SHORTEST_INSIDE}
    return urls | encoded | {text.rstrip("=") for text in encoded} | inside | texts | lines


def _inside(data: bytes, offset: int) -> str:
    """The part that base 64 of `anything + data + anything` has in common, as after "user:"."""
    encoded = base64.b64encode(bytes(offset) + data).decode()
    return encoded[-(-offset * 8 // 6) : (offset + len(data)) * 8 // 6]


def _worth_hiding(value: str, name: str) -> bool:
    if tells(name):
        return len(value.strip()) >= SHORTEST_TOLD
    plain = re.fullmatch(r"[\d.,:]{1,5}[a-z]{0,2}|true|false|null|none", value, re.IGNORECASE)
    return len(value.strip()) >= SHORTEST_KNOWN and not plain


def _whole(value: str) -> re.Pattern[str]:
    """The value, a short one only where it doesn't happen to be a part of a longer word."""
    short = len(value) < SHORTEST_INSIDE
    before = r"(?<![A-Za-z0-9])" if short and value[0].isalnum() else ""
    after = r"(?![A-Za-z0-9])" if short and value[-1].isalnum() else ""
    return re.compile(before + re.escape(value) + after)
