"""Any bytes on a socket: an event, or a refusal that says why in a line that can be shown. Nothing else ever."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from dp_coordinator.client.errors import ClientError
from dp_coordinator.core.events import EngineStatsReported, Event
from dp_coordinator.texts import AT_MOST, is_plain
from dp_coordinator.wire.client import FrameError, decode_publication, decode_start
from dp_coordinator.wire.coordinator import (
    BadFieldsError,
    BadFrameError,
    front_end_event,
    sender_index,
)
from tests.fuzz.bytes_near import ANYTHING, NUMBERS, TEXTS, near
from tests.fuzz.effort import effort
from tests.wire.outputs import engine_events

STATS = st.dictionaries(
    st.sampled_from(["num_waiting_reqs", "num_running_reqs", "step_counter", "current_wave", "kv_cache_usage"]) | TEXTS,
    NUMBERS | ANYTHING,
)
OUTPUTS = st.tuples(
    NUMBERS, ANYTHING, STATS | ANYTHING, NUMBERS, ANYTHING, ANYTHING, NUMBERS | ANYTHING, NUMBERS | ANYTHING
)
ENGINE_FRAMES = near(OUTPUTS | OUTPUTS.map(lambda whole: whole[:3]) | ANYTHING) | st.binary(max_size=60)
FRONT_END_FRAMES = near(
    st.tuples(NUMBERS | st.binary(max_size=3) | TEXTS | st.just("SCALE_ELASTIC_EP"), NUMBERS) | ANYTHING
) | st.binary(max_size=30)


def sound(event: Event) -> None:
    """What the core is given can be counted on, told as JSON, and packed again."""
    for name in event.__slots__:
        value = getattr(event, name)
        assert value is None or 0 <= value < 2**53, (event, name)
    msgspec.json.encode(event)
    msgspec.msgpack.encode(event)


def refused(error: Exception) -> None:
    assert is_plain(str(error))
    assert len(str(error)) <= AT_MOST


@effort(250)
@given(ENGINE_FRAMES)
def test_frames_of_engines(frame: bytes) -> None:
    index = sender_index(frame)
    assert index is None or 0 <= index < 2**16
    try:
        events = engine_events(frame)
    except BadFieldsError as error:
        refused(error)
        events = [*error.events(None), *error.events(EngineStatsReported(error.engine_index, 1, 2, 0.5, 3, 4))]
    except BadFrameError as error:
        return refused(error)
    for event in events:
        sound(event)
    return None


@effort(250)
@given(FRONT_END_FRAMES, st.integers(1, 16_384))
def test_frames_of_front_ends(frame: bytes, engine_count: int) -> None:
    try:
        sound(front_end_event(frame, engine_count))
    except BadFrameError as error:
        refused(error)


PUBLICATIONS: st.SearchStrategy[Any] = st.tuples(
    st.none() | st.lists(st.lists(NUMBERS, max_size=4), max_size=4) | ANYTHING, NUMBERS | ANYTHING, st.booleans()
)


@effort(200)
@given(near(PUBLICATIONS | ANYTHING) | st.binary(max_size=40))
def test_publications_as_clients_read_them(frame: bytes) -> None:
    for read in (lambda: decode_publication(frame), lambda: decode_start([b"\x02", frame])):
        try:
            read()
        except (FrameError, ClientError) as error:
            str(error)
