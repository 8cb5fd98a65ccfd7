"""Pages as HTML: the dashboard's and the report that stands for itself. Knows nothing of HTTP."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from k6d import units
from k6d.pages import words

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"


def render(template: str, **context: object) -> str:
    """The page; everything that comes from outside is escaped."""
    return _environment().get_template(template).render(**context)


@cache
def _environment() -> Environment:
    """Made on first use: an idle daemon doesn't need it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "ms": units.ms,
        "percent": units.percent,
        "rate": units.rate,
        "count": units.count,
        "seconds": units.seconds,
        "number": units.number,
        "in_unit": units.in_unit,
        "group": units.group,
        "against_threshold": units.against_threshold,
        "plural": units.plural,
        "removed": units.removed,
        "when": words.when,
        "change": words.change,
        "verdict": words.verdict,
        "without": words.without,
    }
    return environment
