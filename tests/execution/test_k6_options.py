"""k6's options from the settings: a configuration file, tags and secret sources; each k6."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from k6d.execution.local.secret_files import problem
from support.binaries import BINARIES
from support.daemon import Daemon

if TYPE_CHECKING:
    from pathlib import Path

    from support.target import Target

SECRET = "hunter2-hunter2"
SCRIPT = """import http from 'k6/http';
import { check } from 'k6';
import exec from 'k6/execution';
export const options = {
  iterations: 2,
  tags: { stage: 'mine' },
  thresholds: {
    'http_reqs{team:shop}': ['count==2'],
    'http_reqs{stage:mine}': ['count==2'],
    'http_reqs{stage:theirs}': ['count==0'],
  },
};
export default function () {
  http.get('URL/cart');
  check(exec.test.options.userAgent, { 'has the agent': (agent) => agent === 'from-config' });
}
"""
SECRETS = """import http from 'k6/http';
import { check } from 'k6';
import secrets from 'k6/secrets';
export const options = { iterations: 1 };
export default async function () {
  const value = await secrets.get('password');
  console.log(`it is ${value}`);
  check(value, { 'is the secret': (v) => v === 'hunter2-hunter2' });
  http.get('URL/cart');
}
"""


@pytest.fixture
def home(tmp_path: Path) -> Daemon:
    """A folder for scripts; no daemon runs."""
    return Daemon(tmp_path / "home")


@pytest.mark.parametrize("version", BINARIES)
def test_a_configuration_file_and_tags_hold_beside_the_scripts_own(
    version: str, home: Daemon, target: Target
) -> None:
    """The script's own options and tags are stronger; thresholds on tags of both are kept."""
    (home.home / "k6.json").write_text(json.dumps({"userAgent": "from-config", "iterations": 9}))
    given = {"team": "shop", "stage": "theirs"}
    lines = [f'{name} = "{value}"' for name, value in given.items()]
    (home.home / "k6d.toml").write_text(
        "\n".join(["[k6]", 'config = "k6.json"', "[k6.tags]", *lines])
    )
    home.write("cart.js", SCRIPT.replace("URL", target.url))
    done = home.call("run", "cart.js", K6D_K6__PATH=str(BINARIES[version]))
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = home.runs("cart.js")
    assert run.metrics.total_requests == 2
    assert [(check.passes, check.fails) for check in run.checks] == [(2, 0)]
    assert [threshold.crossed for threshold in run.thresholds] == [False] * 3


@pytest.mark.parametrize("version", BINARIES)
def test_secrets_come_from_a_source_and_are_in_no_record(
    version: str, home: Daemon, target: Target, tmp_path: Path
) -> None:
    """k6 hides them in its log; the source is not shown; an older k6 says that it has none."""
    source = tmp_path / "secrets"
    source.write_text(f"password={SECRET}\n")
    home.write("cart.js", SECRETS.replace("URL", target.url))
    sources = {"K6D_K6__SECRET_SOURCES": f"file={source}", "K6D_K6__PATH": str(BINARIES[version])}
    done = home.call("run", "cart.js", **sources)
    (run,) = home.runs("cart.js")
    record = home.store.load_raw(run.test_id).decode()
    assert (SECRET in record, str(source) in record, SECRET in done.stdout) == (False,) * 3
    if version.startswith("0."):
        assert run.execution.outcome == "script error"
        return
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--secret-source" in run.execution.command
    assert "SECRET_REDACTED" in run.log.head


def test_an_older_k6_gets_no_flag_that_it_does_not_know(home: Daemon, target: Target) -> None:
    """The run says so; it is no script error."""
    home.write(
        "cart.js",
        SECRETS.replace(
            "import secrets from 'k6/secrets';", "const secrets = { get: () => 'hunter2-hunter2' };"
        ).replace("URL", target.url),
    )
    sources = {"K6D_K6__SECRET_SOURCES": "mock=a=b", "K6D_K6__PATH": str(BINARIES["0.57.0"])}
    assert home.call("run", "cart.js", **sources).returncode == 0
    (run,) = home.runs("cart.js")
    assert "k6 0.57.0 has no secret sources: k6.secret_sources is not used" in run.breakdown.notes


def test_a_secrets_file_that_is_not_there_is_named(home: Daemon, target: Target) -> None:
    """With the setting and the remedy, in the terminal and in the record; k6 does not run."""
    home.write("cart.js", SECRETS.replace("URL", target.url))
    path = home.home / "vault-9f3b27c1" / "secrets"
    done = home.call("run", "cart.js", K6D_K6__SECRET_SOURCES=f"file={path}")
    assert done.returncode == 2
    (run,) = home.runs("cart.js")
    assert run.execution.error == (
        f"k6.secret_sources: {path} does not exist; create it (lines of name=value), or correct "
        "the setting"
    )
    assert "Mend the file or the setting" in done.stdout
    assert "Mend the script" not in done.stdout


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("file={}/here", None),
        ("file=name=default,filename={}/here", None),
        ("file={}/here,name=shop,default", None),
        ("mock=password=x", None),
        ("file=secrets", "k6.secret_sources: secrets is no absolute path; "),
        ("file={}", "k6.secret_sources: {} is a folder; name a regular file"),
        ("file=name=shop,filename={}/gone", "k6.secret_sources: {}/gone does not exist; "),
    ],
)
def test_files_of_secret_sources(source: str, why: str | None, tmp_path: Path) -> None:
    """Each form that k6 knows; others are left to k6."""
    (tmp_path / "here").write_text("password=x\n")
    found = problem([source.format(tmp_path)])
    assert (found or "").startswith(why.format(tmp_path) if why else "")
    assert (found is None) == (why is None)


def test_a_configuration_file_that_is_not_there_is_named(home: Daemon, target: Target) -> None:
    """As an error of the run, in k6's words."""
    home.write("cart.js", SCRIPT.replace("URL", target.url))
    done = home.call("run", "cart.js", K6D_K6__CONFIG=str(home.home / "gone.json"))
    assert done.returncode == 2
    assert "gone.json: no such file" in " ".join(done.stdout.split())
