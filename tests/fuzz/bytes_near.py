"""Bytes that are nearly right: what is right, packed by hand, with a few bytes changed, left out or doubled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st

pack = msgspec.msgpack.encode
ODD_BYTES = b"\x00\x01\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc4\xc7\xca\xcb\xcc\xcf\xd0\xd3\xd9\xdb\xdc\xdd\xdf\xe0\xff"
INTEGERS = st.sampled_from(
    [-(2**63), -1, 0, 1, 2, 3, 255, 2**31, 2**32 - 1, 2**32, 2**53 - 1, 2**53, 2**63 - 1, 2**64 - 1]
)
NUMBERS: st.SearchStrategy[Any] = INTEGERS | st.floats()
TEXTS = st.text(st.characters(codec=None), max_size=20).map(lambda text: text.encode("utf-8", "replace").decode())
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=10) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)
CHANGES = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=4),
        st.sampled_from(ODD_BYTES),
    ),
    max_size=4,
)


def changed(data: bytes, changes: Sequence[tuple[int, float, bytes, int]]) -> bytes:
    """The data with these changes, each at its share of the length."""
    made = bytearray(data)
    for how, share, some, odd in changes:
        at = int(share * (len(made) + 1))
        match how:
            case 0:
                made[at:at] = some
            case 1:
                del made[at : at + len(some)]
            case 2:
                made[at : at + 1] = bytes([odd])
            case _:
                made[at:at] = made[at : at + 8]
    return bytes(made)


def near(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """These values as msgpack, with changes."""
    return st.builds(changed, values.map(pack), CHANGES)
