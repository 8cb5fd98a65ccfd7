"""`k6d demo`: runs the real daemon on a temporary folder, against a small shop on this machine.

As in production, `k6d serve` runs in its own process, with the real k6 and an Apprise URL. Only
the shop and the receiver of the alert belong to the demo. Nothing leaves the loopback interface.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k6d.cli.render.run import run_report
from k6d.cli.shop import Checkout, Shop
from k6d.core.errors import K6dError
from k6d.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from rich.console import Console

    from k6d.core.model import Run

PATIENCE_S = 40.0

SCRIPT = """\
import http from 'k6/http';
import { check, group } from 'k6';

const SHOP = '%(shop)s';

export const options = {
  vus: %(vus)d,
  duration: '4s',
  thresholds: { http_req_duration: ['p(95)<500'] },
};

export default function () {
  http.get(`${SHOP}/`);
  http.get(`${SHOP}/products`);
  group('buy', () => {
    http.post(`${SHOP}/cart`, 'item=42');
    const paid = http.post(`${SHOP}/checkout`);
    check(paid, { 'order accepted': (r) => r.status === 200 });
  });
}
"""


async def play(console: Console, *, keep: bool, data: Path | None = None) -> None:
    """Run the whole demo; K6dError if a step does not finish in time.

    The results go to `data`, a new folder, or else to a temporary folder.
    """
    if data and Store(data).history(limit=1):
        raise K6dError(f"{data} has runs already: name a new folder for the demo's")
    home = Path(tempfile.mkdtemp(prefix="k6d-demo-"))
    scripts, data = home / "scripts", data or home / "data"
    scripts.mkdir()
    store = Store(data)
    with _shop() as shop:
        port = _free_port() if keep else None
        async with _daemon(home, data, shop, port=port) as daemon:
            say = _Narrator(console)
            say(f"k6d watches [bold]{scripts}[/]; a shop runs at http://{shop.address}")
            await _until((data / "daemon.lock").exists, "the daemon to start", daemon)

            say("Dropping [bold]shop.js[/] into the folder: 2 virtual users for 4 seconds …")
            _write(scripts / "shop.js", shop, vus=2)
            say.show(await _next_run(store, 1, daemon))

            say("Saving it again with 4 virtual users: it runs again …")
            _write(scripts / "shop.js", shop, vus=4)
            say.show(await _next_run(store, 2, daemon))

            say("Now the checkout breaks, and somebody saves the script once more …")
            shop.checkout = Checkout.FAIL
            _write(scripts / "shop.js", shop, vus=3)
            run = await _next_run(store, 3, daemon)
            say.show(run)
            await _until(lambda: bool(shop.alerts), "the alert to arrive", daemon)
            say("The alert, as it arrived at the receiver (Apprise, json://):")
            say.quote(shop.alerts[0])
            _tell_where(say, store, run, data=data, log=home / "k6d.log")
            if keep:
                say(
                    f"Still running, its dashboard at http://127.0.0.1:{port}/: edit the script "
                    "and watch; Ctrl-C ends it."
                )
                await daemon.wait()


class _Narrator:
    """Prints the steps of the demo."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, text: str) -> None:
        self._console.print(f"\n[bold cyan]▸[/] {text}", soft_wrap=True)

    def show(self, run: Run) -> None:
        self._console.print(run_report(run))

    def quote(self, alert: dict[str, Any]) -> None:
        text = f"{alert['title']}\n{alert['message']}"
        for line in filter(None, text.splitlines()):
            self._console.print(f"  │ {line}", markup=False, soft_wrap=True)


def _tell_where(say: _Narrator, store: Store, run: Run, *, data: Path, log: Path) -> None:
    say(
        f"All of it is kept in {data}:\n"
        f"  this run, whole        {store.run_path(run.test_id)}\n"
        f"  the script as it ran   {data / 'snapshots'}\n"
        f"  the daemon's log       {log}\n"
        f"  Look closer:           {_command()} history --data {data}\n"
        f"                         {_command()} show {run.test_id} --log --data {data}"
    )


def _command() -> str:
    """Return the command for k6d: with `make demo` it is in .venv and not on the PATH."""
    return "k6d" if shutil.which("k6d") else os.path.relpath(sys.argv[0])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _shop() -> Iterator[Shop]:
    shop = Shop()
    threading.Thread(target=shop.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield shop
    finally:
        shop.shutdown()
        shop.server_close()


@contextlib.asynccontextmanager
async def _daemon(
    home: Path, data: Path, shop: Shop, *, port: int | None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `k6d serve` in its own process group, so that only the demo forwards Ctrl-C, and once.

    Without a `port` there is no dashboard, and the alert has no link to a page that will be gone.
    """
    log = (home / "k6d.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "k6d", "serve"),
        *("--scripts", str(home / "scripts"), "--data", str(data)),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=home,
        env=os.environ
        | {
            "K6D_NOTIFY__URLS": f"json://{shop.address}/alerts",
            "K6D_API__ENABLED": str(port is not None).lower(),
            "K6D_API__PORT": str(port or 8000),
            "K6D_NOTIFY__GROUP_WAIT": "0",  # no other script can fail here
            "K6D_COMPARE__MAX_CPU": "100",  # the shop uses the CPUs of this machine too
        },
        process_group=0,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
        log.close()


def _write(script: Path, shop: Shop, *, vus: int) -> None:
    script.write_text(SCRIPT % {"shop": f"http://{shop.address}", "vus": vus})


async def _next_run(store: Store, number: int, daemon: asyncio.subprocess.Process) -> Run:
    await _until(lambda: len(store.history()) >= number, f"run {number} to be saved", daemon)
    return store.load(store.find("latest"))


async def _until(
    happened: Callable[[], bool], what: str, daemon: asyncio.subprocess.Process
) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        if daemon.returncode is not None:
            raise K6dError(f"the daemon ended while waiting for {what}; see k6d.log in its folder")
        if time.monotonic() > deadline:
            raise K6dError(f"waited {PATIENCE_S:.0f} s in vain for {what}; see k6d.log")
        await asyncio.sleep(0.05)
