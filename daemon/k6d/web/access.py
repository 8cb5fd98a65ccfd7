"""Who may do what: the token, and by which names and from which pages we may be asked.

Reading needs nothing on loopback, whatever runs or changes something needs the token; bound to
another address, everything does. The checks against other web pages (Host for DNS rebinding, Origin
and Sec-Fetch-Site for cross-site requests) hold for everybody.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

from k6d.web.token import make_token

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from k6d.settings import Api

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# What a browser needs before anybody has shown a token.
PUBLIC = ("/login", "/static/")
# What containers and orchestrators ask for again and again; it tells nothing but whether k6 runs.
HEALTH = "/health"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request goes no further; `login` when a token would help."""

    status: int
    detail: str
    login: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The rules for one server."""

    token: str
    loopback: bool
    names: frozenset[str]
    cookie: str
    origins: frozenset[str] = frozenset()

    @classmethod
    def of(cls, api: Api, data: Path) -> Access:
        """The rules that follow from the settings; makes the token if there is none yet."""
        own = {socket.gethostname().lower(), socket.getfqdn().lower()}
        loopback = is_loopback(api.host)
        return cls(
            token=api.token.get_secret_value() if api.token else make_token(data),
            loopback=loopback,
            names=frozenset(
                {
                    *LOOPBACK_NAMES,
                    api.host.strip("[]").lower(),
                    *(host.lower() for host in api.names),
                    *(() if loopback else own),
                }
            ),
            cookie=f"k6d-{api.port}",
            origins=frozenset(api.origins),
        )

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
        """None when the request may go on; `headers` by lower-case names."""
        host = headers.get("host", "")
        if not self._ours(host):
            return Refusal(
                status=421,
                detail=f"k6d does not answer to the name {_name(host)[:100]!a}; use its address, "
                "or add the name to the setting api.names (K6D_API__NAMES)",
            )
        if self.is_named_page(headers):
            if self.has_token(headers):
                return None
            return Refusal(
                status=401,
                detail="a page of another origin needs the token for every request: "
                "Authorization: Bearer …; 'k6d token' prints it",
            )
        if not _same_site(method, host, headers):
            return Refusal(
                status=403,
                detail="requests from pages of other sites are refused; the setting api.origins "
                "(K6D_API__ORIGINS) names those that may call with the token",
            )
        reading = method in SAFE and (self.loopback or path == HEALTH)
        if reading or path.startswith(PUBLIC) or self.knows(headers):
            return None
        what = "this" if method in SAFE else "to run or change something"
        return Refusal(
            status=401,
            detail=f"{what} needs the token: Authorization: Bearer …; 'k6d token' prints it",
            login=True,
        )

    def is_named_page(self, headers: Mapping[str, str]) -> bool:
        """Whether a page of another origin, which `api.origins` names, sends the request."""
        origin = headers.get("origin", "")
        ours = origin.partition("://")[2].lower() == headers.get("host", "").lower()
        return origin in self.origins and not ours

    def has_token(self, headers: Mapping[str, str]) -> bool:
        """Whether the request itself carries the token; a session does not count."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_token(given.strip())

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether the request carries the token, or the session that a login made of it."""
        if self.has_token(headers):
            return True
        session = _cookies(headers.get("cookie", "")).get(self.cookie, "")
        return hmac.compare_digest(session.encode(), self.session().encode())

    def is_token(self, given: str) -> bool:
        """Whether this is the token; takes as long either way."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def session(self) -> str:
        """What a browser keeps instead of the token; another token ends all sessions."""
        return hmac.new(self.token.encode(), b"k6d session 1", "sha256").hexdigest()

    def _ours(self, host: str) -> bool:
        name = _name(host)
        if name in self.names:
            return True
        # With an address in the URL no name was looked up, so none was rebound.
        return not self.loopback and _address(name) is not None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to listen on."""
    address = _address(host.strip("[]"))
    return host == "localhost" if address is None else address.is_loopback


def _same_site(method: str, host: str, headers: Mapping[str, str]) -> bool:
    """Whether the request comes from our own pages, from no page at all, or just opens one."""
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return False
    if headers.get("sec-fetch-site") in (None, "same-origin", "none"):
        return True
    return method in SAFE and headers.get("sec-fetch-mode") == "navigate"


def _name(host: str) -> str:
    """The host of a Host header, without the port: a tunnel may have another one."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _cookies(header: str) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}
