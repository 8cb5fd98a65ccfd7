"""What k6 found out about each file is entered in the registry of scripts.

A file that k6 refuses is a broken test or no test at all; `Registration.classified` decides which.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from k6d.core import reading
from k6d.core.script import Kind
from k6d.execution.archive import name_of
from k6d.execution.mentions import MODULES
from k6d.execution.recognise import Texts, Uses
from k6d.scripts.candidates import candidates_in
from k6d.scripts.registry import Registry, ScriptState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from k6d.alerts.alerting import Alerts
    from k6d.execution.archive import Script
    from k6d.execution.recognise import Recognised
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)


class Registration:
    """Enters files of the scripts folder `root` in `registry`.

    The incident of a file that turns out to be no test is ended.
    """

    def __init__(self, store: Store, alerts: Alerts, root: Path) -> None:
        self.registry = Registry(store, root)
        self._alerts = alerts
        self._root = root

    def classified(self, script: Script, ignore: Sequence[str]) -> Script:
        """Return the script; if k6 refused it and its text is no test, as a helper module.

        See `recognise`. Reads the other files of the folder, except those that match `ignore`.
        """
        known = self.registry.get(script.name)
        if script.kind is not Kind.BROKEN or (known and known.was_test):
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
        """Return a file that imports this one: a known test, else any file by its text."""
        path, root = str(script.path), self._root
        for name, known in self.registry.all().items():
            if known.kind is Kind.TEST and name != script.name and path in known.dependencies:
                return name
        there = candidates_in(root, ignore)
        other = texts.importer(path, (f"{root}/{name}" for name in sorted(there)))
        return name_of(Path(other), root) if other else None

    def remember(self, script: Script, *, ran: str | None = None) -> None:
        """Enter what k6 said of a script; `ran` is the fingerprint of contents that have run.

        With it the daemon can tell, without k6, whether the script has changed.
        """
        known = self.registry.get(script.name) or ScriptState()
        broken = script.kind is Kind.BROKEN
        # The mistake may be in a file that the script needed before.
        before = known.dependencies if broken else {}
        state = ScriptState(
            kind=script.kind,
            fingerprint=script.fingerprint,
            ran=known.ran if ran is None else ran,
            dependencies={**before, **script.dependencies},
            settings=known.settings if broken else script.raw_settings,
            was_test=script.kind is Kind.TEST or (broken and known.was_test),
            left_alone=script.error if script.kind is Kind.LIBRARY else None,
        )
        self.registry.put(script.name, state)
        if script.kind is Kind.LIBRARY and known.kind is Kind.BROKEN:
            self._alerts.end(script.name)
        if script.kind is Kind.TEST:
            self._end_incidents_of_helpers(script)

    def _end_incidents_of_helpers(self, test: Script) -> None:
        """End the incidents of modules that were broken and that this test imports."""
        for path in test.dependencies:
            if path == str(test.path) or not path.endswith(MODULES):
                continue
            name = name_of(Path(path), self._root)
            known = self.registry.get(name)
            if known and known.kind is Kind.BROKEN and not known.was_test:
                why = f"{test.name} imports it"
                self.registry.put(name, replace(known, kind=Kind.LIBRARY, left_alone=why))
                self._alerts.end(name)

    def leave_alone(self, found: Mapping[str, Recognised]) -> None:
        """Enter files that are no tests by their text, in one write."""
        states = {}
        for name, one in found.items():
            known = self.registry.get(name) or ScriptState()
            if known.kind is Kind.BROKEN:
                self._alerts.end(name)
            states[name] = ScriptState(
                kind=Kind.LIBRARY,
                ran=known.ran,
                dependencies=one.dependencies,
                was_test=known.was_test,
                left_alone=one.reason,
            )
        self.registry.put_all(states)


def irregular_dependency(known: ScriptState | None) -> str | None:
    """Return in words which mentioned file of a script has become a pipe or the like."""
    paths = known.dependencies if known else {}
    for path in paths:
        kind = reading.irregular(path)
        if kind and _is_mentioned(Path(path).name, paths):
            return f"{path} is {kind}, not a regular file; k6 would read it for ever"
    return None


def _is_mentioned(name: str, paths: Iterable[str]) -> bool:
    code = (path for path in paths if path.endswith(MODULES) and not reading.irregular(path))
    return any(name in (reading.text_of(path, 1 << 20) or "") for path in code)
