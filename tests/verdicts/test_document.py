"""The page of verdicts is made from the tables of specimens."""

from __future__ import annotations

from support.verdicts import TABLES
from support.verdicts.document import DOCUMENT, document


def test_the_page_of_verdicts_is_the_table_of_specimens() -> None:
    """If not: PYTHONPATH=tests .venv/bin/python -m support.verdicts.document."""
    assert DOCUMENT.read_text(encoding="utf-8") == document()


def test_no_two_specimens_have_one_name() -> None:
    """In one table; a name is a row of the page and a folder of the test."""
    for table in TABLES.values():
        names = [one.name for one in table.TABLE]
        assert len(names) == len(set(names))
