"""Settings from real files, a real environment and real credentials folders."""

from __future__ import annotations

import json
import os
import re
import traceback
from pathlib import Path

import pytest
from apprise import Apprise, AppriseConfig
from dotenv import dotenv_values

from k6d import settings
from k6d.core.model import K6dError, MistakesError, Severity
from k6d.settings import Limit, Limits, load, parse_script_settings
from support import settings_reference
from support.paths import ROOT

CONFIG = ROOT / "config"
SECRET = "hunter2-hunter2"  # an obvious text that must never be shown


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an environment without anything that k6d reads."""
    for name in [*settings.ORIGINAL_NAMES, "CREDENTIALS_DIRECTORY", "K6D_CONFIG"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _error(config: Path | None = None, **overrides: object) -> str:
    with pytest.raises(K6dError) as caught:
        load(config, **overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _script_error(raw: object) -> str:
    with pytest.raises(K6dError) as caught:
        parse_script_settings(raw, script="shop/cart.js")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults_need_nothing(home: Path) -> None:
    """Without any source the documented defaults hold, with absolute paths."""
    loaded = load()
    assert loaded.scripts == home / "scripts"
    assert loaded.data == home / "k6d-data"
    assert loaded.api.host == "127.0.0.1"
    assert loaded.limits.error_rate.bounds() == {Severity.MEDIUM: 5, Severity.HIGH: 10}
    assert loaded.config_file is None
    assert loaded.warnings == ()


def test_sources_in_order_of_strength(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source loses to the next stronger one, for one and the same key."""
    ports = [load().api.port]
    _write(home / "k6d.toml", "[api]\nport = 1\n")
    ports.append(load().api.port)
    _write(home / "credentials/api__port", "2\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(home / "credentials"))
    ports.append(load().api.port)
    _write(home / ".env", "PORT=3\n")
    ports.append(load().api.port)
    monkeypatch.setenv("PORT", "4")
    ports.append(load().api.port)
    _write(home / ".env", "PORT=3\nK6D_API__PORT=5\n")
    ports.append(load().api.port)
    monkeypatch.setenv("K6D_API__PORT", "6")
    ports.append(load().api.port)
    ports.append(load(api__port=7).api.port)
    assert ports == [8000, 1, 2, 3, 4, 5, 6, 7]


def test_sources_merge_key_by_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of one section may come from several sources; an option that is None is not given."""
    _write(home / "k6d.toml", '[api]\nport = 1\n[k6.env]\nBASE = "toml"\nVUS = 10\n')
    monkeypatch.setenv("K6D_API__HOST", "::1")
    monkeypatch.setenv("K6D_K6__ENV__Base__Url", "http://127.0.0.1")
    loaded = load(scripts=None, api__enabled=False)
    assert (loaded.api.port, loaded.api.host, loaded.api.enabled) == (1, "::1", False)
    assert loaded.k6.env == {"BASE": "toml", "VUS": "10", "Base__Url": "http://127.0.0.1"}


def test_original_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the original service still work."""
    given = {
        "K6_RESULTS_DIR": "/tmp/results",
        "K6_TIMEOUT": "300",
        "GEMINI_API_KEY": SECRET,
        "AI_MODEL": "gemini-x",
        "AI_TEMPERATURE": "0.7",
        "HOST": "0.0.0.0",
        "PORT": "9000",
        "LOG_LEVEL": "WARNING",
    }
    for name, text in given.items():
        monkeypatch.setenv(name, text)
    loaded = load()
    assert (loaded.data, loaded.k6.timeout) == (Path("/tmp/results"), 300)
    assert loaded.ai.api_key is not None
    assert loaded.ai.api_key.get_secret_value() == SECRET
    assert (loaded.ai.model, loaded.ai.temperature) == ("gemini-x", 0.7)
    assert (loaded.api.host, loaded.api.port) == ("0.0.0.0", 9000)
    assert loaded.log_level == "warning"
    monkeypatch.setenv("DEBUG", "1")
    assert load().log_level == "debug"


def test_where_the_file_is_looked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config, K6D_CONFIG, the working directory, XDG: the first that exists is read, alone."""
    xdg = _write(home / "xdg/k6d/k6d.toml", "[api]\nport = 1\n")
    assert (load().api.port, load().config_file) == (1, xdg)
    _write(home / "k6d.toml", "[capture]\nmax_endpoints = 7\n")
    assert (load().api.port, load().capture.max_endpoints) == (8000, 7)
    monkeypatch.setenv("K6D_CONFIG", str(_write(home / "b.toml", "[api]\nport = 3\n")))
    assert load().api.port == 3
    assert load(_write(home / "a.toml", "[api]\nport = 4\n")).api.port == 4
    assert _error(home / "none.toml").startswith("--config: there is no file ")
    monkeypatch.setenv("K6D_CONFIG", "gone.toml")
    assert _error().startswith("K6D_CONFIG: there is no file gone.toml")


def test_paths_in_a_file_are_relative_to_it(home: Path) -> None:
    """A path in the TOML file starts in the file's folder; others in the working directory."""
    text = 'scripts = "s"\n[k6]\npath = "bin/k6"\n[notify]\nconfig = "/abs/apprise.yml"\n'
    loaded = load(_write(home / "etc/k6d.toml", text), data="results")
    assert loaded.scripts == home / "etc/s"
    assert loaded.k6.path == home / "etc/bin/k6"
    assert loaded.notify.config == Path("/abs/apprise.yml")
    assert loaded.data == home / "results"


def test_a_path_goes_up_as_the_system_does(home: Path) -> None:
    """Out of the folder that a link leads to; a link at the end stays one."""
    (home / "far" / "away").mkdir(parents=True)
    (home / "link").symlink_to("far/away")
    assert load(scripts=Path("link/../scripts")).scripts == home / "far" / "scripts"
    assert load(scripts=Path("far/../link")).scripts == home / "link"


def test_every_path_setting_is_listed() -> None:
    """A new path setting is not forgotten where the TOML file's paths are resolved."""
    paths = [key for key, info in settings.fields() if "Path" in str(info.annotation)]
    assert paths == list(settings.PATHS)


def test_credentials(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in the credentials folder are settings; URLs may stand one on a line or in JSON."""
    folder = home / "credentials"
    _write(folder / "notify__urls", f"json://127.0.0.1/{SECRET}\n\nslack://a/b/c\n")
    _write(folder / "gemini_api_key", SECRET + "\n")
    _write(folder / "api__token", SECRET)
    _write(folder / "api__tokn", SECRET)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    loaded = load()
    urls = [url.get_secret_value() for url in loaded.notify.urls]
    assert urls == [f"json://127.0.0.1/{SECRET}", "slack://a/b/c"]
    assert loaded.ai.api_key is not None
    assert loaded.api.token is not None
    assert loaded.warnings == (
        "credential api__tokn is not a setting of k6d, did you mean api__token?",
    )
    monkeypatch.setenv("K6D_NOTIFY__URLS", '["json://127.0.0.1/two"]')
    assert [url.get_secret_value() for url in load().notify.urls] == ["json://127.0.0.1/two"]
    _write(folder / "api__token", "\n")
    assert _error() == "credential api__token: is empty; write its value into it or remove it"


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("json://h/a, json://h/b", ["json://h/a", "json://h/b"]),
        ("json://h/a,json://h/b;slack://a/b/c", ["json://h/a", "json://h/b", "slack://a/b/c"]),
        ("json://h/a json://h/b,", ["json://h/a", "json://h/b"]),
        ("json://h/a,\n json://h/b\n\n", ["json://h/a", "json://h/b"]),
        ('["json://h/a, json://h/b"]', ["json://h/a", "json://h/b"]),
        ('["json://h/a", "json://h/b"]', ["json://h/a", "json://h/b"]),
        ("mailto://u:p@h?to=a@x,b@x&cc=c,d", ["mailto://u:p@h?to=a@x,b@x&cc=c,d"]),
        ("mailto://u:p@h?to=a,b, json://h/b?x=1,2", ["mailto://u:p@h?to=a,b", "json://h/b?x=1,2"]),
        ("mailto://u:p@h?name=Load tests, all", ["mailto://u:p@h?name=Load tests, all"]),
    ],
)
def test_urls_in_one_text(
    text: str, urls: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each URL is a receiver, wherever the text stands; a comma inside of a URL belongs to it."""
    monkeypatch.setenv("K6D_NOTIFY__URLS", text)
    assert [url.get_secret_value() for url in load().notify.urls] == urls
    monkeypatch.delenv("K6D_NOTIFY__URLS")
    value = text if text.startswith("[") else json.dumps(text)
    table = _write(home / "urls.toml", f"[notify]\nurls = {value}\n")
    assert [url.get_secret_value() for url in load(table).notify.urls] == urls


def test_secrets_are_never_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither repr, str, the error, nor its traceback holds a secret."""
    text = f'[ai]\napi_key = "{SECRET}"\n[api]\ntoken = "{SECRET}"\n[k6.env]\nPASS = "{SECRET}"\n'
    loaded = load(_write(home / "ok.toml", text), notify__urls=[f"json://h/{SECRET}"])
    assert SECRET not in repr(loaded) + str(loaded) + repr(loaded.k6) + repr(loaded.notify)
    monkeypatch.setenv("K6D_NOTIFY__URLS", f'["json://{SECRET}"')
    monkeypatch.setenv("K6D_AI", f'{{"api_key": "{SECRET}"')
    monkeypatch.setenv("K6D_K6__ENV", f'["{SECRET}"]')
    bad = f'[api]\ntoken = ["{SECRET}"]\ntokn = "{SECRET}"\nport = 0\n'
    with pytest.raises(K6dError) as caught:
        load(_write(home / "bad.toml", bad))
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    for key in ("notify.urls", "K6D_AI: ai:", "k6.env", "api.token", "api.tokn", "api.port: 0"):
        assert key in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[api]\nport = 70000", "api.port: 70000 should be less than or equal to 65535 (TCP port"),
        ('log_level = "loud"', "log_level: 'loud' should be 'debug', 'info', 'warning' or 'error'"),
        ('[k6]\ntimeout = "5 min"', "k6.timeout: '5 min' should be a number of seconds or a text"),
        ("[k6]\ntimeout = 0", "k6.timeout: 0 should be greater than 0"),
        ("[k6]\ngrace = nan", "k6.grace: nan should be"),
        ("[k6]\nconcurrency = 65", "k6.concurrency: 65 should be less than or equal to 64"),
        ('[k6]\nexecutor = "docker"', "k6.executor: 'docker' should be 'local' or 'kubernetes'"),
        (
            '[kubernetes]\nresource_limits = { memory = "lots" }',
            "kubernetes.resource_limits.memory: 'lots' should be a quantity such as",
        ),
        (
            '[kubernetes]\nimage = "my image"',
            "kubernetes.image: 'my image' should be the name of an image",
        ),
        ('[kubernetes]\nnamespace = "Load"', "should be a name of Kubernetes"),
        ('[kubernetes]\nreceiver_url = "k6d:1"', "should be an http:// or https:// URL"),
        (
            '[kubernetes]\nreceiver_url = "http://k6d:1"\nreceiver_port = 0',
            "receiver_url has a port, so receiver_port must be a port too",
        ),
        ("[kubernetes]\nparallelism = 0", "kubernetes.parallelism: 0 should be greater than"),
        ('[api]\ntoken = "hunter2"', "api.token: should have at least 12 characters, made by"),
        ("[api]\nhots = 1", "api.hots: unknown key, did you mean api.host?"),
        (
            "timeout = 1",
            "timeout: unknown key, did you mean k6.timeout or notify.timeout or ai.timeout or "
            "prometheus.timeout?",
        ),
        ("[notfy]\nurls = []", "notfy: unknown key, did you mean notify?"),
        ("[limits]\nerror_rate = {sever = 5}", "unknown key, allowed: low, medium, high, critical"),
        ("prot = 1", "prot: unknown key, did you mean api.port?"),
        ("[api]\nport = true", "api.port: True should be a number"),
        ("[limits]\nerror_rate = {high = true}", "limits.error_rate.high: True should be a number"),
        ("[api]\nport = 'x'", "api.port: 'x' should be a whole number (TCP port that the API"),
        ("[api]\nenabled = 'maybe'", "api.enabled: 'maybe' should be true or false ("),
        (
            "[forward]\nurl = 'host:9090'",
            "'host:9090' should be an http:// or https:// URL (URL of a Prom",
        ),
        ("[notify]\nurls = ['']", "notify.urls.0: should not be empty (Apprise URLs"),
        ("[[notify.routes]]\nscripts = ['*']", "notify.routes.0.tags: is missing (A list of"),
        (
            "[[notify.routes]]\ntags = ['a!']",
            "'a!' should be tags of letters, digits and . _ - only",
        ),
        ("[notify]\nquiet_hours = '29:00-07:00'", "'29:00-07:00' should be hours such as"),
        (
            "[schedule]\nscripts = {x = 'daily'}",
            "schedule.scripts.x: 'daily' is no cron expression:",
        ),
        (
            "[schedule]\nscripts = {x = '61 * * * *'}",
            "schedule.scripts.x: '61 * * * *': bad minute: ",
        ),
        *(
            (f"[retention]\n{key} = 9999999999", f"{key}: 9999999999 should be less than or equal")
            for key in ("full_days", "detail_days", "days")
        ),
        (
            "[schedule]\nmaintenance = ['0 22 * * 6 for 367d']",
            "'0 22 * * 6 for 367d' should be a cron expression and a duration up to 366d",
        ),
        ("[k6]\nconcurrency = " + 5000 * "9", "not valid TOML: "),
        ("[k6.env]\nA-B = 'x'", "k6.env.A-B: should be a name such as BASE_URL ("),
        ("[k6]\ngrace = 30s", "not valid TOML: "),
        ("api = 5", "api: should be a table"),
        ("scripts = 5", "scripts: 5 is not a valid path"),
        ("[limits]\nerror_rate = true", "limits.error_rate: True should be a table such as"),
        ("[limits]\nerror_rate = {hgih = 5}", "did you mean limits.error_rate.high?"),
        (
            "[limits]\nerror_rate = {high = 101}",
            "limits.error_rate.high: 101 should be at most 100",
        ),
        ("[limits]\nerror_rate = {low = -1}", "error_rate.low: -1 should be greater than or equal"),
        (
            "[limits]\nerror_rate = {medium = 9, high = 5}",
            "limits.error_rate: high = 5 should be above medium = 9",
        ),
        (
            "[limits]\nrequests_per_second_per_vu = {low = 1, high = 2}",
            "limits.requests_per_second_per_vu: high = 2 should be below low = 1",
        ),
    ],
)
def test_mistakes_in_the_file(home: Path, text: str, expected: str) -> None:
    """A mistake names the file, the dotted key, the value and what is allowed."""
    file = _write(home / "k6d.toml", text)
    message = _error()
    assert message.startswith(f"{file}: ")
    assert expected in message


def test_each_mistake_has_a_line_of_its_own(home: Path) -> None:
    """For a terminal; a log has them in one line (trials E)."""
    file = home / "k6d.toml"
    file.write_text('compare.min_runs = "x"\nnotify.remind = "abc"\n')
    with pytest.raises(MistakesError) as caught:
        load(file)
    assert len(caught.value.lines) == 2
    assert all("k6d.toml: " in line for line in caught.value.lines)
    assert str(caught.value) == "; ".join(caught.value.lines)


def test_several_mistakes_share_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mistake is told, each with the source it came from."""
    file = _write(home / "k6d.toml", "[api]\nport = 0\n")
    _write(home / ".env", "K6D_NOTIFY__MIN_SEVERITY=worst\n")
    monkeypatch.setenv("K6_TIMEOUT", "soon")
    _write(home / "credentials/ai__temperature", "hot")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(home / "credentials"))
    told = _error(capture__max_endpoints=0).split("; ")
    assert [line.split(": ", 2)[:2] for line in told if not line.startswith(".env")] == [
        ["K6_TIMEOUT", "k6.timeout"],
        ["command line", "capture.max_endpoints"],
        ["credential ai__temperature", "ai.temperature"],
        [str(file), "api.port"],
    ]
    assert [line for line in told if line.startswith(".env: K6D_NOTIFY__MIN_SEVERITY: notify.")]
    assert "'hot'" not in "".join(told)


def test_a_path_must_be_text(home: Path) -> None:
    """What is kept and told of a folder is text; the command line is named as the source."""
    with pytest.raises(
        K6dError, match=r"^command line: data: 'x\\udcff' should be a path in UTF-8"
    ):
        load(data=Path(os.fsdecode(b"x\xff")))


def test_files_that_cannot_be_read(home: Path) -> None:
    """Broken TOML names file and line; what is no text or no file is said."""
    assert "line 2" in _error(_write(home / "syntax.toml", "[api]\nport = \n"))
    (home / "binary.toml").write_bytes(b"\xff\xfe")
    assert _error(home / "binary.toml").endswith(
        "binary.toml: cannot be read: it is not UTF-8 text"
    )
    assert "cannot be read: Is a directory" in _error(home)
    (home / ".env").write_bytes(b"\xff\xfe")
    assert _error().startswith(".env: cannot be read")


def test_unknown_variables_are_warnings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt K6D_ variable is told with the nearest; others are none of our business."""
    monkeypatch.setenv("K6D_NOTIFY__URL", SECRET)
    monkeypatch.setenv("K6D_LIMITS__ERROR_RATE__HIHG", "5")
    _write(home / ".env", "K6D_API__PROT=1\nOTHER=1\nK6D_API__TOKEN=\n")
    loaded = load()
    assert sorted(loaded.warnings) == [
        ".env: K6D_API__PROT is not a setting of k6d, did you mean K6D_API__PORT?",
        "K6D_LIMITS__ERROR_RATE__HIHG is not a setting of k6d, "
        "did you mean K6D_LIMITS__ERROR_RATE?",
        "K6D_NOTIFY__URL is not a setting of k6d, did you mean K6D_NOTIFY__URLS?",
    ]
    assert loaded.api.token is None


@pytest.mark.parametrize("tz", ["CET-1CEST,M3.5.0,M10.5.0/3", "/etc/passwd", "Mars/Olympus"])
def test_a_time_zone_that_does_not_read_is_a_warning(
    tz: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Schedules would go by UTC unnoticed; not where they have a time zone of their own."""
    monkeypatch.setenv("TZ", tz)
    (warning,) = load().warnings
    assert warning == f"TZ={tz} does not read: schedules go by UTC; set schedule.timezone"
    assert load(schedule__timezone="Europe/Berlin").warnings == ()


def test_a_file_as_windows_editors_write_it(home: Path) -> None:
    """A byte order mark in front is no part of the first name."""
    (home / "k6d.toml").write_bytes(b"\xef\xbb\xbf[api]\r\nport = 1\r\n")
    (home / ".env").write_bytes(b"\xef\xbb\xbfK6D_API__HOST=::1\r\n")
    assert (load().api.port, load().api.host) == (1, "::1")


def test_lines_of_the_environment_file_that_are_none(home: Path) -> None:
    """They are told with their numbers, without their text; the others hold."""
    _write(home / ".env", f"not a {SECRET}\nK6D_API__PORT=1\nK6D_AI__API_KEY='{SECRET}\n")
    loaded = load()
    assert loaded.api.port == 1
    assert [warning.split(" is ignored")[0] for warning in loaded.warnings] == [
        ".env: line 1",
        ".env: line 3",
    ]
    assert SECRET not in "".join(loaded.warnings)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(90, 90), ("90", 90), ("90s", 90), ("1m30s", 90), ("500ms", 0.5), ("2h", 7200),
     ("7d", 604_800), ("1.5h", 5400), (" 1M ", 60), (0, 0)],
)  # fmt: skip
def test_durations(value: object, seconds: float) -> None:
    """A duration is a number of seconds or a text with units."""
    assert load(k6__grace=value).k6.grace == seconds


