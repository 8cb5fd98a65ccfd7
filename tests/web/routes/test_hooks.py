"""Hooks, attacked: a token starts its scripts and does nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from k6d.storage.marks import marks, put
from k6d.web.hook_tokens import HookTokens
from support.daemon import hitting
from support.serving import Answer, Served
from support.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

HOOK = "/api/v1/hooks/deploy"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A daemon with two scripts of the shop, one helper module and one other script."""
    made = Served(tmp_path_factory.mktemp("hooks"))
    with Target() as target:
        made.write("shop/cart.js", hitting(f"{target.url}/cart"))
        made.write("shop/pay.js", hitting(f"{target.url}/pay"))
        made.write(
            "shop/lib.js", "import http from 'k6/http'; export const f = () => http.get('x');"
        )
        made.write("other.js", hitting(f"{target.url}/other"))
        try:
            made.start()
            for script in ("shop/cart.js", "shop/pay.js", "other.js"):
                made.run(script)
            made.barrier()
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def token(house: Served) -> str:
    """The token of the hook, as a person makes it."""
    done = house.call("token", "create", "deploy", "--script", "shop/*", "--json")
    assert done.returncode == 0, done.stderr
    text: str = json.loads(done.stdout)["token"]
    return text


def _call(
    house: Served, token: str, body: Any = None, *, method: str = "POST", path: str = HOOK
) -> Answer:
    return house.ask(method, path, body=body, headers={"Authorization": f"Bearer {token}"})


def test_an_event_starts_its_scripts_and_marks_the_moment(house: Served, token: str) -> None:
    """All tests that the token covers, no helper module and no other script; tags go along."""
    body = {"mark": {"text": "checkout 2.14"}, "tags": {"release": "2.14"}}
    answer = _call(house, token, body)
    assert answer.status == 202, answer.text
    assert [job["script"] for job in answer.json["jobs"]] == ["shop/cart.js", "shop/pay.js"]
    run = house.run("shop/pay.js", 2)
    assert (run.trigger, run.tags) == ("event", {"release": "2.14"})
    house.run("shop/cart.js", 2)
    house.barrier()
    assert house.counts()["other.js"] == 1
    (mark,) = marks(house.store)
    assert (mark.text, mark.script, mark.at <= run.timestamp) == ("checkout 2.14", "shop/*", True)
    one = _call(house, token, {"scripts": ["shop/cart.js"]})
    assert [job["script"] for job in one.json["jobs"]] == ["shop/cart.js"]
    house.run("shop/cart.js", 3)
    listed = house.call("token", "list").stdout
    assert ("deploy  shop/*" in listed, "used 20" in listed, token in listed) == (True, True, False)


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ({"scripts": ["other.js"]}, 403, "may not start 'other.js'"),
        ({"scripts": ["shop/../other.js"]}, 404, "no script 'shop/../other.js'"),
        ({"scripts": ["shop/lib.js"]}, 404, "no script 'shop/lib.js'"),
        ({"scripts": ["shop/gone.js"]}, 404, "no script 'shop/gone.js'"),
        ({"options": {"vus": 1000}}, 422, "options"),
        ({"script": "import http"}, 422, "script"),
        ({"tags": {"a b": "1"}}, 422, "cannot name a tag"),
        ({"mark": {"text": "x", "script": "*"}}, 202, ""),
        ({"mark": {"text": " "}}, 422, "mark.text"),
        ({"mark": {"text": "x" * 201}}, 422, "mark"),
        ([], 422, ""),
    ],
)
def test_what_an_event_may_not_ask_for(
    house: Served, token: str, body: Any, status: int, why: str
) -> None:
    """Each is refused with one line; a mark is always for the scripts of the token."""
    before = house.counts()["other.js"]
    answer = _call(house, token, body)
    assert (answer.status, why in answer.text) == (status, True), answer.text
    assert {mark.script for mark in marks(house.store)} == {"shop/*"}
    assert house.counts()["other.js"] == before


