"""Routes for marks (deployments and the like), and for the comparison of tagged runs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, Field

from k6d.core.mark import LONGEST_TEXT, Mark, between
from k6d.core.model import K6dError
from k6d.core.parse import in_utc
from k6d.core.text import covers
from k6d.scripts.tagged import compare_groups, tags_in
from k6d.storage import marks as stored
from k6d.storage.store import Store
from k6d.web.context import Context, K6d, as_json
from k6d.web.problems import Problem
from k6d.web.routes import schemas
from k6d.web.routes.body import Body

router = APIRouter(prefix="/api/v1", tags=["marks"])


class NewMark(Body):
    """What happened at a moment, such as a deployment."""

    text: str = Field(min_length=1, max_length=LONGEST_TEXT, description="“checkout 2.14”")
    at: Annotated[datetime, AfterValidator(in_utc)] | None = Field(
        default=None, description="ISO 8601, UTC when it names no zone; now without it"
    )
    script: str = Field(
        default="*", min_length=1, max_length=500, description="the scripts that it concerns"
    )


@router.get("/marks", responses=schemas.response(schemas.MARKS))
def marks(
    k6d: K6d,
    script: Annotated[str | None, Query(max_length=500, description="only its marks")] = None,
    limit: Annotated[int, Query(ge=1, le=2000)] = 200,
) -> Response:
    """The newest marks, oldest first."""
    found = [m for m in stored.marks(k6d.store) if script is None or covers(m.script, script)]
    return as_json({"marks": [asdict(mark) for mark in found[-limit:]]})


@router.post("/marks", status_code=201, responses=schemas.response(schemas.MARK, status=201))
def mark(body: NewMark, k6d: K6d) -> Response:
    """Mark a moment."""
    return as_json(asdict(put_mark(k6d, body)), 201)


def marks_during(store: Store, script: str, points: Sequence[Mapping[str, str]]) -> list[Mark]:
    """Return a script's marks from the first of these runs (oldest first) until now."""
    if not points:
        return []
    first = datetime.fromisoformat(points[0]["timestamp"])
    return between(stored.marks(store), script, after=first, until=datetime.now(UTC))


def put_mark(k6d: Context, body: NewMark) -> Mark:
    """Store the mark; Problem 422 for a text of blanks."""
    try:
        return stored.put(body.text, k6d.store, at=body.at or datetime.now(UTC), script=body.script)
    except ValueError as error:
        raise Problem(422, f"text: {error}") from error


@router.delete("/marks/{mark_id}", responses=schemas.response(schemas.MARKS, _404="No such mark"))
def remove(mark_id: str, k6d: K6d) -> Response:
    """Remove a mark; the answer lists the others."""
    if not stored.remove(mark_id, k6d.store):
        raise Problem(404, f"there is no mark {mark_id[:40]!r}")
    return marks(k6d)


@router.get("/compare", responses=schemas.response(schemas.GROUPS, _404="No run has these tags"))
def compare(
    k6d: K6d,
    after: Annotated[str, Query(max_length=2000, description="tags: branch=feature")],
    before: Annotated[str, Query(max_length=2000, description="tags: branch=main")],
    script: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """The runs with some tags against those with others, of one script, series by series."""
    try:
        tags = [tags_in(one) for one in (after, before)]
    except K6dError as error:
        raise Problem(422, str(error)) from error
    if not (tags[0] and tags[1]):
        raise Problem(422, "after and before should be tags, such as branch=main")
    try:
        found = compare_groups(
            tags[0],
            tags[1],
            k6d.store,
            settings=k6d.settings.compare,
            script=script,
        )
    except K6dError as error:
        raise Problem(404, str(error)) from error
    about = {"script": found.after.script, "runs": found.runs, "earlier": found.earlier}
    about |= {"after": found.after.test_id, "before": found.before.test_id}
    return as_json({**about, "comparisons": [asdict(one) for one in found.comparisons]})
