"""Find secrets by the name beside them or by their own shape: rules 2 and 3 of `redact`.

Repetitions in the patterns are bounded, so that the search time grows linearly with the text.
The patterns are texts, which `re` compiles when they are first used, and keeps: all of them take
20 ms and memory, and most runs need few. `redact` imports this module with its first text.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

from k6d.core.secrets_by_name import MARK, MARKING_WORDS, about_a_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

# Bits of entropy for each character. 16 letters of English have about 2.5, of random hex 3.4.
RANDOM_BITS = 3.0
LONG_RANDOM = 32  # characters
# Names that are often harmless: their values are hidden only when they look random.
_MAYBE = r"key|auth|sig|sid|session|nonce|salt|hash|user|login|account|client|dsn|webhook|code"
_ANY_NAME = rf"(?i){MARKING_WORDS}|auth"
_SPACE = r"\s{0,20}"
# What stands between a name and its value: `"a": `, `a = `, `['a', `; quotes may be escaped.
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
# No prefix and a bounded suffix keep the search time linear.
_NAMED, _MAYBE_NAMED = (
    rf"(?is)(?P<lead>(?:{names})[\w.$-]{{0,64}}{_BETWEEN}){_VALUE}"
    for names in (MARKING_WORDS, _MAYBE)
)
# A quote encoded for a URL, for HTML or for JavaScript: %22, &quot;, \u0022.
_QUOTE_CODE = r"(?:%(?:25){0,2}2[27]|&(?:quot|\#34|\#39|apos);|\\{1,8}u002[27])"
_RECORD = r"(?i)<(?:input|meta)\b[^<>]{0,500}>|\{[^{}]{0,300}\}"
_SECRET_NAME = rf"(?i)\bname\\*[\"'`]?\s?[:=]\s?\\*[\"'`]?[\w-]{{0,40}}?(?:{MARKING_WORDS})"
_ITS_VALUE = rf"(?is)(\b(?:value|content)\\*[\"'`]?\s?[:=]\s?)(?:{_QUOTED})"
_LIST = (
    rf"(?i)(?P<lead>(?:{MARKING_WORDS}|\bauth)[\w.$-]{{0,64}}\\*[\"'`]?{_SPACE}[:=]{_SPACE}[\[{{])"
    r"(?P<inner>(?!redacted\]|env:)[^\[\]{}]{1,400})"
)
_SCHEME = (
    r"(?i)\b(bearer|basic|digest|api-?key|token|password|passwd)"
    r"(\s{1,20}(?:is\s{1,20})?[\"'`]?)([^\s\"'`,;<>(){}\[\]]{6,})"
)
# Places that hold secrets, such as headers and queries. The first group is kept if there is one.
_QUERY = (
    rf"(?i)([?&](?:(?:[\w.$-]{{0,40}}?(?:{MARKING_WORDS})[\w.$-]{{0,40}})|key|auth|sig|sid|session|code|"
    r"nonce|hash)=)(?!\$|\[)[^\s&\"'`<>#,;)}\]]{3,}"
)
_URL_LOGIN = r"(?i)(\b[a-z][a-z0-9+.-]{0,30}://)[^\s/?#\"'`<>@]*(?:@[^\s/?#\"'`<>@]*)*@"
_WEBHOOK = (
    r"(?i)(https?://(?:hooks\.slack\.com|(?:\w{1,20}\.)?discord(?:app)?\.com/api/webhooks"
    r"|[\w.-]{0,60}webhook\.office\.com|outlook\.office(?:365)?\.com/webhook|maker\.ifttt\.com"
    r"|api\.telegram\.org|chat\.googleapis\.com)/)[^\s\"'`<>]+"
)
_PRIVATE_KEY = (
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?s:.*?)"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
)
_LOGIN_OPTION = r"(?i)((?<![\w-])(?:-u\s?|--(?:proxy-)?user[\s=])[\"']?)[^\s:\"']+:[^\s\"'`]+"
_PLACES = (
    (
        r"(?i)((?<![\w-])(?:(?:proxy-)?authorization|(?:set-)?cookie2?|"
        r"x-[a-z-]{0,40}?(?:key|token|auth|secret)[a-z-]{0,40}|private-token|api-?key)"
        r"\s{0,20}:\s{0,20})(?=[^\s\"'`{\[])"
        r"(?:[^\"'`\r\n\\]|(?<==)\"[^\"\r\n]*\")+"  # Digest quotes the parts of its value
    ),
    (
        rf"(?i)((?<![\w-])--?[\w-]{{0,40}}?(?:{MARKING_WORDS})[\w-]{{0,40}}\s{{1,20}}[\"']?)(?!-)[^\s\"']+"
    ),
    (
        rf"(?i)(<(?:[\w-]{{1,30}}:)?[\w-]{{0,30}}?(?:{MARKING_WORDS})[\w.-]{{0,40}}\s[^<>]{{0,200}}>)[^<>]+"
    ),
    (
        rf"(?i)((?:{MARKING_WORDS})[\w.$-]{{0,64}}?{_QUOTE_CODE}?"
        rf"(?:%(?:25){{0,2}}3[ad]|(?<=;):|(?<=u002[27]):)(?:%20|\+|\s){{0,3}}{_QUOTE_CODE}?)"
        rf"(?:(?!%(?:25){{0,2}}2[267c]|%(?:25){{0,2}}7d|&|\\{{1,8}}u002[27])[^\s\"'`<>,;{{}}])+"
    ),
)
_SHAPES = (
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
# Without slashes first: one part of a path may be a random text when the whole path is not.
_LONG = [
    rf"(?<![{chars}])[{chars}]{{{LONG_RANDOM},}}(?![{chars}])"
    for chars in ("A-Za-z0-9+_=-", "A-Za-z0-9+/_=-")
]


def without_named(line: str) -> str:
    """The line without secrets that a name, a header, an option or a URL introduces."""
    if re.search(_ANY_NAME, line):  # most lines hold no such name; this one search skips the others
        for pattern in _PLACES:
            line = re.sub(pattern, _masked_after_group, line)
        line = re.sub(_RECORD, _masked_record, line)
        line = re.sub(_LIST, _masked_list, line)
        line = re.sub(_NAMED, _masked_value, line)
    for pattern in (_LOGIN_OPTION, *_of_urls(line)):
        line = re.sub(pattern, _masked_after_group, line)
    return re.sub(_MAYBE_NAMED, _masked_if_random, re.sub(_SCHEME, _masked_credential, line))


def without_private_keys(text: str) -> str:
    """The text without private keys; each may span many lines."""
    return re.sub(_PRIVATE_KEY, MARK, text)


def without_logins(name: str) -> str:
    """The name without the login, webhook path and query secrets of the URL in it."""
    for pattern in _of_urls(name):
        name = re.sub(pattern, _masked_after_group, name)
    return name


def _of_urls(text: str) -> Iterator[str]:
    """The patterns for parts of URLs that may find something in the text: most texts hold none."""
    if "://" in text:
        yield from (_WEBHOOK, _URL_LOGIN)
    if "?" in text or "&" in text:
        yield _QUERY


def _masked_after_group(match: re.Match[str]) -> str:
    return match[1] + MARK + ("@" if match[0].endswith("@") else "")


def _masked_credential(match: re.Match[str]) -> str:
    # "token expired." and "basic authentication" are prose: one short word of letters.
    word = match[3].rstrip(".:!?")
    prose = word.isalpha() and (word.islower() or word.istitle()) and len(word) < 16
    kept = prose or word.startswith(("$", "=", "|", "?"))
    return match[0] if kept else f"{match[1]}{match[2]}{MARK}"


def _masked_record(match: re.Match[str]) -> str:
    """A tag or object without its value, when its `name` is that of a secret."""
    return (
        re.sub(_ITS_VALUE, rf"\1{MARK}", match[0])
        if re.search(_SECRET_NAME, match[0])
        else match[0]
    )


def _masked_list(match: re.Match[str]) -> str:
    """A list or object without its contents, when the name before it is that of a secret."""
    about = about_a_secret(match["lead"].rstrip(" :=>[{\"'`\\"))
    return match[0] if about else match["lead"] + MARK


def _masked_value(match: re.Match[str]) -> str:
    """A named value hidden, unless it is a count (total_tokens=12) or a template's ${token}."""
    lead, bare = match["lead"], match["bare"] or ""
    done = lead.endswith("[") and re.match("redacted|env:", bare)
    about = about_a_secret(lead.rstrip(" :=>[\"'`\\"))
    counted = lead.rstrip(" :=\"'").lower().endswith("tokens") and bare.isdigit()
    return match[0] if done or about or counted or bare.startswith("$") else _masked(match)


