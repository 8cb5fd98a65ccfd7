"""A real gRPC target on 127.0.0.1, whose methods answer, are slow, or fail."""

from __future__ import annotations

import time
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVICE = "shop.Cart"
FAILURES = {"Internal": "INTERNAL", "Unavailable": "UNAVAILABLE", "Absent": "NOT_FOUND"}
_METHODS = " ".join(f"rpc {name} (M) returns (M) {{}}" for name in ("Ok", "Slow", *FAILURES))
PROTO = {
    "shop.proto": f'syntax = "proto3"; package shop; service Cart {{ {_METHODS} }} message M {{}}'
}
SLOW_S = 0.1


@contextmanager
def serving_grpc() -> Iterator[str]:
    """Serve; gives host:port. Messages are empty, so nothing has to be generated."""
    server = grpc.server(futures.ThreadPoolExecutor(16))
    handlers = {name: _failing(code) for name, code in FAILURES.items()}
    handlers |= {"Ok": lambda request, _: request, "Slow": _slow}
    made = {n: grpc.unary_unary_rpc_method_handler(one) for n, one in handlers.items()}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, made)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def _failing(code: str) -> Callable[[bytes, Any], bytes]:
    def answer(_: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode[code], "as it should")
        raise AssertionError("abort does not return")

    return answer


def _slow(request: bytes, _: Any) -> bytes:
    time.sleep(SLOW_S)
    return request
