"""What is a secret by the name beside it or by its own shape: rules 2 and 3 of `redact`.

Every pattern is bounded where it could start at each character, so that no text makes the search
run away. Compiling them takes memory that a daemon without a run does not need: `redact` imports
this module with the first text.
"""

from __future__ import annotations

import math
import re
from collections import Counter

from k6d.core.secrets_by_name import MARK, TELLING, about_a_secret

RANDOM_BITS = 3.0  # a character; English words have about 2.5 in 16 letters, random hex 3.4
LONG_RANDOM = 32
# Names that only sometimes tell: their values must look random.
_PERHAPS = r"key|auth|sig|sid|session|nonce|salt|hash|user|login|account|client|dsn|webhook|code"
_TELLS = re.compile(rf"(?i){TELLING}|auth")
_SPACE = r"\s{0,20}"
# From the name to its value, with quotes that JSON in a log has escaped: "a": , a = , ['a', .
_BETWEEN = (
    rf"(?:\\*[\"'`]?\]?{_SPACE}(?:=>|:=|[:=>]){_SPACE}\[?|"
    rf"\\*[\"'`]?[\s,]{{1,20}}\\*[\"'`]?(?:value|content)\\*[\"'`]?{_SPACE}[:=]{_SPACE}|"
    rf"\\*[\"'`]{_SPACE},{_SPACE})"
)
_QUOTED = (
    r"\\{1,8}\"(?:(?!\\{1,8}\").)*(?:\\{1,8}\")?|"  # \"…\" of JSON within JSON
    r"\\{1,8}'(?:(?!\\{1,8}').)*(?:\\{1,8}')?|"
    r"\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.|[^'\\\n])*'?|`(?:\\.|[^`\\])*`?"
)
_VALUE = rf"(?:(?P<quoted>{_QUOTED})|(?P<bare>(?![=|?>])[^\s\"'`,;&<>(){{}}\[\]\\]+))"
# The suffix is bounded and there is no prefix, which keeps the search linear.
_NAMED, _PERHAPS_NAMED = (
    re.compile(rf"(?is)(?P<lead>(?:{names})[\w.$-]{{0,64}}{_BETWEEN}){_VALUE}")
    for names in (TELLING, _PERHAPS)
)
# Written for a URL, for HTML or for JavaScript: password%3D… , %22token%22%3A%22… , &quot;
_QUOTE_CODE = r"(?:%(?:25){0,2}2[27]|&(?:quot|\#34|\#39|apos);|\\{1,8}u002[27])"
_RECORD = re.compile(r"(?i)<(?:input|meta)\b[^<>]{0,500}>|\{[^{}]{0,300}\}")
_TOLD = re.compile(rf"(?i)\bname\\*[\"'`]?\s?[:=]\s?\\*[\"'`]?[\w-]{{0,40}}?(?:{TELLING})")
_ITS_VALUE = re.compile(rf"(?is)(\b(?:value|content)\\*[\"'`]?\s?[:=]\s?)(?:{_QUOTED})")
_LIST = re.compile(
    rf"(?i)(?P<lead>(?:{TELLING}|\bauth)[\w.$-]{{0,64}}\\*[\"'`]?{_SPACE}[:=]{_SPACE}[\[{{])"
    r"(?P<inner>(?!redacted\]|env:)[^\[\]{}]{1,400})"
)
_SCHEME = re.compile(
    r"(?i)\b(bearer|basic|digest|api-?key|token|password|passwd)"
    r"(\s{1,20}(?:is\s{1,20})?[\"'`]?)([^\s\"'`,;<>(){}\[\]]{6,})"
)
# What stands where secrets stand; the first group, if there is one, is kept.
_QUERY = re.compile(
    rf"(?i)([?&](?:(?:[\w.$-]{{0,40}}?(?:{TELLING})[\w.$-]{{0,40}})|key|auth|sig|sid|session|code|"
    r"nonce|hash)=)(?!\$|\[)[^\s&\"'`<>#,;)}\]]{3,}"
)
_URL_LOGIN = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]{0,30}://)[^\s/?#\"'`<>@]*(?:@[^\s/?#\"'`<>@]*)*@")
_WEBHOOK = re.compile(
    r"(?i)(https?://(?:hooks\.slack\.com|(?:\w{1,20}\.)?discord(?:app)?\.com/api/webhooks"
    r"|[\w.-]{0,60}webhook\.office\.com|outlook\.office(?:365)?\.com/webhook|maker\.ifttt\.com"
    r"|api\.telegram\.org|chat\.googleapis\.com)/)[^\s\"'`<>]+"
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?s:.*?)"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
)
_LOGIN_OPTION = re.compile(
    r"(?i)((?<![\w-])(?:-u\s?|--(?:proxy-)?user[\s=])[\"']?)[^\s:\"']+:[^\s\"'`]+"
)
_PLACES = (
    re.compile(
        r"(?i)((?<![\w-])(?:(?:proxy-)?authorization|(?:set-)?cookie2?|"
        r"x-[a-z-]{0,40}?(?:key|token|auth|secret)[a-z-]{0,40}|private-token|api-?key)"
        r"\s{0,20}:\s{0,20})(?=[^\s\"'`{\[])"
        r"(?:[^\"'`\r\n\\]|(?<==)\"[^\"\r\n]*\")+"  # Digest quotes the parts of its value
    ),
    re.compile(
        rf"(?i)((?<![\w-])--?[\w-]{{0,40}}?(?:{TELLING})[\w-]{{0,40}}\s{{1,20}}[\"']?)(?!-)[^\s\"']+"
    ),
    re.compile(
        rf"(?i)(<(?:[\w-]{{1,30}}:)?[\w-]{{0,30}}?(?:{TELLING})[\w.-]{{0,40}}\s[^<>]{{0,200}}>)[^<>]+"
    ),
    re.compile(
        rf"(?i)((?:{TELLING})[\w.$-]{{0,64}}?{_QUOTE_CODE}?"
        rf"(?:%(?:25){{0,2}}3[ad]|(?<=;):|(?<=u002[27]):)(?:%20|\+|\s){{0,3}}{_QUOTE_CODE}?)"
        rf"(?:(?!%(?:25){{0,2}}2[267c]|%(?:25){{0,2}}7d|&|\\{{1,8}}u002[27])[^\s\"'`<>,;{{}}])+"
    ),
)
_SHAPES = re.compile(
    r"\beyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){0,4}|"  # JWT, whole or cut
    r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}|"
    r"\bAIza[A-Za-z0-9_-]{20,}|\bAQ\.[A-Za-z0-9_-]{16,}|\bya29\.[A-Za-z0-9._-]{10,}|"
    r"\bGOCSPX-[A-Za-z0-9_-]{10,}|\bdp\.[a-z]{2,8}\.[A-Za-z0-9._-]{10,}|"  # Google, Doppler
    r"\b[A-Za-z0-9_-]{23,28}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}|"  # Discord
    r"\b\d{8,10}:[A-Za-z0-9_-]{35}\b|"  # Telegram
    r"\bgh[oprsu]_[A-Za-z0-9]{16,}|\bgithub_pat_\w{16,}|\bgl[a-z]{2,5}-[A-Za-z0-9_-]{16,}|"
    r"\bxox[a-z][.-][A-Za-z0-9.-]{8,}|\bxapp-[A-Za-z0-9-]{8,}|"
    r"\b[spr]k_(?:live|test)_[A-Za-z0-9]{8,}|\bwhsec_[A-Za-z0-9]{8,}|"
    r"\bsk-[A-Za-z0-9_-]{16,}|\bSG\.[A-Za-z0-9_.-]{16,}|\b(?:npm|hf|dckr_pat|shp(?:at|ss))_\w{16,}|"
    r"\bdo[opr]_v1_\w{16,}|\bpypi-\w{16,}|\bkey-[0-9a-f]{32}\b|\bgl(?:sa|c)_\w{16,}|"
    r"\bAGE-SECRET-KEY-\w+|\b(?:dapi|SK|AC)[0-9a-f]{32}|\bhv[sbr]\.[A-Za-z0-9_-]{16,}|"
    r"\bATATT3[A-Za-z0-9_=-]{16,}|\b(?:PMAK|NRAK|tskey|xkeysib)-[A-Za-z0-9-]{16,}|"
    r"\b(?:lin_api|figd|tfp|secret|sbp|sq0[a-z]{3}-)_?\w{16,}"
)
# Without slashes first: a part of a path may be as random as the whole of a base 64 text.
_LONG = [
    re.compile(rf"(?<![{chars}])[{chars}]{{{LONG_RANDOM},}}(?![{chars}])")
    for chars in ("A-Za-z0-9+_=-", "A-Za-z0-9+/_=-")
]


