"""Tokens of hooks in the store: only hashes are kept, and a damaged entry opens nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from k6d.storage.store import Store
from k6d.web.hook_tokens import MOST_TOKENS, STATE, HookToken, HookTokens

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.now(UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty data folder."""
    return Store(tmp_path / "data")


def test_a_token_is_found_by_its_text_alone(store: Store, tmp_path: Path) -> None:
    """Its text is in no file; a text with another end, or of another token, is nobody's."""
    tokens = HookTokens(store)
    made, text = tokens.create("deploy", ["shop/*"], expires=NOW + timedelta(days=1))
    other, _ = tokens.create("deploy", ["*"], expires=None)
    assert tokens.find(text) == made
    assert text not in "".join(
        path.read_text() for path in (tmp_path / "data/state").glob("*.json")
    )
    wrong = [
        *("", "k6d-hook-", made.digest, made.id, text[:-1], f"{text}x", text.upper(), f" {text}"),
        *(f"{text}\n", text[:-1] + ("A" if text[-1] != "A" else "B")),
        text.replace(made.id, other.id),
        text.replace(made.id, "00000000"),
    ]
    assert [one for one in wrong if tokens.find(one)] == []
    assert (made.may_start("shop/cart.js"), made.may_start("pay.js")) == (True, False)
    assert not made.has_expired(NOW)
    assert made.has_expired(NOW + timedelta(days=1))


def test_a_revoked_token_is_worthless_at_once(store: Store) -> None:
    """Another process knows it, and noting a use does not bring it back."""
    tokens = HookTokens(store)
    made, text = tokens.create("deploy", ["*"], expires=None)
    assert HookTokens(Store(store.run_path(RUN).parents[2])).revoke(made.id)
    assert tokens.find(text) is None
    tokens.note_use(made, NOW)
    assert tokens.all() == []
    assert not tokens.revoke(made.id)


RUN = "20261122-120000-3f9a2c"


@pytest.mark.parametrize(
    "change",
    [
        {"digest": None}, {"digest": ""}, {"scripts": "*"}, {"scripts": None}, {"created": "x"},
        {"expires": "soon"}, {"expires": 1}, {"name": 5},
    ],
)  # fmt: skip
def test_a_damaged_entry_opens_nothing(store: Store, change: dict[str, Any]) -> None:
    """An end that cannot be read is not no end."""
    tokens = HookTokens(store)
    made, text = tokens.create("deploy", ["*"], expires=NOW + timedelta(days=1))
    store.state(STATE).change(made.id, lambda entry: (entry or {}) | change)
    assert tokens.find(text) is None
    store.state(STATE).change(made.id, lambda entry: _without(entry or {}, next(iter(change))))
    assert tokens.find(text) is None


def _without(entry: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != key}


@pytest.mark.parametrize(
    ("name", "scripts", "why"),
    [
        ("a/b", ["*"], "'a/b' cannot name a hook"),
        ("", ["*"], "cannot name a hook"),
        ("deploy", [], "needs the scripts that it may start"),
        ("deploy", [""], "needs the scripts that it may start"),
    ],
)
def test_mistakes_are_named(store: Store, name: str, scripts: list[str], why: str) -> None:
    """A wrong name, and a token that may start nothing."""
    with pytest.raises(ValueError, match=why):
        HookTokens(store).create(name, scripts, expires=None)


def test_there_are_not_ever_more(store: Store) -> None:
    """Above the limit, one has to be revoked first."""
    entry = {"name": "x"}
    store.state(STATE).put_all({f"{n:08x}": entry for n in range(MOST_TOKENS)})
    with pytest.raises(ValueError, match="revoke one first"):
        HookTokens(store).create("deploy", ["*"], expires=None)


def test_a_use_brings_no_revoked_token_back(store: Store) -> None:
    """A person revokes it in another process while a request notes its use."""
    other = HookTokens(Store(store.run_path(RUN).parents[2]))
    tokens = HookTokens(store)
    with ThreadPoolExecutor(1) as beside:
        for _ in range(30):
            made, _text = tokens.create("deploy", ["shop/*"], expires=None)
            barrier = Barrier(2)

            def note(token: HookToken = made, together: Barrier = barrier) -> None:
                together.wait(10)
                tokens.note_use(token, NOW)

            noted = beside.submit(note)
            barrier.wait(10)
            assert other.revoke(made.id)
            noted.result(10)
            assert HookTokens(store).all() == []
