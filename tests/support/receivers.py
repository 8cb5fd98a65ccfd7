"""Receivers of messages on 127.0.0.1 that speak the real wire formats, and misbehave on demand.

`with HttpReceiver() as receiver: receiver.plan = [500, "hang", 200]`: the answers to the next
requests, in order; afterwards 200. `MailReceiver` is an SMTP server with login and STARTTLS,
`SlackProxy` a proxy that answers for hooks.slack.com with a certificate of a `TestCa`.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import email
import email.policy
import ipaddress
import json
import socket
import ssl
import threading
import time
import zlib
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import EmailMessage
    from pathlib import Path

ENDLESS = ("drip", "flood", "torn", "deep")  # a good status, and a body that has no good end
MOST_SENT = 3 << 30
USER, PASSWORD = "k6d", "smtp-hunter2-smtp"


@dataclass
class Got:
    """One request, whatever it was answered with."""

    path: str
    headers: dict[str, str]
    body: bytes
    answer: Any
    at: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class HttpReceiver:
    """Answers POST and GET as `plan` says: a status, (status, headers), "hang" or "close".

    "drip" answers 200 and goes on with a byte now and then, "flood" with all that is taken from it,
    "torn" ends the connection in the middle of the body, "deep" has 1 GiB of zeros in a gzip.
    "trickle" has a header that does not end. "hints" answers 100, 103 and 102 before 200.
    """

    def __init__(self, *, ok: bytes = b"", port: int = 0) -> None:
        self.plan: list[Any] = []
        self.got: list[Got] = []
        self.ok = ok
        self.sent = 0  # bytes of endless bodies
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
        self._server.daemon_threads = True
        self._server.receiver = self  # type: ignore[attr-defined]
        self.port: int = self._server.server_address[1]
        self.on_request: Callable[[Got], None] = lambda _got: None

    @property
    def taken(self) -> list[Got]:
        """The requests that were answered with success."""
        return [got for got in self.got if got.answer in (200, "hints", *ENDLESS)]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer as planned."""
        receiver: HttpReceiver = self.server.receiver  # type: ignore[attr-defined]
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # who sends it died: nobody takes half a request
            self.close_connection = True
            return
        answer = receiver.plan.pop(0) if receiver.plan else 200
        got = Got(path=self.path, headers=dict(self.headers), body=body, answer=answer)
        receiver.got.append(got)
        receiver.on_request(got)
        if answer == "hang":
            receiver.released.wait(60)
        if answer in ("hang", "close"):
            self.close_connection = True
            self.connection.close()
            return
        if answer == "trickle":
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while not receiver.released.wait(0.05):
                self.wfile.write(b"x")
            return
        if answer == "hints":
            for hint in (100, 103, 102, 103):
                self.send_response_only(hint)
                self.send_header("Link", "</style.css>; rel=preload")
                self.end_headers()
            answer = 200
        if answer in ENDLESS:
            self._go_on(receiver, answer)
            return
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        said = receiver.ok if status == 200 else b"no_service"
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(said))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said)

    def _go_on(self, receiver: HttpReceiver, how: str) -> None:
        """A good status, and a body without a good end."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Length", str(MOST_SENT))
        if how == "deep":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        piece = {"drip": b"x", "torn": b"x", "flood": b"x" * 65536, "deep": _deep()}[how]
        while receiver.sent < MOST_SENT and not receiver.released.is_set():
            self.wfile.write(piece)
            receiver.sent += len(piece)
            if how in ("torn", "deep"):
                return
            receiver.released.wait(0.1 if how == "drip" else 0.001)

    do_GET = do_POST  # noqa: N815

    def do_CONNECT(self) -> None:
        """Answer for any host, with the certificate of the proxy."""
        self.send_response(200)
        self.end_headers()
        context: ssl.SSLContext = self.server.receiver.context  # type: ignore[attr-defined]
        with context.wrap_socket(self.connection, server_side=True) as inside:
            self.connection = inside
            self.rfile, self.wfile = inside.makefile("rb"), _Unbuffered(inside)  # type: ignore[assignment]
            self.close_connection = False
            while not self.close_connection:
                self.handle_one_request()
        self.close_connection = True

    def handle_one_request(self) -> None:
        """One request; a client that went away is no error of ours."""
        try:
            super().handle_one_request()
        except (OSError, ValueError):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing."""


