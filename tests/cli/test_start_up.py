"""What a command imports: its start is most of the time that a user waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from inspect import getdoc
from pathlib import Path

import pytest

from k6d.cli.commands import COMMANDS, application, module_of
from k6d.storage.store import Store
from support.daemon import PATIENCE_S
from support.records import make_run
from support.target import Target

HEAVY = ("apprise", "asyncio", "fastapi", "google.generativeai", "pydantic", "requests")
LIBRARIES = (*HEAVY, "dotenv", "orjson", "rich", "tinydb", "typer")


def imported(
    folder: Path, *words: str, among: tuple[str, ...] = LIBRARIES, **environment: str
) -> set[str]:
    """Run a command; return the libraries that it imported."""
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print(*sorted({set(among)} & sys.modules.keys()),"
        " file=sys.stderr))\n"
        f"sys.argv = {['k6d', *words]}\n"
        "from k6d.cli import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)} | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert done.stdout
    return set(done.stderr.split())


def test_the_list_says_what_each_command_says() -> None:
    """All commands of the modules are listed, with the first paragraph of their docstrings."""
    listed = {name: entry for commands in COMMANDS.values() for name, entry in commands.items()}
    modules = {module for module, _ in listed.values()}
    defined = {}
    for module in modules:
        for one in import_module(f"k6d.cli.{module}").commands.registered_commands:
            summary = " ".join((getdoc(one.callback) or "").split("\n\n")[0].split())
            defined[one.name or one.callback.__name__] = (module, summary)
    assert defined == listed


def test_the_list_is_complete() -> None:
    """Each module that defines commands has one in the list; all commands make one application."""
    modules = {module for commands in COMMANDS.values() for module, _ in commands.values()}
    folder = Path(import_module("k6d.cli").__path__[0])
    defining = {
        p.stem for p in folder.glob("*.py") if "\ncommands = typer.Typer()" in p.read_text()
    }
    assert defining == modules
    names = [one.name or one.callback.__name__ for one in application().registered_commands]
    assert sorted(names) == sorted(n for commands in COMMANDS.values() for n in commands)
    assert module_of("hstory") is None


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("-h",)])
def test_version_and_help_import_no_library(tmp_path: Path, words: tuple[str, ...]) -> None:
    """`k6d --version` and `k6d --help` answer from the list alone."""
    assert imported(tmp_path, *words) == set()


def test_looking_validates_no_settings(tmp_path: Path) -> None:
    """`k6d history`, `search` and completion of a script's name read no other settings."""
    Store(tmp_path / "k6d-data").save(make_run(script="shop/cart.js"))
    assert not imported(tmp_path, "history") & set(HEAVY)
    assert not imported(tmp_path, "search", "cart", "--json") & set(HEAVY)


@pytest.mark.parametrize("line", ["k6d hi", "k6d history sh", "k6d history --l", "k6d show 2026"])
def test_a_tab_imports_no_typer(tmp_path: Path, line: str) -> None:
    """A shell that completes a line is answered without typer and what commands need."""
    Store(tmp_path / "k6d-data").save(make_run(script="shop/cart.js"))
    asked = {"_K6D_COMPLETE": "complete_bash", "COMP_WORDS": line}
    asked["COMP_CWORD"] = str(len(line.split()) - 1)
    assert not imported(tmp_path, **asked) & {*HEAVY, "rich", "typer"}


def test_a_healthy_run_imports_no_progress_reports_or_alerts(tmp_path: Path) -> None:
    """`k6d run` in a pipe imports what judges and stores; what shows, explains and sends, does not.

    These take a third of a second of CPU.
    """
    unneeded = ("rich.progress", "k6d.web.reports", "k6d.explain.explainer", "apprise")
    others = ("k6d.alerts.delivery.sender", "k6d.execution.kubernetes")
    with Target() as target:
        (tmp_path / "shop.js").write_text(
            "import http from 'k6/http';\n"
            f"export default function () {{ http.get('{target.url}/'); }}\n"
        )
        words = ("run", "shop.js", "--json")
        assert imported(tmp_path, *words, among=(*unneeded, *others, "k6d.jobs.stages")) == {
            "k6d.jobs.stages"
        }
