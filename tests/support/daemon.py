"""`k6d serve` as a process of its own, as a user has it; a mailbox for JSON; gates in the target.

`Daemon` lives in one folder (scripts, data, its HOME) with an environment made for it. Tests write
scripts, wait for runs with a deadline and look at what the daemon keeps, through its store.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar

import orjson

from k6d.core.job import Job
from k6d.core.model import Trigger
from k6d.daemon.__main__ import command_line
from k6d.jobs.persistence import StoredJobs
from k6d.storage.store import Store
from support.commands import Forked, run_k6d, start_daemon

if TYPE_CHECKING:
    from collections.abc import Callable

    from k6d.core.model import Run

PATIENCE_S = 120.0  # the machine may be busy; nobody waits that long when all is well
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # see conftest.py
K6 = Path(sys.prefix) / "bin" / "k6"

T = TypeVar("T")


def until(condition: Callable[[], T], what: str) -> T:
    """What `condition` gives as soon as it is true; fails when that takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:g} s in vain for {what}"
        time.sleep(0.05)  # looking reads files, which costs CPU
    return value


def hitting(url: str, *, iterations: int = 2, top: str = "", options: str = "") -> str:
    """A script that asks for `url` a few times; `top` is code before the options."""
    return f"""import http from 'k6/http';
{top}
export const options = {{ iterations: {iterations}, {options} }};
export default function () {{ http.get('{url}'); }}
"""


def lasting(
    url: str, *, seconds: int = 30, options: str = "", more: str = "", graceful_s: int = 0
) -> str:
    """A script that asks for `url` about ten times a second for as long as it is planned to.

    Without `graceful_s`, k6 does not count the request that the end cuts off.
    """
    return f"""import http from 'k6/http';
import {{ sleep }} from 'k6';
const ends = {{ duration: '{seconds}s', gracefulStop: '{graceful_s}s' }};
const load = {{ executor: 'constant-vus', vus: 1, ...ends }};
export const options = {{ scenarios: {{ load }}, {options} }};
export default function () {{ http.get('{url}'); sleep(0.1); }}
{more}
"""


