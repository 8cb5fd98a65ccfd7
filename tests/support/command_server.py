"""Forks a process for each command of k6d, and for each daemon, that `commands` asks for."""

from __future__ import annotations

import atexit
import gc
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import threading
import time
from contextlib import suppress

import rich.console
import rich.table

import k6d.alerts.delivery.addressing
import k6d.cli.doctor
import k6d.cli.render.alerts
import k6d.cli.render.baseline
import k6d.cli.render.run
import k6d.daemon.service
import k6d.jobs.pipeline
import k6d.jobs.scheduler
import k6d.scripts.catalog
import k6d.settings.sources
import k6d.storage.backup
import k6d.storage.store
from k6d import cli
from k6d.cli.commands import application
from k6d.daemon.__main__ import main as daemon

del k6d, rich  # imported for the commands and the daemons
application()  # imports the modules of the commands


def serve(listening: socket.socket, folder: str) -> str:
    """Fork for each connection; returns, in the process that is to be it, the program."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    selector = selectors.DefaultSelector()
    selector.register(listening, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        ready = [key.fileobj for key, _ in selector.select()]
        if sys.stdin in ready:
            shutil.rmtree(folder, ignore_errors=True)
            sys.exit()
        connection, _ = listening.accept()
        if os.fork() == 0:
            break
        connection.close()
    selector.close()
    listening.close()
    return _become(connection)


def _become(connection: socket.socket) -> str:
    """Fork once more: the parent tells pid and exit code, the child returns, set up as asked."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, outputs, _, _ = socket.recv_fds(connection, 1, 2)
    with connection.makefile() as text:
        request = json.load(text)
    pid = os.fork()
    if pid:
        with suppress(OSError):
            connection.sendall(f"{pid}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(OSError):
            connection.sendall(f"{code}\n".encode())
        os._exit(0)
    connection.close()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, *outputs)):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    program: str = request["program"]
    sys.argv = [program, *request["arguments"]]
    return program


def run(program: str) -> None:
    """Run the program, and end as Python does, without freeing each object.

    That takes longer than most commands.
    """
    code: object = None
    try:
        if program == "k6d":
            code = cli.main()
        else:
            os.setpgid(0, 0)
            daemon(sys.argv[1])
    except SystemExit as ended:
        code = ended.code
    if code is not None and not isinstance(code, int):
        sys.exit(code)  # Python prints it
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as Python does
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    gc.collect()
    gc.freeze()  # so that no process that is forked copies all objects by looking at them
    run(serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2]))
