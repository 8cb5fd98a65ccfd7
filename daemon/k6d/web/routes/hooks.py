"""Hooks: events, such as the end of a deployment, start scripts with a token of their own."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AfterValidator, BaseModel, Field

from k6d.core.job import Job
from k6d.core.mark import LONGEST_TEXT, Mark
from k6d.core.model import Trigger
from k6d.core.parse import in_utc
from k6d.core.script import Kind
from k6d.scripts.catalog import FOLDER, entries
from k6d.settings.values import RunTags
from k6d.storage import marks
from k6d.web.context import Context, K6d, as_json
from k6d.web.hook_tokens import HookToken, HookTokens
from k6d.web.problems import Problem
from k6d.web.routes import schemas
from k6d.web.routes.body import Body
from k6d.web.routes.jobs import enqueue

router = APIRouter(prefix="/api/v1/hooks", tags=["hooks"])

MOST_MARKS = 50  # made in an hour, before hooks are refused: many marks displace the oldest
HOUR = timedelta(hours=1)
REFUSED = "the token is missing, wrong, revoked, or that of another hook"


class EventMark(BaseModel):
    """A mark for the scripts of the hook, whatever `script` the caller adds."""

    text: str = Field(min_length=1, max_length=LONGEST_TEXT, description="“checkout 2.14”")
    at: Annotated[datetime, AfterValidator(in_utc)] | None = None


class Event(Body):
    """What happened; without `scripts`, all scripts of the hook run."""

    scripts: list[Annotated[str, Field(min_length=1, max_length=500)]] = Field(
        default=[], max_length=200, description="names of scripts; only these run"
    )
    mark: EventMark | None = Field(default=None, description="marks the moment for its scripts")
    tags: RunTags = Field(default={}, description="tags of the runs, such as release: 2.14")


def _token(name: str, k6d: K6d, request: Request) -> HookToken:
    """Return the token of the request; Problem 401 unless it is this hook's and still valid.

    It is checked before the body is looked at.
    """
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    tokens, now = HookTokens(k6d.store), datetime.now(UTC)
    token = tokens.find(given.strip()) if scheme.lower() == "bearer" else None
    ask = {"WWW-Authenticate": 'Bearer realm="k6d"'}
    if token is None or token.name != name:
        raise Problem(401, REFUSED, headers=ask)
    if token.has_expired(now):
        raise Problem(401, f"the token of the hook {name} expired at {token.expires}", headers=ask)
    tokens.note_use(token, now)
    return token


@router.post(
    "/{name}",
    status_code=202,
    responses={
        **schemas.response(schemas.EVENT, status=202, _404="No script of the hook is there"),
        **schemas.problem(429, "Too many jobs are pending, or too many marks were set"),
    },
)
async def call(
    k6d: K6d, token: Annotated[HookToken, Depends(_token)], event: Event | None = None
) -> Response:
    """Start the scripts of a hook, with its token (`k6d token create`), and mark the moment."""
    event = event or Event()
    wanted = _scripts(token, event, k6d)
    marked = _marked(token, event.mark, k6d)
    jobs: list[dict[str, Any]] = []
    for script in wanted:
        job = Job(
            name=script,
            path=k6d.settings.scripts / script,
            trigger=Trigger.EVENT,
            tags=event.tags,
        )
        queued = await enqueue(k6d, job)
        jobs.append({"job": queued.id, "script": script})
    return as_json(
        {"hook": token.name, "jobs": jobs, "marks": [asdict(one) for one in marked]}, 202
    )


def _scripts(token: HookToken, event: Event, k6d: Context) -> list[str]:
    """Return the names of the scripts to start; Problem for one that is not the token's."""
    there = [
        entry.script
        for entry in entries(k6d.settings, k6d.store)
        if entry.place == FOLDER and entry.kind != Kind.LIBRARY and not entry.disabled
    ]
    own = [script for script in there if token.may_start(script)]
    for script in event.scripts:
        if not token.may_start(script):
            raise Problem(403, f"the token of this hook may not start {script[:100]!r}")
        if script not in own:
            raise Problem(404, f"no script {script[:100]!r} in the folder, or it is disabled")
    wanted = list(dict.fromkeys(event.scripts)) or own
    if not wanted:
        raise Problem(404, f"no script in the folder matches {', '.join(token.scripts)[:200]}")
    return wanted


def _marked(token: HookToken, mark: EventMark | None, k6d: Context) -> list[Mark]:
    """Store the mark for each pattern of the token, and return what was stored."""
    if mark is None:
        return []
    now = datetime.now(UTC)
    lately = marks.made_since(now - HOUR, k6d.store)
    if lately >= MOST_MARKS:
        raise Problem(429, f"{lately} marks were set in the last hour; set no more by hooks")
    at = min(mark.at or now, now)
    try:
        return [marks.put(mark.text, k6d.store, at=at, script=one) for one in token.scripts]
    except ValueError as error:
        raise Problem(422, f"mark.text: {error}") from error
