"""Answers a shell that completes a line, without typer: a Tab should take a tenth of a second.

`completion.json` has the options and arguments of each command; `make docs` writes it from the
commands. What it does not cover (other shells, options before the command) is left to typer.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from k6d.cli.commands import COMMANDS
from k6d.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from k6d.storage.store import Store

TABLE: Final = Path(__file__).with_suffix(".json")
_END_OF_OPTIONS: Final = "--"


@frozen
class Line:
    """The words of a line before the one that is completed, without `k6d`; and that word so far."""

    words: list[str]
    incomplete: str


def answer() -> str | None:
    """Return what the shell expects on standard output; None if typer must answer.

    A shell sets _K6D_COMPLETE to its name, and the line in further variables.
    """
    shell = os.environ.get("_K6D_COMPLETE", "").removeprefix("complete_")
    line = _line(shell)
    found = None if line is None else _completions(line)
    if found is None:
        return None
    if shell == "bash":
        return "\n".join(found)
    if os.environ.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":  # else fish completes files
        sys.exit(0 if found else 1)
    if shell == "zsh":
        entries = "\n".join(_entry_of_zsh(value, about) for value, about in found.items())
        return f"_arguments '*: :(({entries}))'" if entries else "_files"
    return "\n".join(f"{value}\t{about}" if about else value for value, about in found.items())


def _line(shell: str) -> Line | None:
    if shell == "bash":
        words = _split(os.environ.get("COMP_WORDS", ""))
        place = os.environ.get("COMP_CWORD", "")
        if not place.isdecimal():
            return None
        incomplete = words[int(place)] if int(place) < len(words) else ""
        return Line(words=words[1 : int(place)], incomplete=incomplete)
    if shell in ("zsh", "fish"):
        text = os.environ.get("_TYPER_COMPLETE_ARGS", "")
        words = _split(text)[1:]
        last = words.pop() if words and not text.endswith(" ") else ""
        return Line(words=words, incomplete=last)
    return None


def _split(text: str) -> list[str]:
    """Split like a shell; a quote that is still open ends with the text."""
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    try:
        words.extend(lexer)
    except ValueError:
        words.append(lexer.token)
    return words


def _entry_of_zsh(value: str, about: str) -> str:
    def escaped(text: str) -> str:
        doubled = text.replace('"', '""').replace("'", "''")
        return doubled.replace("$", "\\$").replace("`", "\\`").replace(":", r"\\:")

    return f'"{escaped(value)}":"{escaped(about)}"' if about else f'"{escaped(value)}"'


def _completions(line: Line) -> dict[str, str] | None:
    """Return values with what each means; None if typer must answer."""
    if not line.words:
        if line.incomplete.startswith("-"):
            return None
        entries = {name: about for one in COMMANDS.values() for name, (_, about) in one.items()}
        return {name: a for name, a in entries.items() if name.startswith(line.incomplete)}
    import orjson

    command = orjson.loads(TABLE.read_bytes()).get(line.words[0])
    return None if command is None else _of_command(command, line.words[1:], line.incomplete)


def _of_command(
    command: Mapping[str, Any], words: list[str], incomplete: str
) -> dict[str, str] | None:
    options = {name: one for one in command["options"] for name in one["names"]}
    if incomplete == "=":  # bash splits --script=shop into three words
        incomplete = ""
    elif words and words[-1] == "=":
        words = words[:-1]
    ended = _END_OF_OPTIONS in words
    name, equals, value = incomplete.partition("=")
    if equals and name in options and not ended:
        return _values(options[name]["takes"], value)
    last = options.get(words[-1]) if words else None
    if last is not None and last["takes"] is not None and not ended:
        return _values(last["takes"], incomplete)
    if incomplete.startswith("-") and not ended:
        given = {word.partition("=")[0] for word in words}
        return {
            name: one["help"]
            for one in command["options"]
            if one["many"] or not given & set(one["names"])
            for name in one["names"]
            if name.startswith(incomplete)
        }
    place, arguments = _positional(words, options), command["arguments"]
    if place >= len(arguments) and not (arguments and arguments[-1]["many"]):
        return {}
    return _values(arguments[min(place, len(arguments) - 1)]["takes"], incomplete)


def _positional(words: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> int:
    """Return how many of the words are arguments, and not options or values of these."""
    found, left = 0, iter(words)
    for word in left:
        if word == _END_OF_OPTIONS:
            return found + sum(1 for _ in left)
        if word.startswith("-") and word != "-":
            option = options.get(word)
            if option is not None and option["takes"] is not None:
                next(left, None)
        else:
            found += 1
    return found


def _values(takes: str | list[str] | None, incomplete: str) -> dict[str, str]:
    if isinstance(takes, list):
        return dict.fromkeys((one for one in takes if one.startswith(incomplete)), "")
    known = {"scripts": known_scripts, "runs": known_runs, "topics": known_topics}.get(takes or "")
    return dict.fromkeys(known(incomplete), "") if known else {}


def known_scripts(incomplete: str) -> list[str]:
    """Return the names of scripts."""
    return _starting(incomplete, sorted(_latest_scripts()))


def _latest_scripts() -> Iterable[str]:
    from k6d.core.errors import K6dError

    try:
        return _store().latest_states(recent=1)
    except (K6dError, ValueError):  # no Tab should print an error into the line
        return ()


def _store() -> Store:
    from k6d.settings.files import folders
    from k6d.storage.data_folder import refuse_links
    from k6d.storage.store import Store

    data = folders().data
    refuse_links(data)
    return Store(data)


def known_runs(incomplete: str) -> list[str]:
    """Return the ids of the newest runs."""
    from k6d.core.errors import K6dError

    try:
        found = _store().history(limit=50)
    except (K6dError, ValueError):
        return []
    return _starting(incomplete, ["latest", *(document["test_id"] for document in found)])


def known_topics(incomplete: str) -> list[str]:
    """Return the names of the manual's pages."""
    from k6d.cli import manual

    return _starting(incomplete, [topic.name for topic in manual.topics()])


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
