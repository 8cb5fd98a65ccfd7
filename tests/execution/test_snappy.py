"""Blocks of snappy are unpacked as by a library."""

from __future__ import annotations

import random

import cramjam
import pytest

from k6d.execution.snappy import unpacked

MOST = 1 << 20


def _contents(seed: int) -> bytes:
    """Bytes that a compressor finds repetitions in, near and far, and some that it does not."""
    chance = random.Random(seed)
    words = [chance.randbytes(chance.randint(1, 90)) for _ in range(12)]
    parts = [
        chance.choice([*words, b"\0" * chance.randint(1, 200), chance.randbytes(40)])
        for _ in range(chance.randint(0, 3000))
    ]
    return b"".join(parts)


def _by_library(block: bytes) -> bytes | None:
    try:
        if cramjam.snappy.decompress_raw_len(block) > MOST:
            return None
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError:
        return None


def _by_us(block: bytes) -> bytes | None:
    try:
        return unpacked(block, most=MOST)
    except ValueError:
        return None


@pytest.mark.parametrize("seed", range(12))
def test_a_block_is_unpacked(seed: int) -> None:
    """Literals and copies of all lengths, also overlapping ones, up to 100 KiB."""
    contents = _contents(seed)
    assert unpacked(bytes(cramjam.snappy.compress_raw(contents)), most=MOST) == contents


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_block_is_told_as_by_the_library(seed: int) -> None:
    """Cut, extended or with other bytes: both refuse it, or give the same."""
    chance = random.Random(seed)
    block = bytes(cramjam.snappy.compress_raw(_contents(seed)[:500]))
    for _ in range(300):
        damaged = bytearray(block)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        cut = bytes(
            damaged[: chance.randint(0, len(damaged))] if chance.random() < 0.3 else damaged
        )
        assert _by_us(cut) == _by_library(cut), cut.hex()


def test_a_block_that_announces_too_much_is_refused() -> None:
    """It is not unpacked at all."""
    with pytest.raises(ValueError, match="announces 4294967295 bytes"):
        unpacked(b"\xff\xff\xff\xff\x0f\0", most=MOST)
