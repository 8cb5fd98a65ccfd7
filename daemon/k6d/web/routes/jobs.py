"""Routes for jobs: show the queue, run a known script, cancel a job."""

import asyncio
from typing import Annotated, Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import Field, field_validator

from k6d.core.job import SUITE, Job
from k6d.core.model import INCONCLUSIVE, K6dError, Outcome, Trigger
from k6d.core.parse import parse_duration
from k6d.scripts.catalog import path_of
from k6d.settings.values import RunTags
from k6d.web.context import Context, K6d, as_json
from k6d.web.local_paths import without_folder
from k6d.web.problems import Problem
from k6d.web.routes import schemas
from k6d.web.routes.body import Body
from k6d.web.routes.serializers import test

router = APIRouter(prefix="/api/v1", tags=["jobs"])

RETRY_AFTER_S = 30
LONGEST_S = 7 * 86_400


class Options(Body):
    """Options that replace the script's own."""

    vus: int | None = Field(default=None, ge=1, le=1_000_000, description="virtual users")
    duration: str | None = Field(default=None, max_length=40, description="as k6 has it: 30s, 5m")
    iterations: int | None = Field(default=None, ge=1, le=10**12, description="in all")

    @field_validator("duration")
    @classmethod
    def _is_duration(cls, text: str | None) -> str | None:
        if text is not None and not 0 < parse_duration(text) <= LONGEST_S:
            raise ValueError("should be more than 0 and at most 7d")
        return text

    def texts(self) -> dict[str, str]:
        """Return the given options as texts for k6."""
        given = {name: getattr(self, name) for name in Options.model_fields}
        return {name: str(value) for name, value in given.items() if value is not None}


class Wanted(Body):
    """A known script to run now."""

    script: str = Field(min_length=1, max_length=500, description="its name in the folder")
    options: Options | None = None
    tags: RunTags = Field(default={}, description="tags of the run, such as release: 2.14")


@router.get("/queue", responses=schemas.response(schemas.QUEUE))
async def queue(k6d: K6d) -> Response:
    """Running jobs with their progress, pending jobs in order, and the last ten that ended.

    `retries` are jobs without a verdict that run again, `at` that time or when what they lack is
    back. `held` is the reason why no job starts by itself; null if jobs start.
    """
    return as_json(without_folder(await k6d.daemon.queue(), k6d.settings.data))


@router.get("/queue/{job}", responses=schemas.response(schemas.JOB, _404="There is no such job"))
async def show(job: str, k6d: K6d) -> Response:
    """A job; `test_id` names its run once there is one."""
    entry = await k6d.daemon.entry(job)
    if entry is None:
        raise _unknown(job)
    headers = {}
    if entry["state"] == "finished":
        headers["Link"] = f'</api/v1/test/results/{entry["test_id"]}>; rel="related"'
    return as_json(without_folder(entry, k6d.settings.data), headers=headers)


@router.delete(
    "/queue/{job}",
    status_code=202,
    responses=schemas.response(schemas.JOB, status=202, _404="Over"),
)
async def cancel(job: str, k6d: K6d) -> Response:
    """Cancel a job: a pending one at once, a running one gracefully; its results are stored."""
    entry = await k6d.daemon.cancel(job)
    if entry is None:
        raise _unknown(job)
    return as_json(entry, 202)


@router.post(
    "/scripts/run",
    status_code=202,
    responses={
        **schemas.ran(),
        **schemas.problem(404, "There is no such script"),
        **schemas.problem(503, "k6 is missing"),
    },
)
async def run_script(
    body: Wanted,
    k6d: K6d,
    wait: Annotated[bool, Query(description="true: 200 with the run when it is over")] = False,
) -> Response:
    """Run a script of the folder now."""
    job = await run_known(k6d, body.script, body.options, tags=body.tags)
    if not wait:
        return accepted(job)
    return await respond(k6d, job)


@router.get("/suites", responses=schemas.response(schemas.SUITES))
def suites(k6d: K6d) -> Response:
    """The suites of the settings, each with its scripts in the order in which they run."""
    found = [
        {"name": suite.name, "scripts": suite.order(), "after": suite.after, "stop": suite.stop}
        | {"cron": suite.cron or None}
        for suite in k6d.settings.suites
    ]
    return as_json({"suites": found})


@router.post(
    "/suites/{name}/run",
    status_code=202,
    responses=schemas.response(schemas.JOB, status=202, _404="No such suite", _429="Too many"),
)
async def run_suite(name: str, k6d: K6d) -> Response:
    """Run the scripts of a suite now, one after the other."""
    if name not in [suite.name for suite in k6d.settings.suites]:
        raise Problem(404, f"no suite {name[:64]!r} in the settings")
    job = f"{SUITE}{name}"
    path = k6d.settings.scripts / job
    return accepted(await enqueue(k6d, Job(name=job, path=path, trigger=Trigger.MANUAL)))


async def run_known(
    k6d: Context,
    name: str,
    options: Options | None = None,
    *,
    tags: dict[str, str] | None = None,
) -> Job:
    """Queue a script in the folder by its name."""
    try:
        path = path_of(name, k6d.settings)
    except (K6dError, OSError, ValueError) as error:
        raise Problem(404, f"no script {name[:100]!r} in the scripts folder") from error
    job = Job(
        name=name,
        path=path,
        trigger=Trigger.MANUAL,
        options=options.texts() if options else {},
        tags=tags or {},
    )
    return await enqueue(k6d, job)


async def enqueue(k6d: Context, job: Job) -> Job:
    """Queue the job and return it; if it was merged with a pending job, it has that job's id."""
    queued = await k6d.daemon.put(job)
    if isinstance(queued, int):
        raise Problem(
            429,
            f"{queued} jobs are pending; try again when some are over",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )
    return queued


async def respond(k6d: Context, job: Job) -> Response:
    """Wait for the job's run and return it; a script error is 422, as in the original service."""
    record = await _finished_run(k6d, job)
    outcome, error = record["execution"]["outcome"], record["execution"]["error"]
    if outcome == Outcome.SCRIPT_ERROR:
        raise Problem(422, error or "the script has an error", test_id=record["test_id"])
    if outcome in INCONCLUSIVE:
        raise Problem(503, error or outcome, test_id=record["test_id"])
    return as_json(test(record))


async def _finished_run(k6d: Context, job: Job) -> dict[str, Any]:
    """Wait for the job's end and return the record of its run; Problem if there is none."""
    end = await k6d.daemon.end_of(job.id)
    if end.test_id is None:
        raise Problem(409, f"{job.name}: {end.why}", job=job.id)
    raw = await asyncio.to_thread(k6d.store.load_raw, end.test_id)
    record: dict[str, Any] = orjson.loads(raw)
    return record


def accepted(job: Job) -> Response:
    """Return 202 with the location of the job."""
    location = f"/api/v1/queue/{quote(job.id)}"
    entry = {
        "job": job.id,
        "script": job.name,
        "trigger": job.trigger.value,
        "state": "pending",
        "location": location,
    }
    return as_json(entry, 202, {"Location": location})


def _unknown(job: str) -> Problem:
    return Problem(404, f"no job {job[:40]!r} is pending or under way")
