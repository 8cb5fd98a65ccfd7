"""A page of the dashboard as a response."""

from fastapi import Request
from fastapi.responses import HTMLResponse

from k6d import __version__
from k6d.web.context import Context
from k6d.web.rendering import render


def page(
    request: Request, k6d: Context, template: str, *, status: int = 200, **context: object
) -> HTMLResponse:
    """The template with what every page has: where we are, and whether this browser is known."""
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
