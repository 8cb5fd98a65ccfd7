"""`k6d settings`: every setting with its value and its source, and never a secret."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from k6d.settings import fields, load
from k6d.settings.in_force import in_force

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.settings import Settings

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)


def _by_name(settings: Settings) -> dict[str, tuple[Any, str]]:
    return {one.setting: (one.value, one.source) for one in in_force(settings)}


def test_each_setting_names_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command line, variable, .env, the original service's name, file, default: the first wins."""
    toml = tmp_path / "k6d.toml"
    toml.write_text('[k6]\ngrace = "1m"\nconcurrency = 2\n[limits]\nerror_rate = {high = 3}\n')
    (tmp_path / ".env").write_text("K6D_API__PORT=8123\n")
    monkeypatch.setenv("K6D_K6__CONCURRENCY", "3")
    monkeypatch.setenv("K6_TIMEOUT", "30")
    found = _by_name(load(data="elsewhere"))
    assert found["data"] == (str(tmp_path / "elsewhere"), "command line")
    assert found["k6.concurrency"] == (3, "K6D_K6__CONCURRENCY")
    assert found["api.port"] == (8123, ".env: K6D_API__PORT")
    assert found["k6.timeout"] == (30.0, "K6_TIMEOUT")
    assert found["k6.grace"] == (60.0, str(toml))
    assert found["limits.error_rate"] == ({"high": 3.0}, str(toml))
    assert found["compare.confirm"] == (2, "default")
    assert found.keys() == {key for key, _ in fields()}


def test_the_parts_of_a_table_have_sources_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One variable in the file, one in the environment: both are in force."""
    (tmp_path / "k6d.toml").write_text('[k6.env]\nBASE_URL = "http://a"\nVUS = "1"\n')
    monkeypatch.setenv("K6D_K6__ENV__VUS", "2")
    found = _by_name(load())
    assert found["k6.env.BASE_URL"][1] == str(tmp_path / "k6d.toml")
    assert found["k6.env.VUS"][1] == "K6D_K6__ENV__VUS"


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, receivers, variables of scripts, and a login in a URL: "…" or the name of the rule."""
    secrets = {
        "K6D_AI__API_KEY": SECRET,
        "K6D_API__TOKEN": SECRET,
        "K6D_NOTIFY__URLS": f"json://user:{SECRET}@host/x",
        "K6D_K6__ENV__PASSWORD": SECRET,
        "K6D_FORWARD__URL": f"http://user:{SECRET}@127.0.0.1/write",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    found = _by_name(load())
    assert SECRET not in str(found)
    assert found["ai.api_key"] == ("…", "K6D_AI__API_KEY")
    assert found["notify.urls"] == (["…"], "K6D_NOTIFY__URLS")
    assert found["k6.env.PASSWORD"] == ("…", "K6D_K6__ENV__PASSWORD")


def test_the_sources_reach_the_process_that_answers_requests() -> None:
    """It gets the settings pickled; they are JSON there."""
    settings = pickle.loads(pickle.dumps(load(data="here")))
    assert _by_name(settings)["data"][1] == "command line"
    orjson.dumps(in_force(settings))
