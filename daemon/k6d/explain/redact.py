"""Secrets out of a text, before anything leaves the machine.

Shapes that are secret by themselves (keys, JWTs, private keys, URLs with credentials), values
beside telling names, and literal values that the caller knows to be secret. When in doubt a text is
redacted: a word too few costs the reader little, a secret too many cannot be called back.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MARK = "[redacted]"
SHORTEST_KNOWN = 4  # a shorter value ("1", "dev") would blot out half of what is not secret
SHORTEST_RANDOM = 16
RANDOM_BITS = 3.0  # a character; English words have about 2.5 in 16 letters, random hex 3.4
LONG_RANDOM = 32

# Names that tell by themselves that a secret follows, in whatever spelling: accessToken, DB_PASS.
_TELLING = (
    r"pass(?:word|wd|phrase|code)?(?![a-z])|passwd|pwd|secret|token|api[_-]?key|apikey|"
    r"(?:access|private|signing|encryption|master|client|shared|account|subscription|"
    r"license|ssh|signature|hmac)[_-]?key|credential|authorization|cookie|bearer|"
    r"jwt(?![a-z])|otp(?![a-z])|csrf|xsrf|session[_-]?id|sessid|signature"
)
# Names that only sometimes do: their values must look random.
_PERHAPS = r"key|auth|sig|sid|session|nonce|salt|hash|user|login|account|client|dsn|webhook|code"
_SPACE = r"\s{0,20}"
# From the name to its value, with quotes that JSON in a log has escaped: "a": , a = , ['a', ,
# <a>, <input name="a" value= , {"name": "a", "value": .
_BETWEEN = (
    rf"(?:\\*[\"'`]?\]?{_SPACE}(?:=>|:=|[:=>]){_SPACE}\[?|"
    rf"\\*[\"'`]?[\s,]{{1,20}}\\*[\"'`]?(?:value|content)\\*[\"'`]?{_SPACE}[:=]{_SPACE}|"
    rf"\\*[\"'`]{_SPACE},{_SPACE})"
)
_QUOTED = (
    r"\\+\"(?:(?!\\+\").)*(?:\\+\")?|\\+'(?:(?!\\+').)*(?:\\+')?|"  # \"…\" of JSON within JSON
    r"\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.|[^'\\\n])*'?|`(?:\\.|[^`\\])*`?"
)
_JOINED = rf"(?:{_QUOTED})(?:{_SPACE}\+{_SPACE}(?:{_QUOTED}))*"
_BARE = r"[^\s\"'`,;&<>(){}\[\]\\]+"
# What code says where a secret would be: a look-up, a call, a literal that is none.
_CODE = (
    r"(?:__ENV\b|open\(|new\s|null\b|undefined\b|true\b|false\b|None\b|await\s|function\b|"
    r"\[|\{|\(|=>|[A-Za-z_$][\w$.]*\()"
)

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----.*?"
    r"(?:-----END [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|\Z)",
    re.DOTALL,
)
_HEADER = re.compile(
    r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie2?|x-[a-z-]*(?:key|token|auth|secret)[a-z-]*)"
    r"(\s*:\s*)(?=[^\s\"'`{\[])(?![A-Za-z_$][\w$.]*\(|__ENV)[^\"'`\r\n\\]+"
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic|digest|apikey|token)(\s+)[A-Za-z0-9._~+/=-]{8,}")
_URL_LOGIN = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,30}://)[^\s/?#\"'`<>@]*(?:@[^\s/?#\"'`<>@]*)*@")
_WEBHOOK = re.compile(
    r"(?i)(https?://(?:hooks\.slack\.com|discord(?:app)?\.com/api/webhooks|[\w.-]*webhook\.office"
    r"\.com|api\.telegram\.org|chat\.googleapis\.com))/[^\s\"'`<>]+"
)
_SHAPES = re.compile(
    r"\beyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){0,4}|"  # JWT, whole or cut
    r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}|"
    r"\bAIza[A-Za-z0-9_-]{20,}|\bAQ\.[A-Za-z0-9_-]{16,}|\bya29\.[A-Za-z0-9._-]{10,}|"
    r"\bgh[oprsu]_[A-Za-z0-9]{16,}|\bgithub_pat_\w{16,}|\bgl[a-z]{2,5}-[A-Za-z0-9_-]{16,}|"
    r"\bxox[a-z]-[A-Za-z0-9-]{8,}|\bxapp-[A-Za-z0-9-]{8,}|"
    r"\b[spr]k_(?:live|test)_[A-Za-z0-9]{8,}|\bwhsec_[A-Za-z0-9]{8,}|"
    r"\bsk-[A-Za-z0-9_-]{16,}|\bSG\.[A-Za-z0-9_.-]{16,}|\b(?:npm|hf|dckr_pat|shp(?:at|ss))_\w{16,}|"
    r"\bdop_v1_\w{16,}|\bpypi-\w{16,}|\bkey-[0-9a-f]{32}\b|\bglsa_\w{16,}|\bAGE-SECRET-KEY-\w+"
)
_TELLING_CALL = re.compile(
    r"(?i)(\b[\w$.]{0,40}?(?:passw|secret|token|login|signin|authenticate|hmac|basicauth)\w{0,40}"
    r"\s{0,5}\()([^()\n]{1,400})"
)
_FLAG = re.compile(rf"(?i)(--?[\w-]{{0,40}}?(?:{_TELLING})[\w-]{{0,40}}\s+|\s-u\s+)(?!-){_BARE}")
_STRING = re.compile(_QUOTED, re.DOTALL)
# Without slashes first: a part of a path may be as random as the whole of a base 64 text.
_LONG = [
    re.compile(rf"(?<![{chars}])[{chars}]{{{LONG_RANDOM},}}(?![{chars}])")
    for chars in ("A-Za-z0-9+_=-", "A-Za-z0-9+/_=-")
]


def _named(names: str, *, code: bool) -> re.Pattern[str]:
    value = rf"(?:(?P<quoted>{_JOINED})|{'(?!' + _CODE + ')' if code else ''}(?P<bare>{_BARE}))"
    # The suffix is bounded and there is no prefix, which keeps the search linear.
    return re.compile(rf"(?is)(?P<lead>(?:{names})[\w.$-]{{0,64}}{_BETWEEN}){value}")


_NAMED = {code: _named(_TELLING, code=code) for code in (False, True)}
_PERHAPS_NAMED = {code: _named(_PERHAPS, code=code) for code in (False, True)}


def redact(text: str, *, known: Mapping[str, str] | None = None, code: bool = False) -> str:
    """`text` without what is, or looks like, a secret.

    `known` maps values to the names they go by and are shown as. In `code`, a telling name that is
    given an expression rather than a text ("token: login()") keeps it. Linear in the text but for
    a small factor; idempotent.
    """
    text = hide_known(text, known or {})
    text = _PRIVATE_KEY.sub(MARK, text)
    text = _WEBHOOK.sub(rf"\1/{MARK}", text)
    text = _URL_LOGIN.sub(_login, text)
    text = _HEADER.sub(rf"\1\2{MARK}", text)
    text = _SCHEME.sub(_after_scheme, text)
    text = _FLAG.sub(rf"\1{MARK}", text)
    text = _NAMED[code].sub(_value, text)
    text = _PERHAPS_NAMED[code].sub(_random_value, text)
    text = _TELLING_CALL.sub(lambda m: m[1] + _STRING.sub(_emptied, m[2]), text)
    text = _SHAPES.sub(MARK, text)
    for pattern in _LONG:
        text = pattern.sub(lambda m: MARK if _random_long(m[0]) else m[0], text)
    return text


def hide_known(text: str, known: Mapping[str, str]) -> str:
    """`text` with every value of `known` replaced by its name, longest first."""
    for value in sorted(filter(_worth_hiding, known), key=len, reverse=True):
        label = f"[{known[value]}]".replace("\\", "\\\\")
        text = _whole(value).sub(label, text)
    return text


def _worth_hiding(value: str) -> bool:
    plain = re.fullmatch(r"[\d.,:]{1,5}[a-z]{0,2}|true|false|null|none", value, re.IGNORECASE)
    return len(value.strip()) >= SHORTEST_KNOWN and not plain


def _whole(value: str) -> re.Pattern[str]:
    """The value where it does not merely happen to be a part of a longer word."""
    before = r"(?<![A-Za-z0-9])" if value[0].isalnum() else ""
    after = r"(?![A-Za-z0-9])" if value[-1].isalnum() else ""
    return re.compile(before + re.escape(value) + after)


def _login(match: re.Match[str]) -> str:
    return f"{match[1]}{MARK}@"


def _after_scheme(match: re.Match[str]) -> str:
    # "token expired" and "basic authentication" are prose; a credential is longer or less plain.
    word = match[0][len(match[1]) + len(match[2]) :]
    prose = word.isalpha() and (word.islower() or word.istitle()) and len(word) < SHORTEST_RANDOM
    return match[0] if prose else f"{match[1]}{match[2]}{MARK}"


def _emptied(match: re.Match[str]) -> str:
    """A quoted text with its quotes and without its contents."""
    opening = re.match(r"\\*[\"'`]", match[0])
    quote = opening.group() if opening else ""
    inner = match[0][len(quote) :]
    return quote + MARK + (quote if inner.endswith(quote) else "") if inner != quote else match[0]


def _replaced(match: re.Match[str]) -> str:
    if match["quoted"] is None:
        return match["lead"] + MARK
    return match["lead"] + _STRING.sub(_emptied, match["quoted"])


def _value(match: re.Match[str]) -> str:
    bare = match["bare"]
    if bare is not None and (bare.startswith(MARK) or not _worth_redacting(match["lead"], bare)):
        return match[0]
    return _replaced(match)


def _worth_redacting(lead: str, bare: str) -> bool:
    """Counts are no secrets: total_tokens=12; nor is a place in a template: token=${token}."""
    if bare.startswith("$"):
        return False
    return not (lead.rstrip(" :=").lower().endswith("tokens") and bare.isdigit())


def _random_value(match: re.Match[str]) -> str:
    value = match["bare"] if match["quoted"] is None else match["quoted"].strip("\\\"'`")
    return _replaced(match) if _random(value) else match[0]


def _random(value: str) -> bool:
    """Whether a value looks drawn by lot rather than written by a person."""
    if len(value) < SHORTEST_RANDOM or re.search(r"[\s/{}()$]", value.strip("/")):
        return False
    return bool(re.search(r"\d", value)) and _bits(value) >= RANDOM_BITS


def _random_long(value: str) -> bool:
    """The same for a text that stands alone: long, without the look of a path or of a name."""
    if re.fullmatch(rf"[0-9a-fA-F]{{{LONG_RANDOM},}}", value):
        return True
    kinds = (any(map(kind, value)) for kind in (str.islower, str.isupper, str.isdigit))
    return all(kinds) and value.count("/") <= len(value) // 12 and _bits(value) >= RANDOM_BITS + 1


def _bits(value: str) -> float:
    """Shannon's entropy of the characters, bits each."""
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts)
