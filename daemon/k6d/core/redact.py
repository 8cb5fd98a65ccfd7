"""Secrets out of texts, before a run is saved, and before anything is shown, told or sent.

Three rules, in this order:

1. **Values that k6d knows.** All of its own secrets. Of the variables that scripts get (`k6.env`,
   `--env`) a value of at least 4 characters whose name says that it is secret (`SHOP_TOKEN`,
   `DB_PASS`), of 8 where the name ends in key, auth or salt. Of any other name a value, or a word
   in it, of at least 8 characters that mixes letters and digits as people do not write them. Of a
   URL only its login, the values of its query and the words of its path, by the same measures. So
   "1", "true", "test", "staging-2", "30s" and "http://127.0.0.1:8080" stay. A value is shown as
   `[env:NAME]`: the name of an endpoint is the same after the secret was changed.
2. **Values beside a name that tells**: `password=…`, `"token": "…"`, `Authorization: …`.
3. **Shapes**: private keys, JWTs, the forms that providers give their keys, logins in URLs, long
   random texts. Every pattern is bounded where it could start at each character, so that no text
   makes the search run away.

In names of endpoints, checks, groups and metrics the second rule holds for the query of a URL only:
two checks "token: valid" and "token: fresh" must stay two.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from k6d.core.secrets_by_name import tells

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SHORTEST_TOLD = 4  # of a value whose name tells
SHORTEST_RANDOM = 8  # of a value of any other name
SHORTEST_INSIDE = 12  # so long a value is no part of a longer word by chance
# Values that stand in too many places where they are no secret, whatever the name.
_COMMON = (
    "test tests true false none null user users admin root guest demo dummy pass password secret "
    "token default example local localhost development staging production http https basic bearer "
    "changeme unset undefined 0000 1234 12345 123456"
)
COMMON = frozenset(_COMMON.split())
_COMMONPLACE = re.compile(rf"(?i).{{0,3}}|[\d.,:]{{1,5}}[a-z]{{0,2}}|{'|'.join(COMMON)}")

_TIME = re.compile(r"\d\d:\d\d:\d\d ")
_PLAIN_WORD = re.compile(
    r"[^\W\d_]{0,20}\d{0,4}|\d{1,12}[^\W\d_]{0,3}|(?:\d+(?:ms|[dhms]))+|\d{1,2}T\d{1,2}"
)


class Redactor:
    """Hides the values of `known`, which maps them to what they are shown as, and what tells."""

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._shown = dict(known or {})
        values = sorted(filter(None, self._shown), key=len, reverse=True)
        self._known = re.compile("|".join(map(_whole, values))) if values else None
        # Many lines of a log differ by their times only.
        self._lines: dict[str, str] = {}

    @classmethod
    def of(
        cls, own: Iterable[str], variables: Mapping[str, str], *, all_values: bool = False
    ) -> Redactor:
        """For k6d's `own` secrets and the variables that scripts get.

        `all_values`: also values that do not look secret, such as addresses, but for short and
        common ones. That is for texts that leave the machine.
        """
        known: dict[str, str] = {}
        for name, value in variables.items():
            rest = [value.strip()] if all_values and not _COMMONPLACE.fullmatch(value) else []
            known |= dict.fromkeys([*rest, *_secrets(name, value)], f"env:{name}")
        for value in filter(_is_rare, own):
            known |= dict.fromkeys([value, *_secrets("", value)], "redacted")
        encoded = {form: shown for value, shown in known.items() for form in _forms(value)}
        return cls(encoded | known)

    def known(self, text: str) -> str:
        """`text` without the values that are known."""
        if self._known is None:
            return text
        return self._known.sub(lambda match: f"[{self._shown[match[0]]}]", text)

    def text(self, text: str) -> str:
        """`text` without secrets: a log, an error, a sentence. Idempotent."""
        from k6d.core.secrets_by_pattern import without_private_keys

        text = without_private_keys(self.known(text))
        return "\n".join(map(self._line, text.split("\n")))

    def _line(self, line: str) -> str:
        from k6d.core.secrets_by_pattern import without_named, without_shapes

        time, line = (line[:9], line[9:]) if _TIME.match(line) else ("", line)
        if line not in self._lines:
            self._lines[line] = without_shapes(without_named(line))
        return time + self._lines[line]

    def code(self, text: str) -> str:
        """Code without the values that are known, and without shapes."""
        from k6d.core.secrets_by_pattern import without_shapes

        return without_shapes(self.known(text))

    def name(self, text: str) -> str:
        """The name of an endpoint, a check, a group or a metric without secrets."""
        from k6d.core.secrets_by_pattern import without_logins, without_shapes

        return without_shapes(without_logins(self.known(text)))


def _is_rare(value: str) -> bool:
    """Whether a value is neither so short nor so common that it stands everywhere."""
    return len(value) >= SHORTEST_TOLD and value.lower() not in COMMON


def _secrets(name: str, value: str) -> Iterator[str]:
    """What of a variable is to be hidden, by the first rule."""
    value = value.strip()
    if re.match(r"(?i)[a-z][a-z0-9+.-]{0,30}://", value):
        yield from secrets_of_url(value)
        return
    key = re.search(r"(?i)(?:key|auth|salt)$", name) or value.startswith("-----BEGIN ")
    shortest = SHORTEST_TOLD if tells(name) else SHORTEST_RANDOM
    if (tells(name) or key) and len(value) >= shortest and value.lower() not in COMMON:
        yield value
    words = [value, *re.split(r"[\s,;:|\"'{}\[\]=&<>()]+", value)]
    yield from (word for word in words if len(word) >= SHORTEST_RANDOM and not _is_plain(word))


def secrets_of_url(value: str) -> Iterator[str]:
    """The login of a URL, and what looks secret of its query and its path."""
    try:
        url = urlsplit(value)
        login = url.username or "" if url.password is None else url.password
    except ValueError:
        return
    for name, said in parse_qsl(url.query):
        yield from _secrets(name, said)
    for part in (login, unquote(login)):
        if url.password and _is_rare(part):
            yield part
    for part in (login, *url.path.split("/")):
        if len(part) >= SHORTEST_RANDOM and not _is_plain(part):
            yield from (part, unquote(part))


def _is_plain(value: str) -> bool:
    """Whether a value is made of words and numbers as people write them."""
    return all(_PLAIN_WORD.fullmatch(word) for word in re.split(r"[\W_]+", value))


def _forms(value: str) -> set[str]:
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


def _whole(value: str) -> str:
    """A pattern of the value; of a short one only where it is no part of a longer word."""
    short = len(value) < SHORTEST_INSIDE
    before = r"(?<![A-Za-z0-9])" if short and value[0].isalnum() else ""
    after = r"(?![A-Za-z0-9])" if short and value[-1].isalnum() else ""
    return before + re.escape(value) + after
