"""The help of every command: words of the manual, no types of Python."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from k6d.cli.commands import COMMANDS, application

NAMES = [name for commands in COMMANDS.values() for name in commands]


@pytest.mark.parametrize("name", NAMES)
def test_help_has_no_types_of_python(name: str) -> None:
    """No <str> and no <list[str]>, which say nothing to an operator (trials E)."""
    text = CliRunner().invoke(application(name), [name, "--help"]).output
    assert text.startswith("Usage: ")
    assert re.findall(r"<[a-z]+(?:\[[a-z]+\])?>", text) == []
