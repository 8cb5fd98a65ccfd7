"""The list of commands: the module of each, its heading in the help, and what it does.

The list is known without importing a command. So `k6d --help` imports no library, and a command
imports only its own module.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import typer

# Heading -> command -> (module in k6d.cli, what it does: the first sentences of its docstring).
COMMANDS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "Run": {
        "serve": (
            "start",
            "Watch the scripts folder, run new, changed and due scripts, and send alerts.",
        ),
        "run": (
            "start",
            "Run scripts now. Exit code 0: healthy, 1: anomalous, 2: a script has no verdict.",
        ),
        "queue": (
            "jobs",
            "List the daemon's jobs: those that run, those that wait, and those that ended last.",
        ),
        "cancel": (
            "jobs",
            "Cancel jobs: a waiting one at once; a running one ends, and its result is kept.",
        ),
        "disable": (
            "jobs",
            "Keep scripts from running by themselves, on a change or by the clock; `k6d run` "
            "still does.",
        ),
        "enable": (
            "jobs",
            "Let scripts that 'k6d disable' stopped run by themselves again, from their next "
            "change.",
        ),
        "watch-live": (
            "browse",
            "Follow the daemon's current run, second by second; Ctrl-C exits.",
        ),
        "replay": ("compare", "Run the stored snapshot of an old run again, exactly as it was."),
    },
    "Look": {
        "history": ("browse", "List the runs, newest first."),
        "show": ("browse", "Show all data of one run."),
        "scripts": (
            "browse",
            "List all scripts that are in the folder or have runs, with their last results.",
        ),
        "search": ("browse", "Find the runs that meet all given conditions, newest first."),
        "stats": (
            "browse",
            "Count runs, anomalies and severities of the last days; "
            "--csv prints a line for each day.",
        ),
        "report": (
            "browse",
            "Write a run as a self-contained HTML page, a Markdown summary, or JUnit XML.",
        ),
    },
    "Judge": {
        "mark": ("marks", "Mark a moment, such as a deployment; what changes after it names it."),
        "marks": ("marks", "List the newest marks, or remove one."),
        "compare": (
            "compare",
            "Compare a run with its baseline, or with another run, series by series.",
        ),
        "trend": (
            "compare",
            "Draw one series of a script over its runs, with baseline, band and changes of level.",
        ),
        "accept": ("compare", "Accept the present level of a script as its new baseline."),
        "unaccept": (
            "keep",
            "Take back 'k6d accept': the runs before the accepted level are compared with again.",
        ),
        "backtest": (
            "compare",
            "Judge the stored history with other settings: show alarms, and the added steps found.",
        ),
        "explain": ("explain", "Ask Gemini to explain a run, and store the explanation with it."),
    },
    "Alerts": {
        "incidents": (
            "alerts",
            "List open incidents, worst first, and mutes. Exit code 1: there is an open incident.",
        ),
        "ack": (
            "alerts",
            "Acknowledge a script's open incident: no reminders until it gets worse, or is "
            "resolved.",
        ),
        "mute": (
            "alerts",
            "Send no notifications about a script for a while; its runs and incidents are still "
            "stored.",
        ),
        "notify-test": (
            "alerts",
            "Send a test message to every receiver; say which accepted it, and why others did not.",
        ),
        "outbox": (
            "alerts",
            "List the messages that are waiting, or that could not be delivered.",
        ),
    },
    "Upkeep": {
        "doctor": (
            "maintenance",
            "Check k6, folders, settings, notification URLs, a cluster; say how to mend them.",
        ),
        "reindex": ("maintenance", "Rebuild the index from the run files."),
        "settings": (
            "maintenance",
            "List the settings in force, and the file or variable that each comes from.",
        ),
        "token": (
            "tokens",
            "Print the token for the API and the dashboard; or create, list and revoke tokens of "
            "hooks.",
        ),
        "schedule": (
            "maintenance",
            "Show schedules: the next starts, the last ones, and missed starts with the reason.",
        ),
        "pin": (
            "keep",
            "Keep a run whole for as long as it is pinned, whatever retention says; "
            "or list the pins.",
        ),
        "delete": (
            "keep",
            "Delete runs for ever, with the re-runs that confirm them and snapshots that no run "
            "needs.",
        ),
        "prune": (
            "maintenance",
            "Remove the data that the retention settings do not keep; print the freed space.",
        ),
        "export": (
            "maintenance",
            "Back up runs, snapshots and state to one archive; the daemon may be running.",
        ),
        "import": (
            "maintenance",
            "Import an archive or the original service's runs; existing runs are never replaced.",
        ),
    },
    "Learn": {
        "demo": ("learn", "Show k6d at work against a built-in target, in under a minute."),
        "init": (
            "init",
            "Write a commented settings file and a first script for an address; overwrite nothing.",
        ),
        "demo-target": (
            "learn",
            "Run a small shop on this machine to try k6d against; it prints the alerts sent to it.",
        ),
        "help": (
            "learn",
            "Show a page of the manual, or find words in it; without an argument, list the pages.",
        ),
    },
}
ABOUT: Final = (
    "The k6 daemon runs the k6 scripts of a folder, judges the results and sends alerts. "
    "Start with: k6d demo, k6d help."
)
_OPTIONS: Final = {
    "--version": "Print the version.",
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Print the completion for the current shell.",
    "-h, --help": "Print this help.",
}
_WIDEST: Final = 100  # columns; longer lines are hard to read


def module_of(command: str) -> str | None:
    """Return the name of the command's module; None if there is no such command."""
    found = (commands[command][0] for commands in COMMANDS.values() if command in commands)
    return next(found, None)


