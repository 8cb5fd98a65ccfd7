"""Decides from the text of a module whether it can export what k6 calls: a default, or options.

k6 runs a module that exports a default function, or options whose scenarios name functions. "No" is
the answer only where the text proves it. The text is split into tokens. Where a token can be read
in two ways, such as a division as a regular expression, the answer is "yes", and k6 decides. So it
does where a comment or a literal holds the word export, which guards against a token read wrongly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# k6 wraps a file without import and export in a function (CommonJS). There, these lead to the
# exports of the file, `require` by way of the file itself.
_COMMONJS = frozenset({"exports", "module", "arguments", "this", "eval", "require"})
_CALLED = frozenset({"default", "options"})
# A text without any of these exports nothing that k6 calls. `\\u` can spell each letter of a name.
_SUSPECT = re.compile(
    rf"\b(?:{'|'.join(sorted(_COMMONJS | _CALLED))})\b|\bexport\b[\s\ufeff]*+[^\s\w]|\\u"
)
MOST_CHARS = 100_000  # a helper has fewer; splitting a bundle of a megabyte takes a second
_HTML_COMMENT = re.compile(r"<!--|-->")
_TOKEN = re.compile(
    r"(?P<blank>[^\S\n]++|//[^\n\r\u2028\u2029]*+|/\*(?:[^*]++|\*(?!/))*+\*/)|(?P<line>\n)"
    r"|(?P<string>\"(?:[^\"\\\n\r]++|\\(?s:.))*+\"|'(?:[^'\\\n\r]++|\\(?s:.))*+')"
    r"|(?P<name>#?[^\W\d][\w$]*+|\$[\w$]*+)|(?P<number>\.?\d[\w.]*+)"
    r"|(?P<sign>=>|\+\+|--|\?\.|[-+*%=<>&|^~!?:;,.@(){}\[\]])|(?P<template>`)|(?P<slash>/)"
)
_TEMPLATE = re.compile(r"(?:[^`\\$]++|\\(?s:.)|\$(?!\{))*+(`|\$\{)")
_REGEX = re.compile(
    r"/(?![*/])(?:[^\\/\[\n\r]++|\\[^\n\r]|\[(?:[^\]\\\n\r]++|\\[^\n\r])*+\])++/[A-Za-z]*+"
)
_CLOSES = {")": "(", "]": "[", "}": "{"}
_BEFORE_CONDITION = frozenset({"if", "while", "for", "with"})
_BEFORE_REGEX = frozenset({
    *("return", "typeof", "instanceof", "in", "new", "delete", "void", "throw", "case", "do"),
    "else",
})  # fmt: skip
_EITHER = frozenset({"of", "await", "yield"})  # keywords in some places, names in others
_TYPES = frozenset({"type", "interface", "declare"})
_NAMED = frozenset({"function", "class", "enum", "namespace"})
_BEFORE_NAMED = frozenset({"async", "abstract"})


class UnclearError(Exception):
    """The text can be read in more than one way."""


class Token(NamedTuple):
    """A name, a sign or a literal at its depth of brackets; `starts`: first on its line."""

    text: str
    depth: int
    starts: bool
    is_name: bool = False


def may_be_called(text: str) -> bool:
    """Return whether k6 may find something to call in the exports of this text."""
    if not _SUSPECT.search(text):
        return False
    if len(text) > MOST_CHARS or _HTML_COMMENT.search(text):
        return True
    try:
        tokens = list(_Reader(text).tokens())
        top = [place for place, token in enumerate(tokens) if _is_statement(tokens, place)]
    except UnclearError:
        return True
    exports = [place + 1 for place in top if tokens[place].text == "export"]
    if not all(_is_harmless(tokens, place) for place in exports):
        return True
    if any(_is_code(tokens[place]) for place in exports):
        return False  # it is no CommonJS: TypeScript drops imports and types, but not this
    return any(token.is_name and token.text in _COMMONJS for token in tokens)


def _is_code(token: Token) -> bool:
    return token.text in {"function", "async", "class", "const", "let", "var"}


def _is_statement(tokens: Sequence[Token], place: int) -> bool:
    """Return whether `import` or `export` begins here; UnclearError if that is not certain."""
    token = tokens[place]
    if token.depth or not token.is_name or token.text not in {"import", "export"}:
        return False
    before = tokens[place - 1].text if place else ";"
    after = tokens[place + 1].text if place + 1 < len(tokens) else ""
    if before in {".", "?."} or (token.text == "import" and after in {"(", "."}):
        return False
    if before in {";", "}"} or token.starts:
        return True
    raise UnclearError


def _is_harmless(tokens: Sequence[Token], place: int) -> bool:
    """Return whether the export statement whose second token is here exports nothing k6 calls."""
    rest = tokens[place : place + 4]
    while rest and rest[0].text in _BEFORE_NAMED:
        rest, place = rest[1:], place + 1
    if len(rest) < 2:
        return False
    word, name = rest[0].text, rest[1]
    if word in _TYPES:
        return name.is_name or name.text == "{"
    if word == "{":
        return _is_harmless_list(tokens, place + 1)
    if word == "const" and name.text == "enum":
        word, name = "enum", rest[2] if len(rest) > 2 else name
    if word == "function" and name.text == "*" and len(rest) > 2:
        name = rest[2]
    if word in _NAMED:
        return _is_other_name(name)
    return word in {"const", "let", "var"} and _are_other_variables(tokens, place + 1)


def _is_other_name(token: Token) -> bool:
    return token.is_name and token.text not in _CALLED


def _is_harmless_list(tokens: Sequence[Token], place: int) -> bool:
    """Return whether `{ a, b as c }` has only names, and none that k6 calls."""
    for token in tokens[place:]:
        if token.text == "}":
            return True
        if token.text != "," and not _is_other_name(token):
            return False
    return False


def _are_other_variables(tokens: Sequence[Token], place: int) -> bool:
    """Return whether the declared variables have other names. It may look beyond the statement."""
    expected = True
    for token in tokens[place:]:
        if expected and not _is_other_name(token):
            return False
        if not token.depth and token.text == ";":
            return True
        expected = not token.depth and token.text == ","
    return True


@dataclass(slots=True)
class _Reader:
    """Splits a text into tokens; UnclearError where it can be read in two ways."""

    text: str
    _at: int = 0
    # Open brackets, and whether a `)` ends a condition, after which a statement begins.
    _open: list[tuple[str, bool]] = field(default_factory=list)
    _last: tuple[Token, ...] = ()  # the last three
    _after_condition: bool = False

    def tokens(self) -> Iterator[Token]:
        """Yield all tokens."""
        starts = True
        while self._at < len(self.text):
            match = _TOKEN.match(self.text, self._at)
            if match is None:
                raise UnclearError
            kind = match.lastgroup
            if kind != "name" and "export" in match[0]:
                raise UnclearError
            if kind in {"blank", "line"}:
                starts = starts or kind == "line" or "\n" in match[0]
                self._at = match.end()
                continue
            yield (token := self._token(match, kind, starts))
            starts, self._last = False, (*self._last[-2:], token)
        if self._open:
            raise UnclearError

    def _token(self, match: re.Match[str], kind: str | None, starts: bool) -> Token:
        self._at = match.end()
        text, depth = match[0], len(self._open)
        if kind == "template":
            self._template()
        elif kind == "slash":
            text = self._slash(match)
        elif kind == "sign":
            depth = self._sign(text)
        elif kind == "number":
            text = "0"  # .5 is no point
        return Token(text, depth, starts, kind == "name")

    def _sign(self, text: str) -> int:
        """Keep account of brackets; return the depth of this sign."""
        depth = len(self._open)
        if text in "([{":
            before = self._word()
            self._open.append((text, text == "(" and before in _BEFORE_CONDITION))
        elif text in ")]}":
            opened, self._after_condition = self._open.pop() if self._open else ("", False)
            depth = len(self._open)
            if text == "}" and opened == "${":
                self._template()
            elif opened != _CLOSES[text]:
                raise UnclearError
        return depth

    def _template(self) -> None:
        """Read a template literal up to its end, or to an expression in it."""
        match = _TEMPLATE.match(self.text, self._at)
        if match is None or "export" in match[0]:
            raise UnclearError
        self._at = match.end()
        if match[1] == "${":
            self._open.append(("${", False))

    def _slash(self, match: re.Match[str]) -> str:
        """Read a regular expression, or the sign of a division."""
        if not self._regex_may_begin():
            return "/"
        found = _REGEX.match(self.text, match.start())
        if found is None or "export" in found[0]:
            raise UnclearError
        self._at = found.end()
        return "''"  # any literal will do

    def _regex_may_begin(self) -> bool:
        """Return whether an operand is expected here; UnclearError where either may follow."""
        if not self._last:
            return True
        last, word = self._last[-1], self._word()
        if word in _EITHER or last.text in {"}", "++", "--", ">", ".", "?."}:
            raise UnclearError
        if last.text == "!" and len(self._last) > 1 and _ends_operand(self._last[-2]):
            raise UnclearError  # TypeScript's `value! / 2`
        if last.text == ")":
            return self._after_condition
        return word in _BEFORE_REGEX if last.is_name else not _ends_operand(last)

    def _word(self) -> str:
        """Return the last token if it is a keyword or a name, and no property."""
        if not self._last or not self._last[-1].is_name:
            return ""
        is_property = len(self._last) > 1 and self._last[-2].text in {".", "?."}
        return "" if is_property else self._last[-1].text


def _ends_operand(token: Token) -> bool:
    return token.is_name or token.text[0] in ")]}`\"'0"
