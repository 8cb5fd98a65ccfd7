"""`@frozen` gives what `@dataclass(frozen=True, slots=True, kw_only=True)` gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

import orjson
import pytest

from k6d.core.frozen import frozen


@frozen
class Point:
    x: int
    y: list[int] = field(default_factory=list)
    at: str = field(default="", compare=False)
    hidden: str = field(default="", repr=False)


@frozen
class Secret:
    value: str

    def __repr__(self) -> str:
        return "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    x: int
    y: tuple[int, ...] = ()


@frozen
class Same:
    x: int
    y: tuple[int, ...] = ()


def test_values_are_equal_by_their_fields() -> None:
    assert Point(x=1, y=[2], at="a") == Point(x=1, y=[2], at="b")
    assert Point(x=1) != Point(x=2)
    assert Same(x=1) != Plain(x=1)
    assert Same(x=1) != 1
    assert {Same(x=1): "one"}[Same(x=1)] == "one"
    assert hash(Same(x=1, y=(2,))) == hash(Plain(x=1, y=(2,)))


def test_their_text_is_that_of_a_dataclass() -> None:
    assert repr(Same(x=1, y=(2,))) == repr(Plain(x=1, y=(2,))).replace("Plain", "Same")
    assert "hidden" not in repr(Point(x=1, hidden="a word"))
    assert repr(Secret(value="a word")) == "***"


def test_libraries_take_them_for_dataclasses() -> None:
    assert replace(Same(x=1), x=2) == Same(x=2)
    assert asdict(Same(x=1)) == {"x": 1, "y": ()}
    assert orjson.dumps(Same(x=1, y=(2,))) == b'{"x":1,"y":[2]}'


def test_they_have_slots_and_keywords_only() -> None:
    with pytest.raises(AttributeError):
        object.__setattr__(Same(x=1), "z", 1)
    with pytest.raises(TypeError):
        Same(1)  # type: ignore[misc]
