"""Mutes: their ends, their patterns, and what is no duration."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from k6d.alerts.mutes import Mutes
from k6d.storage.store import Store


def test_a_mute_ends_by_itself_or_by_0s(tmp_path: Path) -> None:
    """It covers the scripts of its pattern until its end."""
    mutes, now = Mutes(Store(tmp_path)), datetime.now(UTC)
    end = mutes.put("shop/*", "2h")
    assert end is not None
    assert timedelta(hours=2) <= end - now < timedelta(hours=2, minutes=5)
    assert mutes.active(now) == mutes.of("shop/cart.js", now) == {"shop/*": end}
    assert mutes.of("blog.js", now) == {}
    assert mutes.active(end) == {}
    assert mutes.put("shop/*", "0s") is None
    assert mutes.active(now) == {}


@pytest.mark.parametrize(
    ("duration", "why"),
    [*(("soon", "should be such as"), ("", "should be such as"), ("400d", "a year at most"))],
)
def test_what_is_no_duration(tmp_path: Path, duration: str, why: str) -> None:
    """The error says what is allowed, and nothing is muted."""
    mutes = Mutes(Store(tmp_path))
    with pytest.raises(ValueError, match=why):
        mutes.put("a.js", duration)
    with pytest.raises(ValueError, match="should be such as"):
        mutes.put("\udc80.js", "1h")
    assert mutes.active(datetime.now(UTC)) == {}
