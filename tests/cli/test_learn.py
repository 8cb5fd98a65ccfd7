"""Commands for newcomers: the demo's target as a command, and the manual in the terminal."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from k6d.cli import manual
from support.commands import run_k6d
from support.receivers import HttpReceiver, closed_port
from support.serving import free_port

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 60.0
ENV = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "COLUMNS": "100"}


def _k6d(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_k6d(*words, cwd=home, env=ENV | {"HOME": str(home)}, timeout_s=PATIENCE_S)


def _ask(port: int, path: str, body: str = "") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("POST", path, body=body)
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_demo_target_breaks_and_mends_and_prints_alerts(tmp_path: Path) -> None:
    """--fail and --ok change the shop that runs; nonsense is refused; Ctrl-C ends it in peace."""
    port = free_port()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, "-m", "k6d", "demo-target", "--port", str(port)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as target:
        assert target.stdout is not None
        assert f"http://127.0.0.1:{port}/" in target.stdout.readline()
        assert f"json://127.0.0.1:{port}/alerts" in target.stdout.readline()
        assert _ask(port, "/checkout") == 200
        assert _k6d(tmp_path, "demo-target", "--port", str(port), "--fail").returncode == 0
        assert (_ask(port, "/checkout"), _ask(port, "/products")) == (503, 200)
        assert _k6d(tmp_path, "demo-target", "--port", str(port), "--slow").returncode == 0
        assert _ask(port, "/checkout") == 200
        assert _k6d(tmp_path, "demo-target", "--port", str(port), "--ok").returncode == 0
        assert (
            _ask(port, "/alerts", '{"title": "[HIGH] shop", "message": "broken\\u001b[2J"}') == 200
        )
        assert _ask(port, "/alerts", "no JSON") == 400
        assert _ask(port, "/state", "exploded") == 400
        assert target.stdout.readline() == "  │ [HIGH] shop\n"
        assert target.stdout.readline() == "  │ broken\\x1b[2J\n"
        twice = _k6d(tmp_path, "demo-target", "--port", str(port))
        assert (twice.returncode, twice.stdout) == (2, "")
        assert twice.stderr.startswith(f"k6d: port {port} is not free (")
        target.send_signal(signal.SIGINT)
        printed, errors = target.communicate(timeout=PATIENCE_S)
    assert (printed, errors, target.returncode) == ("The shop has ended.\n", "", 0)


def test_a_change_needs_a_demo_target(tmp_path: Path) -> None:
    """Without one, with something else at the port, or with two states: one line that says so."""
    with HttpReceiver() as other:
        cases = {
            (closed_port(), "--fail"): "start one with 'k6d demo-target'",
            (other.port, "--ok"): "is no demo target: name another --port",
            (other.port, "--ok", "--slow"): "give --fail, --slow or --ok",
        }
        for (port, *options), words in cases.items():
            done = _k6d(tmp_path, "demo-target", "--port", str(port), *options)
            assert (done.returncode, done.stderr.count("\n")) == (2, 1)
            assert words in done.stderr


def test_help_lists_and_shows_every_page(tmp_path: Path) -> None:
    """Each page of the index is there, each file is in the index, and its title is shown."""
    listed = _k6d(tmp_path, "help").stdout
    topics = manual.topics()
    files = {path.stem for path in manual.folder().glob("*.md")} - {"index"}
    assert {topic.name for topic in topics} == files
    for topic in topics:
        assert f"{topic.name} " in listed
        with (console := Console(file=StringIO(), width=100)).capture() as shown:
            console.print(manual.page(topic))
        assert topic.path.read_text().splitlines()[0].removeprefix("# ") in shown.get()


def test_help_names_the_command_for_a_link(tmp_path: Path) -> None:
    """A link to another page of the manual is a command in the terminal, not a file."""
    shown = _k6d(tmp_path, "help", "alerts").stdout
    assert "(k6d help robustness)" in " ".join(shown.split())
    assert ".md)" not in shown


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["p95"], "findings: "),
        (["quiet", "hours"], "alerts: "),
        (["notify.group_wait"], "settings: notify"),
        (["--search", "schedules"], "scripts: When a script runs"),
        (["which", "files", "are", "tests"], "scripts: Which files run"),
        (["accept", "a", "new", "level"], "baselines: When the change is meant"),
        (["another k6d (pid"], "troubleshooting: "),
        (["k6d: another k6d (pid 42) serves /data: stop it or choose another --data"], "troubl"),
        (["[HIGH] shop: 50 % of the requests failed (98 of 196)"], "troubleshooting: What a run"),
        (["/opt/k6 is k6 0.49.0, k6d needs 0.57", "or newer: install k6"], "troubleshooting: "),
    ],
)
def test_help_finds_words(tmp_path: Path, words: list[str], place: str) -> None:
    """Words that name no page are found in the pages; --search finds also those that do."""
    found = _k6d(tmp_path, "help", *words)
    assert found.returncode == 0, found.stderr
    headings = [line for line in found.stdout.splitlines() if not line.startswith("  ")]
    assert any(line.startswith(place) for line in headings), found.stdout


def test_help_has_no_answer_to_everything(tmp_path: Path) -> None:
    """Words that no page has are a mistake that names the list; so is --search alone."""
    nothing = _k6d(tmp_path, "help", "xyzzy")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert nothing.stderr == (
        "k6d: the manual has nothing on 'xyzzy'; 'k6d help' lists its pages\n"
    )
    assert _k6d(tmp_path, "help", "--search").returncode == 2


def test_a_topic_may_be_shortened() -> None:
    """The start of one page's name is enough; a start of two is none."""
    assert (found := manual.topic_named("alert")) is not None
    assert found.name == "alerts"
    assert manual.topic_named("s") is None


