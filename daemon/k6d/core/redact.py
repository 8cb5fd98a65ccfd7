"""Remove secrets from texts before a run is saved and before anything is shown or sent.

Three rules, in this order:

1. **Values that k6d knows.** These are all of k6d's own secrets and, of the variables that scripts
   get (`k6.env`, `--env`):
   - a value of at least 4 characters whose name marks it as secret (`SHOP_TOKEN`, `DB_PASS`);
   - a value of at least 8 characters whose name ends in key, auth or salt;
   - of any variable, the value or a word in it that has at least 8 characters and mixes
     letters and digits in an unusual way;
   - of a URL only its login, the values of its query and the words of its path, by the same rules.
   So "1", "true", "test", "staging-2", "30s" and "http://127.0.0.1:8080" stay. A variable's value
   is shown as `[env:NAME]`, so that an endpoint keeps its name after the secret was changed.
2. **Values beside a secret's name**: `password=…`, `"token": "…"`, `Authorization: …`.
3. **Shapes**: private keys, JWTs, the key formats of providers, logins in URLs, long random texts.

In names of endpoints, checks, groups and metrics rule 2 applies only to the query of a URL:
otherwise the checks "token: valid" and "token: fresh" would become one.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from k6d.core.secrets_by_name import names_a_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Lengths in characters.
SHORTEST_TOLD = 4  # of a value whose name marks it as secret
SHORTEST_RANDOM = 8  # of a value with any other name
SHORTEST_INSIDE = 12  # a value this long is not part of a longer word by chance
# Values that are too common to hide, whatever the name: hiding them would garble logs.
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
    """Hides secrets in texts: the keys of `known`, and what rules 2 and 3 find.

    `known` maps each value to the label that is shown in brackets instead.
    """

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._shown = dict(known or {})
        values = sorted(filter(None, self._shown), key=len, reverse=True)
        self._known = re.compile("|".join(map(_pattern_of, values))) if values else None
        # Results by line: many lines of a log differ only in their times.
        self._lines: dict[str, str] = {}

    @classmethod
    def of(
        cls, own: Iterable[str], variables: Mapping[str, str], *, all_values: bool = False
    ) -> Redactor:
        """A redactor for k6d's `own` secrets and the variables that scripts get.

        `all_values` also hides values that do not look secret, such as addresses, except short and
        common ones. Use it for texts that leave the machine.
        """
        known: dict[str, str] = {}
        for name, value in variables.items():
            rest = [value.strip()] if all_values and not _COMMONPLACE.fullmatch(value) else []
            known |= dict.fromkeys([*rest, *_secrets(name, value)], f"env:{name}")
        for value in filter(_is_rare, own):
            known |= dict.fromkeys([value, *_secrets("", value)], "redacted")
        encoded = {form: shown for value, shown in known.items() for form in _spellings(value)}
        return cls(encoded | known)

    def known(self, text: str) -> str:
        """The text without the known values (rule 1)."""
        if self._known is None:
            return text
        return self._known.sub(lambda match: f"[{self._shown[match[0]]}]", text)

    def text(self, text: str) -> str:
        """A log, an error or a sentence without secrets (all rules). Idempotent."""
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
        """Source code without known values and shapes (rules 1 and 3)."""
        from k6d.core.secrets_by_pattern import without_shapes

        return without_shapes(self.known(text))

    def name(self, text: str) -> str:
        """The name of an endpoint, check, group or metric without secrets; rule 2 for URLs only."""
        from k6d.core.secrets_by_pattern import without_logins, without_shapes

        return without_shapes(without_logins(self.known(text)))


def _is_rare(value: str) -> bool:
    """Whether a value is long and unusual enough to be hidden."""
    return len(value) >= SHORTEST_TOLD and value.lower() not in COMMON


def _secrets(name: str, value: str) -> Iterator[str]:
    """The parts of a variable's value to hide by rule 1."""
    value = value.strip()
    if re.match(r"(?i)[a-z][a-z0-9+.-]{0,30}://", value):
        yield from secrets_of_url(value)
        return
    key = re.search(r"(?i)(?:key|auth|salt)$", name) or value.startswith("-----BEGIN ")
    shortest = SHORTEST_TOLD if names_a_secret(name) else SHORTEST_RANDOM
    if (names_a_secret(name) or key) and len(value) >= shortest and value.lower() not in COMMON:
        yield value
    words = [value, *re.split(r"[\s,;:|\"'{}\[\]=&<>()]+", value)]
    yield from (word for word in words if len(word) >= SHORTEST_RANDOM and not _is_plain(word))


def secrets_of_url(value: str) -> Iterator[str]:
    """The login of a URL, and the parts of its query and path that look secret."""
    try:
        url = urlsplit(value)
        login = url.username or "" if url.password is None else url.password
    except ValueError:
        return
    for name, inner in parse_qsl(url.query):
        yield from _secrets(name, inner)
    for part in (login, unquote(login)):
        if url.password and _is_rare(part):
            yield part
    for part in (login, *url.path.split("/")):
        if len(part) >= SHORTEST_RANDOM and not _is_plain(part):
            yield from (part, unquote(part))


def _is_plain(value: str) -> bool:
    """Whether a value consists of ordinary words and numbers."""
    return all(_PLAIN_WORD.fullmatch(word) for word in re.split(r"[\W_]+", value))


def _spellings(value: str) -> set[str]:
    """Other spellings of a value: encoded for a URL, in base 64, in JSON, line by line."""
    data = value.encode("utf-8", "surrogateescape")
    urls = {quote(data, safe=""), quote(data), quote(data, safe="!'()*"), quote_plus(data)}
    urls |= {re.sub("%..", lambda code: code[0].lower(), url) for url in urls}
    encoded = {function(data).decode() for function in (base64.b64encode, base64.urlsafe_b64encode)}
    inside = {
        part for offset in range(3) if len(part := _base64_part(data, offset)) >= SHORTEST_INSIDE
    }
    texts = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    lines = {line.strip() for line in value.splitlines() if len(line.strip()) >= SHORTEST_INSIDE}
    return urls | encoded | {text.rstrip("=") for text in encoded} | inside | texts | lines


def _base64_part(data: bytes, offset: int) -> str:
    """The base 64 characters of `data` that do not depend on the bytes around it.

    `offset` is the number of bytes before it, modulo 3, such as "user:" in an HTTP login.
    """
    encoded = base64.b64encode(bytes(offset) + data).decode()
    return encoded[-(-offset * 8 // 6) : (offset + len(data)) * 8 // 6]


def _pattern_of(value: str) -> str:
    """A pattern for the value; a short value matches only as a whole word."""
    short = len(value) < SHORTEST_INSIDE
    before = r"(?<![A-Za-z0-9])" if short and value[0].isalnum() else ""
    after = r"(?![A-Za-z0-9])" if short and value[-1].isalnum() else ""
    return before + re.escape(value) + after
