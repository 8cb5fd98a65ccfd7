"""Starts the command that is asked for. Only `cli` and `daemon` exit the process."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import NoReturn

from k6d import __version__
from k6d.cli.commands import application, asked, overview

HELP = ("-h", "--help")
# Objects before the garbage collector runs. Imports make 200,000 and no garbage: with Python's 700,
# the collector takes a tenth of a command's time.
GC_THRESHOLD = 200_000


def main() -> NoReturn:
    """Run a command; a user's mistake becomes one line on standard error and exit code 2."""
    words = sys.argv[1:]
    _answer_at_once(words)
    gc.set_threshold(GC_THRESHOLD)
    atexit.register(gc.freeze)  # the process ends: nothing is to be looked through any more
    from k6d.core.errors import K6dError, MistakesError, reason
    from k6d.core.numbers import escaped

    try:
        application(asked(words) or "")()
    except MistakesError as error:
        for line in error.lines:
            print(f"k6d: {escaped(line)}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except K6dError as error:
        print(f"k6d: {escaped(str(error))}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.filename is None:
            raise
        print(escaped(f"k6d: {error.filename}: {reason(error)}"), file=sys.stderr)  # noqa: T201
        sys.exit(2)
    sys.exit(0)


def _answer_at_once(words: list[str]) -> None:
    """Print the version, the help or what a shell completes, which needs no library, and exit."""
    if "_K6D_COMPLETE" in os.environ:
        from k6d.cli import completion

        if (found := completion.answer()) is not None:
            _print(found)
    elif words[:1] == ["--version"]:
        _print(f"k6d {__version__}")
    elif not words or words[0] in HELP:
        _print(overview(), code=0 if words else 2)


def _print(text: str, *, code: int = 0) -> NoReturn:
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:
        sys.stderr.close()
        os._exit(0)
    sys.exit(code)
