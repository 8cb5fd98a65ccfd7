"""The process of `k6d serve`, without the libraries of the command line, which take 2 MiB.

Only this module and `cli` exit the process.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from k6d.core.model import K6dError
from k6d.core.numbers import escaped

if TYPE_CHECKING:
    from k6d.settings import Settings

logger = logging.getLogger("k6d.daemon")  # __name__ is "__main__" here

STOPPED, NOT_SERVED, INTERRUPTED = 0, 2, 130


def become(config: Path | None, **given: object) -> NoReturn:
    """Replace this process by the daemon: same pid and environment, new interpreter.

    `given` are settings; None means not given. `-P` keeps Python from importing files of the
    current folder.
    """
    sys.stdout.flush()
    os.execv(sys.executable, command_line(config, **given))  # noqa: S606


def command_line(config: Path | None, **given: object) -> list[str]:
    """Return the command line of the daemon: Python, and the settings as one argument."""
    words = json.dumps(
        {"config": config} | given, default=str
    )  # not orjson: it refuses file names that are not UTF-8
    return [sys.executable, "-P", "-m", "k6d.daemon", words]


def main(words: str) -> NoReturn:
    """Run the daemon; a user's mistake becomes one line on standard error and exit code 2."""
    try:
        _serve(**json.loads(words))
    except K6dError as error:
        print(f"k6d: {escaped(str(error))}", file=sys.stderr)  # noqa: T201
        sys.exit(NOT_SERVED)
    except KeyboardInterrupt:  # before the daemon has installed its signal handlers
        sys.exit(INTERRUPTED)
    sys.exit(STOPPED)


def _serve(*, config: str | None, **given: object) -> None:
    import asyncio

    from k6d import settings
    from k6d.core import logs
    from k6d.daemon.service import Service
    from k6d.storage.store import Store

    def read() -> Settings:
        loaded = settings.load(Path(config) if config else None, **given)
        hide = settings.redactor_of(loaded).known
        logs.set_up(loaded.log_level, form=loaded.log_format, file=loaded.log_file, hide=hide)
        for warning in loaded.warnings:
            logger.warning("%s", warning)
        return loaded

    loaded = read()
    asyncio.run(Service(loaded, Store(loaded.data), reread=read).run())


if __name__ == "__main__":
    main(sys.argv[1])
