"""k6 on tape: what a real k6 did is recorded in a file, and done again from it where k6 is not.

Some versions of k6 are in no package registry, so tests cannot run them. `python -m
support.record_k6 K6` records what such a binary prints, exits with, writes and pushes for each
script of `k6_cases.CASES`, called by k6d itself. `tape(...)` makes a program that stands in k6's
place:

  record: runs the real k6 with the same arguments and notes what it did
  play:   prints, writes, pushes and exits as noted, without a k6

Modules are imported where they are needed: the program starts three times for each case.
Paths and addresses that differ between runs are noted as {DIR} and {TARGET}.
"""

from __future__ import annotations

import base64
import io
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

URL = "K6_PROMETHEUS_RW_SERVER_URL"
HISTOGRAMS = "native-histograms"


@dataclass
class Tape:
    """One file: the version of k6, and what it did at each command."""

    path: Path
    places: dict[str, str]
    said: dict[str, Any] = field(default_factory=dict)

    def text(self, raw: str) -> str:
        """A text with the places of today."""
        for name, value in self.places.items():
            raw = raw.replace(f"{{{name}}}", value)
        return raw

    def noted(self, raw: str) -> str:
        """A text without the places of today."""
        for name, value in self.places.items():
            raw = raw.replace(value, f"{{{name}}}")
        return raw


def tape(
    program: Path, mode: str, recording: Path, *, places: dict[str, str], k6: str = ""
) -> Path:
    """Write the program that stands in k6's place."""
    here = json.dumps([mode, str(recording), places, k6])
    program.write_text(
        f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import k6_tape\nsys.exit(k6_tape.main({here!r}, sys.argv[1:]))\n"
    )
    program.chmod(0o755)
    return program


def main(here: str, arguments: list[str]) -> int:
    """Stand in for k6 once."""
    mode, recording, places, k6 = json.loads(here)
    found = Tape(Path(recording), places)
    if found.path.exists():
        found.said = json.loads(found.path.read_text())
    command = arguments[0]
    return (
        record(found, k6, command, arguments)
        if mode == "record"
        else play(found, command, arguments)
    )


def _after(arguments: list[str], flag: str) -> Path | None:
    return Path(arguments[arguments.index(flag) + 1]) if flag in arguments else None


def play(found: Tape, command: str, arguments: list[str]) -> int:
    """Do what was recorded of this command."""
    said = found.said[command]
    if (archive := _after(arguments, "-O")) and "archive" in said:
        _pack(
            archive, {found.text(name): found.text(text) for name, text in said["archive"].items()}
        )
    if (summary := _after(arguments, "--summary-export")) and "summary" in said:
        summary.write_text(found.text(said["summary"]))
    if HISTOGRAMS in os.environ.get("K6_FEATURES", ""):
        for push in said.get("pushes", ()):
            _post(os.environ[URL], base64.b64decode(push))
    sys.stdout.write(found.text(said["stdout"]))
    sys.stderr.write(found.text(said["stderr"]))
    return int(said["exit"])


def record(found: Tape, k6: str, command: str, arguments: list[str]) -> int:
    """Let the real k6 do it, and note what it did."""
    import subprocess

    pushes: list[bytes] = []
    env, server = dict(os.environ), None
    if URL in env:
        server = _listen(env[URL], pushes)
        env[URL] = f"http://127.0.0.1:{server.server_address[1]}/"
    done = subprocess.run([k6, *arguments], env=env, capture_output=True, text=True, check=False)
    said: dict[str, Any] = {
        "exit": done.returncode,
        "stdout": found.noted(done.stdout),
        "stderr": found.noted(done.stderr),
    }
    archive, summary = _after(arguments, "-O"), _after(arguments, "--summary-export")
    if archive and archive.exists():
        said["archive"] = {found.noted(n): found.noted(t) for n, t in _unpack(archive).items()}
    if summary and summary.exists():
        said["summary"] = found.noted(summary.read_text())
    if pushes:
        said["pushes"] = [base64.b64encode(push).decode() for push in pushes]
    _note(found, command, said)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


def _note(found: Tape, command: str, said: dict[str, Any]) -> None:
    """One file a command: two of them run at the same time; record_k6 puts them together."""
    found.path.with_suffix(f".{command}").write_text(json.dumps(said))


def _unpack(archive: Path) -> dict[str, str]:
    import tarfile

    with tarfile.open(archive) as tar:
        files = {one.name: tar.extractfile(one) for one in tar if one.isfile()}
        return {name: file.read().decode() for name, file in files.items() if file}


def _pack(archive: Path, files: dict[str, str]) -> None:
    import tarfile

    with tarfile.open(archive, "w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data := text.encode())
            tar.addfile(member, io.BytesIO(data))


def _post(url: str, body: bytes) -> None:
    from http.client import HTTPConnection

    host, _, path = url.removeprefix("http://").partition("/")
    connection = HTTPConnection(host, timeout=10)
    connection.request("POST", f"/{path}", body)
    connection.getresponse().read()
    connection.close()


def _listen(onward: str, pushes: list[bytes]) -> ThreadingHTTPServer:
    """A receiver that keeps each push and passes it on."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            pushes.append(body := self.rfile.read(int(self.headers["Content-Length"])))
            _post(onward, body)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the console."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
