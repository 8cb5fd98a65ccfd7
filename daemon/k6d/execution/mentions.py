"""Finds the files that k6's error about a script concerns: a change of one may fix the script."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from k6d.core.reading import digest_of, irregular, text_of

# k6 names files when it refuses a script: in a stack trace, or because they are missing.
_NAMED_URL = re.compile(r"file://(/\S+?\.(?:[cm]?js|ts|json))\b")
_NAMED_PATH = re.compile(r"(?:stat|open) (/[^\n]{1,4096}?): ")
_NAMED_MODULE = re.compile(r"The moduleSpecifier \"(\.{0,2}/[^\"]{1,4096})\"")
_MISSING = re.compile(r"couldn't be found on local disk|: no such file or directory")
_IMPORTED_HOST = re.compile(
    r"\b(?:from|import|require\s{0,9}\()\s{0,9}[\"'`]https://(?:[^/\"'`\s]{1,200}@)?([^/?#\"'`\s@]{1,200})"
)
_QUOTED = re.compile(r"""(["'`])([^"'`\n]{1,300})\1""")
_ANONYMOUS_HOME = re.compile(r"^/(home|Users)/nobody/")
_HOME = re.compile(r"^/(home|Users)/[^/]+/")

MODULES = (".js", ".ts", ".mjs", ".cjs")
# Limits for what k6d reads for one script; real scripts mention far fewer files.
MOST_FILES = 200
MOST_ERROR_CHARS = 20_000
MODULE_BYTES = 1 << 20


def concerned(script: Path, errors: str, mentioned: bool) -> dict[str, str]:
    """Return the files that k6's errors name and, if `mentioned`, those that the code mentions.

    The result maps paths to digests. The digest is empty for a file that is missing or not regular.
    """
    return (_mentioned(script) if mentioned else {}) | _named(errors[:MOST_ERROR_CHARS], script)


def are_back(script: Path, errors: str) -> bool:
    """Return whether k6's errors name a file as missing, and all files that they name are there.

    The caller has seen that the script itself is there.
    """
    if not _MISSING.search(errors):
        return False
    itself = f'The moduleSpecifier "{script}"' in errors
    named = _named(errors[:MOST_ERROR_CHARS], script)
    return (itself or bool(named)) and all(named.values())


def _named(errors: str, script: Path) -> dict[str, str]:
    urls = {unquote(url) for url in _NAMED_URL.findall(errors)}
    modules = {os.path.normpath(script.parent / name) for name in _NAMED_MODULE.findall(errors)}
    named = urls | modules | set(_NAMED_PATH.findall(errors))
    paths = {on_this_machine(name, script) for name in named} - {str(script)}
    return {name: digest_of(name) or "" for name in sorted(paths)[:MOST_FILES]}


def _mentioned(script: Path) -> dict[str, str]:
    """Return the existing files that the code of the script and of its modules has in quotes.

    k6 does not name a data file whose contents make it refuse a script.
    """
    found: dict[str, str] = {}
    left = [script]
    while left and len(found) < MOST_FILES:
        module = left.pop()
        for _, quoted in _QUOTED.findall(text_of(module, MODULE_BYTES) or ""):
            path = os.path.normpath(module.parent / quoted)
            if path not in found and os.path.isfile(path):  # noqa: PTH113  (takes any text)
                found[path] = digest_of(path) or ""
                left += [Path(path)] if path.endswith(MODULES) else []
    return found


def unreadable_in(script: Path) -> str | None:
    """Return a mentioned file that never ends, as "feed is a named pipe"; None if there is none."""
    for _, quoted in _QUOTED.findall(text_of(script, MODULE_BYTES) or "")[: 10 * MOST_FILES]:
        kind = irregular(os.path.normpath(script.parent / quoted))
        if kind and kind != "a folder":
            return f"{quoted} is {kind}"
    return None


def module_servers(script: Path) -> list[str]:
    """Return the hosts from which the script, or a module that it mentions, imports modules."""
    modules = [script, *(Path(path) for path in _mentioned(script) if path.endswith(MODULES))]
    texts = (text_of(module, MODULE_BYTES) or "" for module in modules)
    return sorted({host for text in texts for host in _IMPORTED_HOST.findall(text)})


def on_this_machine(member: str, script: Path) -> str:
    """Convert a path in an archive to a path on this machine.

    k6 replaces /home/NAME by /home/nobody; the script's own path contains the real name.
    """
    home = _HOME.match(str(script))
    if home and _ANONYMOUS_HOME.match(member):
        member = home.group() + _ANONYMOUS_HOME.sub("", member)
    # k6 replaces a backslash by a slash.
    return str(script) if member == str(script).replace("\\", "/") else member
