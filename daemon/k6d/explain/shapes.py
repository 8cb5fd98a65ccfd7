"""What is a secret by its own shape: keys, JWTs, private keys, URLs with credentials, headers.

Every pattern is bounded where it could start anew at each character, so that no text makes the
search run away: a search that runs holds up the whole daemon.
"""

from __future__ import annotations

import math
import re
from collections import Counter

MARK = "[redacted]"
SHORTEST_RANDOM = 16
RANDOM_BITS = 3.0  # a character; English words have about 2.5 in 16 letters, random hex 3.4
LONG_RANDOM = 32

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY( BLOCK)?-----.*?"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY( BLOCK)?-----|\Z)",
    re.DOTALL,
)
_HEADER = re.compile(
    r"(?i)(?<![\w-])((?:proxy-)?authorization|(?:set-)?cookie2?|"
    r"x-[a-z-]{0,40}?(?:key|token|auth|secret)[a-z-]{0,40}|private-token|api-?key)"
    r"(\s{0,20}:\s{0,20})(?=[^\s\"'`{\[])(?![A-Za-z_$][\w$.]{0,80}\(|__ENV)"
    r"(?:[^\"'`\r\n\\]|(?<==)\"[^\"\r\n]*\")+"  # Digest quotes the parts of its value
)
_SCHEME = re.compile(
    r"(?i)\b(bearer|basic|digest|api-?key|token|password|passwd)"
    r"(\s{1,20}(?:is\s{1,20})?[\"'`]?)([^\s\"'`,;<>(){}\[\]]{6,})"
)
_SCHEME_JOINED = re.compile(
    r"(?i)(\b(?:bearer|basic|token|apikey)\s{0,20}[\"'`]\s{0,20}(?:\+|,|\.concat\()\s{0,20}[\"'`])"
    r"([^\"'`\n]{1,2000})"
)
_URL_LOGIN = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,30}://)[^\s/?#\"'`<>@]*(?:@[^\s/?#\"'`<>@]*)*@")
_HOME = re.compile(
    r"(/(?:home|Users)/)[^/\s\"'`:]+(?=/)"
)  # stack traces name it; homes are private
_WEBHOOK = re.compile(
    r"(?i)(https?://(?:hooks\.slack\.com|(?:\w{1,20}\.)?discord(?:app)?\.com/api/webhooks"
    r"|[\w.-]{0,60}webhook\.office\.com|outlook\.office(?:365)?\.com/webhook|maker\.ifttt\.com"
    r"|api\.telegram\.org|chat\.googleapis\.com))/[^\s\"'`<>]+"
)
_SHAPES = re.compile(
    r"\beyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){0,4}|"  # JWT, whole or cut
    r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}|"
    r"\bAIza[A-Za-z0-9_-]{20,}|\bAQ\.[A-Za-z0-9_-]{16,}|\bya29\.[A-Za-z0-9._-]{10,}|"
    r"\bgh[oprsu]_[A-Za-z0-9]{16,}|\bgithub_pat_\w{16,}|\bgl[a-z]{2,5}-[A-Za-z0-9_-]{16,}|"
    r"\bxox[a-z][.-][A-Za-z0-9.-]{8,}|\bxapp-[A-Za-z0-9-]{8,}|"
    r"\b[spr]k_(?:live|test)_[A-Za-z0-9]{8,}|\bwhsec_[A-Za-z0-9]{8,}|"
    r"\bsk-[A-Za-z0-9_-]{16,}|\bSG\.[A-Za-z0-9_.-]{16,}|\b(?:npm|hf|dckr_pat|shp(?:at|ss))_\w{16,}|"
    r"\bdop_v1_\w{16,}|\bpypi-\w{16,}|\bkey-[0-9a-f]{32}\b|\bglsa_\w{16,}|\bAGE-SECRET-KEY-\w+|"
    r"\b(?:dapi|SK|AC)[0-9a-f]{32}|\bhv[sbr]\.[A-Za-z0-9_-]{16,}|\bATATT3[A-Za-z0-9_=-]{16,}|"
    r"\b(?:PMAK|NRAK)-[A-Za-z0-9-]{16,}|\b(?:lin_api|figd|tfp|secret)_\w{16,}"
)
# Without slashes first: a part of a path may be as random as the whole of a base 64 text.
_LONG = [
    re.compile(rf"(?<![{chars}])[{chars}]{{{LONG_RANDOM},}}(?![{chars}])")
    for chars in ("A-Za-z0-9+_=-", "A-Za-z0-9+/_=-")
]


def hide_places(text: str) -> str:
    """`text` without what stands where secrets stand: private keys, URLs, headers."""
    text = _PRIVATE_KEY.sub(MARK, text)
    text = _HOME.sub(r"\1…", text)
    text = _WEBHOOK.sub(rf"\1/{MARK}", text)
    text = _URL_LOGIN.sub(rf"\1{MARK}@", text)
    text = _HEADER.sub(rf"\1\2{MARK}", text)
    text = _SCHEME_JOINED.sub(rf"\1{MARK}", text)
    return _SCHEME.sub(_after_scheme, text)


def hide_shapes(text: str) -> str:
    """`text` without the forms that providers give their keys, and without long random texts."""
    text = _SHAPES.sub(MARK, text)
    for pattern in _LONG:
        text = pattern.sub(lambda m: MARK if _random_long(m[0]) else m[0], text)
    return text


def looks_random(value: str) -> bool:
    """Whether a value looks drawn by lot rather than written by a person."""
    if len(value) < SHORTEST_RANDOM or re.search(r"[\s/{}()$]", value.strip("/")):
        return False
    return bool(re.search(r"\d", value)) and _bits(value) >= RANDOM_BITS


def _after_scheme(match: re.Match[str]) -> str:
    # "token expired." and "basic authentication" are prose; a credential is longer or less plain.
    word = match[3].rstrip(".:!?")
    prose = word.isalpha() and (word.islower() or word.istitle()) and len(word) < SHORTEST_RANDOM
    kept = prose or word.startswith(("$", "=", "|", "?")) or word in MARK
    return match[0] if kept else f"{match[1]}{match[2]}{MARK}"


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
