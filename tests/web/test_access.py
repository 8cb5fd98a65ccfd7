"""Who may do what: token, rebinding, cross-site requests, traversal, size; a real daemon."""

from __future__ import annotations

import http.client
import stat
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from k6d.settings import Api
from k6d.web.access import Access, is_loopback
from support.daemon import hitting
from support.serving import HOSTILE, Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHANGES = [
    ("POST", "/api/v1/test/run", {"script": "export default function () {}"}),
    ("POST", "/api/v1/scripts/run", {"script": "a.js"}),
    ("POST", "/api/v1/scripts/accept", {"script": "a.js"}),
    ("DELETE", "/api/v1/queue/abc", None),
    ("POST", "/scripts/run", None),
    ("POST", "/api/v1/mutes", {"script": "a.js"}),
    ("POST", "/scripts/accept", None),
    ("POST", "/scripts/mute", None),
    ("POST", "/queue/abc/cancel", None),
    ("POST", "/logout", None),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A daemon on loopback."""
    made = Served(tmp_path_factory.mktemp("access"))
    try:
        yield made.start()
    finally:
        made.close()


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_changes_need_the_token(
    served: Served, method: str, path: str, body: dict[str, str] | None
) -> None:
    """Without it, or with a wrong one, nothing runs and nothing changes: 401 and how to get it."""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
        answer = served.ask(method, path, body=body, headers=headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "k6d token" in answer.json["detail"]
    assert served.store.history() == []


def test_the_token_is_its_owners(served: Served) -> None:
    """Made at first start with mode 0600, printed by `k6d token`, never logged."""
    path = served.data / "api-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert served.call("token").stdout.strip() == served.token
    assert len(served.token) >= 32
    assert served.token not in served.log


@pytest.mark.parametrize("damaged", [b"", bytes(44), b"\xff\n"])
def test_a_token_file_that_holds_no_token_is_no_end(tmp_path: Path, damaged: bytes) -> None:
    """Cut off by a full disk, say: a new token is made, and the log says so, without the token."""
    served = Served(tmp_path)
    served.data.mkdir()
    (served.data / "api-token").write_bytes(damaged)
    try:
        served.start()
        assert f"{served.data / 'api-token'} held no token" in served.log
        assert len(served.token) >= 32
        assert served.token not in served.log
        assert served.ask("DELETE", "/api/v1/queue/gone", token=True).status == 404
    finally:
        served.close()


def test_reading_needs_nothing_on_loopback(served: Served) -> None:
    """History, pages and metrics are open to the machine."""
    for path in ("/", "/runs", "/api/v1/test/history", "/metrics", "/openapi.json", "/docs"):
        assert served.get(path).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "192.168.1.7"]
)
def test_rebinding_is_refused(served: Served, host: str) -> None:
    """A name that somebody let point at us is not ours, with the token or without it."""
    for path in ("/", "/api/v1/test/history"):
        assert served.get(path, headers={"Host": host}, token=True).status == 421
    for ours in ("localhost", f"localhost:{served.port}", "127.0.0.1:9", "[::1]:80"):
        assert served.get("/", headers={"Host": ours}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ],
)
def test_cross_site_requests_are_refused(served: Served, headers: dict[str, str]) -> None:
    """A page of another site, or of another port, can make us do nothing and read nothing."""
    body = {"script": hitting("http://127.0.0.1:9/")}
    assert served.post("/api/v1/test/run", body, headers=headers).status == 403
    assert served.get("/api/v1/test/history", headers=headers).status == 403
    own = {"Origin": served.url, "Sec-Fetch-Site": "same-origin"}
    assert served.get("/api/v1/test/history", headers=own).status == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert served.get("/", headers=link).status == 200
    assert served.post("/api/v1/test/run", body, headers=link).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/static/../api/__init__.py",
        "/static/..%2f..%2f..%2fpyproject.toml",
        "/static/%2e%2e/%2e%2e/settings/model.py",
        "/static//etc/passwd",
        "/api/v1/runs/..%2f..%2fapi-token",
        "/api/v1/runs/../../api-token",
        "/api/v1/runs/%2e%2e%2f%2e%2e%2fapi-token/snapshot",
        "/api/v1/test/results/..%2f..%2f..%2fetc%2fpasswd",
        "/runs/..%2f..%2fapi-token",
    ],
)
def test_paths_stay_in_their_folder(served: Served, path: str) -> None:
    """However it is written, a path outside is not found."""
    answer = served.get(path)
    assert answer.status == 404
    assert served.token not in answer.text


@pytest.mark.parametrize("name", ["../escape", "a/b", "..", ".hidden", "x\ny", "é/../../x"])
def test_names_of_one_offs_are_no_paths(served: Served, name: str) -> None:
    """A name with a slash or a leading dot is refused before a file is written."""
    body = {"script": hitting("http://127.0.0.1:9/"), "name": name}
    assert served.post("/api/v1/test/run", body).status == 422
    assert not (served.data / "escape.js").exists()


def test_bodies_are_bounded(served: Served) -> None:
    """A megabyte is the most, announced or in pieces; a malformed length is refused."""
    large = b'{"script": "' + b"x" * 1_100_000 + b'"}'
    head = {"Content-Type": "application/json"}
    assert served.ask("POST", "/api/v1/test/run", raw=large, token=True, headers=head).status == 413
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=120)
    try:
        connection.request(
            "POST",
            "/api/v1/test/run",
            body=(b"x" * 100_000 for _ in range(12)),
            headers=head | {"Authorization": f"Bearer {served.token}"},
            encode_chunked=True,
        )
        assert connection.getresponse().status == 413
    finally:
        connection.close()


def test_every_answer_has_the_policy(served: Served) -> None:
    """Pages, JSON, errors and files: no script, style or frame that is not our own."""
    for path in ("/", "/api/v1/test/history", "/nothing", "/static/live.js", "/metrics"):
        headers = served.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_what_a_request_sends_is_escaped(served: Served) -> None:
    """Names and filters in the address come back as text."""

    for path in (
        "/script?name=",
        "/runs?text=",
        "/login?next=/",
        "/runs?min_error_rate=",
        "/runs/",
    ):
        body = served.get(path + quote(HOSTILE, safe="")).text
        assert "<script>window" not in body
        assert "<img" not in body


def test_login_leads_only_to_our_own_pages(served: Served) -> None:
    """The token makes a session for the browser; another site is no place to go next."""
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    wrong = served.ask("POST", "/login", raw=b"token=wrong", headers=kind)
    assert wrong.status == 403
    assert "set-cookie" not in wrong.headers
    for target, goes in [("/queue", "/queue"), ("//evil.example", "/"), ("https://x", "/")]:
        raw = f"token={served.token}&next={target}".encode()
        answer = served.ask("POST", "/login", raw=raw, headers=kind)
        assert (answer.status, answer.headers["location"]) == (303, goes)
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert served.token not in cookie
    session = cookie.partition(";")[0]
    out = served.ask("POST", "/logout", headers={"Cookie": session})
    assert out.status == 303
    bad = served.ask("POST", "/logout", headers={"Cookie": session[:-1] + "x"})
    assert bad.status == 401


@pytest.mark.parametrize(
    ("referrer", "page"),
    [("URL/script?name=a", "/script?name=a"), ("http://[env]/queue", "/queue"), ("", "/")],
)
def test_who_has_to_log_in_comes_back_to_the_page(served: Served, referrer: str, page: str) -> None:
    """That had the button; an address that is none is no mistake of ours."""
    headers = {"Accept": "text/html", "Referer": referrer.replace("URL", served.url)}
    answer = served.ask("POST", "/scripts/run", headers=headers)
    assert answer.status == 401
    assert f'name="next" value="{page}"' in answer.text


def test_after_the_login_it_does_what_was_asked(served: Served) -> None:
    """The page keeps the fields of the button; the login sends the browser on with them (307).

    An action that is no button of the pages is not done.
    """
    page = {"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"}
    asked = b"script=%3Cb%3E.js&duration=2h"
    answer = served.ask("POST", "/scripts/mute", raw=asked, headers=page)
    assert answer.status == 401
    for field in ('name="do" value="/scripts/mute"', 'name="script" value="&lt;b&gt;.js"'):
        assert field in answer.text
    assert "what you asked for: mute &lt;b&gt;.js for 2h." in answer.text
    given = b"&token=" + served.token.encode()
    for do, expected in (
        (b"/scripts/mute", (307, "/scripts/mute")),
        (b"/queue/1f2e/cancel", (307, "/queue/1f2e/cancel")),
        (b"/logout", (303, "/")),
        (b"//evil.example/scripts/run", (303, "/")),
        (b"/api/v1/mutes", (303, "/")),
    ):
        done = served.ask("POST", "/login", raw=asked + b"&do=" + do + given, headers=page)
        assert (done.status, done.headers["location"]) == expected
    wrong = served.ask("POST", "/login", raw=asked + b"&do=/scripts/mute&token=x", headers=page)
    assert wrong.status == 403
    assert 'name="do" value="/scripts/mute"' in wrong.text
    link = served.get("/login?do=/scripts/mute&script=a.js", headers=page)
    assert 'name="do"' not in link.text


def test_beyond_loopback_everything_needs_the_token(tmp_path: Path) -> None:
    """Bound to all addresses, a reader without the token gets 401, a browser the login page."""
    served = Served(tmp_path / "home")
    try:
        served.start(K6D_API__HOST="0.0.0.0", K6D_API__TOKEN="a token of one's own")
        for path in ("/api/v1/test/history", "/metrics", "/openapi.json", "/api/v1/live"):
            assert served.get(path).status == 401
        mine = {"Authorization": "Bearer a token of one's own"}
        assert served.get("/api/v1/test/history", headers=mine).status == 200
        page = served.get("/runs?text=x", headers={"Accept": "text/html"})
        assert (page.status, page.headers["location"]) == (303, "/login?next=%2Fruns%3Ftext%3Dx")
        assert served.get("/login").status == served.get("/static/style.css").status == 200
        assert served.get("/login", headers={"Host": "evil.example"}).status == 421
        assert not (served.data / "api-token").exists()
    finally:
        served.close()


def test_a_token_that_others_could_read_is_made_its_owners_again(tmp_path: Path) -> None:
    """A file that was copied from somewhere may have lost its mode; the token stays what it was."""
    path = tmp_path / "api-token"
    path.write_text("from a backup\n")
    path.chmod(0o644)
    assert Access.of(Api(), tmp_path).is_token("from a backup")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_names_that_are_ours(tmp_path: Path) -> None:
    """Names of a proxy are settings; IPv6 and any port are understood."""
    access = Access.of(Api(names=["K6d.Example.com"]), tmp_path)
    assert access.refusal("GET", "/", {"host": "k6d.example.com:443"}) is None
    assert access.refusal("GET", "/", {"host": "[::1]:8000"}) is None
    assert access.refusal("GET", "/", {"host": "[::2]:8000"}) is not None
    assert is_loopback("127.0.0.2")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("::")
    assert not is_loopback("example.com")
