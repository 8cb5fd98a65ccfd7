"""Writes daemon/k6d/cli/completion.json, the options and arguments of all commands: `make docs`."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

import typer.main

from k6d.cli import completion
from k6d.cli.commands import application

# What a parameter takes, by the function that completes it.
COMPLETED_BY = {
    completion.known_scripts: "scripts",
    completion.known_runs: "runs",
    completion.known_topics: "topics",
}


def table() -> str:
    """The table as JSON, one parameter a line: a flag takes null, a value of any kind ""."""
    app = application()
    group: Any = typer.main.get_command(app)
    lines = []
    for one in sorted(app.registered_commands, key=_name):
        kinds = _command(group.commands[_name(one)], one.callback)
        lists = ", ".join(f'"{kind}": [{_lines(found)}]' for kind, found in kinds.items())
        lines.append(f'"{_name(one)}": {{{lists}}}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _name(one: Any) -> str:
    return str(one.name or one.callback.__name__)


def _lines(parameters: list[dict[str, Any]]) -> str:
    return ",".join(f"\n  {json.dumps(one, ensure_ascii=False)}" for one in parameters)


def _command(command: Any, callback: Any) -> dict[str, Any]:
    completed_by = {
        name: getattr(info, "autocompletion", None)
        for name, hint in get_type_hints(callback, include_extras=True).items()
        for info in getattr(hint, "__metadata__", ())
    }
    entries: dict[str, Any] = {"arguments": [], "options": []}
    context = command.make_context(
        "", [], resilient_parsing=True, help_option_names=["-h", "--help"]
    )
    for one in command.get_params(context):
        choices = getattr(one.type, "choices", None)
        by = completed_by.get(one.name)
        takes = list(map(str, choices)) if choices else COMPLETED_BY[by] if by else ""
        if one.param_type_name == "argument":
            entries["arguments"].append({"takes": takes, "many": one.nargs == -1})
            continue
        entries["options"].append(
            {
                "names": sorted(one.opts, reverse=True) + one.secondary_opts,
                "takes": None if one.is_flag else takes,
                "many": bool(one.multiple),
                "help": one.help or "",
            }
        )
    return entries


def main() -> None:
    """Write the file."""
    completion.TABLE.write_text(table())


if __name__ == "__main__":
    main()
