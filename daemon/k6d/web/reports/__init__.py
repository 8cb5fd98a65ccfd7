"""Reports of one run: a self-contained page, Markdown or JUnit XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.web.reports.html import write_html
from k6d.web.reports.junit import write_junit, write_junit_of
from k6d.web.reports.markdown import write_markdown, write_markdown_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from k6d.core.model import Run


@frozen
class Form:
    """A format of report: its writer and its media type."""

    write: Callable[[Run], str]
    media_type: str
    ending: str


FORMS = {
    "html": Form(write=write_html, media_type="text/html; charset=utf-8", ending="html"),
    "markdown": Form(write=write_markdown, media_type="text/markdown; charset=utf-8", ending="md"),
    "junit": Form(write=write_junit, media_type="application/xml", ending="xml"),
}

__all__ = [
    "FORMS",
    "Form",
    "write_html",
    "write_junit",
    "write_junit_of",
    "write_markdown",
    "write_markdown_of",
]
