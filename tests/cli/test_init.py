"""`k6d init`: the first script runs, the settings load, and nothing is overwritten."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from k6d.cli.init import SETTINGS
from k6d.settings import load
from support.daemon import Daemon

if TYPE_CHECKING:
    from pathlib import Path

    from support.target import Target


@pytest.fixture
def home(tmp_path: Path) -> Daemon:
    """An empty folder."""
    made = Daemon(tmp_path / "home")
    made.scripts.rmdir()
    (made.home / "k6d.toml").unlink()
    return made


def _init(home: Daemon, *words: str, code: int = 0) -> str:
    from support.commands import run_k6d

    done = run_k6d("init", *words, cwd=home.home, env=home.environment(), timeout_s=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout or done.stderr


def test_the_first_script_runs_as_it_is(home: Daemon, target: Target) -> None:
    """Against the address, also one with quotes in it; a second call changes nothing."""
    said = _init(home, f'{target.url}/a\'b?c="d"')
    assert "k6d.toml is written" in said
    assert stat.S_IMODE((home.home / "k6d.toml").stat().st_mode) == 0o600
    assert "no open incident, and no run in " in home.call("incidents").stdout
    assert home.call("run", "scripts/first.js", "--once").returncode == 0
    assert target.requests["GET /a'b"] == 1
    before = (home.scripts / "first.js").read_text()
    assert "scripts/first.js exists and stays as it is" in _init(home, "http://127.0.0.1:1/")
    assert (home.scripts / "first.js").read_text() == before


def test_the_files_are_utf_8_whatever_the_locale(home: Daemon) -> None:
    """The settings have characters beyond ASCII."""
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "k6d", "init", "http://127.0.0.1:1/"]
    subprocess.run(command, cwd=home.home, env=home.environment() | locale, check=True)
    assert (home.home / "k6d.toml").read_text(encoding="utf-8") == SETTINGS


def test_the_settings_load_as_they_are_and_uncommented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every line that is commented out is a setting with a valid value."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "k6d.toml"
    file.write_text(SETTINGS)
    defaults = load(file).model_dump(exclude={"k6": {"env"}})
    file.write_text(re.sub(r"^#(?! )", "", SETTINGS, flags=re.MULTILINE))
    loaded = load(file)
    assert loaded.k6.env == {"STAGE": "test"}
    assert len(loaded.notify.urls) == 1
    assert loaded.limits.model_dump() == defaults["limits"], "the shown limits are the defaults"


@pytest.mark.parametrize(
    "address", ["shop.example.org", "ftp://host/", "http://", "http://a b/", "http://h:99999/", ""]
)
def test_what_is_no_address_is_named(home: Daemon, address: str) -> None:
    """One line, and no file is written."""
    said = _init(home, address, code=2)
    assert "is no address: it should begin with http:// or https://" in said
    assert said.count("\n") == 1
    assert list(home.home.glob("*.toml")) == []


def test_without_a_terminal_the_address_must_be_given(home: Daemon) -> None:
    """Nobody can be asked."""
    assert "name the address to test" in _init(home, code=2)
