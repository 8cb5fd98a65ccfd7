"""What k6d remembers of each file in the scripts folder: what it is, what it hangs on, what ran.

The state `scripts`, one object a file: `kind`; `fingerprint` of its contents; `ran`, that of the
contents that ran last; `dependencies`, path → digest; `settings` as the script wrote them;
`was_test` once it was a test; `left_alone`, why a file is none.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k6d.core import reading
from k6d.execution.archive import Kind, name_of
from k6d.execution.mentions import MODULES
from k6d.execution.recognise import Texts, Uses
from k6d.scripts.candidates import candidates_in
from k6d.scripts.dependencies import kept_paths, paths_now

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from k6d.alerts.alerting import Alerts
    from k6d.execution.archive import Script
    from k6d.execution.recognise import Recognised
    from k6d.storage import Store

logger = logging.getLogger(__name__)


def was_test(known: Mapping[str, Any] | None) -> bool:
    """Whether k6 took the file for a test before."""
    return known is not None and (known.get("kind") == Kind.TEST or bool(known.get("was_test")))


class Registry:
    """The files of the scripts folder `root`; paths are absolute here, and kept relative to it.

    The incident of a file that turns out to be no test is ended.
    """

    def __init__(self, store: Store, alerts: Alerts, root: Path) -> None:
        self._state = store.state("scripts")
        self._alerts = alerts
        self._root = root

    def get(self, name: str) -> dict[str, Any] | None:
        """What is remembered of one file."""
        known = self._state.get(name)
        return known and self._now(name, known)

    def all(self) -> dict[str, dict[str, Any]]:
        """What is remembered of each file, by name."""
        return {name: self._now(name, known) for name, known in self._state.all().items()}

    def _now(self, name: str, known: dict[str, Any]) -> dict[str, Any]:
        paths = paths_now(known.get("dependencies"), script=name, root=self._root)
        return known | {"dependencies": paths}

    def _kept(self, known: dict[str, Any]) -> dict[str, Any]:
        return known | {"dependencies": kept_paths(known["dependencies"], root=self._root)}

    def judged(self, script: Script, ignore: Sequence[str]) -> Script:
        """What k6 refuses is no broken test, but a file like any other, unless it should be a test.

        See `recognise`. Reads the other files of the folder, but for those that match `ignore`.
        """
        if script.kind is not Kind.BROKEN or was_test(self.get(script.name)):
            return script
        texts, path = Texts(), str(script.path)
        found = texts.recognise(path)
        importer = None
        if found.uses is Uses.YES:
            importer = self._importer(script, ignore, texts)
            if importer is None:
                return script
        why = f"{importer} imports it" if importer else found.reason
        logger.warning("%s is left alone (%s), k6 says: %s", script.name, why, script.error)
        return replace(
            script,
            kind=Kind.LIBRARY,
            dependencies=found.dependencies | script.dependencies,
            error=f"{why}; k6 says: {script.error}",
        )

    def _importer(self, script: Script, ignore: Sequence[str], texts: Texts) -> str | None:
        """A file that uses this one: a test that is known, else any by its text."""
        path, root = str(script.path), self._root
        for name, known in self.all().items():
            if known.get("kind") != Kind.TEST or name == script.name:
                continue
            if path in (known.get("dependencies") or {}):
                return name
        there = candidates_in(root, ignore)
        other = texts.importer(path, (f"{root}/{name}" for name in sorted(there)))
        return name_of(Path(other), root) if other else None

    def remember(self, script: Script, *, ran: str | None = None) -> None:
        """What the daemon needs to tell, without k6, whether a script has changed."""
        known = self.get(script.name) or {}
        was, broken = known.get("kind"), script.kind is Kind.BROKEN
        # What k6 refused tells little of its files; the mistake may be in one it had before.
        before = known.get("dependencies", {}) if broken else {}
        known |= {
            "kind": script.kind.value,
            "fingerprint": script.fingerprint,
            "dependencies": before | script.dependencies,
            "left_alone": script.error if script.kind is Kind.LIBRARY else None,
            "was_test": script.kind is Kind.TEST or (broken and was_test(known)),
        }
        if not broken:
            known["settings"] = script.raw_settings
        if ran is not None:
            known["ran"] = ran
        self._state.put(script.name, self._kept(known))
        if script.kind is Kind.LIBRARY and was == Kind.BROKEN:
            self._alerts.end(script.name)
        if script.kind is Kind.TEST:
            self._own(script)

    def _own(self, test: Script) -> None:
        """What was told of the modules of a test before it came is over: they are its helpers."""
        for path in test.dependencies:
            if path == str(test.path) or not path.endswith(MODULES):
                continue
            name = name_of(Path(path), self._root)
            known = self.get(name)
            if known and known.get("kind") == Kind.BROKEN and not was_test(known):
                why = f"{test.name} imports it"
                known |= {"kind": Kind.LIBRARY.value, "left_alone": why}
                self._state.put(name, self._kept(known))
                self._alerts.end(name)

    def leave_alone(self, found: Mapping[str, Recognised]) -> None:
        """Remember files that are no tests by their text, in one write."""
        documents = {}
        for name, one in found.items():
            known = self.get(name) or {}
            if known.get("kind") == Kind.BROKEN:
                self._alerts.end(name)
            document = {
                "kind": Kind.LIBRARY.value,
                "fingerprint": None,
                "dependencies": one.dependencies,
                "left_alone": one.reason,
                "settings": None,
            }
            documents[name] = self._kept(known | document)
        self._state.put_all(documents)


def endless(known: Mapping[str, Any] | None) -> str | None:
    """A file that a script needed, and still mentions, that became a pipe or the like; in words."""
    paths = (known or {}).get("dependencies") or {}
    for path in paths:
        kind = reading.irregular(path)
        if kind and _is_mentioned(Path(path).name, paths):
            return f"{path} is {kind}, not a regular file; k6 would read it for ever"
    return None


def _is_mentioned(name: str, paths: Iterable[str]) -> bool:
    code = (path for path in paths if path.endswith(MODULES) and not reading.irregular(path))
    return any(name in (reading.text_of(path, 1 << 20) or "") for path in code)
