"""The original service's routes, /api/v1/test/…, with its parameters and shapes, and additions."""

import hashlib
import re
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from k6d.core.job import Job
from k6d.core.model import K6dError, Outcome, Trigger
from k6d.core.parse import in_utc
from k6d.core.tags import parsed
from k6d.core.text import one_line, plural
from k6d.execution.local import discovery
from k6d.explain.snapshot import source as script_of
from k6d.settings import redactor_of
from k6d.storage.files import write_atomic
from k6d.storage.query import Query as Search
from k6d.storage.record import is_test_id
from k6d.web.context import Context, K6d, as_json
from k6d.web.problems import Problem
from k6d.web.routes import schemas
from k6d.web.routes.jobs import Options, accepted, enqueue, respond
from k6d.web.routes.runs import read_run
from k6d.web.routes.serializers import result, tests

router = APIRouter(prefix="/api/v1/test", tags=["tests"])
alive = APIRouter(tags=["tests"])

MOST_UNKNOWN = 20
MOST_ROWS = 1000
MAX_SCRIPT = 1_000_000
MAX_SOURCE_BYTES = 256 * 1024
NO_K6 = "K6 runner not available"
HEALTH_KEPT_S = 10.0  # asking k6 for its version starts a process
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")

Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="how many runs")]
Before = Annotated[
    str | None,
    Query(description="a run's id: what is older; `next` of the page before", max_length=40),
]
Verdict = Literal["healthy", "low", "medium", "high", "critical"]
Moment = Annotated[datetime, AfterValidator(in_utc)]
When = Annotated[Moment | None, Query(description="ISO 8601; UTC when it names no zone")]
Text = Annotated[str | None, Query(max_length=500)]


class PostedOptions(Options):
    """Options posted with a script; clients of the original may send more than k6d uses."""

    model_config = ConfigDict(extra="allow")

    def notes(self) -> tuple[str, ...]:
        """Return notes about options that k6d does not use."""
        unknown = [one_line(name, 40) for name in sorted(self.model_extra or {})[:MOST_UNKNOWN]]
        if not unknown:
            return ()
        names = ", ".join(f"options.{name}" for name in unknown)
        known = ", ".join(Options.model_fields)
        return (
            f"{names}: not used; k6d takes {known}, and all others in the script's own options",
        )


class OneOff(BaseModel):
    """The text of a script to run."""

    script: str = Field(min_length=10, max_length=MAX_SCRIPT, description="the k6 script's text")
    options: PostedOptions | None = None
    name: str | None = Field(
        default=None,
        pattern=rf"^{NAME.pattern}$",
        description="runs of the same name make one history; without it, those of the same text do",
    )

    @field_validator("script")
    @classmethod
    def _is_text(cls, script: str) -> str:
        try:
            script.encode()
        except UnicodeEncodeError:
            raise ValueError("should be text that UTF-8 can hold") from None
        return script


@router.post("/run", responses={**schemas.ran(), **schemas.problem(503, "k6 is missing")})
async def run_text(
    body: OneOff,
    k6d: K6d,
    wait: Annotated[bool, Query(description="false: 202 at once, with a location")] = True,
) -> Response:
    """Run the given text as a one-off, under the same limits as any script."""
    try:
        await discovery.find(k6d.settings.k6.path)
    except discovery.K6UnavailableError as error:
        raise Problem(503, str(error)) from error
    job = await enqueue(k6d, _one_off(body, k6d))
    if not wait:
        return accepted(job)
    return await respond(k6d, job)


def _one_off(body: OneOff, k6d: Context) -> Job:
    """Return a job for the text, which is stored as a file until the job is over."""
    name = body.name or hashlib.sha256(body.script.encode()).hexdigest()[:12]
    stem = name if name.endswith((".js", ".ts")) else f"{name}.js"
    job = Job(
        name=f"one-off/{stem}",
        path=k6d.settings.data / "one-off" / f"{time.time_ns():x}" / stem,
        trigger=Trigger.MANUAL,
        options=body.options.texts() if body.options else {},
        one_off=True,
        notes=body.options.notes() if body.options else (),
    )
    write_atomic(job.path, body.script.encode(), root=k6d.settings.data)
    return job


@router.get("/history", responses=schemas.response(schemas.TESTS))
def history(k6d: K6d, limit: Limit = 20, before: Before = None, script: Text = None) -> Response:
    """The newest runs."""
    return _page(k6d, Search(script=script, before=_id(before)), limit)


