"""Every command and code block of the README, run as a newcomer would run it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.paths import ROOT
from support.programs import program
from support.target import Target

BLOCKS = re.findall(
    r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
)
SHELL = [text for language, text in BLOCKS if language == "sh"]
SCRIPTS = [text for language, text in BLOCKS if language == "js"]
INSTALL = next(text for text in SHELL if "pip install" in text)
OURS = [
    text
    for text in SHELL
    if "k6d" in text and text != INSTALL and "serve" not in text and "systemd" not in text
]
TABLES = [text for language, text in BLOCKS if language == "toml"]
# Last commands of their blocks that say by their exit code that something is wrong, as it is.
TELLING = ("k6d replay", "k6d incidents")


def _environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("K6", "GEMINI", "AI_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, **more}


def _shell(text: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-ec", text],
        cwd=folder,
        env=_environment(**env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_block_is_known_here() -> None:
    """A block in a new language, or a command that no test below runs, is noticed."""
    assert {language for language, _ in BLOCKS} == {"", "sh", "js", "toml"}
    elsewhere = {"make demo\n", "make test\n", INSTALL}  # tests/fresh_root.sh runs them
    rest = [text for text in SHELL if text not in elsewhere and text not in OURS]
    assert [text.split()[0] for text in rest] == ["touch", "systemd-analyze"]


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_set_up_commands_exist(command: str) -> None:
    """`make` knows the commands and what they run (the demo and the tests run by themselves)."""
    done = subprocess.run(
        ["make", "-n", *command.split()[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"make demo": "k6d demo", "make test": "pytest"}[command] in done.stdout


def test_first_alert(tmp_path: Path) -> None:
    """The way from nothing to a first alert, block by block.

    1. doctor, 2. the script by hand, 3. the daemon with a receiver, 4. a threshold that cannot
    hold, 5. the commands that look closer, those with curl last. Result: the alert arrives, in
    the README's words.
    """
    with Target() as shop, Target() as receiver:
        script = SCRIPTS[0].replace("http://127.0.0.1:8080", shop.url).replace("'10s'", "'1s'")
        (doctor, by_hand, *looking), serve = OURS, next(t for t in SHELL if "k6d serve" in t)
        assert _shell(doctor, tmp_path).returncode == 0
        (tmp_path / "scripts/shop.js").write_text(script)
        done = _shell(by_hand, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "healthy" in done.stdout

        serve = serve.replace("slack://TokenA/TokenB/TokenC", receiver.url.replace("http", "json"))
        assert "json://" in serve
        port = _free_port()
        env = _environment(K6D_API__PORT=str(port))
        daemon = subprocess.Popen(
            ["bash", "-ec", serve.replace("k6d serve", "exec k6d serve")],
            cwd=tmp_path,
            env=env,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert daemon.stderr is not None
            while "watching" not in (line := daemon.stderr.readline()):
                assert line, "the daemon ended before it watched"
            (tmp_path / "scripts/shop.js").write_text(script.replace("p(95)<500", "p(95)<0"))
            deadline = time.monotonic() + 120
            while not any(name.startswith("POST") for name in list(receiver.requests)):
                assert time.monotonic() < deadline, "no alert arrived"
                time.sleep(0.05)
            printed = " ".join(_shell("k6d show latest", tmp_path).stdout.split())
            assert "threshold http_req_duration: p(95)<0 was crossed, it was" in printed
            for command in sorted(looking, key=lambda text: "curl" in text):
                if "curl" in command:
                    program("curl")
                here = command.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
                here = here.replace("http://127.0.0.1:8080", shop.url).replace(
                    "curl -s", "curl -sf"
                )
                done = _shell(here, tmp_path, K6D_API__PORT=str(port))
                allowed = (0, 1) if any(word in command for word in TELLING) else (0,)
                assert done.returncode in allowed, command + done.stdout + done.stderr
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.communicate(timeout=120)
        assert daemon.returncode == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_settings_of_the_readme_are_accepted(tmp_path: Path) -> None:
    """Each TOML block is a settings file that k6d takes."""
    (tmp_path / "apprise.yml").write_text("urls:\n  - json://127.0.0.1:9/\n")
    (tmp_path / "scripts").mkdir()
    for table in TABLES:
        (tmp_path / "k6d.toml").write_text(table)
        done = _shell("k6d doctor", tmp_path)
        assert done.returncode == 0, table + done.stdout + done.stderr


def test_script_settings_are_accepted(tmp_path: Path) -> None:
    """The settings that the README puts into a script are ones that k6d takes."""
    with Target() as shop:
        body = f"\nexport default function () {{ http.get('{shop.url}/'); }}\n"
        script = tmp_path / "own.js"
        # The same settings with limits that a busy machine keeps.
        options = SCRIPTS[1].replace("medium: 200, high: 400", "medium: 20000, high: 40000")
        assert options != SCRIPTS[1]
        script.write_text("import http from 'k6/http';\n" + options + body)
        done = _shell("k6d run own.js", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_is_as_tight_as_said() -> None:
    """systemd's own score of the unit, as the README's command prints it, is at most 1.5."""
    command = next(text for text in SHELL if text.startswith("systemd-analyze"))
    program("systemd-analyze")
    score = re.search(r"exposure level for k6d.service: ([\d.]+)", _shell(command, ROOT).stdout)
    assert score is not None
    assert float(score.group(1)) <= 1.5


def test_the_unit_leaves_what_the_generators_health_is_read_from() -> None:
    """With ProcSubset=pid there would be no /proc/stat, and no word about a machine too slow."""
    unit = (ROOT / "systemd/k6d.service").read_text()
    assert "\nProcSubset=" not in unit