def without_named(line: str) -> str:
    """The line without what stands in places of secrets and beside names that tell."""
    if _TELLS.search(line):  # by far the most lines tell of nothing
        for pattern in _PLACES:
            line = pattern.sub(_after_first, line)
        line = _RECORD.sub(_of_record, line)
        line = _LIST.sub(_of_list, line)
        line = _NAMED.sub(_value, line)
    for pattern in (_LOGIN_OPTION, _WEBHOOK, _URL_LOGIN, _QUERY):
        line = pattern.sub(_after_first, line)
    return _PERHAPS_NAMED.sub(_random_value, _SCHEME.sub(_after_scheme, line))


def without_private_keys(text: str) -> str:
    """`text` without private keys, which go over many lines."""
    return _PRIVATE_KEY.sub(MARK, text)


def without_logins(name: str) -> str:
    """A name, often a URL, without a login, a webhook's path and what its query tells."""
    for pattern in (_WEBHOOK, _URL_LOGIN, _QUERY):
        name = pattern.sub(_after_first, name)
    return name


def _after_first(match: re.Match[str]) -> str:
    return match[1] + MARK + ("@" if match[0].endswith("@") else "")


def _after_scheme(match: re.Match[str]) -> str:
    # "token expired." and "basic authentication" are prose; a credential is longer or less plain.
    word = match[3].rstrip(".:!?")
    prose = word.isalpha() and (word.islower() or word.istitle()) and len(word) < 16
    kept = prose or word.startswith(("$", "=", "|", "?"))
    return match[0] if kept else f"{match[1]}{match[2]}{MARK}"


