"""Remove comments and texts from a script's source before it is sent to Gemini.

Comments are removed. String literals, templates and regular expressions become "…", except the
texts in `NEEDED` and names that the results of the run show anyway. This small tokenizer cannot
always find the start of a text. At a doubtful place (JSX, a slash after a brace, a text without an
end, two values in a row) it leaves out the rest of the source.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from k6d.core.secrets_by_name import names_a_secret

if TYPE_CHECKING:
    from collections.abc import Collection

REST = "… the rest is left out"
LONGEST_NUMBER = 9  # digits; longer ones may be numbers of cards, telephones or accounts
_WORDS = (
    "k6 k6/http k6/metrics k6/ws k6/websockets k6/net/grpc k6/html k6/crypto k6/data k6/encoding "
    "k6/execution k6/timers k6/browser k6/secrets k6/experimental/browser k6/experimental/csv "
    "k6/experimental/fs k6/experimental/redis k6/experimental/streams k6/experimental/websockets "
    "GET POST PUT PATCH DELETE HEAD OPTIONS get post put patch delete head options "
    "constant-vus ramping-vus per-vu-iterations shared-iterations constant-arrival-rate "
    "ramping-arrival-rate externally-controlled http_reqs http_req_duration http_req_failed "
    "http_req_blocked http_req_connecting http_req_tls_handshaking http_req_sending "
    "http_req_waiting http_req_receiving iterations iteration_duration dropped_iterations vus "
    "vus_max checks data_sent data_received group_duration ws_connecting ws_msgs_sent "
    "ws_msgs_received ws_sessions ws_session_duration grpc_req_duration browser_web_vital_cls "
    "browser_web_vital_fcp browser_web_vital_inp browser_web_vital_lcp browser_web_vital_ttfb "
    "avg min med max count rate default Content-Type Accept Authorization application/json"
)
NEEDED = frozenset(_WORDS.split())
# An expression of a threshold, a quantile, a duration.
_NEEDED = re.compile(
    r"(?:avg|min|med|max|count|rate|value|p\(\d{1,2}(?:\.\d{1,3})?\)) ?(?:[<>]=?|[!=]==?) ?"
    r"\d{1,7}(?:\.\d{1,4})?|p\(\d{1,2}(?:\.\d{1,3})?\)|(?:\d{1,4}(?:\.\d{1,2})?(?:ms|[dhms])){1,3}"
)
_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<comment>//[^\n\r\u2028\u2029]*|/\*(?s:.*?)\*/|\A#![^\n\r]*)"
    r"|(?P<doubt><!--|-->|/\*)"
    r"|(?P<text>\"(?:\\(?:\r\n|(?s:.))|[^\"\\\n\r])*\"|'(?:\\(?:\r\n|(?s:.))|[^'\\\n\r])*')"
    r"|(?P<number>\.?\d(?:[eE][+-]|[\w.])*)|(?P<word>[#@]?[^\W\d][\w$]*|\$[\w$]*)"
    r"|(?P<mark>=>|\+\+|--|\?\.|\.\.\.|[-{}()\[\];,<>=+*%&|^!~?:./`])"
)
_TEMPLATE = re.compile(r"(?:\\(?s:.)|\$(?!\{)|[^\\`$])*(`|\$\{)")
_REGEX = re.compile(
    r"/(?:\\[^\n\r\u2028\u2029]|\[(?:\\[^\n\r\u2028\u2029]|[^\]\\\n\r\u2028\u2029])*\]"
    r"|[^/\\\[\n\r\u2028\u2029])+/\w*"
)
_BEFORE_VALUE = {"return", "typeof", "instanceof", "in", "new", "delete", "void", "throw", "case"}
_BEFORE_VALUE |= {"do", "else"}
_PERHAPS_BEFORE_VALUE = {"of", "await", "yield", "default", "as", "satisfies"}
_OTHER_KEYWORDS = (
    "import export from const let var function async class extends implements static get set if "
    "for while switch try catch finally break continue with debugger type interface enum declare "
    "namespace module abstract public private protected readonly override keyof infer is asserts "
    "unique accessor using"
)
_KEYWORDS = {*_BEFORE_VALUE, *_PERHAPS_BEFORE_VALUE, *_OTHER_KEYWORDS.split()}
_VALUES = ("text", "number", "word", "regex")


def without_texts(source: str, *, names: Collection[str] = ()) -> str:
    """The source without its texts; `names` may stay, because the results show them."""
    return "".join(_Reader(source, NEEDED | frozenset(names)).pieces())


class _Reader:
    """One pass over the source, token by token."""

    def __init__(self, source: str, allowed: frozenset[str]) -> None:
        self._source, self._allowed, self._at = source, allowed, 0
        self._out: list[str] = []
        # The last two tokens, without comments, and the kind of the last one.
        self._earlier, self._last, self._kind = "", "", "mark"
        self._new_line = True
        # For each open bracket the word before it, or "${"; and the word of the last closed one.
        self._open: list[str] = []
        self._closed = ""

    def pieces(self) -> list[str]:
        """The parts that may be sent, up to the end of the source or the first doubtful place."""
        while self._at < len(self._source):
            if not self._step():
                return [*self._out, REST]
        return self._out

    def _step(self) -> bool:
        """Read one token; False at a doubtful place."""
        match = _TOKEN.match(self._source, self._at)
        if match is None or match["doubt"]:
            return False
        kind, piece = str(match.lastgroup), match[0]
        if piece in ("/", "<"):
            expected = self._value_expected()
            regex = _REGEX.match(self._source, self._at) if expected and piece == "/" else None
            if expected is not False and regex is None:
                return False
            kind, piece = ("regex", regex[0]) if regex else (kind, piece)
        self._at += len(piece)
        if kind in ("space", "comment"):
            self._out.append(piece if kind == "space" else "")
            self._new_line |= bool(re.search(r"[\n\r\u2028\u2029]", piece))
            return True
        if not self._fits(kind, piece):
            return False
        if piece in ("(", "[", "{"):
            self._open.append(self._last if self._kind == "word" else "")
        elif piece in (")", "]", "}"):
            self._closed = self._open.pop() if self._open else ""
        if piece == "`" or (piece == "}" and self._closed == "${"):
            return self._template(piece)
        self._out.append(self._shown(kind, piece))
        self._note(kind, piece)
        return True

    def _shown(self, kind: str, piece: str) -> str:
        if kind == "text":
            needed = piece[1:-1] in self._allowed or _NEEDED.fullmatch(piece[1:-1])
            return piece if needed else '"…"'
        if kind == "number":
            is_secret = self._last in (":", "=") and names_a_secret(self._earlier)
            return "0" if is_secret or len(piece) > LONGEST_NUMBER else piece
        return "/…/" if kind == "regex" else piece

    def _template(self, opening: str) -> bool:
        """Replace the constant part of a template; its expressions are read as code.

        False when the template has no end.
        """
        match = _TEMPLATE.match(self._source, self._at)
        if match is None:
            return False
        self._at = match.end()
        self._out.append(f"{opening}…{match[1]}")
        if match[1] == "${":
            self._open.append("${")
            self._note("mark", "${")
        else:
            self._note("text", "`")
        return True

    def _note(self, kind: str, piece: str) -> None:
        self._earlier, self._last, self._kind, self._new_line = self._last, piece, kind, False

    def _value_expected(self) -> bool | None:
        """Whether a value may begin here, rather than an operator; None when it is not clear."""
        if self._kind == "word" and self._earlier not in (".", "?."):
            return None if self._last in _PERHAPS_BEFORE_VALUE else self._last in _BEFORE_VALUE
        if self._last == ")":
            return None if self._closed == "await" else self._closed in ("if", "while", "for")
        if self._last == "}" or self._kind == "regex":
            return None
        return self._kind == "mark" and self._last not in ("]", "++", "--")

    def _fits(self, kind: str, piece: str) -> bool:
        """Whether the token may follow the last one.

        Two values in a row are a sign that a text was read as code.
        """
        if self._new_line or self._kind not in _VALUES or kind not in _VALUES:
            return True
        return self._last in _KEYWORDS or piece in _KEYWORDS
