"""Whether this machine has a default route, from what Linux says."""

from __future__ import annotations

import pytest

from k6d.execution.local import route

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
UP4 = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
LAN4 = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
DOWN4 = "eth0\t00000000\t010200C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\n"
NONE = "0" * 32
UP6 = f"{NONE} 00 {NONE} 00 fd000000000000000000000000000001 00000400 3 0 00000003     eth0\n"
NOWHERE6 = f"{NONE} 00 {NONE} 00 {NONE} ffffffff 00000001 00000000 00200200       lo\n"
LOCAL6 = f"fe80{NONE[4:]} 40 {NONE} 00 {NONE} 00000100 00000002 00000000 00000001     eth0\n"


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "expected"),
    [
        (HEAD + UP4 + LAN4, NOWHERE6 + LOCAL6, True),
        (HEAD + LAN4, NOWHERE6 + UP6, True),
        (HEAD + LAN4, NOWHERE6 + LOCAL6, False),
        (HEAD + DOWN4, NOWHERE6, False),
        (HEAD, "", False),
    ],
)
def test_a_default_route_of_either_version_counts(ipv4: str, ipv6: str, expected: bool) -> None:
    """One that is down does not, nor the one of `lo` that leads nowhere."""
    assert route.is_default_in(ipv4, ipv6) is expected


async def test_this_machine_is_looked_at_without_harm() -> None:
    """Also where nothing tells."""
    assert route.has_default_route() in (True, False)