@cache
def _deep() -> bytes:
    """1 GiB of zeros, as gzip."""
    press = zlib.compressobj(wbits=31)
    zeros = bytes(1 << 20)
    return b"".join([*(press.compress(zeros) for _ in range(1024)), press.flush()])


class _Unbuffered:
    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self.closed = False

    def write(self, data: bytes) -> None:
        self._connection.sendall(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class SlackProxy(HttpReceiver):
    """A proxy for HTTPS_PROXY; what comes through it is answered as Slack does."""

    def __init__(self, ca: TestCa, *, port: int = 0) -> None:
        super().__init__(ok=b"ok", port=port)
        self.context = ca.server_context("hooks.slack.com")


class MailReceiver:
    """SMTP with STARTTLS and login; `plan` holds replies to the next messages, such as "451 no".

    "hang" doesn't answer to a message, "close" ends the connection after it, "250 close" takes it,
    says so, and ends the connection. Recipients in `refused` are refused; `taken_for` has those of
    each message that was taken.
    """

    def __init__(self, ca: TestCa, *, port: int = 0) -> None:
        self.plan: list[str] = []
        self.got: list[EmailMessage] = []
        self.taken_for: list[list[str]] = []
        self.refused: set[str] = set()
        self.attempts = 0
        self.port = port
        self._context = ca.server_context("localhost")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    async def handle_DATA(  # noqa: N802  (aiosmtpd calls it so)
        self, server: SMTP, _session: Any, envelope: Any
    ) -> str:
        """Take a message, or don't."""
        self.attempts += 1
        answer = self.plan.pop(0) if self.plan else "250 OK"
        if answer == "hang":
            await asyncio.sleep(60)
        if answer == "close":
            server.transport.abort()
        if answer.startswith("250"):
            self.taken_for.append(envelope.rcpt_tos)
            policy = email.policy.default
            self.got.append(email.message_from_bytes(envelope.content, policy=policy))  # type: ignore[arg-type]
        if answer == "250 close":
            self._loop.call_later(0.01, server.transport.abort)  # once the reply is out
        return answer if answer[0].isdigit() else "250 OK"

    async def handle_RCPT(  # noqa: N802  (aiosmtpd calls it so)
        self, _server: SMTP, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        """Know a recipient, or don't."""
        if address in self.refused:
            return "450 mailbox is full"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    def _smtp(self) -> SMTP:
        def login(_server: Any, _session: Any, _envelope: Any, _way: str, data: Any) -> AuthResult:
            right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
            return AuthResult(success=right, handled=False)

        return SMTP(
            self,
            hostname="localhost",
            tls_context=self._context,
            require_starttls=True,
            auth_required=True,
            authenticator=login,
            loop=self._loop,
        )

    def __enter__(self) -> Self:
        self._thread.start()
        serving = self._loop.create_server(self._smtp, "127.0.0.1", self.port)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        async def stop() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class TestCa:
    """A certificate authority for one test; `path` is what clients should trust."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "k6d test CA")])
        certificate = self._certificate(self._name, self._key, ca=True)
        self.path = folder / "ca.pem"
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server_context(self, host: str) -> ssl.SSLContext:
        """What a server for `host`, also at 127.0.0.1, needs."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._certificate(name, key, ca=False, host=host)
        path = self._folder / f"{host}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _certificate(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool, host: str = ""
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=ca, crl_sign=ca, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        ours = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuers = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(ours, critical=False)
            .add_extension(issuers, critical=False)
        )
        if host:
            local = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            names = x509.SubjectAlternativeName([x509.DNSName(host), local])
            serving = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            builder = builder.add_extension(names, critical=False)
            builder = builder.add_extension(serving, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def basic(user: str, password: str) -> str:
    """The Authorization header of HTTP."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
