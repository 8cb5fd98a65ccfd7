"""What is a secret because of the name beside it: password = '…', "token": "…", login('bob', '…').

A value right after a telling name goes, quoted or bare. What else the name is given, up to the end
of that expression, loses its quoted texts: a default (`__ENV.PASSWORD || '…'`), a list, a call, an
object, a type before it. Names and paths within stay, so that the code can still be read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from k6d.explain.shapes import MARK, looks_random

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_EXPRESSION = 4_000
MAX_TEXT_BEFORE = 400

# Names that tell by themselves that a secret follows, in whatever spelling: accessToken, DB_PASS.
TELLING = (
    r"pass(?:word|wd|wort|phrase|code)?s?(?![a-z])|passwd|pwd|(?<![a-z])pw(?![a-z])|secret|token|"
    r"api[_-]?key|(?:access|private|signing|encryption|master|client|shared|account|subscription|"
    r"license|ssh|signature|hmac)[_-]?key|credential|creds?(?![a-z])|authorization|cookie|bearer|"
    r"jwt(?![a-z])|otp(?![a-z])|(?<![a-z])pin(?:code)?(?![a-z])|(?<![a-z])cv[vc]2?(?![a-z])|"
    r"(?:mfa|2fa|verification|one[_-]?time)[_-]?code|csrf|xsrf|sess(?:ion)?[_-]?id|signature|"
    r"x-[a-z-]{0,20}(?:auth|key)|kennwort|contrase[nñ]a|mot[_-]de[_-]passe|senha(?![a-z])|пароль|密码|"
    r"パスワード"
)
# Names that only sometimes do: their values must look random.
_PERHAPS = r"key|auth|sig|sid|session|nonce|salt|hash|user|login|account|client|dsn|webhook|code"
# Functions that are given secrets, beside those whose names tell.
_CALLS = r"login|signin|authenticate|hmac|basicauth|b64encode|btoa|atob|jar\.set"
_SPACE = r"\s{0,20}"
# From the name to its value, with quotes that JSON in a log has escaped: "a": , a = , ['a', ,
# <a>, <input name="a" value= , {"name": "a", "value": .
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
_JOINED = rf"(?:{_QUOTED})(?:{_SPACE}\+{_SPACE}(?:{_QUOTED}))*"
_BARE = r"(?![=|?>])[^\s\"'`,;&<>(){}\[\]\\]+"
# What code says where a secret would be: a look-up, a call, a type, a literal that is none.
_CODE = (
    r"(?:__ENV\b|open\(|new\s|null\b|undefined\b|true\b|false\b|None\b|await\s|function\b|"
    r"(?:string|number|boolean|any|unknown|object)\b|\[|\{|\(|=>|[A-Za-z_$][\w$.]*\()"
)
_STRING = re.compile(_QUOTED, re.DOTALL)
_FLAG = re.compile(
    rf"(?i)(?<![\w-])(--?[\w-]{{0,40}}?(?:{TELLING})[\w-]{{0,40}}\s{{1,20}}[\"']?)"
    rf"(?!-)[^\s\"']+|(\s(?:-u\s?|--(?:proxy-)?user[\s=])[\"']?)[^\s:\"']+:[^\s\"']+"
)
_QUERY = re.compile(
    r"(?i)([?&](?:key|auth|sig|sid|session|code|nonce|hash)=)(?!\$|\[)[^\s&\"'`<>#]{5,}"
)
# Written for a URL, for HTML or for JavaScript: password%3D… , %22token%22%3A%22… , &quot;
_QUOTE_CODE = r"(?:%(?:25){0,2}2[27]|&(?:quot|\#34|\#39|apos);|\\{1,8}u002[27])"
_ENCODED = re.compile(
    rf"(?i)((?:{TELLING})[\w.$-]{{0,64}}?{_QUOTE_CODE}?"
    rf"(?:%(?:25){{0,2}}3[ad]|(?<=;):|(?<=u002[27]):)(?:%20|\+|\s){{0,3}}{_QUOTE_CODE}?)"
    rf"(?:(?!%(?:25){{0,2}}2[267c]|%(?:25){{0,2}}7d|&|\\{{1,8}}u002[27])[^\s\"'`<>,;{{}}])+"
)
_XML = re.compile(
    rf"(?i)(<(?:[\w-]{{1,30}}:)?[\w-]{{0,30}}?(?:{TELLING})[\w.-]{{0,40}}\s[^<>]{{0,200}}>)[^<>]+"
)
_RECORD = re.compile(r"(?i)<(?:input|meta)\b[^<>]{0,500}>|\{[^{}]{0,300}\}")
_TOLD = re.compile(rf"(?i)\bname\\*[\"'`]?\s?[:=]\s?\\*[\"'`]?[\w-]{{0,40}}?(?:{TELLING})")
_ITS_VALUE = re.compile(rf"(?is)(\b(?:value|content)\\*[\"'`]?\s?[:=]\s?)({_QUOTED})")
_RETURNED = re.compile(
    rf"(?is)((?:{TELLING})[\w$]{{0,40}}\s?\([^()]{{0,100}}\)\s{{0,5}}\{{\s{{0,40}}return\s)({_QUOTED})"
)

_OPERATOR = r"(?:[!:]?={1,3}>?|\?\?=?|\|\|=?|\??:)"
_GIVEN = {
    code: re.compile(
        rf"(?i)(?P<name>(?:{TELLING})[\w$.-]{{0,64}}{headers}|(?:{_CALLS})[\w$]{{0,40}}(?=\s?\())"
        rf"(?:(?P<key>\\*[\"'`])?\]?{_SPACE}{_OPERATOR}|\s?(?P<call>\())"
    )
    for code, headers in ((False, ""), (True, r"|headers(?:\[[^\[\]\n]{1,60}\])?"))
}
# Names of what is about secrets and is none: tokenErrors, cookie_name, password_field.
_COUNTED = re.compile(
    r"(?i)(?:errors?|fail\w*|count(?:er)?|duration|time|trend|rate|ur[il]|path|endpoint|name|type|"
    r"expir\w*|ttl|length|header|field|valid|status|response|res)$"
)
# What a backslash escapes is none, and the apostrophe of "can't" opens nothing.
_ANY_QUOTE = re.compile(r"\\.|(?P<opens>(?<!\w)'|[\"`])|'")
_TOKEN = re.compile(rf"(?P<quoted>{_QUOTED})|=>{_SPACE}(?=\{{)|[()\[\]{{}};,\n]", re.DOTALL)
# What a text within an expression may say: a path or an address; anywhere, a type of contents.
_PATH = re.compile(r"(?:https?://[\w.$-]+(?::\d+)?|\$\{[\w.$]+\}|\.{0,2})(?:/[\w.${}-]+)+/?")
_TYPE = re.compile(r"(?:application|text|image|multipart|\*)/[\w.+*-]+(?:; ?charset=[\w-]+)?")
_PLACES = re.compile(r"(?:(?:bearer|basic|token) )?(?:\$\{[\w.$]+\}[:. ]?)+", re.IGNORECASE)


def _named(names: str, *, code: bool) -> re.Pattern[str]:
    value = rf"(?:(?P<quoted>{_JOINED})|{'(?!' + _CODE + ')' if code else ''}(?P<bare>{_BARE}))"
    # The suffix is bounded and there is no prefix, which keeps the search linear.
    return re.compile(rf"(?is)(?P<lead>(?:{names})[\w.$-]{{0,64}}{_BETWEEN}){value}")


_NAMED = {code: _named(TELLING, code=code) for code in (False, True)}
_PERHAPS_NAMED = {code: _named(_PERHAPS, code=code) for code in (False, True)}


def tells(name: str) -> bool:
    """Whether a value of this name is a secret, whatever it looks like."""
    return bool(re.search(TELLING, name, re.IGNORECASE))


def hide_named(text: str, *, code: bool) -> str:
    """`text` without the values whose names tell; in `code` an expression stays readable."""
    text = _FLAG.sub(lambda m: (m[1] or m[2]) + MARK, text)
    text = _RECORD.sub(_of_record, text)
    text = _XML.sub(rf"\1{MARK}", text)
    text = _ENCODED.sub(rf"\1{MARK}", text)
    text = "".join(_without_given(text, _GIVEN[code]))
    text = _RETURNED.sub(lambda m: m[1] + _emptied(m[2]), text)
    text = _NAMED[code].sub(_value, text)
    text = _QUERY.sub(rf"\1{MARK}", text)
    return _PERHAPS_NAMED[code].sub(_random_value, text)


def _without_given(text: str, given: re.Pattern[str]) -> Iterator[str]:
    """The text in pieces, with the expressions that telling names are given emptied of texts."""
    place = 0
    while match := given.search(text, place):
        yield text[place : match.end()]
        place = match.end()
        if _COUNTED.search(match["name"]) or (not match["key"] and _in_a_text(text, match)):
            continue
        secrets, end = _expression(text, place, depth=1 if match["call"] else 0)
        for quoted in secrets:
            yield text[place : quoted.start()] + _emptied(quoted[0])
            place = quoted.end()
        yield text[place:end]
        place = end  # not looked at again, which keeps the search linear
    yield text[place:]


def _in_a_text(text: str, match: re.Match[str]) -> bool:
    """Whether a name stands in a text ("no token: …"), whose end is no beginning of another."""
    begin = max(text.rfind("\n", 0, match.start()) + 1, match.start() - MAX_TEXT_BEFORE)
    opened = ""
    for quote in _ANY_QUOTE.finditer(text, begin, match.start()):
        if opened:
            opened = "" if quote[0] == opened else opened
        elif quote["opens"]:
            opened = quote[0]
    return bool(opened)


def _expression(text: str, start: int, *, depth: int) -> tuple[list[re.Match[str]], int]:
    """The quoted texts of the expression from `start` on that may be secrets, and its end.

    It ends with its statement, or where a bracket closes that was open before it.
    """
    outermost = depth
    secrets = []
    end = min(start + MAX_EXPRESSION, len(text))
    for token in _TOKEN.finditer(text, start, end):
        mark = token[0]
        if token["quoted"]:
            contents = mark.strip("\\\"'`")
            harmless = _TYPE.fullmatch(contents) or (depth > 0 and _PATH.fullmatch(contents))
            if not (harmless or _is_key(text, token)):
                secrets.append(token)
        elif mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
            if depth < outermost or depth < 0:
                return secrets, token.start()
        elif depth == 0 and not (mark == "\n" and _goes_on(text, token)):
            return secrets, token.start()  # a comma, a semicolon, a line, a function's body
    return secrets, end


def _is_key(text: str, token: re.Match[str]) -> bool:
    """Whether a text names an entry of an object, and isn't a branch of "a ? 'b' : 'c'"."""
    before = text[max(token.start() - 20, 0) : token.start()].rstrip()
    after = text[token.end() : token.end() + 5].lstrip()
    return after.startswith(":") and before.endswith(("{", ","))


