"""Decides which requests are allowed: by the token, the host name and the page that sends them.

On loopback, reading needs no token; every request that runs or changes something needs it. On any
other address, all requests need it. The checks against other web pages (Host for DNS rebinding,
Origin and Sec-Fetch-Site for cross-site requests) apply to all requests.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

from k6d.core.frozen import frozen
from k6d.web.token import make_token

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from k6d.settings import Api

# Keys of an ASGI scope: the path of a button that was pressed without a login, and its page.
ASKED, FROM = "k6d.asked", "k6d.from"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# A browser needs these paths before it has a token.
PUBLIC = ("/login", "/static/")
# The health check of containers and orchestrators; it reveals only whether k6 can be started.
HEALTH = "/health"
# Hooks have tokens of their own, which open nothing else.
HOOKS = "/api/v1/hooks/"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@frozen
class Refusal:
    """The reason for refusing a request; `login` is set if a token would be accepted."""

    status: int
    detail: str
    login: bool = False


@frozen
class Access:
    """The access rules of one server."""

    token: str
    loopback: bool
    names: frozenset[str]
    cookie: str
    origins: frozenset[str] = frozenset()

    @classmethod
    def of(cls, api: Api, data: Path) -> Access:
        """Return the rules for these settings; makes the token if there is none."""
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
        """Return why the request is refused, or None; `headers` have lower-case names."""
        host = headers.get("host", "")
        if not self._is_known_host(host):
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
        if method == "POST" and path.startswith(HOOKS):
            return None  # the route asks for the token of the hook
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
        """Return whether the request comes from a page of an origin in `api.origins`."""
        origin = headers.get("origin", "")
        ours = origin.partition("://")[2].lower() == headers.get("host", "").lower()
        return origin in self.origins and not ours

    def has_token(self, headers: Mapping[str, str]) -> bool:
        """Return whether the request itself carries the token; a session does not count."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_token(given.strip())

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Return whether the request carries the token or the session of a login."""
        if self.has_token(headers):
            return True
        session = _cookies(headers.get("cookie", "")).get(self.cookie, "")
        return hmac.compare_digest(session.encode(), self.session().encode())

    def is_token(self, given: str) -> bool:
        """Return whether this is the token; takes the same time for every answer."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def session(self) -> str:
        """Return the value that a browser stores for a login; a new token ends all sessions."""
        return hmac.new(self.token.encode(), b"k6d session 1", "sha256").hexdigest()

    def _is_known_host(self, host: str) -> bool:
        name = _name(host)
        if name in self.names:
            return True
        # A URL with an address needs no DNS lookup, so DNS rebinding is impossible.
        return not self.loopback and _address(name) is not None


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address."""
    address = _address(host.strip("[]"))
    return host == "localhost" if address is None else address.is_loopback


def _same_site(method: str, host: str, headers: Mapping[str, str]) -> bool:
    """Return whether the request comes from k6d's own pages or no page, or only opens a page."""
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return False
    if headers.get("sec-fetch-site") in (None, "same-origin", "none"):
        return True
    return method in SAFE and headers.get("sec-fetch-mode") == "navigate"


def _name(host: str) -> str:
    """Return the name in a Host header without the port, which differs behind a tunnel."""
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
