"""The manual: every command and block of each page, run in order."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from k6d import settings
from k6d.cli.shop import Shop
from support.daemon import K6
from support.pages import Shell, blocks_of, pages
from support.paths import ROOT
from support.programs import program
from support.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = 2  # so that there is one to compare with
# What is not run here, by its first words, and what stands for it.
NOT_RUN = {
    "k6d serve\n": "a daemon runs already, for all pages; test_readme.py starts one so",
    "python3 -m venv /opt/k6d": "changes the machine; tests/fresh_root.sh installs so",
    "journalctl": "needs a systemd that runs the service",
    "systemd-creds": "needs root and a systemd that runs",
    "buildah build": "needs root, buildah and an image of Debian",
    "kubectl ": "needs a cluster; tests/test_kubernetes_manifests.py checks what is applied",
    "pip install 'k6d[kubernetes]'": "the extra is installed; tests/fresh_root.sh installs k6d",
    "podman run": "needs podman and the image",
    "k6d import loadgenie.db": "tests/cli/test_legacy_import.py imports such a database",
    "K6D_TEST_K6=": "tests/execution/test_k6_versions.py is that test",
    "PYTHONPATH=tests .venv/bin/python -m support.record_k6": "records a k6 that is not here",
    "PYTHONPATH=tests .venv/bin/python -m support.verdicts": "tests/verdicts/test_document.py",
}
ONLY_NAMED = ("make ",)  # `make -n` says that these are known
# Commands that say by exit code 1 that something is wrong with a target or a setting.
MARKING_WORDS = ("k6d run", "k6d replay", "k6d incidents", "k6d doctor")
PAGES = [page for page in pages() if page.name != "README.md" and blocks_of(page)]


@dataclass(frozen=True)
class House:
    """A folder with a script, some runs and a daemon; the shop that the script tests."""

    daemon: Served
    shop: Shop

    def here(self, text: str) -> str:
        """The text with the addresses of this test."""
        return text.replace("127.0.0.1:8090", self.shop.address).replace(
            "127.0.0.1:8000", f"127.0.0.1:{self.daemon.port}"
        )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A script with a short history, and one daemon for all pages."""
    shop = Shop()
    threading.Thread(target=shop.serve_forever, args=(0.02,), daemon=True).start()
    with closing(Served(tmp_path_factory.mktemp("manual"))) as daemon:
        made = House(daemon, shop)
        script = next(b.text for b in blocks_of(pages()[0]) if "export default" in b.text)
        script = script.partition("<<'END'\n")[2].partition("END\n")[0]
        daemon.write("shop.js", made.here(script).replace("duration: '5s'", "iterations: 10"))
        for _ in range(RUNS):
            daemon.call("run", "shop.js", K6D_COMPARE__CONFIRM="0")
        daemon.start()
        yield made
    shop.shutdown()
    shop.server_close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page: Path, house: House, tmp_path: Path) -> None:
    """Its blocks work in order: commands in a shell, scripts in k6, settings in k6d."""
    home = house.daemon.home
    variables = house.daemon.environment(K6D_DATA="data", K6D_COMPARE__CONFIRM="0")
    del variables["PATH"]
    printed = ""
    with Shell(home, work=tmp_path, quick=True, **variables) as shell:
        for block in blocks_of(page):
            text = house.here(block.text)
            match block.language:
                case "sh":
                    printed = _run(shell, text)
                case "js":
                    _inspect(text, tmp_path / "script.js")
                case "toml":
                    (home / "k6d.toml").write_text(text)
                    settings.load(home / "k6d.toml")
                case "yaml":
                    _use(shell, yaml.safe_load(text), text, home)
                case "json":
                    _is_like(json.loads(printed), json.loads(text))
                case language:
                    assert language == "", f"{page.name}: a block in {language}"
    for name in ("k6d.toml", ".env"):
        (home / name).unlink(missing_ok=True)


def _run(shell: Shell, text: str) -> str:
    if text.startswith(tuple(NOT_RUN)):
        return ""
    if text.startswith(ONLY_NAMED):
        for command in text.splitlines():
            subprocess.run(
                ["bash", "-c", command.replace("make", "make -n", 1)], cwd=ROOT, check=True
            )
        return ""
    if "systemd-analyze" in text:
        return _analyze(text)
    if "curl" in text:
        program("curl")
        text = text.replace("curl -s", "curl -sf")
    printed = shell.run(text)
    wrong = [
        (code, command)
        for code, command in shell.failed
        if not (code == 1 and command.startswith(MARKING_WORDS))
    ]
    assert wrong == [], printed
    return printed