def _goes_on(text: str, line_end: re.Match[str]) -> bool:
    before = text[max(line_end.start() - 20, 0) : line_end.start()].rstrip()
    after = text[line_end.end() : line_end.end() + 40].lstrip()
    return before.endswith(tuple("+=(?:|&")) or after.startswith(tuple("+.?|&"))


def _of_record(match: re.Match[str]) -> str:
    """A tag or an object that holds a telling name and, beside it, a value."""
    if not _TOLD.search(match[0]):
        return match[0]
    return _ITS_VALUE.sub(lambda m: m[1] + _emptied(m[2]), match[0])


def _emptied(quoted: str) -> str:
    """A quoted text with its quotes and without its contents, unless these are places only."""
    opening = re.match(r"\\*[\"'`]", quoted)
    quote = opening.group() if opening else ""
    inner = quoted[len(quote) :]
    contents = inner.removesuffix(quote)
    if not contents or (quote == "`" and _PLACES.fullmatch(contents)):
        return quoted
    return quote + MARK + (quote if inner.endswith(quote) else "")


def _replaced(match: re.Match[str]) -> str:
    if match["quoted"] is None:
        return match["lead"] + MARK
    return match["lead"] + _STRING.sub(lambda m: _emptied(m[0]), match["quoted"])


def _value(match: re.Match[str]) -> str:
    lead, bare = match["lead"], match["bare"] or ""
    done = (lead[-1] + bare + "]").startswith(MARK)
    return match[0] if done or not _worth_redacting(lead, bare) else _replaced(match)


def _worth_redacting(lead: str, bare: str) -> bool:
    """Counts are no secrets: total_tokens=12; nor is a place in a template: token=${token}."""
    if bare.startswith("$") or _COUNTED.search(lead.rstrip(" :=>[\"'`\\")):
        return False
    return not (lead.rstrip(" :=").lower().endswith("tokens") and bare.isdigit())


def _random_value(match: re.Match[str]) -> str:
    value = match["bare"] if match["quoted"] is None else match["quoted"].strip("\\\"'`")
    return _replaced(match) if looks_random(value) else match[0]