class Daemon:
    """One `k6d serve` over `home`/scripts and `home`/data; may be started again after its end.

    `forks` False starts a new Python instead, for what measures the process or its start. So does
    a variable that only a new process reads.
    """

    forks = True

    def __init__(self, home: Path) -> None:
        self.home, self.scripts, self.data = home, home / "scripts", home / "data"
        self.scripts.mkdir(parents=True, exist_ok=True)
        (home / "k6d.toml").touch()  # so that none of the machine's own is read
        self.store = Store(self.data)
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self._log = home / "k6d.log"
        self._barriers = 0

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment for a command of k6d; HOME tells whose process it is."""
        base = {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8"}
        base |= {name: os.environ[name] for name in CERTIFICATES if name in os.environ}
        quick = {"K6D_API__ENABLED": "false", "K6D_NOTIFY__GROUP_WAIT": "0"}
        busy = {"K6D_COMPARE__MAX_CPU": "100"}  # a busy test machine is no doubt of a run
        return base | quick | busy | variables

    def start(self, *, k6d: tuple[str, ...] = (), **variables: str) -> Self:
        """Start with settings from `variables` (K6D_…); waits until it watches.

        `k6d` is how the command is called, if it is to be called.
        """
        seen = self.log.count("watching ")
        self.begin(k6d=k6d, **variables)
        self.until(lambda: self.log.count("watching ") > seen, "the daemon to watch")
        return self

    def begin(self, *, k6d: tuple[str, ...] = (), **variables: str) -> None:
        """As `start`, without waiting."""
        with self._log.open("ab") as log:
            self.process = self.started(log, self.environment(**variables), k6d=k6d)

    def started(
        self, log: IO[bytes], env: dict[str, str], *, k6d: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes] | Forked:
        """Start a daemon that logs to `log`, and return its process."""
        read_at_start = any(name.startswith(("PYTHON", "LD_")) for name in env)
        if self.forks and not k6d and not read_at_start:
            folders = {"scripts": self.scripts, "data": self.data}
            return start_daemon(folders, cwd=self.home, env=env, log=log)
        return subprocess.Popen(
            self.command("serve", k6d=k6d),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.home,
            env=env,
            process_group=0,
        )

    def command(self, *words: str, k6d: tuple[str, ...] = ()) -> list[str]:
        """The command line of a command of k6d on our folders.

        That of `serve` is what `k6d serve` turns into, unless `k6d` says how to call it.
        """
        if words == ("serve",) and not k6d:
            return command_line(None, scripts=self.scripts, data=self.data)
        return [*(k6d or (sys.executable, "-m", "k6d")), *self._arguments(*words)]

    def _arguments(self, *words: str) -> list[str]:
        folders = ["--scripts", str(self.scripts)] if words[0] in {"serve", "run"} else []
        return [*words, *folders, "--data", str(self.data)]

    def call(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Another command of k6d on our folders, to its end."""
        return run_k6d(
            *self._arguments(*words),
            cwd=self.home,
            env=self.environment(**variables),
            timeout_s=2 * PATIENCE_S,
        )

    @property
    def log(self) -> str:
        """What every daemon here has logged so far."""
        return self._log.read_text() if self._log.exists() else ""

    def until(self, condition: Callable[[], T], what: str) -> T:
        """As `until`, but a daemon that ended is not waited for; shows the log when in vain."""

        def happened() -> T:
            value = condition()
            assert value or self.process is None or self.process.poll() is None, "it has ended"
            return value

        try:
            return until(happened, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the log:\n{self.log[-6000:]}") from None

    def until_logged(self, text: str) -> None:
        """Wait for a line of the log."""
        self.until(lambda: text in self.log, f"{text!r} in the log")

    def write(self, name: str, text: str) -> Path:
        """Write a file below the scripts folder, or wherever an absolute name says."""
        path = self.scripts / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def runs(self, script: str) -> list[Run]:
        """The runs of a script, oldest first."""
        found = self.store.history(script, limit=None)
        return [self.store.load(document["test_id"]) for document in reversed(found)]

    def run(self, script: str, number: int = 1) -> Run:
        """Wait for the script's run of that number."""
        self.until(
            lambda: len(self.store.history(script, limit=None)) >= number,
            f"run {number} of {script}",
        )
        return self.runs(script)[number - 1]

    def counts(self) -> dict[str, int]:
        """How many runs each script has had."""
        found: dict[str, int] = {}
        for document in self.store.history(limit=None):
            found[document["script"]] = found.get(document["script"], 0) + 1
        return found

    def barrier(self) -> None:
        """Wait until all that was written before has been noticed and worked off.

        A module that only k6 knows to be no test takes its turn after every script that is waiting,
        and makes no run.
        """
        self._barriers += 1
        name = f"barrier-{self._barriers}.js"
        options = f"{{ number: {self._barriers} }}"
        self.write(name, f"import 'k6';\nexport const options = {options};\n")
        known = self.store.state("scripts")
        self.until(lambda: known.get(name), f"the daemon to get to {name}")

    def wanted(self, name: str, trigger: Trigger) -> None:
        """As if the life before had left the script in its queue, due now if by schedule."""
        due = datetime.now(UTC) if trigger is Trigger.SCHEDULED else None
        job = Job(name=name, path=self.scripts / name, trigger=trigger, due=due)
        StoredJobs(self.store, self.scripts).put(job)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def processes(self) -> list[str]:
        """The command lines of every process that the daemon has started and that lives."""
        return list(self._children().values())

    def kill(self, part: str) -> int:
        """Kill -9 each of these processes whose command has `part` in it; how many there were."""
        pids = [pid for pid, command in self._children().items() if part in command]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(pids)

    def _children(self) -> dict[int, str]:
        ours = f"HOME={self.home}".encode()
        own = self.process.pid if self.process else 0
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if int(folder.name) != own and ours in (folder / "environ").read_bytes().split(
                    b"\0"
                ):
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = command.decode(errors="replace")
        return found

    def close(self) -> None:
        """Stop it, if it lives; nothing of it is left, and it never lost its composure."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.end()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"it did not stop; the log:\n{self.log}") from None
        until(lambda: not self.processes(), "the daemon's children to be gone")
        assert "Traceback" not in self.log, self.log
        assert "mistake of k6d's own" not in self.log, self.log


class Gate:
    """A latency for the target that lasts until the gate is opened; says when somebody waits."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self) -> float:
        self.reached.set()
        self.opened.wait(PATIENCE_S)
        return 0.0


class Mailbox:
    """An HTTP server that keeps the JSON that is posted to it, by path.

    `hanging` paths answer only when the mailbox closes.
    """

    def __init__(self) -> None:
        self.letters: dict[str, list[Any]] = {}
        self.hanging: set[str] = set()
        self._closing = threading.Event()
        mailbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                mailbox.letters.setdefault(self.path, []).append(orjson.loads(body))
                if self.path in mailbox.hanging:
                    mailbox._closing.wait(2 * PATIENCE_S)
                with suppress(OSError):
                    self.send_response(200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
