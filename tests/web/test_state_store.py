"""The store of whole states: what comes out is what went in, and it never takes more than it may."""

from __future__ import annotations

import json
import os
import zlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dp_coordinator.web.past import BYTES_AT_MOST, CHUNK_RANKS, CHUNK_STATES, LONGEST_S, StateStore

TEXTS = st.recursive(
    st.none() | st.integers() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=4), max_leaves=8
)
ADDED = st.tuples(TEXTS, st.integers(1, 3 * CHUNK_RANKS), st.floats(0, 700))


def held(store: StateStore) -> list[tuple[float, Any]]:
    """Every state that is in there, with its time."""
    return [
        (at, state)
        for chunk in store.chunks()
        for at, state in zip(chunk.at, json.loads(b"[%b]" % zlib.decompress(chunk.packed)), strict=True)
    ]


@given(st.lists(ADDED, max_size=200))
@settings(deadline=None)
def test_what_comes_out_is_the_newest_hour_of_what_went_in(added: list[tuple[Any, int, float]]) -> None:
    store, put, now = StateStore(), [], 0.0
    for value, ranks, later in added:
        now += later
        store.add(json.dumps(value).encode(), ranks, now)
        put.append((now, value))
    got = held(store)
    assert got == put[len(put) - len(got) :]
    assert {at for at, _ in put if at >= now - LONGEST_S} <= {at for at, _ in got}
    for chunk in store.chunks():
        assert 1 <= len(chunk.at) <= CHUNK_STATES


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=60), st.integers(0, 20_000))
@settings(deadline=None)
def test_it_takes_no_more_bytes_than_it_may(sizes: list[int], most: int) -> None:
    store = StateStore(most)
    for number, size in enumerate(sizes):
        store.add(json.dumps(os.urandom(size).hex()).encode(), CHUNK_RANKS // 2, float(number))
        # Always there: the newest chunk, here of one or two states of at most 3,000 random bytes.
        assert store.size <= max(most, 2 * 3100)
        assert held(store)[-1][0] == number


def test_a_chunk_ends_when_it_holds_many_states_or_many_ranks() -> None:
    store = StateStore()
    for second in range(150):
        store.add(b"{}", 1, float(second))
    assert [len(chunk.at) for chunk in store.chunks()] == [60, 60, 30]
    store = StateStore()
    assert (store.chunks(), store.size) == ([], 0)
    for second in range(5):
        store.add(b"{}", 16_384, float(second))
    store.add(b"{}", 1, 5.0)
    store.add(b"{}", CHUNK_RANKS + 1, 6.0)
    store.add(b"{}", 1, 7.0)
    assert [len(chunk.at) for chunk in store.chunks()] == [4, 2, 1, 1]


def test_an_hour_of_silence_costs_little_and_is_there() -> None:
    store = StateStore()
    text = json.dumps({"engines": {"running": list(range(64))}}).encode()
    for second in range(2 * 3600):
        assert store.due(float(second))
        store.add(text, 64, float(second))
        assert not store.due(second + 0.9)
    assert 3600 <= len(held(store)) <= 3600 + CHUNK_STATES
    assert store.size < 60_000 < BYTES_AT_MOST
