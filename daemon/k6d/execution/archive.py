"""A path becomes a script and its snapshot, by `k6 archive`; no JavaScript is parsed here.

The archive lists every file that a script pulls in, so it tells the dependencies, and its contents
tell whether anything changed. What k6 refuses for want of a default function is a helper module.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import re
import tarfile
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import orjson

from k6d.core import reading
from k6d.core.model import K6dError, Snapshot
from k6d.core.parse import parse_duration
from k6d.execution.mentions import concerned, on_this_machine, unreadable_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from k6d.execution.local.k6 import K6
    from k6d.execution.local.process_group import Guard

logger = logging.getLogger(__name__)

# k6's words for a module without a test in it: no default function and no scenario that needs
# another one; or nothing exported at all.
_NOT_A_TEST = re.compile(
    r"^There were problems with the specified script configuration:\s*"
    r"- executor default: function 'default' not found in exports$"
    r"|no exported functions in script$"
)
# What k6 2.x puts before its words on a syntax error, which name the file, too.
_WHERE_K6_WAS = re.compile(r"^could not initialize '[^']*': could not load JS test '[^']*': ")
# What decides how much load there is; the rest of the options may change without a new baseline.
ARCHIVE = "snapshot.tar"
MOST_METADATA_BYTES = 64 << 20  # options and k6's own words; far more than any script has
MOST_LEVELS = 100  # of objects and lists in options; what keeps a run allows 250 in all
HELPER = "k6 finds no default function and no scenario in it"
TOO_DEEP = f"its options are nested too deeply: more than {MOST_LEVELS} levels"
PAUSED = (
    "options.paused is true: k6 would wait for somebody to resume the test, and nobody can under"
    " k6d; remove the option"
)
WORKLOAD_OPTIONS = (
    *("vus", "duration", "iterations", "stages", "scenarios", "rps", "batch", "batchPerHost"),
    *("executionSegment", "executionSegmentSequence", "minIterationDuration"),
    *("noConnectionReuse", "noVUConnectionReuse"),
)


class OptionsError(K6dError):
    """Options that k6 takes and k6d cannot keep; a mistake of the script's."""


class Kind(StrEnum):
    """What a file with a script's name turned out to be."""

    TEST = "test"
    LIBRARY = "library"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A file looked at by k6: `path` absolute, `name` relative to the scripts folder.

    A test has a snapshot with its archive at `archive`, k6's `options` in it, and its own settings
    as the script wrote them; a broken script has k6's words in `error`. `fingerprint` stands for
    the contents.
    `expected_s` is how long it usually takes, None when its iterations decide. `unused` names the
    options that were asked for and do not count; `notes` are for whoever reads the run.
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
    """This machine in words; runs of different machines don't compare."""
    return f"{platform.node()}, {platform.machine()}, {os.cpu_count()} CPUs"


