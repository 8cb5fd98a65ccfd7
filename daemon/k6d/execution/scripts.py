"""A path becomes a script and its snapshot, by `k6 archive`; no JavaScript is parsed here.

The archive lists every file that a script pulls in, so it tells the dependencies, and its contents
tell whether anything changed. What k6 refuses for want of a default function is a helper module.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import re
import tarfile
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson

from k6d.model import K6dError, Snapshot
from k6d.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from k6d.execution.guard import Guard
    from k6d.execution.k6 import K6

# k6's words for a module without a test in it: no default function and no scenario that needs
# another one; or nothing exported at all.
_NOT_A_TEST = re.compile(
    r"^There were problems with the specified script configuration:\s*"
    r"- executor default: function 'default' not found in exports$"
    r"|no exported functions in script$"
)
# Files that k6 names when it refuses a script: in a stack trace, or for not being there.
_NAMED_URL = re.compile(r"file://(/\S+?\.(?:[cm]?js|ts|json))\b")
_NAMED_PATH = re.compile(r"(?:stat|open) (/[^\n]+?): ")
_NAMED_MODULE = re.compile(r"The moduleSpecifier \"(\.{0,2}/[^\"]+)\"")
_QUOTED = re.compile(r"""(["'`])([^"'`\n]{1,300})\1""")
_ANONYMOUS_HOME = re.compile(r"^/(home|Users)/nobody/")
_HOME = re.compile(r"^/(home|Users)/[^/]+/")
# What decides how much load there is; the rest of the options may change without a new baseline.
ARCHIVE = "snapshot.tar"
MODULES = (".js", ".ts", ".mjs", ".cjs")
WORKLOAD_OPTIONS = (
    *("vus", "duration", "iterations", "stages", "scenarios", "rps", "batch", "batchPerHost"),
    *("executionSegment", "executionSegmentSequence", "minIterationDuration"),
    *("noConnectionReuse", "noVUConnectionReuse"),
)


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
    `expected_s` is how long it usually takes, None when its iterations decide.
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


def machine() -> str:
    """This machine in words; runs of different machines don't compare."""
    return f"{platform.node()}, {platform.machine()}, {os.cpu_count()} CPUs"


def digest(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str | None:
    """SHA-256 of a file's contents; None when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def unchanged(dependencies: Mapping[str, str]) -> bool:
    """Whether every file still has the contents it had; needs no k6."""
    return bool(dependencies) and all(
        file_digest(Path(path)) == known for path, known in dependencies.items()
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
) -> Script:
    """Archive the script into `workdir` and tell what it is; runs its init code.

    `options` are k6's vus, duration, iterations in place of the script's; `extra_workload` is
    whatever else makes this run one of its own kind. K6dError when the file cannot be read.
    """
    own = file_digest(path)
    if own is None:
        raise K6dError(f"{path} cannot be read: check that it exists and its permissions")
    archive = workdir / ARCHIVE
    ended = await k6.archive(path, archive, guard=guard, env=env, options=options or {})
    if ended.exit_code != 0:
        if refused := _refused(archive, ended.errors):
            raise K6dError(f"cannot write {archive}: {refused}; check the disk")
        if file_digest(path) is None:  # k6 calls it a mistake in the script
            raise K6dError(f"{path} was removed while k6 looked at it")
        message = _message(ended.errors, path) or f"k6 archive failed, exit {ended.exit_code}"
        kind = Kind.LIBRARY if any(_NOT_A_TEST.search(e) for e in ended.errors) else Kind.BROKEN
        mentioned = await asyncio.to_thread(_mentioned, path) if kind is Kind.BROKEN else {}
        named = _named("\n".join(ended.errors), path)
        return Script(
            name=name,
            path=path,
            kind=kind,
            fingerprint=digest(f"{own}\n{'' if kind is Kind.LIBRARY else message}".encode())[:16],
            dependencies=mentioned | named | {str(path): own},
            error=message,
        )
    return reopen(archive, path=path, name=name, k6=k6, extra_workload=extra_workload)


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
    dependencies = {_on_this_machine(member, path): known for member, known in files.items()}
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
    )


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
                    metadata = orjson.loads(extracted.read())
                elif extracted and member.name.startswith("file/"):
                    files[member.name.removeprefix("file")] = digest(extracted.read())
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise K6dError(f"{archive} is damaged: {error}") from error
    if not metadata:
        raise K6dError(f"{archive} is damaged: it is no archive of k6")
    return metadata, files


def _on_this_machine(member: str, script: Path) -> str:
    """k6 writes /home/nobody for any /home/NAME; the script's own path tells which name it was."""
    home = _HOME.match(str(script))
    if home and _ANONYMOUS_HOME.match(member):
        member = home.group() + _ANONYMOUS_HOME.sub("", member)
    # k6 takes a backslash for a slash.
    return str(script) if member == str(script).replace("\\", "/") else member


def _relative(dependencies: Mapping[str, str], script: Path) -> dict[str, str]:
    """The same by paths relative to the script: a folder that moved as a whole did not change."""
    return {os.path.relpath(path, script.parent): known for path, known in dependencies.items()}


def _canonical(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _named(errors: str, script: Path) -> dict[str, str]:
    """The files that k6's errors name, which a user may mend, with their digests.

    A file that is not there has an empty one.
    """
    urls = {unquote(url) for url in _NAMED_URL.findall(errors)}
    modules = {os.path.normpath(script.parent / name) for name in _NAMED_MODULE.findall(errors)}
    named = urls | modules | set(_NAMED_PATH.findall(errors))
    paths = {_on_this_machine(name, script) for name in named} - {str(script)}
    return {name: file_digest(Path(name)) or "" for name in sorted(paths)}


def _mentioned(script: Path) -> dict[str, str]:
    """The files that are there of those in quotes in its code and in that of its modules.

    Where k6 refuses a script for what is in its data, it does not say which file that was in.
    """
    found: dict[str, str] = {}
    left = [script]
    while left:
        module = left.pop()
        try:
            code = module.read_bytes().decode(errors="replace")
        except OSError:
            continue
        for _, quoted in _QUOTED.findall(code):
            path = os.path.normpath(module.parent / quoted)
            if path not in found and os.path.isfile(path):  # noqa: PTH113  (takes any text)
                found[path] = file_digest(Path(path)) or ""
                left += [Path(path)] if path.endswith(MODULES) else []
    return found


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
    text = " ".join(" ".join(error.split()) for error in errors)
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
