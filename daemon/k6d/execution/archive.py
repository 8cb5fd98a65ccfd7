"""Makes the snapshot of a script with `k6 archive`; this module parses no JavaScript.

The archive contains every file that the script loads. So it shows the dependencies, and its
contents show whether one of them changed. If k6 refuses a file because it has no default function,
the file is a helper module.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import re
import tarfile
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import orjson

from k6d.core import reading
from k6d.core.frozen import frozen
from k6d.core.k6_archive import members
from k6d.core.model import K6dError
from k6d.core.parse import parse_duration
from k6d.core.script import Kind
from k6d.core.snapshot import Snapshot
from k6d.execution.blame import WAITS
from k6d.execution.mentions import (
    concerned,
    module_servers,
    on_this_machine,
    unreadable_in,
)
from k6d.execution.moving_files import while_files_move
from k6d.execution.outcome import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from k6d.execution.local.k6 import K6, Ended

logger = logging.getLogger(__name__)

# k6's errors for a module without a test: it has neither a default function nor a scenario that
# names another function, or it exports nothing.
_NOT_A_TEST = re.compile(
    r"^There were problems with the specified script configuration:\s*"
    r"- executor default: function 'default' not found in exports$"
    r"|no exported functions in script$"
)
# k6 2.x puts this before a syntax error, which names the file as well.
_WHERE_K6_WAS = re.compile(r"^could not initialize '[^']*': could not load JS test '[^']*': ")
_LOGIN, _QUERY = re.compile(r"^(\w+://)[^/]*@"), re.compile(r"[?#].*$", re.DOTALL)
ARCHIVE = "snapshot.tar"
MOST_METADATA_BYTES = 64 << 20  # options and k6's own data; far more than any script needs
MOST_LEVELS = 100  # nested objects and lists in the options; the file of a run can hold 250
HELPER = "k6 finds no default function and no scenario in it"
TOO_DEEP = f"its options are nested too deeply: more than {MOST_LEVELS} levels"
PAUSED = (
    "options.paused is true: k6 would wait for somebody to resume the test, and nobody can under"
    " k6d; remove the option"
)
# These options decide how much load there is. The others may change without a new baseline.
WORKLOAD_OPTIONS = (
    *("vus", "duration", "iterations", "stages", "scenarios", "rps", "batch", "batchPerHost"),
    *("executionSegment", "executionSegmentSequence", "minIterationDuration"),
    *("noConnectionReuse", "noVUConnectionReuse"),
)


class OptionsError(K6dError):
    """The script has options that k6 accepts but k6d cannot store."""


@frozen
class Script:
    """A file that k6 has inspected: `path` is absolute, `name` relative to the scripts folder.

    A test has a `snapshot`, stored at `archive`, with the merged k6 `options` and the script's
    settings for k6d as the script wrote them. A broken script has k6's message in `error`.
    `fingerprint` is a digest of the contents. `expected_s` is the planned duration in seconds, None
    if the number of iterations decides it. `unused` names the requested options that have no
    effect; `notes` are shown with the run.
    """

    name: str
    path: Path
    kind: Kind
    fingerprint: str
    dependencies: dict[str, str]
    snapshot: Snapshot | None = None
    archive: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    raw_settings: object = None
    expected_s: float | None = None
    error: str | None = None
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def machine() -> str:
    """Describe this machine; runs from different machines are not compared."""
    return f"{platform.node()}, {platform.machine()}, {os.cpu_count()} CPUs"


def digest(data: bytes) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def unchanged(dependencies: Mapping[str, str]) -> bool:
    """Return whether every file still has this digest, without k6. "" means that it is missing."""
    return bool(dependencies) and all(
        (reading.digest_of(path) or "") == known for path, known in dependencies.items()
    )


async def look(
    path: Path,
    *,
    name: str,
    k6: K6,
    workdir: Path,
    env: Mapping[str, str],
    options: Mapping[str, str] | None = None,
    extra_workload: Mapping[str, str] | None = None,
    refusal: str | None = None,
    hide: Callable[[str], str] = str,
    timeout_s: float | None = None,
) -> Script:
    """Archive the script into `workdir` and return its kind and snapshot; this runs its init code.

    `options` (vus, duration, iterations) replace those of the script. `extra_workload` holds
    everything else that makes the run comparable only to runs with the same values. With a
    `refusal`, k6 is not started and the script is broken for that reason. `hide` removes secrets
    from errors that are cut. `timeout_s` limits the init code; None is k6d's own limit.
    Raises K6dError if the file cannot be read.
    """
    own = await reading.in_thread(reading.digest_of, path, about=str(path))
    if own is None:
        irregular = reading.irregular(path)
        why = f"it is {irregular}" if irregular else "check that it exists and its permissions"
        raise K6dError(f"{path} cannot be read: {why}")
    if refusal:
        return await _no_test(path, Kind.BROKEN, own, message=refusal, name=name)
    archive = workdir / ARCHIVE

    async def archived() -> Ended:
        return await k6.archive(
            path, archive, env=env, options=options or {}, hide=hide, timeout_s=timeout_s
        )

    ended = await while_files_move(archived, path)
    if ended.exit_code != 0:
        if refused := _refused(archive, ended.errors):
            raise K6dError(f"cannot write {archive}: {refused}; check the disk")
        kind, message = await _refusal(path, ended)
        return await _no_test(path, kind, own, message=message, name=name, errors=ended.errors)

    def snapshot() -> Script:
        return reopen(archive, path=path, name=name, k6=k6, extra_workload=extra_workload)

    try:
        return await reading.in_thread(snapshot, about=str(archive))
    except OptionsError as error:
        return await _no_test(path, Kind.BROKEN, own, message=str(error), name=name)


async def _refusal(path: Path, ended: Ended) -> tuple[Kind, str]:
    """Return the kind of a script that k6 refused, and the reason."""
    if any(_NOT_A_TEST.search(error) for error in ended.errors):
        return Kind.LIBRARY, HELPER
    message = _message(ended.errors, path) or f"k6 archive failed, exit {ended.exit_code}"
    return Kind.BROKEN, message + (await _why_late(path, ended) if ended.timed_out else "")


async def _no_test(
    path: Path, kind: Kind, own: str, *, message: str, name: str, errors: Sequence[str] = ()
) -> Script:
    """Return a script without a snapshot, with `message` as the reason; `own` is its digest."""
    return Script(
        name=name,
        path=path,
        kind=kind,
        fingerprint=digest(f"{own}\n{'' if kind is Kind.LIBRARY else message}".encode())[:16],
        dependencies=await _concerned(path, errors, kind) | {str(path): own},
        error=message,
    )


async def _why_late(path: Path, ended: Ended) -> str:
    """Return why the init code did not end: a file without an end, or a server that is silent."""
    with contextlib.suppress(reading.SlowError):
        if cause := await reading.in_thread(unreadable_in, path, about=str(path)):
            return f"; {cause}, and never ends"
        servers = await reading.in_thread(module_servers, path, about=str(path))
        if ended.idle and servers:
            return f"; {WAITS} {', '.join(servers)}"
    return ""


async def _concerned(path: Path, errors: Sequence[str], kind: Kind) -> dict[str, str]:
    """Return the files that k6's errors concern, with their digests."""
    text = "\n".join(errors)
    try:
        return await reading.in_thread(
            concerned, path, text, kind is Kind.BROKEN, about=f"a file that {path} mentions"
        )
    except reading.SlowError as error:
        logger.warning("%s: k6d does not see when %s is mended: %s", path, path.name, error)
        return {}