def digest(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def unchanged(dependencies: Mapping[str, str]) -> bool:
    """Whether every file still has the contents it had; needs no k6. "" stands for no file."""
    return bool(dependencies) and all(
        (reading.digest_of(path) or "") == known for path, known in dependencies.items()
    )


async def look(
    path: Path,
    *,
    name: str,
    k6: K6,
    guard: Guard,
    workdir: Path,
    env: Mapping[str, str],
    options: Mapping[str, str] | None = None,
    extra_workload: Mapping[str, str] | None = None,
    refusal: str | None = None,
) -> Script:
    """Archive the script into `workdir` and tell what it is; runs its init code.

    `options` are k6's vus, duration, iterations in place of the script's; `extra_workload` is
    whatever else makes this run one of its own kind; a `refusal` is why k6 must not be started for
    it. K6dError when the file cannot be read.
    """
    own = await reading.apart(reading.digest_of, path, about=str(path))
    if own is None:
        irregular = reading.irregular(path)
        why = f"it is {irregular}" if irregular else "check that it exists and its permissions"
        raise K6dError(f"{path} cannot be read: {why}")
    if refusal:
        return await _no_test(path, Kind.BROKEN, own, message=refusal, name=name)
    archive = workdir / ARCHIVE
    ended = await k6.archive(path, archive, guard=guard, env=env, options=options or {})
    if ended.exit_code != 0:
        if refused := _refused(archive, ended.errors):
            raise K6dError(f"cannot write {archive}: {refused}; check the disk")
        if not await reading.apart(
            path.exists, about=str(path)
        ):  # k6 calls it a mistake in the script
            raise K6dError(f"{path} was removed while k6 looked at it")
        message = _message(ended.errors, path) or f"k6 archive failed, exit {ended.exit_code}"
        if ended.timed_out and (cause := await _unreadable_in(path)):
            message += f"; {cause}, and never ends"
        kind = Kind.BROKEN
        if any(_NOT_A_TEST.search(error) for error in ended.errors):
            kind, message = Kind.LIBRARY, HELPER
        return await _no_test(path, kind, own, message=message, name=name, errors=ended.errors)

    def snapshot() -> Script:
        return reopen(archive, path=path, name=name, k6=k6, extra_workload=extra_workload)

    try:
        return await reading.apart(snapshot, about=str(archive))
    except OptionsError as error:
        return await _no_test(path, Kind.BROKEN, own, message=str(error), name=name)


async def _no_test(
    path: Path, kind: Kind, own: str, *, message: str, name: str, errors: Sequence[str] = ()
) -> Script:
    """A file without a snapshot, for the reason in `message`; `own` is its digest."""
    return Script(
        name=name,
        path=path,
        kind=kind,
        fingerprint=digest(f"{own}\n{'' if kind is Kind.LIBRARY else message}".encode())[:16],
        dependencies=await _concerned(path, errors, kind) | {str(path): own},
        error=message,
    )


async def _unreadable_in(path: Path) -> str | None:
    with contextlib.suppress(reading.SlowError):
        return await reading.apart(unreadable_in, path, about=str(path))
    return None


async def _concerned(path: Path, errors: Sequence[str], kind: Kind) -> dict[str, str]:
    """The files that a refusal is about, with their digests; only those of a broken script."""
    text = "\n".join(errors)
    try:
        return await reading.apart(
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
    workload: list[Any],
) -> Script:
    options = metadata.get("options") or {}
    if _levels(options) > MOST_LEVELS:
        raise OptionsError(TOO_DEEP)
    dependencies = {on_this_machine(member, path): known for member, known in files.items()}
    fingerprint = digest(_canonical(sorted(_relative(dependencies, path).items())))[:16]
    load = {key: options.get(key) for key in WORKLOAD_OPTIONS if options.get(key) is not None}
    snapshot = Snapshot(
        id=digest(_canonical([fingerprint, options, metadata.get("k6version")]))[:16],
        fingerprint=fingerprint,
        workload=digest(_canonical([load, *workload]))[:16],
        dependencies=dependencies,
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


def _levels(value: object) -> int:
    """How many objects and lists lie in each other, at most, in what JSON can hold."""
    levels, inner = 0, [value]
    while inner := [one for one in inner if isinstance(one, (dict, list))]:
        levels += 1
        inner = [item for one in inner for item in (one.values() if isinstance(one, dict) else one)]
    return levels


def _expected_s(options: Mapping[str, Any]) -> float | None:
    """When the last scenario begins its graceful stop; k6's own plan ends when it must have ended.

    The deadline goes by k6's plan; this is for people who wait.
    """
    ends = []
    for scenario in (options.get("scenarios") or {"default": options}).values():
        parts = [stage["duration"] for stage in scenario.get("stages") or []]
        parts = parts or [scenario.get("duration")]
        if scenario.get("iterations") or None in parts:
            return None
        ends.append(sum(map(parse_duration, [*parts, scenario.get("startTime") or "0s"])))
    return max(ends, default=None)


def _read(archive: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The archive's metadata, and the digest of each local file by its path in the archive.

    K6dError when it is damaged.
    """
    metadata: dict[str, Any] = {}
    files: dict[str, str] = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in (one for one in tar if one.isfile() or one.islnk()):
                extracted = tar.extractfile(member)
                if extracted and member.name == "metadata.json":
                    metadata = orjson.loads(extracted.read(MOST_METADATA_BYTES))
                elif extracted and member.name.startswith("file/"):
                    found = reading.stream_digest(cast("BinaryIO", extracted))
                    files[member.name.removeprefix("file")] = found
    except (tarfile.TarError, ValueError, EOFError, RecursionError) as error:
        if "limit" in str(error):  # that of the parser, for levels
            raise OptionsError(TOO_DEEP) from error
        raise K6dError(f"{archive} is damaged: {error}") from error
    if not metadata:
        raise K6dError(f"{archive} is damaged: it is no archive of k6")
    return metadata, files


def _relative(dependencies: Mapping[str, str], script: Path) -> dict[str, str]:
    """The same by paths relative to the script: a folder that moved as a whole did not change."""
    return {os.path.relpath(path, script.parent): known for path, known in dependencies.items()}


def _canonical(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _refused(archive: Path, errors: Sequence[str]) -> str | None:
    """Why k6 could not write the archive, if that is what it says: no mistake of the script's."""
    for error in errors:
        _, named, reason = error.partition(f"{archive}: ")
        if named:
            return reason.splitlines()[0]
        if "no space left on device" in error:
            return "no space left on device"
    return None


def _message(errors: Iterable[str], script: Path) -> str:
    """k6's own words on one line, with paths as users know them."""
    whole = " ".join(" ".join(error.split()) for error in errors)
    text = " ".join(_WHERE_K6_WAS.sub("", " ".join(error.split())) for error in errors)
    if text != whole and script.name not in text:
        text = f"{script.name}: {text}"
    return text.replace("file://", "").removeprefix("GoError: ").replace(f"{script.parent}/", "")


def name_of(path: Path, root: Path) -> str:
    """The script's name: its path relative to the scripts folder, else its absolute path.

    K6dError when it is no text: what is kept and told of it is.
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
    """The script of a stored archive, as it was when it ran, for this machine and this k6."""
    metadata, files = _read(archive)
    return _script(
        path,
        name=name,
        archive=archive,
        metadata=metadata,
        files=files,
        workload=[k6.minor, machine(), dict(extra_workload or {})],
    )
