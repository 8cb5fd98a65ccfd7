"""Decides from the text of a file whether it is a k6 test; k6 itself decides the remaining cases.

1. A file is a test if a person asks for it by its name, or if it ran as a test before.
2. A file is not a test if its text proves that, and then k6 is not started for it. Either it
   exports nothing that k6 could call (see `exported`), or neither it nor any module that it
   imports, directly or through others, names k6. To name k6 is to import `k6`, `k6/…` or a module
   at a URL by `import`, `export … from` or `require`, also in bundled and minified code; imports of
   types do not count.
   A default function beside options that only k6 has also counts: its import was forgotten.
3. The text proves nothing if the name of a module is computed, if a module is missing or too
   large, or if k6 is only a word in quotes. Then k6 decides: a file that it accepts is a test.
4. A file that names k6 and that k6 refuses is a test with a mistake, and k6d reports it. But if
   another file imports it, it is a helper, and only the tests that use it are judged.

So application code, configuration of build tools, types and helpers can lie beside tests.
`k6d scripts` lists each file that does not run, with the reason.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import field
from enum import IntEnum
from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.core.reading import digest_of, open_regular
from k6d.execution.exported import may_be_called
from k6d.execution.mentions import MODULE_BYTES, MODULES

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_MODULES = 300  # imported by one file; with more, its text proves nothing

# No quantifier gives back what it took (`*+`), or it is bounded: Python's `re` holds up the whole
# process while it searches, and a file may hold a megabyte of blanks.
_TYPES_ONLY = re.compile(
    r"\b(?:import|export)\s++type\s++(?!from\b)(?:(?!\b(?:import|export)\b)[^;'\"]){1,2000}?"
    r"\bfrom\s*+(['\"])[^'\"\n]{1,300}\1"
    r"|(['\"])k6/options\2"
)
_COMMENT = r"(?:/\*[^*]{0,300}\*/\s*+)?+"
_IMPORT = rf"(?:\bfrom|\bimport|\b(?:require|import)\s*+\(\s*+{_COMMENT})\s*+\\?"
_SPECIFIER = re.compile(_IMPORT + r"(['\"`])([^'\"`\n\\]{1,1000})\\?\1")
_COMPUTED = re.compile(
    r"\b(?:require|import)\s*+\(\s*+"
    r"(?:(?!['\"`\\]|/\*|\))|(['\"`])[^'\"`\n]{0,300}\1\s*+[^\s),])"
)
_OPTIONS = re.compile(
    r"\bexport\s+(?:const|let|var)\s+options\b[^;]{0,500}?"
    r"\b(?:scenarios|executor|vus|iterations|thresholds)\b"
)
_WORD = re.compile(r"['\"`\\]k6(?:/[\w./@-]{0,300})?\\?['\"`]")
_K6 = re.compile(r"k6(/.*)?")
_REMOTE = re.compile(r"https?://")
# Bundlers add these endings to modules that k6 itself does not find; such a module may name k6.
_ENDINGS = ("", ".js", ".ts", ".mjs", "/index.js", "/index.ts")


class Uses(IntEnum):
    """Whether a file names k6."""

    NO, MAYBE, YES = range(3)


@frozen
class Module:
    """The facts in the text of one file; `imports` are paths of local modules, missing or not."""

    digest: str
    uses: Uses
    exports: bool
    imports: tuple[str, ...] = ()


@frozen
class Recognised:
    """Whether a file can be a test: with `uses` NO it is not, for `reason`; with YES it should be.

    `dependencies` are the files that this answer depends on, with digests; "" for a missing file.
    """

    uses: Uses
    reason: str | None = None
    dependencies: dict[str, str] = field(default_factory=dict)


class Texts:
    """Reads each file once and remembers it; make a new instance for each pass over the files."""

    def __init__(self) -> None:
        self._modules: dict[str, Module | None] = {}

    def recognise(self, path: str) -> Recognised:
        """Apply the rule to a file without running any of its code."""
        own = self.module(path)
        if own is None:
            return Recognised(uses=Uses.MAYBE, reason="it cannot be read")
        if path.endswith(".d.ts"):
            return _none("it holds TypeScript declarations only", path, own)
        if not own.exports:
            return _none("it exports nothing that k6 could call", path, own)
        uses, found, left = own.uses, {path: own.digest}, list(own.imports)
        while left and uses is not Uses.YES:
            if len(found) > MOST_MODULES:
                uses = Uses.MAYBE
                break
            name = left.pop()
            if name in found:
                continue
            module = self.module(name)
            found[name] = module.digest if module else ""
            uses = max(uses, module.uses if module else Uses.MAYBE)
            left += module.imports if module else ()
        reason = None if uses is Uses.YES else "neither it nor a module of it imports k6"
        return Recognised(uses=uses, reason=reason, dependencies=found)

    def importer(self, path: str, others: Iterable[str]) -> str | None:
        """Return one of the `others` that imports the file."""
        for other in others:
            module = self.module(other) if other != path else None
            if module and path in module.imports:
                return other
        return None

    def module(self, path: str) -> Module | None:
        """Return the facts in the file's text; None if it cannot be read."""
        if path not in self._modules:
            self._modules[path] = _read(path)
        return self._modules[path]


def _none(reason: str, path: str, own: Module) -> Recognised:
    return Recognised(uses=Uses.NO, reason=reason, dependencies={path: own.digest})


def _read(path: str) -> Module | None:
    try:
        with open_regular(path) as file:
            data = file.read(MODULE_BYTES + 1)
    except (OSError, ValueError):
        return None
    if len(data) > MODULE_BYTES:
        return Module(digest=digest_of(path) or "", uses=Uses.MAYBE, exports=True)
    text = _TYPES_ONLY.sub("", data.decode(errors="replace"))
    names = [name for _, name in _SPECIFIER.findall(text)]
    folder = os.path.dirname(path)  # noqa: PTH120  (texts: there may be thousands)
    found = (_local(folder, name) for name in names if name.startswith(("./", "../", "/", "file:")))
    exports = may_be_called(text)
    return Module(
        digest=hashlib.sha256(data).hexdigest(),
        uses=_uses(text, names, exports=exports),
        exports=exports,
        imports=tuple(dict.fromkeys(name for name in found if name)),
    )


def _uses(text: str, names: list[str], *, exports: bool) -> Uses:
    remote = [name for name in names if _REMOTE.match(name)]
    # Deno and browsers import from URLs too, so a k6 test also needs k6's name or a default export.
    runs = exports and "export default" in text
    ours = any("k6" in name for name in remote) or (runs and remote)
    if ours or (runs and _OPTIONS.search(text)) or any(_K6.fullmatch(name) for name in names):
        return Uses.YES
    uncertain = remote or _COMPUTED.search(text) or _WORD.search(text)
    return Uses.MAYBE if uncertain or any("${" in name for name in names) else Uses.NO


def _local(folder: str, name: str) -> str | None:
    """Return the path of an imported module; None if it is not code or could never be found."""
    path = os.path.normpath(os.path.join(folder, name.removeprefix("file://")))  # noqa: PTH118
    known = path.endswith(MODULES)
    spelled = [path + ending for ending in _ENDINGS]
    spelled += [path[:-3] + ".ts"] if path.endswith(".js") else []
    for one in spelled:
        if one.endswith(MODULES) and os.path.isfile(one):  # noqa: PTH113
            return one
    return path if known else None