ELSEWHERE = [
    ("POST", "/api/v1/scripts/run"), ("POST", "/api/v1/test/run"), ("POST", "/api/v1/mutes"),
    ("POST", "/api/v1/marks"), ("POST", "/api/v1/scripts/accept"), ("POST", "/api/v1/pins"),
    ("GET", "/api/v1/settings"), ("DELETE", "/api/v1/runs/20261122-120000-3f9a2c"),
    ("POST", "/api/v1/scripts/disable"), ("POST", "/api/v1/incidents/acknowledge"),
    ("DELETE", "/api/v1/queue/x"), ("POST", "/scripts/run"), ("POST", "/api/v1/hooks/../marks"),
    ("POST", "/api/v1/hooks/%2e%2e/marks"), ("POST", "/api/v1/hooks/..%2fmarks"),
    ("POST", "/api/v1/hooks//api/v1/marks"), ("POST", "/api/v1/hooks/deploy/../../marks"),
    ("POST", "//api/v1/hooks/deploy"), ("PUT", HOOK), ("DELETE", HOOK), ("POST", "/api/v1/hooks/"),
    ("POST", "/api/v1/hooks/other"), ("POST", "/api/v1/hooks/deploy%00"),
    ("POST", "/API/v1/hooks/deploy"), ("POST", "/api/v1/hooks/Deploy"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ELSEWHERE)
def test_the_token_opens_nothing_else(house: Served, token: str, method: str, path: str) -> None:
    """Other routes, other hooks, and paths that lead from a hook to somewhere else."""
    body = {"script": "other.js", "text": "x", "run": "latest", "duration": "1h"}
    answer = _call(house, token, body, method=method, path=path)
    assert answer.status in (401, 404, 405), answer.text
    assert house.counts()["other.js"] == 1
    assert "x" not in [mark.text for mark in marks(house.store) if mark.script == "*"]


def test_the_hook_takes_no_other_token(house: Served, token: str) -> None:
    """None, a wrong one, the API's, one in another place, an expired and a revoked one."""
    for given in ("", "x", house.token, f"{token[:-1]}!", token.replace("k6d-hook", "k6d")):
        assert _call(house, given).status == 401
    assert house.ask("POST", HOOK, body={}).status == 401
    assert house.ask("POST", f"{HOOK}?token={token}", body={}).status == 401
    basic = house.ask("POST", HOOK, body={}, headers={"Authorization": f"Basic {token}"})
    assert basic.status == 401
    tokens = HookTokens(house.store)
    past = datetime.now(UTC) - timedelta(seconds=1)
    _, expired = tokens.create("deploy", ["*"], expires=past)
    answer = _call(house, expired)
    assert (answer.status, "expired at" in answer.text) == (401, True)
    made, text = tokens.create("deploy", ["other.js"], expires=None)
    revoked = house.call("token", "revoke", made.id)
    assert revoked.stdout == f"token {made.id} is revoked\n"
    assert _call(house, text).status == 401
    assert house.counts()["other.js"] == 1


def test_a_page_of_another_site_cannot_use_it(house: Served, token: str) -> None:
    """The checks of Host and Origin hold for hooks, too; so does the limit of the body."""
    bearer = {"Authorization": f"Bearer {token}"}
    for headers, status in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 421),
    ):
        assert house.ask("POST", HOOK, body={}, headers=bearer | headers).status == status
    large = orjson.dumps({"mark": {"text": "x" * 2_000_000}})
    assert house.ask("POST", HOOK, raw=large, headers=bearer).status == 413


def test_disabled_scripts_are_not_started(house: Served, token: str) -> None:
    """A person decided so; the hook starts the others."""
    house.call("disable", "shop/cart.js")
    answer = _call(house, token, {})
    assert [job["script"] for job in answer.json["jobs"]] == ["shop/pay.js"]
    assert _call(house, token, {"scripts": ["shop/cart.js"]}).status == 404
    house.call("enable", "shop/cart.js")


def test_marks_of_hooks_are_limited(house: Served, token: str) -> None:
    """A token cannot displace the marks of others by thousands of its own, dated back or not."""
    for number in range(50):
        put(f"m{number}", house.store, at=datetime.now(UTC) - timedelta(days=2), script="shop/*")
    answer = _call(house, token, {"mark": {"text": "one more"}})
    assert (answer.status, "in the last hour" in answer.text) == (429, True)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("create",), "name the hook, such as deploy"),
        (("create", "deploy"), "needs the scripts that it may start"),
        (("create", "a/b", "--script", "*"), "'a/b' cannot name a hook"),
        (("create", "deploy", "--script", "*", "--expires", "soon"), "should be such as 90d"),
        (("revoke", "x"), "there is no token 'x'"),
        (("make",), "should be create, list or revoke"),
    ],
)
def test_mistakes_in_the_terminal(house: Served, words: tuple[str, ...], why: str) -> None:
    """One line each, and no token is made."""
    before = len(HookTokens(house.store).all())
    done = house.call("token", *words)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert why in line
    assert len(HookTokens(house.store).all()) == before
