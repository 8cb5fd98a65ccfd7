"""The examples for CI in config/ci: their YAML is read, and their shell steps are run twice."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from support.daemon import Daemon, hitting
from support.pages import Shell
from support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from support.target import Target

CI = ROOT / "config/ci"
ENVIRONMENT = {
    "GITHUB_HEAD_REF": "", "GITHUB_REF_NAME": "main", "GITHUB_STEP_SUMMARY": "summary.md",
    "CI_COMMIT_REF_NAME": "main", "CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main",
}  # fmt: skip
# What changes the machine or needs the network.
NOT_RUN = ("sudo hostname", "pip install")


def github() -> list[str]:
    """The shell steps of the workflow."""
    workflow: dict[Any, Any] = yaml.safe_load((CI / "github-actions.yml").read_text())
    assert workflow[True].keys() == {"pull_request", "push"}, "YAML reads the key `on` as true"
    (job,) = workflow["jobs"].values()
    for step in job["steps"]:
        assert step.keys() <= {"name", "uses", "with", "run", "if"}
        assert ("uses" in step) != ("run" in step)
        assert re.fullmatch(r"[a-z-]+/[a-z/-]+@v\d+", step.get("uses", "a/b@v1"))
    return [step["run"] for step in job["steps"] if "run" in step]


def gitlab() -> list[str]:
    """The lines of the job's script."""
    (job,) = yaml.safe_load((CI / "gitlab-ci.yml").read_text()).values()
    assert job.keys() == {"image", "variables", "cache", "script", "artifacts"}
    assert job["artifacts"]["reports"] == {"junit": "k6d.xml"}
    lines: list[str] = job["script"]
    return lines


@pytest.mark.parametrize("steps", [github, gitlab])
def test_the_steps_work(steps: Any, tmp_path: Path, target: Target) -> None:
    """The first pipeline makes the baseline; the second one imports it into a fresh folder."""
    daemon = Daemon(tmp_path)
    daemon.write("smoke/cart.js", hitting(f"{target.url}/cart"))
    variables = daemon.environment(K6D_DATA="k6d-data", **ENVIRONMENT)
    del variables["PATH"]
    for number in (1, 2):
        work = tmp_path / f"work-{number}"
        work.mkdir()
        with Shell(tmp_path, work=work, quick=True, **variables) as shell:
            for step in steps():
                if not step.startswith(NOT_RUN):
                    printed = shell.run(step)
                    assert shell.failed == [], printed
            rows = json.loads(shell.run("k6d search --tag branch=main --json"))
            shell.run("rm -r k6d-data")
        assert len(rows) == number
        assert (tmp_path / "k6d.xml").exists()
        assert "smoke/cart.js" in (tmp_path / "k6d.md").read_text()


def test_a_bad_target_fails_the_pipeline(tmp_path: Path, target: Target) -> None:
    """The step with the load tests fails, and its reports are there."""
    target.status["/cart"] = 500
    daemon = Daemon(tmp_path)
    daemon.write("smoke/cart.js", hitting(f"{target.url}/cart", iterations=30))
    variables = daemon.environment(K6D_DATA="k6d-data", **ENVIRONMENT)
    del variables["PATH"]
    work = tmp_path / "work"
    work.mkdir()
    with Shell(tmp_path, work=work, quick=True, **variables) as shell:
        shell.run(gitlab()[0])
        assert [code for code, _ in shell.failed] == [1]
    assert "critical" in (tmp_path / "k6d.md").read_text()