def _script(
    path: Path,
    *,
    name: str,
    archive: Path,
    metadata: dict[str, Any],
    files: dict[str, str],
    remote: dict[str, str],
    workload: list[Any],
) -> Script:
    options = metadata.get("options") or {}
    if _levels(options) > MOST_LEVELS:
        raise OptionsError(TOO_DEEP)
    dependencies = {on_this_machine(member, path): known for member, known in files.items()}
    fingerprint = digest(_canonical(sorted(_relative(dependencies, path).items())))[:16]
    # Without remote modules the id is as older versions of k6d made it.
    identity = [fingerprint, options, metadata.get("k6version"), *([remote] if remote else [])]
    snapshot = Snapshot(
        id=digest(_canonical(identity))[:16],
        fingerprint=fingerprint,
        workload=digest(_canonical([_load(options), *workload]))[:16],
        dependencies=dependencies,
        remote=_without_queries(remote),
    )
    return Script(
        name=name,
        path=path,
        kind=Kind.TEST,
        fingerprint=fingerprint,
        dependencies=dependencies,
        snapshot=snapshot,
        archive=archive,
        options=options,
        raw_settings=(options.get("ext") or {}).get("k6d"),
        expected_s=_expected_s(options),
        error=PAUSED if options.get("paused") else None,
    )


