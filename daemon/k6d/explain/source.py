"""A script's source without its texts, for Gemini: only what is known to be needed is sent.

Comments go. String literals, templates and regular expressions read "…", but for the texts on the
list below and the names that the results of the run show anyway. A reader this small cannot always
tell where a text begins: at a doubt (JSX, a slash after a brace, a text that does not end, two
values in a row) the rest of the source goes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from k6d.core.secrets_by_name import tells

if TYPE_CHECKING:
    from collections.abc import Collection

REST = "… the rest is left out"
LONGEST_NUMBER = 9  # digits; longer ones are numbers of cards, telephones, accounts
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
    """The code alone; `names` are texts that may stay, because the results show them."""
    return "".join(_Reader(source, NEEDED | frozenset(names)).pieces())


class _Reader:
    """One pass over the source, token after token."""

    def __init__(self, source: str, allowed: frozenset[str]) -> None:
        self._source, self._allowed, self._at = source, allowed, 0
        self._out: list[str] = []
        # The two tokens before the present one, comments left out, and the kind of the last.
        self._earlier, self._last, self._kind = "", "", "mark"
        self._new_line = True
        # For each open bracket the word before it, or "${"; and that of the last that was closed.
        self._open: list[str] = []
        self._closed = ""

    def pieces(self) -> list[str]:
        """What may be sent, to the end of the source or to the first doubt."""
        while self._at < len(self._source):
            if not self._step():
                return [*self._out, REST]
        return self._out

    def _step(self) -> bool:
        """Take one token; False at a doubt."""
        match = _TOKEN.match(self._source, self._at)
        if match is None or match["doubt"]:
            return False
        kind, said = str(match.lastgroup), match[0]
        if said in ("/", "<"):
            expected = self._value_expected()
            regex = _REGEX.match(self._source, self._at) if expected and said == "/" else None
            if expected is not False and regex is None:
                return False
            kind, said = ("regex", regex[0]) if regex else (kind, said)
        self._at += len(said)
        if kind in ("space", "comment"):
            self._out.append(said if kind == "space" else "")
            self._new_line |= bool(re.search(r"[\n\r\u2028\u2029]", said))
            return True
        if not self._fits(kind, said):
            return False
        if said in ("(", "[", "{"):
            self._open.append(self._last if self._kind == "word" else "")
        elif said in (")", "]", "}"):
            self._closed = self._open.pop() if self._open else ""
        if said == "`" or (said == "}" and self._closed == "${"):
            return self._template(said)
        self._out.append(self._shown(kind, said))
        self._note(kind, said)
        return True

    def _shown(self, kind: str, said: str) -> str:
        if kind == "text":
            needed = said[1:-1] in self._allowed or _NEEDED.fullmatch(said[1:-1])
            return said if needed else '"…"'
        if kind == "number":
            told = self._last in (":", "=") and tells(self._earlier)
            return "0" if told or len(said) > LONGEST_NUMBER else said
        return "/…/" if kind == "regex" else said

    def _template(self, opening: str) -> bool:
        """Pass over what is constant in a template; what is not is read as code."""
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

    def _note(self, kind: str, said: str) -> None:
        self._earlier, self._last, self._kind, self._new_line = self._last, said, kind, False

    def _value_expected(self) -> bool | None:
        """Whether a value may begin here, and no operator; None in doubt."""
        if self._kind == "word" and self._earlier not in (".", "?."):
            return None if self._last in _PERHAPS_BEFORE_VALUE else self._last in _BEFORE_VALUE
        if self._last == ")":
            return None if self._closed == "await" else self._closed in ("if", "while", "for")
        if self._last == "}" or self._kind == "regex":
            return None
        return self._kind == "mark" and self._last not in ("]", "++", "--")

    def _fits(self, kind: str, said: str) -> bool:
        """Whether two values may stand in a row; where a text was taken for code they seldom do."""
        if self._new_line or self._kind not in _VALUES or kind not in _VALUES:
            return True
        return self._last in _KEYWORDS or said in _KEYWORDS
