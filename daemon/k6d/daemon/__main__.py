"""`k6d serve` as it lives on: without the command line's libraries, which weigh 2 MiB.

Only here and in `cli` does anything exit.
"""

from __future__ import annotations

import asyncio
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
    """Turn this process into the daemon: the same pid and environment, a fresh interpreter.

    `given` are settings, None if not given. `-P`: files of the current folder are no modules.
    """
    sys.stdout.flush()
    os.execv(sys.executable, command_line(config, **given))  # noqa: S606


def command_line(config: Path | None, **given: object) -> list[str]:
    """What the process is called as then: Python, and the settings as one argument."""
    words = json.dumps({"config": config} | given, default=str)  # not orjson: any name of a file
    return [sys.executable, "-P", "-m", "k6d.daemon", words]


def main(words: str) -> NoReturn:
    """Serve to the end; a user's mistake is one line on standard error and exit code 2."""
    try:
        _serve(**json.loads(words))
    except K6dError as error:
        print(f"k6d: {escaped(str(error))}", file=sys.stderr)  # noqa: T201
        sys.exit(NOT_SERVED)
    except KeyboardInterrupt:  # before it takes the signal as a wish to stop
        sys.exit(INTERRUPTED)
    sys.exit(STOPPED)


def _serve(*, config: str | None, **given: object) -> None:
    from k6d import settings
    from k6d.core import logs
    from k6d.daemon.service import Service
    from k6d.storage import Store

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
