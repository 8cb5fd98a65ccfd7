"""The least that runs k6 when a file is saved: `bare_loop.py FOLDER COMMAND...`, inotify alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from stage import CLOSE_WRITE, Folder

if __name__ == "__main__":
    folder = Folder(Path(sys.argv[1]), CLOSE_WRITE)
    while folder.read():
        subprocess.run(sys.argv[2:], check=False)
