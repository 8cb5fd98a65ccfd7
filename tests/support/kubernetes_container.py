"""The process of one container: its command, its environment and its log.

Its PATH has `k6`, which the image's tag picks, and a `wget` that takes BusyBox's options, as the
image grafana/k6 has them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from support.binaries import BINARIES
from support.paths import TESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import IO

    from support.kubernetes_store import Object


def images() -> dict[str, Path]:
    """The k6 of each tag."""
    return {**BINARIES, "latest": BINARIES["1.1.0"]}


def tag_of(container: Object) -> str:
    """The tag of the image."""
    image = container.get("image", "grafana/k6:latest")
    return str(image.rpartition(":")[2].partition("@")[0].removeprefix("v"))


def environment(
    container: Object, *, secrets: Mapping[str, Mapping[str, str]], fields: Mapping[str, str]
) -> dict[str, str]:
    """The variables of a container; `fields` are the pod's, by their paths."""
    env: dict[str, str] = {}
    for one in container.get("envFrom", []):
        if "secretRef" in one:
            env |= secrets.get(one["secretRef"]["name"], {})
    for one in container.get("env", []):
        env[one["name"]] = _expanded(one.get("value", ""), env)
        source = one.get("valueFrom", {})
        if "secretKeyRef" in source:
            secret = source["secretKeyRef"]
            env[one["name"]] = secrets.get(secret["name"], {}).get(secret["key"], "")
        elif "fieldRef" in source:
            env[one["name"]] = fields.get(source["fieldRef"]["fieldPath"], "")
    return env


def argv(container: Object, env: Mapping[str, str]) -> list[str]:
    """The command with `$(NAME)` replaced, as the kubelet does it."""
    parts = [*container.get("command", []), *container.get("args", [])]
    return [_expanded(one, env) for one in parts]


def start(
    command: list[str], *, env: Mapping[str, str], home: Path, k6: Path | None, log: Path
) -> tuple[subprocess.Popen[bytes], Callable[[], None]]:
    """Start the process; the second value waits for its end and its whole log.

    `home` is the pod's folder. Both streams go through pipes, as in a real container: k6 may open
    /dev/stdout again.
    """
    bin_ = home / "bin"
    bin_.mkdir(exist_ok=True)
    for name, program in (("wget", TESTS / "support" / "busybox_wget.py"), ("k6", k6)):
        (bin_ / name).unlink(missing_ok=True)
        if program:
            (bin_ / name).symlink_to(program)
    path = os.pathsep.join([str(bin_), str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    process = subprocess.Popen(
        command,
        env={"PATH": path, "HOME": str(home / "tmp"), **env},
        cwd=home / "tmp",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    lock, file = threading.Lock(), log.open("ab", buffering=0)
    pumps = [
        threading.Thread(target=_pump, args=(pipe, file, lock), daemon=True)
        for pipe in (process.stdout, process.stderr)
    ]
    for one in pumps:
        one.start()

    def ended() -> None:
        process.wait()
        for one in pumps:
            one.join()
        file.close()

    return process, ended


def _expanded(text: str, env: Mapping[str, str]) -> str:
    return re.sub(r"\$\((\w+)\)", lambda match: env.get(match[1], match[0]), text)


def _pump(pipe: IO[bytes], file: IO[bytes], lock: threading.Lock) -> None:
    """Write whole lines of one stream to the log, as container runtimes do."""
    with pipe:
        for line in pipe:
            with lock:
                file.write(line)
