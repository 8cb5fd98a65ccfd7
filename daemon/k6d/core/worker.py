"""Helper processes: each gets one request, answers it, and ends.

A helper is a module that is run as a program. The request and the answer are JSON, on standard
input and standard output, so no secret shows in a list of processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import orjson

from k6d.core import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class WorkerError(Exception):
    """The helper ended without an answer."""

    def __init__(self, exit_code: int | None) -> None:
        super().__init__("killed" if exit_code is None else f"exit {exit_code}")


async def ask(module: str, request: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """Return the answer of the helper `module`; TimeoutError or WorkerError if there is none.

    The helper is killed after `timeout_s` and on cancellation. A Ctrl-C for this process does not
    reach it.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what foreign libraries log can hold secrets
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate(orjson.dumps(request))
        answer: dict[str, Any] = orjson.loads(output)
    except TimeoutError:
        raise
    except (orjson.JSONDecodeError, OSError) as error:
        if process.returncode == -signal.SIGALRM:
            raise TimeoutError from error
        raise WorkerError(process.returncode) from error
    else:
        return answer
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def serve(answer: Callable[[dict[str, Any]], Any]) -> None:
    """Answer the request; for the helper's side.

    The process ends after the request's `timeout_s`, even if its parent is dead. Its memory is
    limited, because foreign servers decide what it reads.
    """
    memory.limit()
    request = orjson.loads(sys.stdin.buffer.read())
    signal.alarm(max(1, math.ceil(request["timeout_s"])))
    sys.stdout.buffer.write(orjson.dumps(answer(request)))
