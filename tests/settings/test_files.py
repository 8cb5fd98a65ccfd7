"""The two folders, read without the other settings: always those of all settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from k6d.core.model import K6dError
from k6d.settings import load
from k6d.settings.files import folders


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with nothing set in the environment."""
    for name in list(os.environ):
        if name.startswith("K6"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("given", [None, Path("given")])
@pytest.mark.parametrize("toml", ["", 'data = "of-toml"\nscripts = "~/s"', 'data = ""'])
@pytest.mark.parametrize("dotenv", ["", "K6D_DATA=../of-dotenv", "K6_RESULTS_DIR=of-original"])
@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"K6D_DATA": "of-env", "K6D_SCRIPTS": ""},
        {"K6D_Scripts": "mixed"},
        {"K6_RESULTS_DIR": "o"},
    ],
)
@pytest.mark.parametrize("credential", [None, "of-credential"])
def test_the_folders_are_those_of_all_settings(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    given: Path | None,
    toml: str,
    dotenv: str,
    variables: dict[str, str],
    credential: str | None,
) -> None:
    """Whatever is set where, both readers give the same folders."""
    (home / "k6d.toml").write_text(toml)
    (home / ".env").write_text(dotenv)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if credential:
        (home / "credentials").mkdir()
        (home / "credentials/data").write_text(credential)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(home / "credentials"))
    found, whole = folders(data=given), load(data=given)
    assert (found.scripts, found.data) == (whole.scripts, whole.data)


def test_another_wrong_setting_is_no_obstacle(home: Path) -> None:
    """A mistake in a setting that is not needed does not hide the stored results."""
    (home / "k6d.toml").write_text('data = "there"\n[k6]\nconcurrency = 0\n')
    assert folders().data == home / "there"


def test_what_is_no_path_or_no_file_is_said(home: Path) -> None:
    """ValueError for a value that is no path; K6dError for a file that cannot be read."""
    (home / "k6d.toml").write_text("data = 5")
    with pytest.raises(ValueError, match="should be a path"):
        folders()
    (home / "k6d.toml").write_text("data = ")
    with pytest.raises(K6dError, match="not valid TOML"):
        folders()
    with pytest.raises(K6dError, match="--config: there is no file"):
        folders(Path("missing.toml"))