@pytest.mark.parametrize("value", [True, "", "5x", "s", "-5s", -1, "1m 30s", "inf", "367d", [1]])
def test_durations_that_are_none(value: object) -> None:
    """Whatever else is given as a duration is refused."""
    assert "command line: k6.grace: " in _error(k6__grace=value)


def test_a_limit_is_replaced_as_a_whole(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The strongest source that names a limit gives its whole table; false switches it off."""
    _write(home / "k6d.toml", "[limits]\nerror_rate = {high = 50}\nfailed_checks = false\n")
    loaded = load().limits
    assert loaded.error_rate.bounds() == {Severity.HIGH: 50}
    assert loaded.failed_checks.bounds() == {}
    assert loaded.response_time_p95 == Limits().response_time_p95
    monkeypatch.setenv("K6D_LIMITS__ERROR_RATE__CRITICAL", "60")
    monkeypatch.setenv("K6D_LIMITS__RESPONSE_TIME_P95", "false")
    monkeypatch.setenv("K6D_LIMITS__FAILED_CHECKS", '{"low": 1}')
    loaded = load().limits
    assert loaded.error_rate.bounds() == {Severity.CRITICAL: 60}
    assert loaded.response_time_p95.bounds() == {}
    assert loaded.failed_checks.bounds() == {Severity.LOW: 1}


def test_limits_judge_beyond_not_at() -> None:
    """The worst severity that is passed counts; reaching a bound is allowed."""
    limits = Limits()
    assert limits.error_rate.broken(5) is None
    assert limits.error_rate.broken(5.1) == (Severity.MEDIUM, 5)
    assert limits.error_rate.broken(99) == (Severity.HIGH, 10)
    assert limits.requests_per_second_per_vu.broken(0.1) is None
    assert limits.requests_per_second_per_vu.broken(0.05) == (Severity.MEDIUM, 0.1)
    assert Limit().broken(1e9) is None


def test_script_settings() -> None:
    """A script sets what concerns it; its limits replace k6d's one by one."""
    assert parse_script_settings({}, script="a.js") == parse_script_settings(None, script="a.js")
    parsed = parse_script_settings(
        {
            "timeout": "5m",
            "notify": False,
            "limits": {"error_rate": {"high": 20}, "response_time_avg": False, "min_requests": 1},
        },
        script="a.js",
    )
    assert (parsed.enabled, parsed.timeout, parsed.notify) == (True, 300, False)
    held = Limits(failed_checks={"low": 1}).merged(parsed.limits)
    assert held.error_rate.bounds() == {Severity.HIGH: 20}
    assert held.response_time_avg.bounds() == {}
    assert held.failed_checks.bounds() == {Severity.LOW: 1}
    assert held.min_requests == 1
    assert Limits().merged(Limits()) == Limits()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"timeout": "soon"}, "ext.k6d.timeout: 'soon' should be a number of seconds or a text"),
        ({"timout": 5}, "ext.k6d.timout: unknown key, did you mean ext.k6d.timeout?"),
        ({"after": "login.js"}, "ext.k6d.after: unknown key; the settings (k6d.toml) order "),
        ({"env": {"A": SECRET}}, "ext.k6d.env: unknown key, allowed: enabled, timeout, limits, "),
        ({"limits": {"error_rate": {"high": 101}}}, "ext.k6d.limits.error_rate.high: 101 should"),
        ({"limits": {"erorr_rate": False}}, "did you mean ext.k6d.limits.error_rate?"),
        ({"tags": {"a b": "1"}}, "ext.k6d.tags: 'a b' cannot name a tag: letters, digits and"),
        ({"tags": {"a": ""}}, "ext.k6d.tags: the value of a should be a text of 1 to 200"),
        ([1], "ext.k6d: should be a table"),
        ("on", "ext.k6d: should be a table"),
        ({"a\nb": 1}, "ext.k6d.a b: unknown key"),
    ],
)
def test_mistakes_in_a_script(raw: object, expected: str) -> None:
    """A mistake in a script names the script, the key and what is allowed."""
    message = _script_error(raw)
    assert message.startswith("shop/cart.js: ext.k6d")
    assert expected in message
    assert SECRET not in message


