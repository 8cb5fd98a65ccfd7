"""From a file's closing to the first request at the target."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stage import (
    HERE,
    K6,
    TOOLS,
    Table,
    Target,
    environment,
    median,
    one_request,
    quartiles,
    started,
    verdict,
    wait,
)

from support.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Callable

SAVES = 20
GOAL_S = 0.2
REST_S = 0.3


@dataclass(slots=True, kw_only=True)
class Subject:
    """One way to run k6 on a save: `save` gives the time (monotonic) from which it counts."""

    name: str
    save: Callable[[str], float]
    settle: Callable[[], object] = lambda: None


def saver(path: Path) -> Callable[[str], float]:
    """Writes the file; gives the time of its closing."""

    def save(text: str) -> float:
        with path.open("w") as file:
            file.write(text)
        return time.monotonic()

    return save


def k6d(folder: Path, stack: ExitStack, text: str) -> Subject:
    """`k6d serve` as it comes."""
    served = Daemon(folder)
    served.write("shop.js", text)
    served.start()
    stack.callback(served.end)
    ran = 0

    def settle() -> None:
        nonlocal ran
        ran += 1
        served.until(lambda: served.log.count(" of shop.js completed") >= ran, "the run's end")

    settle()
    return Subject(name="k6d serve", save=saver(served.scripts / "shop.js"), settle=settle)


def watchfiles(folder: Path, stack: ExitStack, path: Path) -> Subject | None:
    """`watchfiles 'k6 run …' DIR`, fetched from the package index."""
    place = TOOLS / "watchfiles"
    if not place.exists():
        uv = Path(sys.prefix) / "bin" / "uv"
        with suppress(OSError):
            install = [uv, "pip", "install", "-q", "--python", sys.executable, "--target", place]
            subprocess.run([*install, "watchfiles"], check=False)
    if not (place / "watchfiles").exists():
        return None
    command = [sys.executable, "-m", "watchfiles", f"{K6} run --quiet {path}", str(folder)]
    stack.enter_context(
        started(command, cwd=folder, env=environment(folder, PYTHONPATH=str(place)))
    )
    return Subject(name="watchfiles 'k6 run …' DIR", save=saver(path))


def entr(folder: Path, stack: ExitStack, path: Path) -> Subject | None:
    """`ls … | entr k6 run …`, from PATH or unpacked from the Debian package."""
    place = TOOLS / "entr"
    found = shutil.which("entr") or shutil.which("entr", path=place / "usr" / "bin")
    if not found:
        place.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            for command in (["apt-get", "-q", "download", "entr"], ["sh", "-c", "dpkg -x *.deb ."]):
                subprocess.run(command, cwd=place, check=False, capture_output=True)
        found = shutil.which("entr", path=place / "usr" / "bin")
    if not found:
        return None
    command = [found, "-n", K6, "run", "--quiet", path]
    stack.enter_context(started(command, cwd=folder, stdin=f"{path}\n", env=environment(folder)))
    return Subject(name="entr k6 run …", save=saver(path))


def bare(folder: Path, stack: ExitStack, path: Path) -> Subject:
    """inotify and nothing else."""
    command = [sys.executable, HERE / "bare_loop.py", folder, K6, "run", "--quiet", path]
    stack.enter_context(started(command, cwd=folder, env=environment(folder)))
    return Subject(name="bare inotify loop", save=saver(path))


def alone(folder: Path, stack: ExitStack, path: Path) -> Subject:
    """k6 by itself, from its start."""

    def start(text: str) -> float:
        path.write_text(text)
        now = time.monotonic()
        command = [K6, "run", "--quiet", path]
        stack.enter_context(started(command, cwd=folder, env=environment(folder)))
        return now

    return Subject(name="k6 alone, from its start", save=start)


def measure(work: Path) -> Table:
    """All subjects in turn, the order rotated, so that what disturbs disturbs all."""
    with Target() as target, ExitStack() as stack:
        text = one_request(target.url, number=0)
        subjects, missing = [k6d(work / "k6d", stack, text)], []
        for make in (alone, bare, entr, watchfiles):
            path = work / make.__name__ / "shop.js"
            path.parent.mkdir()
            path.write_text(text)
            subject = make(path.parent, stack, path)
            missing += [] if subject else [make.__name__]
            subjects += [subject] if subject else []
        wait(3.0)  # watchfiles and entr run the script when they start
        taken: dict[str, list[float]] = {subject.name: [] for subject in subjects}
        for number in range(1, SAVES + 1):
            turn = number % len(subjects)
            for subject in subjects[turn:] + subjects[:turn]:
                target.forget()
                began = subject.save(one_request(target.url, number=number))
                arrived = target.arrival()
                assert arrived is not None, f"{subject.name} did not run the script"
                taken[subject.name].append(arrived - began)
                subject.settle()
                wait(REST_S)
    base = median(taken["bare inotify loop"])
    rows = [
        [name, f"{median(of):.3f}", quartiles(of, digits=3), f"{median(of) / base:.1f}×"]
        for name, of in taken.items()
    ]
    rows[0].append(f"≤ {GOAL_S} s: {verdict(median(taken['k6d serve']) <= GOAL_S)}")
    rows[1:] = [[*row, ""] for row in rows[1:]]
    rows += [[name, "not measured: not to be had here", "", "", ""] for name in missing]
    return Table(
        title="File closed → first request at the target",
        columns=["", "median s", "middle half", "of the bare loop", "goal"],
        rows=rows,
        notes=[f"{SAVES} saves each, in turn. k6d takes a snapshot (k6 archive) first."],
    )
