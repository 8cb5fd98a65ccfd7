"""Sends the notifications of a Type=notify service to systemd: datagrams as in sd_notify(3)."""

from __future__ import annotations

import logging
import os
import socket

logger = logging.getLogger(__name__)


def notify(**state: str) -> None:
    """Send fields such as READY="1", STATUS="…"; does nothing if systemd did not start k6d."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    text = "\n".join(f"{name}={' '.join(value.split())}" for name, value in state.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(text.encode(), address)
        except OSError as error:  # the daemon works without systemd
            logger.warning("systemd does not listen at NOTIFY_SOCKET: %s", error.strerror)


def watchdog_interval_s() -> float | None:
    """Return how often to send WATCHDOG=1, half of systemd's limit; None without a watchdog."""
    allowed_us = os.environ.get("WATCHDOG_USEC")
    for_us = os.environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
    return int(allowed_us) / 2_000_000 if allowed_us and for_us else None