QUESTIONS = {
    "How do I run a script once with one virtual user?": ("run --vus", "scripts"),
    "Why does this file not run?": ("file is no test", "scripts"),
    "How do I keep a script from running by itself?": ("never runs by itself", "scripts"),
    "Can two load tests run in parallel?": ("in parallel", "scripts"),
    "How do I stop a run?": ("stop a run", "scripts"),
    "How long may a run take?": ("deadline of a run", "scripts"),
    "Which k6 is used?": ("k6.path", "scripts"),
    "How do I get a script's own report file?": ("handleSummary --file", "scripts"),
    "Why is a run anomalous?": ("more than 5 %", "findings"),
    "How do I change a limit for one script?": ("limit one script", "findings"),
    "How do I leave third parties out?": ("exclude", "findings"),
    "What does inconclusive mean?": ("inconclusive run says", "findings"),
    "What is a doubt?": ("doubt is shown", "findings"),
    "How do I compare two runs?": ("compare RUN BEFORE", "baselines"),
    "What if the script is meant to be slower?": ("accept reason", "baselines"),
    "What is learning?": ("learning runs needed", "baselines"),
    "How do I run scripts each night?": ("schedule night", "schedules"),
    "What happens to missed runs?": ("missed catch_up", "schedules"),
    "How do I send to Slack?": ("slack://", "alerts"),
    "Who gets which alert?": ("routes tags", "alerts"),
    "How do I have silence at night?": ("quiet_hours", "alerts"),
    "How do I mute a script?": ("mute --for", "alerts"),
    "What if the receiver is down?": ("failed delivery", "alerts"),
    "Who notices when k6d is dead?": ("heartbeat", "alerts"),
    "What goes to Gemini?": ("code of the script, without comments", "gemini"),
    "How do I log in to the dashboard?": ("log in token", "dashboard"),
    "How do I get at the API from another machine?": ("ssh tunnel", "api"),
    "How do I get JUnit into the pipeline?": ("junit", "ci"),
    "How do I back up?": ("export backup", "storage"),
    "How long are logs kept?": ("logs 30 days", "storage"),
    "How do I upgrade?": ("new version", "service"),
    "How do I give it a password?": ("credential", "service"),
    "How do I run it in Docker?": ("docker", "service"),
    "Why is port 8000 a problem?": ("cannot listen", "troubleshooting"),
}


def test_thirty_questions_have_an_answer() -> None:
    """The words of a question lead to the page that answers it."""
    assert len(QUESTIONS) >= 30
    for question, (words, topic) in QUESTIONS.items():
        found = {place.topic for place in manual.find(words.split())}
        assert topic in found, question
