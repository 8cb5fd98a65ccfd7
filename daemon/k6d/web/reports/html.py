"""Writes a run as one HTML page that needs no server, network or JavaScript."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import orjson

from k6d import __version__
from k6d.core.text import common_origin
from k6d.web.rendering import STATIC, render
from k6d.web.rendering.charts import timeline

if TYPE_CHECKING:
    from k6d.core.model import Run


def write_html(run: Run) -> str:
    """Return the page; its security policy allows only the style sheet inside it."""
    record = orjson.loads(orjson.dumps(run))
    style = (STATIC / "style.css").read_text(encoding="utf-8")
    digest = hashlib.sha256(style.encode()).digest()
    log = run.log.head
    if run.log.cut_lines:
        log += f"\n… {run.log.cut_lines} lines not kept …\n{run.log.tail}"
    return render(
        "report.html",
        run=record,
        charts=timeline(record),
        origin=common_origin(row.name for row in run.breakdown.endpoints),
        log=log,
        style=style,
        style_hash=base64.b64encode(digest).decode(),
        version=__version__,
    )
