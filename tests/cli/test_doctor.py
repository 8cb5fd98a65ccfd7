"""What doctor sees in real folders, with a real k6 and real receivers' URLs."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from k6d.cli.doctor import examine
from k6d.settings import load
from k6d.storage.locks import only_daemon
from support.binaries import NEW
from support.prometheus import FakePrometheus, matrix
from support.rights import of_an_ordinary_user

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.cli.check import Check

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a scripts folder and no settings of anybody's."""
    for name in [name for name in os.environ if name.startswith("K6D_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scripts").mkdir()
    return tmp_path


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def _examined(**settings: object) -> dict[str, Check]:
    checks = await examine(load(None, **settings))
    return {
        f"{check.name} {number}" if number > 3 else check.name: check
        for number, check in enumerate(checks)
    }


async def test_a_good_home_is_fine_and_receivers_are_missed_gently(home: Path) -> None:
    """Nobody to tell is no fault, but says how to name one; nothing is made."""
    found = await _examined(k6__path=NEW)
    assert all(check.ok for check in found.values())
    assert found["k6"].seen == f"1.1.0 at {NEW}"
    assert "K6D_NOTIFY__URLS" in (found["notifications 4"].remedy or "")
    assert found["data folder"].seen == f"{home / 'k6d-data'}, not made yet"
    assert _names(home) == ["scripts"]


async def test_files_of_another_user_are_told(home: Path) -> None:
    """A command that ran as root left a state that k6d's user may not read."""
    (state := home / "k6d-data" / "state").mkdir(parents=True)
    (state / "scripts.json").touch(mode=0o000)
    with of_an_ordinary_user():
        check = (await _examined(k6__path=NEW))["data folder"]
    assert not check.ok
    assert check.seen.startswith(f"{state / 'scripts.json'} is not readable: ")
    assert f"chown -R --reference={home / 'k6d-data'} " in (check.remedy or "")


async def test_a_newer_k6_is_used_with_a_warning(home: Path) -> None:
    """One that k6d was not tried with is no fault."""
    (newer := home / "k6").write_text("#!/bin/sh\necho 'k6 v2.10.1 (go1.30, linux/amd64)'\n")
    newer.chmod(0o755)
    check = (await _examined(k6__path=newer))["k6"]
    assert (check.ok, check.seen) == (True, f"2.10.1 at {newer}")
    assert "tried with k6 up to 2.2" in (check.remedy or "")


async def test_variables_that_k6_does_not_get_are_told() -> None:
    """One line for each, with the reason and what to do."""
    env = {"K6_OUT": "json=x.json", "K6_VUS": "3", "BASE_URL": SECRET}
    found = await examine(load(None, k6__path=NEW, k6__env=env))
    (check,) = [check for check in found if check.name == "k6.env"]
    assert not check.ok
    assert check.seen.startswith("K6_OUT is not passed to k6: ")
    assert check.remedy == "take it out of k6.env"
    assert SECRET not in str(found)


async def test_a_secrets_file_that_is_not_there_is_a_problem(home: Path) -> None:
    """With the setting, the path and the remedy; nothing is said while k6 can read it."""
    file = home / "secrets"
    settings = load(None, k6__path=NEW, k6__secret_sources=[f"file={file}"])
    (check,) = [check for check in await examine(settings) if check.name == "k6.secret_sources"]
    assert (check.ok, check.seen) == (False, f"{file} does not exist")
    assert (check.remedy or "").startswith("create it")
    file.write_text("password=x")
    assert "k6.secret_sources" not in [check.name for check in await examine(settings)]


async def test_a_daemon_is_told_by_its_lock(home: Path) -> None:
    """A pid in the file of one that ended says nothing."""
    data = home / "data"
    with only_daemon(data):
        assert (await _examined(data=data))["daemon 5"].seen == f"runs, pid {os.getpid()}"
    check = (await _examined(data=data))["daemon 5"]
    assert (check.ok, check.seen) == (True, f"none serves {data}")


async def test_a_daemon_without_its_port_is_a_problem(home: Path) -> None:
    """With the reason that is in the daemon's log; no more once the daemon has the port."""
    data = home / "data"
    why = "cannot listen on 127.0.0.1 port 8000: address already in use"
    with only_daemon(data) as lock:
        lock.say(no_api=why)
        check = (await _examined(data=data))["daemon 5"]
        seen = f"runs, pid {os.getpid()}, without API and dashboard: {why}"
        assert (check.ok, check.seen) == (False, seen)
        lock.say()
        assert (await _examined(data=data))["daemon 5"].ok


async def test_a_full_disk_is_no_fine_data_folder() -> None:
    """The daemon starts nothing then."""
    check = (await _examined(retention__least_free_mib=1 << 40))["data folder"]
    assert not check.ok
    assert "free some space" in check.seen


async def test_settings_say_where_they_are_from_and_what_is_none(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that was read is named; a misspelt variable is a mistake, its value is not shown."""
    assert (await _examined())["settings"].seen == "no k6d.toml, none is needed"
    (home / "k6d.toml").write_text("debug = false\n")
    assert (await _examined())["settings"].seen == str(home / "k6d.toml")
    monkeypatch.setenv("K6D_NOTFY__URLS", SECRET)
    found = (await _examined())["settings"]
    assert not found.ok
    assert found.seen.endswith("is not a setting of k6d, did you mean K6D_NOTIFY__URLS?")
    assert "unset it" in (found.remedy or "")
    assert SECRET not in str(found)


async def test_each_url_is_judged_by_itself_and_not_shown() -> None:
    """The wrong one is counted, the right one named without its secrets."""
    urls = [f"json://user:{SECRET}@127.0.0.1:1/{SECRET}", f"jsn://{SECRET}"]
    found = await _examined(k6__path=NEW, notify__urls=urls)
    receivers = [check for check in found.values() if check.name == "notification"]
    assert sorted(check.ok for check in receivers) == [False, True]
    (bad,) = [check for check in receivers if not check.ok]
    assert bad.seen == "URL 2: Apprise does not understand it (schema jsn://)"
    assert bad.remedy
    assert SECRET not in str(receivers)


async def test_folders_that_cannot_be_used_say_how_to_mend_it(home: Path) -> None:
    """A missing scripts folder, a data folder below a file, a k6 that is none."""
    (home / "file").write_text("in the way")
    found = await _examined(
        k6__path=home / "file", scripts=home / "none", data=home / "file" / "data"
    )
    assert [check.ok for check in found.values()] == [True, False, False, False, True, True]
    assert found["scripts folder"].seen == f"{home / 'none'} does not exist"
    assert f"mkdir -p {home / 'none'}" in (found["scripts folder"].remedy or "")
    assert "is not writable" in found["data folder"].seen
    assert "K6D_K6__PATH" in (found["k6"].remedy or "")


@pytest.mark.parametrize(
    ("name", "text", "secrets"),
    [
        (".env", "GEMINI_API_KEY=abc\nLOG_LEVEL=info\n", "ai.api_key"),
        (".env", "K6D_NOTIFY__URLS=json://user:pass@localhost/\n", "notify.urls"),
        (".env", "K6D_K6__ENV__PASSWORD=abc\n", "k6.env.PASSWORD"),
        ("k6d.toml", '[notify]\nurls = ["json://user:pass@localhost/"]\n', "notify.urls"),
        (".env", "K6D_LOG_LEVEL=info\n", None),
        ("k6d.toml", 'log_level = "info"\n', None),
    ],
)
async def test_secrets_that_others_can_read_are_warned_of(
    home: Path, name: str, text: str, secrets: str | None
) -> None:
    """The file and the settings are named, never a value; a file of its owner's is fine."""
    file = home / name
    file.write_text(text)
    for mode, is_open in ((0o644, True), (0o640, True), (0o600, False)):
        file.chmod(mode)
        checks = await examine(load(None, k6__path=NEW))
        found = [check for check in checks if "other users of this machine" in check.seen]
        assert len(found) == bool(is_open and secrets), oct(mode)
        for check in found:
            assert not check.ok
            assert secrets is not None and secrets in check.seen
            assert "abc" not in check.seen and "pass" not in check.seen
            assert (check.remedy or "").startswith("chmod 600")


async def test_a_link_in_the_data_folder_is_told(home: Path) -> None:
    """Nothing of k6d's is behind it."""
    (home / "precious").mkdir()
    (home / "data").mkdir()
    (home / "data" / "work").symlink_to(home / "precious")
    checks = await examine(load(None, data=home / "data"))
    check = next(check for check in checks if check.name == "data folder")
    assert not check.ok
    assert check.seen.startswith(f"{home / 'data' / 'work'}: is a link")
    assert (check.remedy or "").startswith("remove the link")


async def test_a_probe_needs_a_cluster(home: Path) -> None:
    """Without one it is a problem, and nothing is asked; a configured cluster is checked."""
    checks = await examine(load(None, k6__path=NEW), probe=True)
    assert (checks[-1].name, checks[-1].ok) == ("probe", False)
    chosen = load(None, k6__path=NEW, k6__executor="kubernetes", kubernetes__kubeconfig="/absent")
    checks = await examine(chosen, probe=True)
    assert [check.name for check in checks[-2:]] == ["cluster", "receiver"]


CPU = {"title": "CPU", "query": "cpu"}


async def test_the_prometheus_is_asked_once(home: Path) -> None:
    """Each query of the last minute; a query about one script is left to its runs."""
    script = {"title": "of a script", "query": 'x{script="$script"}'}
    found = matrix([(time.time() - 20, "1")])
    with FakePrometheus(lambda _: (200, found)) as fake:
        given = {"metrics": [CPU, script], "prometheus__url": fake.url}
        checks = await examine(load(None, k6__path=NEW, **given))
    host = fake.url.removeprefix("http://")
    (check,) = (check for check in checks if check.name == "prometheus")
    assert (check.ok, check.seen) == (True, f"{host} answers 1 query")
    (form,) = fake.seen
    assert float(form["end"]) - float(form["start"]) == 60


async def test_what_is_wrong_with_the_prometheus_is_told(home: Path) -> None:
    """No address, nobody there, and a server that repeats the token in its error."""
    error = json.dumps({"status": "error", "error": f"who is {SECRET}?"}).encode()
    with FakePrometheus(lambda _: (400, error)) as fake:
        url, token = fake.url, {"prometheus__token": SECRET}
        wrong = await examine(load(None, metrics=[CPU], prometheus__url=url, **token))
    gone = await examine(load(None, prometheus__url=url))
    nowhere = await examine(load(None, metrics=[CPU]))
    seen = [
        check.seen
        for checks in (wrong, gone, nowhere)
        for check in checks
        if check.name == "prometheus"
    ]
    assert seen[0].startswith("CPU: the query fails: who is ")
    assert SECRET not in str(wrong)
    assert seen[1].endswith("cannot be asked: Connection refused")
    assert seen[2] == "prometheus.url is not set, so 1 metric cannot be read"
