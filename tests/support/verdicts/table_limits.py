"""Scripts whose runs lie just below and just above each limit of the original service.

Nothing is computed: each request waits at the target. The longest runs come first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.verdicts.specimen import Specimen
from support.verdicts.table_load import plain

if TYPE_CHECKING:
    from support.target import Target

# The target's paths /wait/… wait so many seconds before they answer.
WAITS = ("1.95", "2.05", "2.95", "3.05", "3.5", "4.9", "5.1", "9.5", "10.5")


def prepare(target: Target) -> None:
    """Make the paths of the target that the table asks for."""
    target.latency |= {f"/wait/{seconds}": float(seconds) for seconds in WAITS}
    target.status["/fails"] = 500


def _failing(failed: int) -> Specimen:
    """100 requests one after the other, of which so many fail."""
    path = f"exec.scenario.iterationInTest < {failed} ? 'B/fails' : 'B/'"
    return Specimen(
        name=f"{failed} % of the requests fail",
        script=plain("iterations: 100", f"export default function () {{ http.get({path}); }}"),
    )


def _average(seconds: str, *, iterations: int = 5) -> Specimen:
    """Five virtual users whose requests all wait."""
    path = f"'B/wait/{seconds}'"
    return Specimen(
        name=f"{seconds} s on average, {iterations} requests",
        script=plain(
            f"iterations: {iterations}, vus: 5",
            f"export default function () {{ http.get({path}); }}",
        ),
    )


def _p95(seconds: str) -> Specimen:
    """One request in ten waits: p95 is its time, and the average stays below two seconds."""
    path = f"__VU % 10 ? 'B/' : 'B/wait/{seconds}'"
    return Specimen(
        name=f"{seconds} s at p95",
        script=plain(
            "iterations: 20, vus: 20", f"export default function () {{ http.get({path}); }}"
        ),
    )


# k6 counts a request that it gave up as failed; the others wait nearly as long for their answer.
GIVING_UP = Specimen(
    name="a third hangs until the script gives up",
    script=plain(
        "iterations: 6, vus: 6",
        "const path = __VU % 3 ? 'B/wait/9.5' : 'B/wait/10.5';\n"
        "export default function () { http.get(path, { timeout: '10.2s' }); }",
    ),
)
PAUSING = Specimen(
    name="the script itself pauses",
    script=plain(
        "iterations: 4, vus: 4", "export default function () { http.get('B/'); sleep(10.5); }"
    ),
)
TABLE = [
    _average("10.5"),
    _average("9.5"),
    GIVING_UP,
    PAUSING,
    _average("3.5", iterations=10),
    *(_p95(seconds) for seconds in ("5.1", "4.9")),
    *(_average(seconds) for seconds in ("3.05", "2.95", "2.05", "1.95")),
    *(_failing(failed) for failed in (5, 6, 10, 11)),
]