def test_settings_are_frozen() -> None:
    """Nobody changes settings behind another's back."""
    loaded = load()
    with pytest.raises(ValueError, match="frozen"):
        loaded.debug = True
    with pytest.raises(ValueError, match="frozen"):
        loaded.api.port = 1


@pytest.mark.parametrize("path", settings_reference.FILES, ids=lambda path: path.name)
def test_the_reference_is_what_the_models_say(path: Path) -> None:
    """k6d.toml and the manual's page have every setting; `make docs` writes both."""
    assert path.read_text() == settings_reference.FILES[path](), "run `make docs`"


def test_the_reference_file_holds_the_defaults(home: Path) -> None:
    """With every line uncommented the reference file loads and changes nothing; as it is, too."""
    text = (CONFIG / "k6d.toml").read_text()
    nothing = load().model_dump()
    assert load(_write(home / "as-is.toml", text)).model_dump() == nothing
    uncommented = re.sub(r"^#(?! )", "", text, flags=re.MULTILINE)
    assert uncommented.count(" = ") > len(list(settings.fields()))
    assert load(_write(home / "all.toml", uncommented)).model_dump() == nothing


def test_the_example_environment(home: Path) -> None:
    """Every variable of k6d.env.example is known and its example is valid."""
    text = (CONFIG / "k6d.env.example").read_text()
    _write(home / "k6d.toml", "")
    env = _write(home / ".env", re.sub(r"^#(?! )", "", text, flags=re.MULTILINE))
    loaded = load()
    assert loaded.warnings == ()
    assert len(loaded.notify.urls) == 2
    names = set(dotenv_values(env))
    assert set(settings.ORIGINAL_NAMES) <= names
    known = {"K6D_" + key.replace(".", "__").upper() for key, _ in settings.fields()}
    ours = {name for name in names if name.startswith("K6D_")}
    assert known <= ours
    assert ours - known == {"K6D_CONFIG", "K6D_K6__ENV__BASE_URL"}


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # of a plugin
def test_the_example_for_apprise(home: Path) -> None:
    """Apprise reads apprise.yml, as it is and with its examples uncommented, tags and all."""
    text = (CONFIG / "apprise.yml").read_text()
    as_is = AppriseConfig()
    as_is.add(str(_write(home / "as-is.yml", text)))
    assert as_is.services() == []
    uncommented = re.sub(r"^( *)#(?! )", r"\1", text, flags=re.MULTILINE)
    examples = AppriseConfig()
    assert examples.add(str(_write(home / "all.yml", uncommented)))
    tags = {type(service).__name__: set(service.tags) for service in examples.services()}
    assert tags == {
        "NotifySlack": {"team", "all"},
        "NotifyEmail": {"oncall", "all"},
        "NotifyJSON": {"all"},
    }


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # of a plugin
def test_the_examples_of_receivers() -> None:
    """Apprise knows the URL of each service in the manual's table."""
    page = (ROOT / "daemon/docs/alerts.md").read_text()
    urls = re.findall(r"^\| [^|]+ \| `([^`]+)`", page, re.MULTILINE)
    schemas = {url.partition("://")[0] for url in urls}
    assert {"slack", "mailtos", "discord", "tgram", "json"} <= schemas
    for url in urls:
        given = url.replace("BotToken", "123456789:abcdefghijklmnopqrstuvwxyz012345678")
        given = given.replace("ChatID", "12315544").replace("TokenA", "T1JJ3T3L2")
        given = given.replace("TokenB", "A1BRTD4JD").replace("TokenC", "TIiajkdnlazkcOXrIdevi7FQ")
        assert Apprise.instantiate(given) is not None, url


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("http://localhost:5173", ["http://localhost:5173"]),
        ("https://Perf.Example.com:443/", ["https://perf.example.com"]),
        ("http://[::1]:80\nhttp://a.example:8080", ["http://[::1]", "http://a.example:8080"]),
        ('["http://web"]', ["http://web"]),
    ],
)
def test_origins_as_browsers_send_them(
    monkeypatch: pytest.MonkeyPatch, home: Path, text: str, origins: list[str]
) -> None:
    """Lower case, no slash, no usual port: so they compare with the header as it is."""
    monkeypatch.setenv("K6D_API__ORIGINS", text)
    assert load().api.origins == origins


