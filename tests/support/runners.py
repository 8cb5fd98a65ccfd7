"""Runs one script with several k6 at once, each with its execution segment, as k6-operator does."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k6d.execution.capture import Capture
from k6d.execution.kubernetes.pod_log import PodLog
from k6d.execution.kubernetes.streams import Streams
from k6d.execution.receiver import Receiver
from k6d.execution.remote_write import decode
from support.binaries import NEW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

STATS = "avg,min,med,max,p(90),p(95),p(99),count"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one runner left."""

    exit_code: int
    log: PodLog
    streams: Streams


async def run_parts(
    script: Path,
    *,
    runners: int,
    env: Mapping[str, str],
    wanted: Sequence[str] = (),
    stats: Sequence[str] = (),
    flags: Sequence[str] = (),
    binary: Path = NEW,
) -> list[Ran]:
    """Run the script with so many k6 at once; each gets an equal part of the load."""
    each = (
        _run(
            script, number, runners, env=env, wanted=wanted, stats=stats, flags=flags, binary=binary
        )
        for number in range(1, runners + 1)
    )
    return list(await asyncio.gather(*each))


async def _run(
    script: Path,
    number: int,
    runners: int,
    *,
    env: Mapping[str, str],
    wanted: Sequence[str],
    stats: Sequence[str],
    flags: Sequence[str],
    binary: Path,
) -> Ran:
    streams, log = Streams(wanted), PodLog(16384)
    with Receiver(Capture(), also=lambda body: streams.feed(decode(body))) as receiver:
        receiving = {
            "K6_PROMETHEUS_RW_SERVER_URL": receiver.url,
            "K6_PROMETHEUS_RW_PUSH_INTERVAL": "1s",
            "K6_PROMETHEUS_RW_TREND_AS_NATIVE_HISTOGRAM": "true",
        }
        ends = [f"{part}/{runners}" for part in range(1, runners)]
        process = await asyncio.create_subprocess_exec(
            *(str(binary), "run", "--quiet", "--no-color", "--log-format", "json"),
            *("--address", "", "--summary-export", "/dev/stdout"),
            *(
                "--summary-trend-stats",
                ",".join([STATS, *stats]),
                "--out",
                "experimental-prometheus-rw",
            ),
            *("--execution-segment", f"{number - 1}/{runners}:{number}/{runners}"),
            *("--execution-segment-sequence", ",".join(["0", *ends, "1"])),
            *("--tag", f"instance_id={number}", *flags, str(script)),
            env={**os.environ, **env, **receiving},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
    for line in printed.decode().splitlines():
        log.feed(line)
    log.close()
    return Ran(exit_code=process.returncode or 0, log=log, streams=streams)
