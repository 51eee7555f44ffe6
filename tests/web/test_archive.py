"""The store of whole states: what comes out is what went in, and it never takes more than it may."""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dp_coordinator.web.archive import BYTES_AT_MOST, CHUNK_RANKS, CHUNK_STATES, KEEP_S, Archive

TEXTS = st.recursive(
    st.none() | st.integers() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=4), max_leaves=8
)
ADDED = st.tuples(TEXTS, st.integers(1, 3 * CHUNK_RANKS), st.floats(0, 700))


def held(archive: Archive) -> list[tuple[float, Any]]:
    """Every state that is in there, with its time."""
    return [
        (at, state)
        for chunk in archive.chunks()
        for at, state in zip(chunk.at, json.loads(b"[%b]" % chunk.texts()), strict=True)
    ]


@given(st.lists(ADDED, max_size=200))
@settings(deadline=None)
def test_what_comes_out_is_the_newest_hour_of_what_went_in(added: list[tuple[Any, int, float]]) -> None:
    archive, put, now = Archive(), [], 0.0
    for value, ranks, later in added:
        now += later
        archive.add(json.dumps(value).encode(), ranks, now)
        put.append((now, value))
    got = held(archive)
    assert got == put[len(put) - len(got) :]
    assert {at for at, _ in put if at >= now - KEEP_S} <= {at for at, _ in got}
    for chunk in archive.chunks():
        assert 1 <= len(chunk.at) <= CHUNK_STATES


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=60), st.integers(0, 20_000))
@settings(deadline=None)
def test_it_takes_no_more_bytes_than_it_may(sizes: list[int], most: int) -> None:
    archive = Archive(most)
    for number, size in enumerate(sizes):
        archive.add(json.dumps(os.urandom(size).hex()).encode(), CHUNK_RANKS // 2, float(number))
        # Always there: the newest chunk, here of one or two states of at most 3,000 random bytes.
        assert archive.size <= max(most, 2 * 3100)
        assert held(archive)[-1][0] == number


def test_a_chunk_ends_when_it_holds_many_states_or_many_ranks() -> None:
    archive = Archive()
    for second in range(150):
        archive.add(b"{}", 1, float(second))
    assert [len(chunk.at) for chunk in archive.chunks()] == [60, 60, 30]
    archive.clear()
    assert (archive.chunks(), archive.size) == ([], 0)
    for second in range(5):
        archive.add(b"{}", 16_384, float(second))
    archive.add(b"{}", 1, 5.0)
    archive.add(b"{}", CHUNK_RANKS + 1, 6.0)
    archive.add(b"{}", 1, 7.0)
    assert [len(chunk.at) for chunk in archive.chunks()] == [4, 2, 1, 1]


def test_an_hour_of_silence_costs_little_and_is_there() -> None:
    archive = Archive()
    text = json.dumps({"engines": {"running": list(range(64))}}).encode()
    for second in range(2 * 3600):
        assert archive.due(float(second))
        archive.add(text, 64, float(second))
        assert not archive.due(second + 0.9)
    assert 3600 <= len(held(archive)) <= 3600 + CHUNK_STATES
    assert archive.size < 60_000 < BYTES_AT_MOST
