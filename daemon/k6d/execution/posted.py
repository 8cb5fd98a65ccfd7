"""Makes a test from a posted text; the options posted with it apply if it has no scenarios.

k6's flags replace the scenarios of a script: always in k6 1.x, and in part since 2.1. A posted
script must do the same as in the scripts folder, so its own scenarios take precedence.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from k6d.core.script import Kind
from k6d.execution import archive

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from k6d.core.measurements import Log
    from k6d.execution.archive import Script
    from k6d.execution.executor import Measured

logger = logging.getLogger(__name__)

NO_TEST = (
    "the posted script has nothing to run: export a default function "
    "(export default function () { … }), or name exported functions in options.scenarios"
)


async def look(path: Path, *, options: Mapping[str, str], name: str, **how: Any) -> Script:
    """Like `archive.look`, but scenarios are kept, and a text without a test is a script error.

    `Script.unused` names the options that have no effect.
    """
    script = await archive.look(path, name=name, **how)
    if script.kind is Kind.LIBRARY:
        return replace(script, kind=Kind.BROKEN, error=NO_TEST)
    if script.kind is Kind.BROKEN or not options:
        return script
    if not script.options.get("scenarios"):
        return await archive.look(path, name=name, options=options, **how)
    note = unused_note(options)
    logger.warning("%s: %s", name, note)
    return replace(script, unused=tuple(options), notes=(note,))


def without_folder(measured: Measured, folder: Path) -> Measured:
    """Remove the path of k6d's temporary folder from errors and logs."""

    def text(said: str | None) -> str | None:
        return said and said.replace(f"file://{folder}/", "").replace(f"{folder}/", "")

    def shown(log: Log) -> Log:
        return replace(log, head=text(log.head) or "", tail=text(log.tail) or "")

    result = measured.result
    result = replace(
        result,
        execution=replace(result.execution, error=text(result.execution.error)),
        first_exception=text(result.first_exception),
    )
    return replace(measured, result=result, log=shown(measured.log), output=shown(measured.output))


def unused_note(options: Mapping[str, str]) -> str:
    """Return the note about options that have no effect because the script has scenarios."""
    names = [f"options.{name}" for name in options]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    verb = "is" if len(names) == 1 else "are"
    return f"{listed} {verb} not used: the script has scenarios of its own (options.scenarios)"