@pytest.mark.parametrize("text", ["*", "null", "localhost:5173", "http://*.example", "http://a/b"])
def test_what_is_no_origin(monkeypatch: pytest.MonkeyPatch, home: Path, text: str) -> None:
    """No wildcard, no path: one line that names variable, key and the remedy."""
    monkeypatch.setenv("K6D_API__ORIGINS", text)
    with pytest.raises(K6dError, match=r"K6D_API__ORIGINS: api.origins.*such as http://localhost"):
        load()


@pytest.mark.parametrize(
    ("variables", "timeout", "least"),
    [
        ({"K6_TIMEOUT": "300"}, 300, True),
        ({"K6_TIMEOUT": "300", "K6D_K6__TIMEOUT": "200"}, 200, False),
        ({"K6D_K6__TIMEOUT": "300"}, 300, False),
        ({}, 100, False),
    ],
)
def test_the_originals_timeout_is_known_as_such(
    monkeypatch: pytest.MonkeyPatch,
    home: Path,
    variables: dict[str, str],
    timeout: float,
    least: bool,
) -> None:
    """It never cut a run there; k6d's own setting does, whatever its source."""
    (home / "k6d.toml").write_text("[k6]\ntimeout = 100\n")
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    loaded = load()
    assert (loaded.k6.timeout, loaded.timeout_is_least) == (timeout, least)
