"""Posted scripts under each k6 there is: their own scenarios count, and a text must be a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from k6d.execution import posted
from k6d.execution.archive import Kind, Script
from k6d.execution.local import discovery, variables
from support.binaries import BINARIES, NEW

if TYPE_CHECKING:
    from pathlib import Path

each_k6 = pytest.mark.parametrize("binary", BINARIES.values(), ids=BINARIES)
SCENARIO = "executor: 'per-vu-iterations', vus: 1, iterations: 5"
ONLY_EXEC = (
    f"export const options = {{ scenarios: {{ s: {{ {SCENARIO}, exec: 'go' }} }} }};\n"
    "export function go() {}\n"
)
WITH_DEFAULT = (
    f"export const options = {{ scenarios: {{ s: {{ {SCENARIO} }} }} }};\n"
    "export default function () {}\n"
)
PLAIN = "export default function () {}\n"


async def _look(folder: Path, text: str, *, binary: Path = NEW, **options: str) -> Script:
    path, work = folder / "posted.js", folder / "work"
    path.write_text(text)
    work.mkdir()
    return await posted.look(
        path,
        options=options,
        name="one-off/posted.js",
        k6=await discovery.find(binary),
        workdir=work,
        env=variables.environment({}),
    )


@each_k6
@pytest.mark.parametrize("text", [ONLY_EXEC, WITH_DEFAULT], ids=["exec", "default"])
@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"duration": "3s"}, "options.duration is not used: the script has scenarios"),
        ({"vus": "4", "duration": "3s"}, "options.vus and options.duration are not used"),
        (
            {"vus": "4", "duration": "3s", "iterations": "9"},
            "options.vus, options.duration and options.iterations are not used",
        ),
    ],
)
async def test_options_beside_scenarios_are_not_used(
    tmp_path: Path, binary: Path, text: str, options: dict[str, str], note: str
) -> None:
    """The scenarios run as written, whatever was posted; the note names each option."""
    script = await _look(tmp_path, text, binary=binary, **options)
    assert script.kind is Kind.TEST
    assert script.options["scenarios"]["s"]["iterations"] == 5
    assert script.options["duration"] is script.options["vus"] is None
    assert script.unused == tuple(options)
    (said,) = script.notes
    assert said.startswith(note)


@each_k6
async def test_options_count_where_there_are_no_scenarios(tmp_path: Path, binary: Path) -> None:
    """As the original's clients expect."""
    script = await _look(tmp_path, PLAIN, binary=binary, vus="3", duration="2s")
    assert (script.options["vus"], script.options["duration"]) == (3, "2s")
    assert script.unused == script.notes == ()


@each_k6
@pytest.mark.parametrize(
    "text", ["export function help() {}", "export default { a: 1 };", "// just a comment"]
)
async def test_a_text_without_a_test_is_told_what_it_needs(
    tmp_path: Path, binary: Path, text: str
) -> None:
    """In the scripts folder it would be a helper module; here nobody can import it."""
    script = await _look(tmp_path, text, binary=binary, vus="1")
    assert script.kind is Kind.BROKEN
    assert "export default function" in (script.error or "")


@each_k6
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"duration": "1d"}, 'unknown unit "d" in duration "1d"'),
        ({"duration": "1h2d"}, 'unknown unit "d" in duration "1h2d"'),
        ({"vus": "2x"}, 'invalid argument "2x" for "-u, --vus" flag'),
    ],
)
async def test_options_that_k6_refuses_are_told_in_its_words(
    tmp_path: Path, binary: Path, options: dict[str, str], words: str
) -> None:
    """k6 refuses a flag before it logs as JSON."""
    script = await _look(tmp_path, PLAIN, binary=binary, **options)
    assert script.kind is Kind.BROKEN
    assert words in (script.error or "")
