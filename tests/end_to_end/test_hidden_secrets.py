"""The secrets of scripts, through whole runs of the real k6: in what is kept and shown, nowhere.

A script here leaks its variables in every way that a script has. The comparison of runs and the
replay of one go on as if there were no secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.receivers import HttpReceiver
from support.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from k6d.core.model import Run
    from support.target import Target

# Whatever is hidden has this in it; put together so that no scanner takes this file for a leak.
MARK = "hunter2"
TOKEN, PASSWORD, GIVEN = f"tok-{MARK}-4711", f"{MARK}-word", f"x9{MARK}q1w2"
JWT = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJodW50ZXIyIn0." + "Zx9Qw3Er7Ty2Ui8Op4As6Df1Gh5JkLmN"
COMMANDS = (
    *("history", "show latest --log", "show latest --json", "compare latest", "trend leaky.js"),
    *("report latest --markdown", "report latest --junit", "report latest --html", "incidents"),
    *("incidents --json", "outbox --all --json", "explain latest --dry-run", "scripts", "stats"),
)
PAGES = ("/", "/script?name=leaky.js", "/runs", "/queue", "/api/v1/test/results/latest")


def leaky(url: str, *, end: str) -> str:
    """A script that has its secrets in URLs, names, logs and errors; `end` is code at the end."""
    with_login = url.replace("://", "://bob:${__ENV.SHOP_PASSWORD}@")
    return f"""import http from 'k6/http';
import {{ check, group }} from 'k6';
import {{ Counter }} from 'k6/metrics';
const counted = new Counter('counted');
const name = `http_req_duration{{name:{url}/named/${{__ENV.SHOP_TOKEN}}}}`;
export const options = {{
  iterations: 1,
  thresholds: {{ [name]: ['p(95)<0'], counted: ['count>0'] }},
  tags: {{ who: __ENV.SHOP_TOKEN }},
}};
export default function () {{
  const token = __ENV.SHOP_TOKEN;
  http.get(`{url}/cart/${{token}}?page=1`);
  http.get(`{url}/cart?access_token={JWT}`);
  http.get(`{with_login}/login`);
  http.get(`{url}/x`, {{ tags: {{ name: `{url}/named/${{token}}` }} }});
  group(`group ${{token}}`, () => check(null, {{ [`is ${{token}}`]: () => false }}));
  console.log(`token=${{token}} ${{__ENV.SHOP_PASSWORD}} ${{__ENV.GIVEN}} {JWT}`);
  console.error('x'.repeat(1790) + token + 'y'.repeat(3000));
  http.get(`http://127.0.0.1:1/${{token}}`);
  counted.add(1);
  {end}
}}
export function handleSummary(data) {{
  return {{ stdout: JSON.stringify(data) + '\\n' + __ENV.SHOP_TOKEN + __ENV.VUS }};
}}
"""


@pytest.fixture
def leaking(tmp_path: Path) -> Iterator[tuple[Served, HttpReceiver, dict[str, str]]]:
    """A place with a receiver, and the variables: three secrets, two that are none."""
    with HttpReceiver() as receiver:
        served = Served(tmp_path / "home")
        variables = {
            "K6D_NOTIFY__URLS": f"json://127.0.0.1:{receiver.port}/{MARK}path9z8y",
            "K6D_K6__ENV": f'{{"SHOP_TOKEN": "{TOKEN}", "SHOP_PASSWORD": "{PASSWORD}", '
            f'"VUS": "1", "BASE_URL": "http://127.0.0.1:8080"}}',
            "K6D_LOG_LEVEL": "debug",
        }
        try:
            yield served, receiver, variables
        finally:
            served.close()


def _leaks(texts: dict[str, str]) -> list[str]:
    return [where for where, text in texts.items() if MARK in text.lower()]


def _kept(served: Served) -> dict[str, str]:
    """All files but the archives of the scripts, which a replay needs as they are."""
    files = (path for path in served.data.rglob("*") if path.is_file() and path.suffix != ".tar")
    return {str(path): path.read_bytes().decode(errors="replace") for path in files}


def _names(run: Run) -> set[str]:
    return {row.name for row in run.breakdown.endpoints}


def test_a_run_hides_the_values_of_variables(
    leaking: tuple[Served, HttpReceiver, dict[str, str]], target: Target
) -> None:
    """1. A script of a daemon leaks what it can, and throws. 2. Every page and command.

    Result: no secret in the files, the message, the log, a page or an output. What is no secret
    stays, endpoints have their names.
    """
    served, receiver, variables = leaking
    served.start(**variables)
    served.write("leaky.js", leaky(target.url, end="throw new Error(`not ${token}`);"))
    run = served.run("leaky.js")
    served.until(lambda: receiver.got, "the alert")
    pages = {path: served.get(path).text for path in (*PAGES, f"/runs/{run.test_id}")}
    said = {words: served.call(*words.split(), **variables) for words in COMMANDS}
    texts = {words: done.stdout + done.stderr for words, done in said.items()}
    texts |= pages | _kept(served) | {"log": served.log, "alert": receiver.got[0].body.decode()}
    assert _leaks(texts) == []
    assert len(texts) > 20
    assert _names(run) >= {
        f"{target.url}/cart/[env:SHOP_TOKEN]?page=1",
        f"{target.url}/cart?access_token=[redacted]",
        f"{target.url}/named/[env:SHOP_TOKEN]",
        "http://127.0.0.1:1/[env:SHOP_TOKEN]",
    }
    assert [check.name for check in run.checks] == ["is [env:SHOP_TOKEN]"]
    assert any("not [env:SHOP_TOKEN]" in issue for issue in run.anomaly_analysis.issues)
    assert run.output.head.endswith("[env:SHOP_TOKEN]1")
    trusted = served.get("/api/v1/test/results/latest", token=True).json
    assert JWT in trusted["script_content"]


def test_names_do_not_change_with_the_secret(
    leaking: tuple[Served, HttpReceiver, dict[str, str]], target: Target
) -> None:
    """1. A run, 2. one with another token, 3. a replay of the first, 4. a script with a mistake.

    Result: the series of all three are the same, the replay sends the token, and k6's words about
    the mistake hide it.
    """
    served, _, variables = leaking
    served.write("leaky.js", leaky(target.url, end=""))
    asked = f"GET /cart/{TOKEN}"
    other = variables | {"K6D_K6__ENV": variables["K6D_K6__ENV"].replace(TOKEN, f"{TOKEN}-new")}
    call: Any = served.call
    for used in (variables, other):
        done = call("run", str(served.scripts / "leaky.js"), "--env", f"GIVEN={GIVEN}", **used)
        assert done.returncode == 1, done.stdout + done.stderr
        assert MARK not in done.stdout + done.stderr
    (second, first) = (served.store.load(row["test_id"]) for row in served.store.history())
    assert target.requests[asked] == 1
    assert _names(first) == _names(second)
    assert first.series.keys() == second.series.keys()
    assert first.k6_metrics.keys() == second.k6_metrics.keys()
    done = call("replay", first.test_id, "--env", f"GIVEN={GIVEN}", **variables)
    assert done.returncode == 1, done.stdout + done.stderr
    assert target.requests[asked] == 2
    assert _names(served.store.load(served.store.history()[0]["test_id"])) == _names(first)
    served.write("broken.js", "throw new Error(`cannot use ${__ENV.SHOP_TOKEN}`);")
    done = call("run", str(served.scripts / "broken.js"), **variables)
    assert "cannot use [env:SHOP_TOKEN]" in " ".join((done.stdout + done.stderr).split())
    assert _leaks(_kept(served) | {"output": done.stdout + done.stderr}) == []
