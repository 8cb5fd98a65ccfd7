"""What a script wrote into its working folder: bounded, without secrets, no way out of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from k6d.core.redact import Redactor
from k6d.execution.written_files import MOST_BYTES, MOST_FILES, written_files

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "correct-horse-battery-9"


def test_files_are_kept_by_their_path_from_the_folder(tmp_path: Path) -> None:
    """Text and bytes, also in folders."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.html").write_text("<b>ü</b>")
    (tmp_path / "report.json").write_bytes(b"{}")
    (tmp_path / "shot.png").write_bytes(b"\x89PNG\0\xff")
    kept, notes = written_files(tmp_path, Redactor())
    assert {one.name: one.contents for one in kept} == {
        "out/a.html": "<b>ü</b>".encode(),
        "report.json": b"{}",
        "shot.png": b"\x89PNG\0\xff",
    }
    assert notes == []


def test_there_are_bounds_and_notes_say_what_is_left_out(tmp_path: Path) -> None:
    """So many files, and so many bytes of all of them."""
    for number in range(MOST_FILES + 2):
        (tmp_path / f"{number:03}.txt").write_text("x")
    kept, notes = written_files(tmp_path, Redactor())
    assert len(kept) == MOST_FILES
    assert notes == [
        f"'020.txt' and 1 more file, written by the script, is not kept: a run keeps {MOST_FILES} "
        "files"
    ]
    (tmp_path / "000.txt").write_bytes(bytes(MOST_BYTES + 1))
    kept, notes = written_files(tmp_path, Redactor())
    assert "000.txt" not in [one.name for one in kept]
    assert "'000.txt', written by the script, is not kept: a run keeps 5 MiB of files" in notes


def test_links_pipes_and_odd_names_are_not_kept(tmp_path: Path) -> None:
    """Nothing outside of the folder is read, and nothing is waited for."""
    outside, folder = tmp_path / "outside", tmp_path / "files"
    outside.mkdir()
    folder.mkdir()
    (outside / "key").write_text("key")
    (folder / "link.txt").symlink_to(outside / "key")
    (folder / "linked").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    (folder / "line\nbreak").write_text("x")
    (folder / "back\\slash").write_text("x")
    kept, notes = written_files(folder, Redactor())
    assert kept == []
    assert len(notes) == 2
    assert all("\n" not in note for note in notes)


def test_text_has_no_secrets_and_stays_as_it_is_beside_them(tmp_path: Path) -> None:
    """In names as well; a long line is looked at in parts."""
    line = '{"a":"b","value":12.5,"http_req_duration":{"avg":12}},' * 2_000
    (tmp_path / "long.json").write_text(f"{line}{SECRET}")
    (tmp_path / f"{SECRET}.txt").write_text(f"one\nkey {SECRET}\nAuthorization: Bearer {'x1' * 20}")
    kept, _ = written_files(tmp_path, Redactor({SECRET: "K"}))
    found = {one.name: one.contents.decode() for one in kept}
    assert found["long.json"] == f"{line}[K]"
    (text,) = (contents for name, contents in found.items() if name != "long.json")
    assert text.startswith("one\nkey [K]\nAuthorization:")
    assert "x1x1" not in text
    assert not any(SECRET in name for name in found)