def asked(words: Sequence[str]) -> str | None:
    """Return the command among the words of a command line, or of one that a shell completes."""
    if "_K6D_COMPLETE" in os.environ:
        line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
        words = line.split()[1:]
    return next((word for word in words if not word.startswith("-")), None)


def application(command: str | None = None) -> typer.Typer:
    """Return the application with one command, or with all.

    With one command, the application has no other; without such a command, it knows all by name
    and summary only. It can list, suggest and complete them, but cannot run them.
    """
    import typer

    from k6d.cli.plain_help import PlainHelp

    # Plain help and errors: rich's boxes would take 0.2 s of imports.
    app = typer.Typer(
        name="k6d",
        help=ABOUT,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    known = [name for commands in COMMANDS.values() for name in commands]
    wanted = [command] if command and module_of(command) else known if command is None else []
    for module in dict.fromkeys(module_of(name) for name in wanted):
        for one in import_module(f"k6d.cli.{module}").commands.registered_commands:
            if (one.name or one.callback.__name__) in wanted:
                one.cls = PlainHelp
                app.registered_commands.append(one)
    if wanted and "_K6D_COMPLETE" not in os.environ:
        app.callback()(_group)  # one command alone would be no command of a group
        return app
    for commands in COMMANDS.values():
        for name, (_, summary) in commands.items():
            if name not in wanted:
                app.command(name=name, help=summary)(_not_imported)
    return app


def _group() -> None:
    """Do nothing: the options of k6d itself are answered before."""


def _not_imported() -> None:
    raise NotImplementedError("this command was not imported")


def overview() -> str:
    """Return the help for all commands, as wide as the terminal allows."""
    width = min(_WIDEST, shutil.get_terminal_size().columns)
    parts = ["Usage: k6d [OPTIONS] COMMAND [ARGS]...", "", textwrap.fill(ABOUT, width)]
    parts += ["", _bold("Options"), *_entries(_OPTIONS, width)]
    for heading, commands in COMMANDS.items():
        entries = {name: summary for name, (_, summary) in commands.items()}
        parts += ["", _bold(heading), *_entries(entries, width)]
    return "\n".join([*parts, "", "k6d COMMAND --help has the options of a command."])


def _entries(entries: dict[str, str], width: int) -> Iterator[str]:
    column = 4 + max(map(len, (*_OPTIONS, *(name for one in COMMANDS.values() for name in one))))
    for name, summary in entries.items():
        yield textwrap.fill(
            summary,
            max(width, column + 20),
            initial_indent=f"  {name}".ljust(column),
            subsequent_indent=" " * column,
        )


def _bold(text: str) -> str:
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return f"\x1b[1m{text}\x1b[0m" if colours else text
