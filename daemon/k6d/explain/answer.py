"""Check the AI's answer and turn it into an `Explanation`.

The answer is untrusted, because texts in logs and responses can influence it. It must fit the
schema. Each text becomes one line of printable characters of bounded length. Links are removed
unless they are endpoints of the test.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from k6d.core.model import Explanation, Severity
from k6d.core.text import printable
from k6d.explain import number_check

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BYTES = 64 * 1024
MAX_ITEMS = 6
MAX_ITEM = 300
MAX_SUMMARY = 400
SUMMARY_SENTENCES = 2
NO_LINK = "[link removed]"

# The schema of the answer, in Gemini's form of OpenAPI; both SDKs accept it as a dict.
_TEXTS = {"type": "ARRAY", "items": {"type": "STRING"}}
SCHEMA: dict[str, Any] = {
    "type": "OBJECT",
    "properties": {
        "summary": {"type": "STRING"},
        "severity": {"type": "STRING", "enum": ["none", *Severity]},
        "severity_reason": {"type": "STRING"},
        "issues": _TEXTS,
        "recommendations": _TEXTS,
        "confidence": {"type": "NUMBER"},
    },
    "required": [
        *("summary", "severity", "severity_reason", "issues", "recommendations", "confidence")
    ],
}

_LINK = re.compile(
    r"(?i)\b[a-z][a-z0-9+.-]{0,30}://\S+|\bwww\.\S+|\b(?:javascript|data|mailto):\S+"
)
_PUNCTUATION = ".,;:!?)]}>'\"*_`"


class MalformedError(ValueError):
    """The answer is invalid; the error's text says why, without quoting the answer."""


def _lowered(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class _Answer(BaseModel):
    """The answer by the schema; unknown fields are ignored, a missing field is an error."""

    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)

    summary: str
    severity: Annotated[
        Literal["none", "low", "medium", "high", "critical"], BeforeValidator(_lowered)
    ]
    severity_reason: str = ""
    issues: list[str]
    recommendations: list[str]
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def read(text: str, *, given: str, endpoints: Iterable[str] = ()) -> Explanation:
    """The explanation in the answer `text`; `given` is the data that was sent.

    Numbers are checked against `given`. `raised_because` is the AI's reason for its severity, None
    when it gave none or a number in it is unverified. Raises MalformedError.
    """
    answer = _parse(text)
    reader = _Reader(given, endpoints)
    lines = number_check.sentences(reader.line(answer.summary, MAX_SUMMARY))
    if not lines:
        raise MalformedError("its summary is empty")
    summary = " ".join(map(reader.marked, lines[:SUMMARY_SENTENCES]))
    issues = reader.items(answer.issues)
    recommendations = reader.items(answer.recommendations)
    doubtful = list(reader.unverified)
    reason = reader.line(answer.severity_reason, MAX_ITEM)
    return Explanation(
        source="AI",
        summary=summary,
        issues=issues,
        recommendations=recommendations,
        severity=None if answer.severity == "none" else Severity(answer.severity),
        confidence=round(answer.confidence, 2),
        unverified=doubtful,
        raised_because=reason if reason and number_check.MARK not in reader.text(reason) else None,
    )


def _parse(text: str) -> _Answer:
    if len(text.encode()) > MAX_BYTES:
        raise MalformedError(f"it is longer than {MAX_BYTES // 1024} KB")
    try:
        return _Answer.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "json_invalid":
            raise MalformedError("it is not JSON") from None
        raise MalformedError(f"{place or 'it'}: {first['msg']}") from None


class _Reader:
    """Makes texts safe to show, and collects sentences with unverified numbers."""

    def __init__(self, given: str, endpoints: Iterable[str]) -> None:
        self._given = number_check.Given(given)
        self._endpoints = set(endpoints)
        self.unverified: list[str] = []

    def items(self, texts: list[str]) -> list[str]:
        """The first MAX_ITEMS texts that are not empty, without duplicates."""
        lines = (self.line(text, MAX_ITEM) for text in texts)
        return [self.text(line) for line in list(dict.fromkeys(filter(None, lines)))[:MAX_ITEMS]]

    def line(self, text: str, limit: int) -> str:
        """The text on one line, printable, without foreign links, cut to `limit` characters."""
        # NFKC first: look-alike letters could otherwise hide a link or a number from the checks.
        shown = printable(unicodedata.normalize("NFKC", text))
        line = " ".join(_LINK.sub(self._link, shown).replace(number_check.MARK, "").split())
        return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"

    def text(self, line: str) -> str:
        """The line with its unverified sentences marked."""
        return " ".join(map(self.marked, number_check.sentences(line)))

    def marked(self, sentence: str) -> str:
        """The sentence; it is marked and collected when one of its numbers was not given."""
        if self._given.holds(sentence):
            return sentence
        self.unverified.append(sentence)
        return f"{sentence} {number_check.MARK}"

    def _link(self, match: re.Match[str]) -> str:
        link = match.group().rstrip(_PUNCTUATION)
        rest = match.group()[len(link) :]
        return (link if link in self._endpoints else NO_LINK) + rest
