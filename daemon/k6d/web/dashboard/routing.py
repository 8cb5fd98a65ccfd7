"""What the routes of all pages share: problems are pages, forms are dicts."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from k6d.web.dashboard.login import form
from k6d.web.page import page
from k6d.web.problems import Problem


class PageRoute(APIRoute):
    """A route whose problems are pages, whatever the client accepts."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler."""
        handler = super().get_route_handler()

        async def with_problem_page(request: Request) -> Response:
            try:
                return await handler(request)
            except Problem as problem:
                title = "Not found" if problem.status == 404 else "This did not work"
                about = {"title": title, "detail": problem.detail}
                context = request.app.state.context
                return page(request, context, "problem.html", status=problem.status, **about)

        return with_problem_page


def page_router() -> APIRouter:
    """Return a router for pages."""
    return APIRouter(
        include_in_schema=False, default_response_class=HTMLResponse, route_class=PageRoute
    )


Fields = Annotated[dict[str, str], Depends(form)]