def workload_on(script: Script, placement: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """Return the workload of a run on a cluster, wherever k6d itself runs."""
    return digest(_canonical([_load(script.options), dict(placement), dict(env)]))[:16]


def _load(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: options.get(key) for key in WORKLOAD_OPTIONS if options.get(key) is not None}


def _levels(value: object) -> int:
    """Return how deeply objects and lists are nested in a JSON value."""
    levels, inner = 0, [value]
    while inner := [one for one in inner if isinstance(one, (dict, list))]:
        levels += 1
        inner = [item for one in inner for item in (one.values() if isinstance(one, dict) else one)]
    return levels


def _expected_s(options: Mapping[str, Any]) -> float | None:
    """Return the seconds until the last scenario begins its graceful stop.

    Progress bars show this time. The deadline uses k6's own plan, which includes graceful stops.
    """
    ends = []
    for scenario in (options.get("scenarios") or {"default": options}).values():
        parts = [stage["duration"] for stage in scenario.get("stages") or []]
        parts = parts or [scenario.get("duration")]
        if scenario.get("iterations") or None in parts:
            return None
        ends.append(sum(map(parse_duration, [*parts, scenario.get("startTime") or "0s"])))
    return max(ends, default=None)


def _read(archive: Path) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """Return the metadata, and the digests of local files by path and of other members by name.

    Raises K6dError if the archive is damaged.
    """
    metadata: dict[str, Any] = {}
    files: dict[str, str] = {}
    remote: dict[str, str] = {}
    try:
        for member, contents in members(archive):
            if member.name == "metadata.json":
                metadata = orjson.loads(contents.read(MOST_METADATA_BYTES))
            elif "/" in member.name:  # `data` is the script once more
                found = reading.stream_digest(cast("BinaryIO", contents))
                scheme, path = member.name.split("/", 1)
                if scheme == "file":
                    files[f"/{path}"] = found
                else:
                    remote[f"{scheme}://{path}"] = found
    except (tarfile.TarError, ValueError, EOFError, RecursionError) as error:
        if "limit" in str(error):  # the JSON parser's limit of nested levels
            raise OptionsError(TOO_DEEP) from error
        raise K6dError(f"{archive} is damaged: {error}") from error
    if not metadata:
        raise K6dError(f"{archive} is damaged: it is no archive of k6")
    return metadata, files, remote


def _without_queries(remote: Mapping[str, str]) -> dict[str, str]:
    """Shorten the addresses of modules: a login, a query and a fragment may hold secrets."""
    found: dict[str, list[str]] = {}
    for address, known in sorted(remote.items()):
        shown = _LOGIN.sub(r"\1", _QUERY.sub("", address))
        found.setdefault(shown, []).append(known)
    return {
        address: known[0] if len(known) == 1 else digest(_canonical(known))
        for address, known in found.items()
    }


def _relative(dependencies: Mapping[str, str], script: Path) -> dict[str, str]:
    """Make the paths relative to the script, so that moving a whole folder is not a change."""
    return {os.path.relpath(path, script.parent): known for path, known in dependencies.items()}


def _canonical(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _refused(archive: Path, errors: Sequence[str]) -> str | None:
    """Return why k6 could not write the archive, if it says so; the script is not to blame then."""
    for error in errors:
        _, named, reason = error.partition(f"{archive}: ")
        if named:
            return reason.splitlines()[0]
        if "no space left on device" in error:
            return "no space left on device"
    return None


def _message(errors: Iterable[str], script: Path) -> str:
    """Return k6's errors on one line, with paths relative to the script."""
    lines = [one_line(error) or "" for error in errors]
    whole, text = " ".join(lines), " ".join(_WHERE_K6_WAS.sub("", line) for line in lines)
    if text != whole and script.name not in text:
        text = f"{script.name}: {text}"
    return text.replace(f"{script.parent}/", "")


def name_of(path: Path, root: Path) -> str:
    """Return the script's name: its path relative to the scripts folder, else its absolute path.

    Raises K6dError if the path is not UTF-8, because k6d can store and report only text.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise K6dError(f"the name of {str(path)!a} is not UTF-8: rename it") from None
    try:
        return PurePosixPath(path.relative_to(root)).as_posix()
    except ValueError:
        return str(path)


def reopen(
    archive: Path,
    *,
    path: Path,
    name: str,
    k6: K6,
    extra_workload: Mapping[str, str] | None = None,
) -> Script:
    """Read a script from a stored archive; its workload counts as of this machine and this k6."""
    metadata, files, remote = _read(archive)
    return _script(
        path,
        name=name,
        archive=archive,
        metadata=metadata,
        files=files,
        remote=remote,
        workload=[k6.minor, machine(), dict(extra_workload or {})],
    )