def _of_record(match: re.Match[str]) -> str:
    """A tag or an object that holds a telling name and, beside it, a value."""
    return _ITS_VALUE.sub(rf"\1{MARK}", match[0]) if _TOLD.search(match[0]) else match[0]


def _of_list(match: re.Match[str]) -> str:
    """A list or an object that a telling name is given."""
    about = about_a_secret(match["lead"].rstrip(" :=>[{\"'`\\"))
    return match[0] if about else match["lead"] + MARK


def _value(match: re.Match[str]) -> str:
    """Counts are no secrets: total_tokens=12; nor is a place in a template: token=${token}."""
    lead, bare = match["lead"], match["bare"] or ""
    done = lead.endswith("[") and re.match("redacted|env:", bare)
    about = about_a_secret(lead.rstrip(" :=>[\"'`\\"))
    counted = lead.rstrip(" :=\"'").lower().endswith("tokens") and bare.isdigit()
    return match[0] if done or about or counted or bare.startswith("$") else _replaced(match)


def _random_value(match: re.Match[str]) -> str:
    value = (match["bare"] or match["quoted"]).strip("\\\"'`")
    random = len(value) >= 16 and re.search(r"\d", value) and _bits(value) >= RANDOM_BITS
    return _replaced(match) if random and not re.search(r"[\s/{}()$\[]", value) else match[0]


def _replaced(match: re.Match[str]) -> str:
    quoted = match["quoted"] or ""
    quote = (re.match(r"\\*[\"'`]", quoted) or [""])[0]
    inner = quoted[len(quote) :]
    if quoted and not inner.removesuffix(quote):
        return match[0]  # an empty text
    return match["lead"] + quote + MARK + (quote if inner.endswith(quote) else "")


def without_shapes(text: str) -> str:
    """`text` without what has the shape of a key, and without long random texts."""
    text = _SHAPES.sub(MARK, text)
    for pattern in _LONG:
        text = pattern.sub(lambda m: MARK if _random_long(m[0]) else m[0], text)
    return text


def _random_long(value: str) -> bool:
    """Whether a long text looks drawn by lot: no path and no name of something."""
    if re.fullmatch(rf"[0-9a-fA-F]{{{LONG_RANDOM},}}", value):
        return True
    kinds = (any(map(kind, value)) for kind in (str.islower, str.isupper, str.isdigit))
    return all(kinds) and value.count("/") <= len(value) // 12 and _bits(value) >= RANDOM_BITS + 1


def _bits(value: str) -> float:
    """Shannon's entropy of the characters, bits each."""
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts)
