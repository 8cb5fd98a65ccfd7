"""Runs a command in a network namespace whose network vanishes in the middle.

    python -m support.vanishing_network COMMAND …

The target at TARGET answers 20 requests, every second one with 500 below /half. Then its address
and the default route are gone. The exit code is that of the command.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

HOST = "203.0.113.5"
TARGET = f"http://{HOST}:8080"
ANSWERED = 20


def ip(words: str) -> None:
    """Call ip(8)."""
    subprocess.run(["ip", *words.split()], check=True)


class Handler(BaseHTTPRequestHandler):
    """Answers until the network vanishes."""

    numbers = count(1)
    gone = threading.Lock()

    def do_GET(self) -> None:
        """One answer; the last one ends the network."""
        number = next(self.numbers)
        self.send_response(500 if self.path == "/half" and number % 2 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if number == ANSWERED and self.gone.acquire(blocking=False):
            ip(f"addr del {HOST}/32 dev lo")
            ip("link set veth0 down")

    def log_message(self, *_words: object) -> None:
        """Stay silent."""


def main(command: list[str]) -> int:
    """Make the network, serve, and run the command."""
    ip(f"addr add {HOST}/32 dev lo")
    ip("link add veth0 type veth peer name veth1")
    ip("addr add 10.9.9.1/24 dev veth0")
    for name in ("veth0", "veth1"):
        ip(f"link set {name} up")
    ip("route add default dev veth0")
    server = ThreadingHTTPServer((HOST, 8080), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
