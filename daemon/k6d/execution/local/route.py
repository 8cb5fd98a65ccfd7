"""Watches whether this machine has a default route while k6 runs (Linux only)."""

from __future__ import annotations

import asyncio
from pathlib import Path

SAMPLE_S = 1.0
_IPV4, _IPV6 = Path("/proc/net/route"), Path("/proc/net/ipv6_route")
_UP = 0x1


class RouteWatch:
    """Looks at the routes once a second; `lost` is whether there was once no default route."""

    def __init__(self) -> None:
        self.lost = False

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            self.lost = self.lost or not has_default_route()
            await asyncio.sleep(SAMPLE_S)


def has_default_route() -> bool:
    """Return whether there is a default route (IPv4 or IPv6); True if that is unknown."""
    try:
        ipv4, ipv6 = _IPV4.read_text(), _IPV6.read_text() if _IPV6.exists() else ""
    except OSError:
        return True
    return is_default_in(ipv4, ipv6)


def is_default_in(ipv4: str, ipv6: str) -> bool:
    """Return whether /proc/net/route and ipv6_route, as texts, have an active default route."""
    return any(map(_is_default4, ipv4.splitlines())) or any(map(_is_default6, ipv6.splitlines()))


def _is_default4(line: str) -> bool:
    """Fields: interface, destination, gateway, flags, …, mask as the eighth."""
    fields = line.split()
    is_default = len(fields) > 7 and fields[1] == fields[7] == "00000000"
    return is_default and bool(int(fields[3], 16) & _UP)


def _is_default6(line: str) -> bool:
    """Fields: destination, its prefix length, …, flags, interface; `lo` has a route to nowhere."""
    fields = line.split()
    is_default = len(fields) > 9 and fields[0] == "0" * 32 and fields[1] == "00"
    return is_default and fields[9] != "lo" and bool(int(fields[8], 16) & _UP)