@router.get("/search", responses=schemas.response(schemas.TESTS))
def search(
    k6d: K6d,
    anomalies_only: bool = False,
    min_error_rate: Annotated[
        float | None, Query(description="in percent", allow_inf_nan=False)
    ] = None,
    max_response_time: Annotated[
        float | None, Query(description="of the average, ms", allow_inf_nan=False)
    ] = None,
    script: Text = None,
    status: Literal["completed", "failed"] | None = None,
    severity: Verdict | None = None,
    outcome: Annotated[Outcome | None, Query(description=", ".join(Outcome))] = None,
    trigger: Annotated[Trigger | None, Query(description=", ".join(Trigger))] = None,
    since: When = None,
    until: When = None,
    text: Text = None,
    tag: Annotated[
        list[str] | None,
        Query(description="release=2.14, branch=main, commit=1a2b3c4; several must all match"),
    ] = None,
    limit: Limit = 50,
    before: Before = None,
) -> Response:
    """The newest runs that meet all given conditions; runs without the measurement are left out."""
    query = Search(
        anomalies_only=anomalies_only,
        min_error_rate=min_error_rate,
        max_response_time=max_response_time,
        script=script,
        status=status,
        severity=severity,
        outcome=outcome,
        trigger=trigger,
        since=since,
        until=until,
        text=text,
        tags=tuple(tags_of(tag or []).items()),
        before=_id(before),
    )
    return _page(k6d, query, limit)


def tags_of(given: list[str]) -> dict[str, str]:
    """Parse NAME=VALUE tags; Problem 422 names the wrong one."""
    try:
        return parsed(given)
    except ValueError as error:
        raise Problem(422, f"tag: {error}") from error


def _page(k6d: Context, query: Search, limit: int) -> Response:
    found = k6d.store.search(query, limit=limit + 1)
    rows = tests(found[:limit], k6d.store)
    following = found[limit - 1]["test_id"] if len(found) > limit else None
    return as_json({"tests": rows, "total_count": len(rows), "next": following})


def _id(before: str | None) -> str | None:
    if before is not None and not is_test_id(before):
        raise Problem(422, "before: should be the id of a run, such as 20261122-121314-3f9a2c")
    return before


@router.get(
    "/results/{test_id}", responses=schemas.response(schemas.TEST, _404="There is no such run")
)
def results(test_id: str, k6d: K6d, request: Request) -> Response:
    """All data of a run; “latest” names the newest. The script's secrets need the token."""
    trusted = k6d.access.knows(request.headers)
    record = orjson.loads(read_run(k6d, test_id))
    snapshot = (record.get("snapshot") or {}).get("id")
    archive = k6d.store.snapshot_path(snapshot) if snapshot else None
    source = script_of(archive, most=MAX_SOURCE_BYTES) if archive else None
    if source and not trusted:
        source = redactor_of(k6d.settings).text(source)
    return as_json(result(record, source=source, data=k6d.settings.data))


@router.get("/statistics", responses=schemas.response(schemas.STATISTICS))
def statistics(
    k6d: K6d, days: Annotated[int, Query(ge=1, le=3650)] = 7, script: Text = None
) -> Response:
    """Anomalies and severities of the last days, by day and by script."""
    return as_json(asdict(k6d.store.statistics(days=days, script=script)))


@alive.head("/health", include_in_schema=False)
@alive.get("/health", responses=schemas.response(schemas.HEALTH, _503="k6 is missing"))
async def is_alive(k6d: K6d) -> Response:
    """Whether k6 can be run; for health checks of containers, which have no token."""
    now = _now()
    try:
        await _k6_version(k6d)
    except K6dError as error:
        detail = "k6 cannot be run; 'k6d doctor' says why"
        raise Problem(503, detail, error=NO_K6, timestamp=now) from error
    return as_json({"status": "healthy", "message": "K6 runner is ready", "timestamp": now})


@router.get("/health", responses=schemas.response(schemas.HEALTH, _503="k6 is missing"))
async def health(k6d: K6d) -> Response:
    """Whether k6 can be run."""
    now = _now()
    try:
        version = await _k6_version(k6d)
    except K6dError as error:
        raise Problem(503, str(error), error=NO_K6, timestamp=now) from error
    pending = plural((await k6d.daemon.counts())["pending"], "job")
    return as_json(
        {
            "status": "healthy",
            "message": f"K6 runner is ready, {pending} pending",
            "timestamp": now,
            "k6_version": version,
        }
    )


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"


async def _k6_version(k6d: Context) -> str:
    known = k6d.cache.get("k6")
    if isinstance(known, tuple) and time.monotonic() - known[1] < HEALTH_KEPT_S:
        return str(known[0])
    version = (await discovery.find(k6d.settings.k6.path)).version
    k6d.cache["k6"] = (version, time.monotonic())
    return version
