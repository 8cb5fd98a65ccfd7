"""The cheapest HTTP target that plain Python can be: `ok` to every request, a few µs each.

A process of its own. Prints its port, then, for each connection, when its first request arrived
(CLOCK_MONOTONIC in ns, which all processes share). Requests must have no body.
"""

from __future__ import annotations

import os
import select
import socket
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"


def serve() -> None:
    """Answer until killed."""
    server = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server.setblocking(False)
    poll = select.epoll()
    poll.register(server, select.EPOLLIN)
    os.write(1, f"{server.getsockname()[1]}\n".encode())
    listening, connections, new = server.fileno(), {}, set()
    while True:
        for fd, _ in poll.poll():
            if fd == listening:
                connection, _ = server.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                new.add(connection.fileno())
                poll.register(connection, select.EPOLLIN)
                continue
            try:
                request = os.read(fd, 65536)
                if request.endswith(b"\r\n\r\n"):
                    arrived = time.monotonic_ns()
                    os.write(fd, ANSWER)
                    if fd in new:
                        new.discard(fd)
                        os.write(1, f"{arrived}\n".encode())
            except OSError:
                request = b""
            if not request:
                poll.unregister(fd)
                new.discard(fd)
                connections.pop(fd).close()


if __name__ == "__main__":
    serve()