def _masked_if_random(match: re.Match[str]) -> str:
    value = (match["bare"] or match["quoted"]).strip("\\\"'`")
    random = len(value) >= 16 and re.search(r"\d", value) and _entropy_bits(value) >= RANDOM_BITS
    return _masked(match) if random and not re.search(r"[\s/{}()$\[]", value) else match[0]


def _masked(match: re.Match[str]) -> str:
    quoted = match["quoted"] or ""
    quote = (re.match(r"\\*[\"'`]", quoted) or [""])[0]
    inner = quoted[len(quote) :]
    if quoted and not inner.removesuffix(quote):
        return match[0]  # the quotes are empty: there is no secret
    return match["lead"] + quote + MARK + (quote if inner.endswith(quote) else "")


def without_shapes(text: str) -> str:
    """The text without keys that have a known shape, and without long random texts."""
    text = re.sub(_SHAPES, MARK, text)
    for pattern in _LONG:
        text = re.sub(pattern, lambda m: MARK if _is_random(m[0]) else m[0], text)
    return text


def _is_random(value: str) -> bool:
    """Whether a long text looks random, unlike a path or a name."""
    if re.fullmatch(rf"[0-9a-fA-F]{{{LONG_RANDOM},}}", value):
        return True
    kinds = (any(map(kind, value)) for kind in (str.islower, str.isupper, str.isdigit))
    return (
        all(kinds)
        and value.count("/") <= len(value) // 12
        and _entropy_bits(value) >= RANDOM_BITS + 1
    )


def _entropy_bits(value: str) -> float:
    """Shannon entropy of the text, in bits for each character."""
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts)
