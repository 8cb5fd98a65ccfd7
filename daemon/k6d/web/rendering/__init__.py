"""Renders the HTML of the dashboard and of the report; does not depend on HTTP."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from k6d.core import numbers, protocols, text
from k6d.web.rendering import filters, run_view

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"


def render(template: str, **context: object) -> str:
    """Render a template; all values are escaped."""
    return _environment().get_template(template).render(**context)


@cache
def _environment() -> Environment:
    """Create the environment on first use, to save memory while idle."""
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
        "ms": numbers.ms,
        "percent": numbers.percent,
        "rate": numbers.rate,
        "count": numbers.count,
        "seconds": numbers.seconds,
        "number": numbers.number,
        "points": numbers.points,
        "in_unit": numbers.in_unit,
        "group": text.group,
        "against_threshold": numbers.against_threshold,
        "plural": text.plural,
        "protocols": protocols.protocol_lines,
        "removed": text.removed,
        "when": filters.when,
        "as_json": filters.as_json,
        "ago": filters.ago,
        "due": filters.due,
        "lasting": filters.lasting,
        "iso": filters.iso,
        "change": numbers.change,
        "verdict": filters.verdict,
        "without": filters.without,
        "brief": text.brief,
        "unbroken": filters.unbroken,
        "totals": run_view.totals,
        "others": run_view.others,
        "target": run_view.target,
        "endpoints": run_view.endpoints,
        "phases": run_view.phases,
        "learned": run_view.learned,
    }
    return environment