def _inspect(text: str, script: Path) -> None:
    """K6 takes the script, or the part of one, and k6d its own settings."""
    whole = text if "export default" in text else f"{text}\nexport default function () {{}}\n"
    script.write_text(whole)
    done = subprocess.run([K6, "inspect", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    settings.parse_script_settings(json.loads(done.stdout)["ext"]["k6d"], script="the manual")


def _use(shell: Shell, parsed: dict[str, Any], text: str, home: Path) -> None:
    """An Apprise file is stored for what follows; the commands of a pipeline are run."""
    if parsed.get("kind") == "Kustomization":  # for a cluster
        assert set(parsed["resources"]) == {"../config/kubernetes"}
        return
    if "urls" in parsed:
        (home / "apprise.yml").write_text(text)
        return
    if "jobs" in parsed:  # GitHub Actions; GitHub's own actions and pip are left out
        shell.run("GITHUB_STEP_SUMMARY=summary.md")
        steps = [step for job in parsed["jobs"].values() for step in job["steps"]]
        for line in [step["run"] for step in steps if step.get("run", "").startswith("k6d ")]:
            _run(shell, line)
        return
    for job in parsed.values():
        for line in [*job["script"], *job["after_script"]]:
            _run(shell, line)


def _is_like(real: Any, shown: Any) -> None:
    """Whether real JSON has the keys that a page shows, with values of the same types."""
    if isinstance(shown, dict):
        assert shown.keys() <= real.keys()
        for key, value in shown.items():
            _is_like(real[key], value)
    elif isinstance(shown, list):
        for value in shown:
            _is_like(real[0], value)
    elif shown is not None and real is not None:
        assert type(real) is type(shown), (real, shown)


def _analyze(text: str) -> str:
    """systemd's own score of the unit is as low as the page says."""
    program("systemd-analyze")
    done = subprocess.run(
        ["bash", "-ec", text], cwd=ROOT, capture_output=True, text=True, check=False
    )
    score = re.search(r"exposure level for k6d.service: ([\d.]+)", done.stdout)
    assert score is not None
    assert float(score.group(1)) <= 1.5
    return done.stdout


def test_the_routes_on_the_page_exist(house: House) -> None:
    """Each route of the manual is in the API's own list, with its method."""
    page = (ROOT / "daemon/docs/api.md").read_text()
    rows = re.findall(r"^\| `(GET|POST|DELETE) ([^`]+)`(.*?) \|", page, re.MULTILINE)
    known = house.daemon.get("/openapi.json").json["paths"]
    for method, path, more in rows:
        others = [path.rpartition("/")[0] + f"/{name}" for name in re.findall(r"`(\w+)`", more)]
        for one in [path, *others]:
            named = [way for way in known if re.sub(r"\{\w+\}", "{id}", way) == one]
            assert named, one
            assert method.lower() in known[named[0]], one
    assert len(rows) >= 10


def test_what_is_not_run_is_there() -> None:
    """The list of blocks that are not run names no block that is gone."""
    texts = [block.text for page in PAGES for block in blocks_of(page)]
    assert [one for one in NOT_RUN if not any(text.startswith(one) for text in texts)] == []


def test_the_unit_leaves_what_the_generators_health_is_read_from() -> None:
    """With ProcSubset=pid there would be no /proc/stat, and no doubt about a busy machine."""
    unit = (ROOT / "systemd/k6d.service").read_text()
    assert "\nProcSubset=" not in unit


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """systemd finds no mistake in the unit, nor in the command that it starts."""
    k6d = Path(sys.executable).with_name("k6d")
    unit = (ROOT / "systemd/k6d.service").read_text()
    assert unit.count("/opt/k6d/bin/k6d serve") == 1
    (tmp_path / "k6d.service").write_text(unit.replace("/opt/k6d/bin/k6d", str(k6d)))
    done = subprocess.run(
        [program("systemd-analyze"), "verify", tmp_path / "k6d.service"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
