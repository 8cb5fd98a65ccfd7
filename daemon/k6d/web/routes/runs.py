"""Routes for one run: its file, log, snapshot, reports and comparison."""

from dataclasses import asdict
from email.utils import formatdate
from typing import Annotated, Any, Literal
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from k6d.analysis.side_by_side import compare
from k6d.core.model import K6dError, Run
from k6d.core.text import removed
from k6d.storage.delete import delete as delete_runs
from k6d.storage.delete import with_confirmations
from k6d.storage.record import is_test_id
from k6d.web.context import Context, K6d, as_json
from k6d.web.local_paths import without_folder
from k6d.web.problems import Problem
from k6d.web.routes import schemas
from k6d.web.routes.serializers import kept_log

router = APIRouter(prefix="/api/v1/runs", tags=["runs"])

PLAIN = "text/plain; charset=utf-8"
REPORTS = ("text/html", "text/markdown", "application/xml")


@router.get("/{test_id}", responses=schemas.response({"type": "object"}, _404="No such run"))
def record(test_id: str, k6d: K6d, request: Request) -> Response:
    """The run's file, as `k6d show --json` prints it, without paths of the data folder."""
    data = _shown_run(k6d, test_id)
    path = k6d.store.run_path(full_id(k6d, test_id))
    status = path.stat()
    tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    headers = {
        "ETag": tag,
        "Last-Modified": formatdate(status.st_mtime, usegmt=True),
        "Cache-Control": "no-cache",
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="application/json", headers=headers)


@router.delete(
    "/{test_id}", responses=schemas.response(schemas.DELETED, _404="No such run", _409="Pinned")
)
def delete(test_id: str, k6d: K6d) -> Response:
    """Delete a run for ever, with its confirmations and the snapshot that no other run needs."""
    if test_id == "latest":  # another run may have ended meanwhile
        raise Problem(404, "name the run to delete by its id")
    try:
        going = with_confirmations([full_id(k6d, test_id)], k6d.store)
    except K6dError as error:
        raise Problem(409, str(error)) from error
    return as_json(asdict(delete_runs(going, k6d.store)))


@router.get("/{test_id}/log", responses=schemas.text(PLAIN, description="k6's log"))
def log(
    test_id: str,
    k6d: K6d,
    stream: Annotated[Literal["log", "output"], Query(description="stderr or stdout")] = "log",
) -> Response:
    """The stored output of k6 and of the script's console."""
    run = load_run(k6d, test_id)
    text = without_folder(kept_log(run, stream), k6d.settings.data)
    if stream in run["removed"] and not text:
        raise Problem(
            404, f"run {run['test_id']} has no {stream} any more: {removed(run['removed'])}"
        )
    return Response(text, media_type=PLAIN, headers=_named(run, "log"))


@router.get(
    "/{test_id}/snapshot", responses=schemas.text("application/x-tar", description="the archive")
)
def snapshot(test_id: str, k6d: K6d) -> Response:
    """The archive that ran; `k6 run` runs it again."""
    run = orjson.loads(read_run(k6d, test_id))
    snapshot_id = (run.get("snapshot") or {}).get("id")
    path = k6d.store.snapshot_path(snapshot_id) if snapshot_id else None
    if path is None or not path.is_file():
        raise Problem(404, f"run {run['test_id']} has no snapshot")
    headers = {**_named(run, "tar"), "Cache-Control": "private, max-age=31536000, immutable"}
    return FileResponse(path, media_type="application/x-tar", headers=headers)


@router.get(
    "/{test_id}/files/{name:path}",
    responses=schemas.text("application/octet-stream", description="a file the script wrote"),
)
def written_file(test_id: str, name: str, k6d: K6d) -> Response:
    """A file that the script's handleSummary wrote, always as a download."""
    run = load_run(k6d, test_id)
    if name not in [file["name"] for file in run["files"]]:
        raise Problem(404, f"run {run['test_id']} has no file {name[:200]!r}")
    try:
        contents = k6d.store.kept_file(run["test_id"], name)
    except K6dError as error:
        raise Problem(500, str(error)) from error
    saved = quote(name.rpartition("/")[2], safe="")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{saved}"}
    return Response(contents, media_type=_safe_type(contents), headers=headers)


@router.get(
    "/{test_id}/report", responses=schemas.text(*REPORTS, description="a report of the run")
)
def report(test_id: str, k6d: K6d, form: Literal["html", "markdown", "junit"] = "html") -> Response:
    """A self-contained page, Markdown for a pull request, or JUnit XML for CI systems."""
    from k6d.web.reports import FORMS

    run = k6d.store.load(full_id(k6d, test_id))
    headers = _named({"test_id": run.test_id}, FORMS[form].ending)
    return Response(FORMS[form].write(run), media_type=FORMS[form].media_type, headers=headers)


@router.get(
    "/{test_id}/compare", responses=schemas.response(schemas.COMPARISON, _404="No such run")
)
def comparison(
    test_id: str,
    k6d: K6d,
    to: Annotated[str, Query(description="the run before", max_length=40)],
) -> Response:
    """Two runs side by side: totals and endpoints with before, after and change in percent."""
    before, after = (stored_run(k6d, one) for one in (to, test_id))
    return as_json(compare(before, after))


def full_id(k6d: Context, test_id: str) -> str:
    """Return the id, or the newest run's id for “latest”; Problem 404 if there is no such run."""
    if test_id == "latest":
        try:
            return k6d.store.find(test_id)
        except K6dError as error:
            raise Problem(404, str(error)) from error
    if not is_test_id(test_id) or not k6d.store.run_path(test_id).is_file():
        raise Problem(404, f"no run {test_id[:40]!r}; see /api/v1/test/history")
    return test_id


def read_run(k6d: Context, test_id: str) -> bytes:
    """Return the run's file."""
    return k6d.store.load_raw(full_id(k6d, test_id))


def _shown_run(k6d: Context, test_id: str) -> bytes:
    """The run's file; one that names the data folder is written anew without its paths."""
    data, folder = read_run(k6d, test_id), k6d.settings.data
    if str(folder).encode() not in data:
        return data
    return orjson.dumps(without_folder(orjson.loads(data), folder))


def load_run(k6d: Context, test_id: str) -> dict[str, Any]:
    """The run as JSON, with defaults for fields that its file lacks."""
    record: dict[str, Any] = orjson.loads(orjson.dumps(stored_run(k6d, test_id)))
    return record


def stored_run(k6d: Context, test_id: str) -> Run:
    """The run; Problem 404 if there is none, 500 if it is damaged or of a newer k6d."""
    try:
        return k6d.store.load(full_id(k6d, test_id))
    except K6dError as error:
        raise Problem(500, str(error)) from error


def _safe_type(contents: bytes) -> str:
    """A type that no browser runs: a script's HTML must not act as a page of ours."""
    try:
        contents.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "application/octet-stream" if b"\0" in contents else PLAIN


def _named(run: dict[str, str], ending: str) -> dict[str, str]:
    """Return a header that makes browsers save the file; shown in place, it would be a k6d page."""
    return {"Content-Disposition": f'attachment; filename="k6d-{run["test_id"]}.{ending}"'}
