"""Renders a page of the dashboard as a response."""

from fastapi import Request
from fastapi.responses import HTMLResponse

from k6d import __version__
from k6d.web.context import Context
from k6d.web.rendering import render


def page(
    request: Request, k6d: Context, template: str, *, status: int = 200, **context: object
) -> HTMLResponse:
    """Render a template with the values of every page: its URL, and whether there is a login."""
    url = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    html = render(
        template,
        here=request.url.path,
        url=url,
        known=k6d.access.knows(request.headers),
        version=__version__,
        **context,
    )
    return HTMLResponse(html, status_code=status)
