"""The target's own numbers in the settings: each mistake is one line, and no secret is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from k6d.core.model import K6dError
from k6d.settings import load, redactor_of
from k6d.settings.in_force import in_force

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cr3t-Pr0m-t0k3n"
CPU = '[[metrics]]\ntitle = "CPU"\nquery = "cpu"\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[[metrics]]\ntitle = "CPU"', "metrics.0.query: is missing"),
        ('[[metrics]]\nquery = "up"', "metrics.0.title: is missing"),
        ('[[metrics]]\ntitle = " "\nquery = "up"', "metrics.0.title: ' ' should be a title"),
        ('[[metrics]]\ntitle = "a\\nb"\nquery = "up"', "should be a title of 1 to 80 characters"),
        ('[[metrics]]\ntitle = "CPU"\nquery = ""', "metrics.0.query: '' should be a PromQL query"),
        (f"{CPU}{CPU}", "metrics: two metrics are called 'CPU'; give one of them another title"),
        (CPU * 51, "metrics: are too many: 51; 50 are read at most"),
        (f'{CPU}worse = "up"', "metrics.0.worse: 'up' should be 'higher' or 'lower'"),
        (f'{CPU}value = "p95"', "should be 'average', 'max', 'min' or 'last'"),
        (f"{CPU}step = 0", "metrics.0.step: 0 should be greater than 0"),
        (f'{CPU}unit = "a:b"', "metrics.0.unit: 'a:b' should be a unit"),
        (f"{CPU}scripts = []", "metrics.0.scripts: should not be empty"),
        (f'{CPU}querry = "up"', "metrics.0.querry: unknown key, did you mean metrics.0.query?"),
        (f'{CPU}alert = "maybe"', "metrics.0.alert: 'maybe' should be true or false"),
        ('[prometheus]\nurl = "prometheus:9090"', "should be an http:// or https:// URL"),
        (
            f'[prometheus]\nurl = "http://k6d:{SECRET}@prometheus:9090"',
            "prometheus.url: 'http://…@prometheus:9090' should have no login; prometheus.he",
        ),
        (
            f'[prometheus]\nurl = "http://prometheus:9090/?token={SECRET}"',
            "prometheus.url: 'http://prometheus:9090/?…' should have no query",
        ),
        ('[prometheus]\nurl = "http://prometheus:99999"', "with a valid port"),
        ('[prometheus]\nurl = "http://prometheus/api/v1"', "should be without /api/v1"),
        (f'[prometheus]\nheaders = {{ "a b" = "{SECRET}" }}', "'a b' is no name of a header"),
        (
            f'[prometheus]\nheaders = {{ X = "{SECRET}\\r\\n" }}',
            "X: has characters that no HTTP header can have",
        ),
        (f'[prometheus]\ntoken = "{SECRET}\\n"', "prometheus.token: has characters that no HTTP"),
        (f'[forward]\ntoken = "{SECRET}\\n"', "forward.token: has characters that no HTTP head"),
        ("[prometheus]\ntimeout = 121", "prometheus.timeout: 121 should be less than or equal"),
        ("[prometheus]\ndelay = 301", "prometheus.delay: 301 should be less than or equal"),
    ],
)
def test_each_mistake_is_one_line(tmp_path: Path, text: str, why: str) -> None:
    """With the file and the key, and without the secret."""
    (tmp_path / "k6d.toml").write_text(f"{text}\n")
    with pytest.raises(K6dError) as caught:
        load(tmp_path / "k6d.toml")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{tmp_path}/k6d.toml: ")
    assert why in line
    assert SECRET not in line


def test_secrets_are_hidden_and_the_rest_is_shown(tmp_path: Path) -> None:
    """`k6d settings` and the page show title, query and address, and no token and no header."""
    (tmp_path / "k6d.toml").write_text(
        f'{CPU}[prometheus]\nurl = "http://prometheus:9090/"\ntoken = "{SECRET}"\n'
        f'headers = {{ X-Scope-OrgID = "{SECRET[::-1]}" }}\n'
    )
    settings = load(tmp_path / "k6d.toml", data=tmp_path / "data")
    shown = {one.setting: one.value for one in in_force(settings)}
    assert (shown["metrics"][0]["title"], shown["metrics"][0]["query"]) == ("CPU", "cpu")
    assert shown["prometheus.url"] == "http://prometheus:9090"
    assert SECRET not in str(shown)
    assert SECRET[::-1] not in str(shown)
    hide = redactor_of(settings).text
    assert SECRET not in hide(f"it said {SECRET}")
    assert SECRET[::-1] not in hide(f"it said {SECRET[::-1]}")
