"""Decoding is tolerant and total, encoding exact."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_coordinator.core.dialect import Dialect
from dp_coordinator.core.events import (
    EngineCountChanged,
    EngineStatsReported,
    Event,
    NewRequestNotified,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.wire.coordinator import (
    MAX_FRAME,
    MAX_NOTICE,
    BadFieldsError,
    BadFrameError,
    encode_load,
    encode_start,
    encode_wave_state,
    front_end_event,
    read_outputs,
    sender_index,
)
from tests.wire.outputs import engine_events
from tests.wire.recordings import samples

pack = msgspec.msgpack.encode
V28, V33, V16 = (Dialect.for_version(v) for v in ("0.28", "0.33", "0.16"))


@pytest.mark.parametrize(("frames", "decoded"), samples("engine_stats"))
def test_recorded_stats(frames: tuple[bytes, ...], decoded: Any) -> None:
    (event,) = engine_events(frames[0])
    stats = decoded[2]
    assert event == EngineStatsReported(
        decoded[0],
        stats["num_waiting_reqs"],
        stats["num_running_reqs"],
        stats["kv_cache_usage"],
        stats["step_counter"],
        stats["current_wave"],
    )


@pytest.mark.parametrize(("frames", "decoded"), samples("engine_wave_complete"))
def test_recorded_wave_complete(frames: tuple[bytes, ...], decoded: Any) -> None:
    assert list(engine_events(frames[0])) == [WaveCompleted(decoded[0], decoded[6])]


@pytest.mark.parametrize(("frames", "decoded"), samples("engine_start_wave"))
def test_recorded_start_wave(frames: tuple[bytes, ...], decoded: Any) -> None:
    assert list(engine_events(frames[0])) == [StartWaveRequested(decoded[0], decoded[7])]


@pytest.mark.parametrize(("frames", "decoded"), samples("front_first_req:bytes") + samples("front_first_req:int"))
def test_recorded_notices(frames: tuple[bytes, ...], decoded: Any) -> None:
    engine = decoded[0]
    if isinstance(engine, dict):
        engine = int.from_bytes(bytes.fromhex(engine["__bytes__"]), "little")
    assert front_end_event(frames[0], 4) == NewRequestNotified(engine, decoded[1])


@pytest.mark.parametrize(("frames", "decoded"), samples("START_DP_WAVE:exclude_int"))
def test_recorded_starts_are_encoded_to_the_byte(frames: tuple[bytes, ...], decoded: Any) -> None:
    assert tuple(encode_start(*decoded[1])) == frames


@pytest.mark.parametrize(("frames", "decoded"), samples("front_publish_wave_state"))
def test_recorded_announcements_are_encoded_to_the_byte(frames: tuple[bytes, ...], decoded: Any) -> None:
    assert encode_wave_state(*decoded[1:]) == frames[0]


@pytest.mark.parametrize(("frames", "decoded"), samples("front_publish_counts"))
def test_recorded_loads_are_encoded_to_the_byte(frames: tuple[bytes, ...], decoded: Any) -> None:
    counts, wave, running = decoded
    assert encode_load([tuple(c) for c in counts], wave, running, V28) == frames[0]


def test_before_0_27_counts_have_two_numbers() -> None:
    assert msgspec.msgpack.decode(encode_load([(1, 2, 0.5)], 3, True, V16)) == [[[1, 2]], 3, True]


STATS = {"num_waiting_reqs": 1, "num_running_reqs": 2, "step_counter": 3, "current_wave": 4, "kv_cache_usage": 0.5}


@pytest.mark.parametrize(
    ("fields", "events"),
    [
        ([0], []),
        ([0, [], None], []),
        ([7, [], STATS], [EngineStatsReported(7, 1, 2, 0.5, 3, 4)]),
        ([7, [], STATS | {"new_key": {"deep": [1]}}], [EngineStatsReported(7, 1, 2, 0.5, 3, 4)]),
        ([7, [], {"num_waiting_reqs": 1}], [EngineStatsReported(7, 1, 0, 0.0, 0, 0)]),
        ([7, [], {"kv_cache_usage": 1}], [EngineStatsReported(7, 0, 0, 1.0, 0, 0)]),
        ([0, ["an output"], None, 1.0, {"a": 1}, ["r"], 3], [WaveCompleted(0, 3)]),
        ([0, [], None, 1.0, None, None, None, 3, None, "future", {"x": 1}], [StartWaveRequested(0, 3)]),
        ([0, [], None, 1.0, None, None, 2, 3], [WaveCompleted(0, 2)]),
        ([1, [], STATS, 1.0, None, None, 2], [EngineStatsReported(1, 1, 2, 0.5, 3, 4), WaveCompleted(1, 2)]),
    ],
)
def test_engine_outputs_are_decoded_tolerantly(fields: Any, events: Any) -> None:
    assert list(engine_events(pack(fields))) == events


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00",
        b"junk",
        b"\xc1",
        pack([]),
        pack({"engine_index": 0}),
        pack([-1]),
        pack(["0"]),
        pack([0]) + b"trailing",
        b"\x91" * 100_000,
    ],
)
def test_what_is_no_engine_output_is_a_bad_frame(frame: bytes) -> None:
    with pytest.raises(BadFrameError) as caught:
        engine_events(frame)
    assert caught.value.kind == "undecodable"


LAST = EngineStatsReported(3, 11, 12, 0.75, 13, 14)


@pytest.mark.parametrize(
    ("fields", "named", "events"),
    [
        ([3, [], STATS | {"num_waiting_reqs": -1}], "num_waiting_reqs", [EngineStatsReported(3, 11, 2, 0.5, 3, 4)]),
        ([3, [], STATS | {"num_running_reqs": "many"}], "num_running_reqs", [EngineStatsReported(3, 1, 12, 0.5, 3, 4)]),
        ([3, [], STATS | {"step_counter": None}], "step_counter", [EngineStatsReported(3, 1, 2, 0.5, 13, 4)]),
        ([3, [], STATS | {"current_wave": 2**53}], "current_wave", [EngineStatsReported(3, 1, 2, 0.5, 3, 14)]),
        *(
            ([3, [], STATS | {"kv_cache_usage": share}], "kv_cache_usage", [EngineStatsReported(3, 1, 2, 0.75, 3, 4)])
            for share in (float("nan"), float("inf"), -0.5, 1.5, None, "0.5", [0.5])
        ),
        ([3, [], {"num_waiting_reqs": -1}], "num_waiting_reqs", []),
        ([3, [], [1, 2]], "scheduler_stats", []),
        ([3, [], {1: 2}], "scheduler_stats", []),
        ([3, [], [1, 2], 1.0, None, None, 2], "scheduler_stats", [WaveCompleted(3, 2)]),
        ([3, [], {"num_waiting_reqs": -1}, 1.0, None, None, 2], "num_waiting_reqs", [WaveCompleted(3, 2)]),
        ([3, [], {"kv_cache_usage": -1}, 1.0, None, None, None, 2], "kv_cache_usage", [StartWaveRequested(3, 2)]),
        ([3, [], None, 1.0, None, None, -1], "wave_complete", []),
        ([3, [], None, 1.0, None, None, 2**53], "wave_complete", []),
        ([3, [], None, 1.0, None, None, -1, 2], "wave_complete", [StartWaveRequested(3, 2)]),
        ([3, [], None, 1.0, None, None, None, 1.5], "start_wave", []),
        ([3, [], STATS, 1.0, None, None, None, "x"], "start_wave", [EngineStatsReported(3, 1, 2, 0.5, 3, 4)]),
    ],
)
def test_each_field_is_judged_by_itself(fields: Any, named: str, events: Any) -> None:
    with pytest.raises(BadFieldsError, match=f"rank 3: {named}: ") as caught:
        engine_events(pack(fields))
    assert caught.value.kind == "bad_field"
    assert caught.value.engine_index == 3
    assert list(caught.value.events(LAST)) == events


@pytest.mark.parametrize(
    ("counts", "report"),
    [
        ({"num_waiting_reqs": -1, "num_running_reqs": 2}, EngineStatsReported(3, 0, 2, 0.0, 0, 0)),
        ({"num_waiting_reqs": 2, "num_running_reqs": -1}, EngineStatsReported(3, 2, 0, 0.0, 0, 0)),
    ],
)
def test_of_an_engine_that_never_reported_what_is_not_told_is_zero(counts: Any, report: Event) -> None:
    with pytest.raises(BadFieldsError) as caught:
        engine_events(pack([3, [], counts]))
    assert list(caught.value.events(None)) == [report]


@pytest.mark.parametrize(
    ("frame", "engine"),
    [
        (pack([7, [], {"num_waiting_reqs": -1}]), 7),
        (pack([7, "junk", {}, "junk"]), 7),
        (pack([-1, []]), None),
        (pack([7, b"x" * MAX_FRAME]), None),
        (b"junk", None),
        (b"", None),
    ],
)
def test_of_which_engine_a_bad_frame_says_it_is(frame: bytes, engine: int | None) -> None:
    assert sender_index(frame) == engine


def test_every_bad_field_is_named() -> None:
    fields = [3, [], {"num_waiting_reqs": -1, "kv_cache_usage": 2.0}, 1.0, None, None, "x"]
    with pytest.raises(BadFieldsError, match=r"rank 3: num_waiting_reqs: .*; kv_cache_usage: .*; wave_complete: "):
        engine_events(pack(fields))


def test_an_oversize_frame_is_not_even_decoded() -> None:
    with pytest.raises(BadFrameError, match="at most") as caught:
        engine_events(pack([0, ["x" * MAX_FRAME]]))
    assert caught.value.kind == "oversize"
    with pytest.raises(BadFrameError, match="at most"):
        front_end_event(b"\x92" + bytes(MAX_NOTICE), 2)


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ((1, 5), NewRequestNotified(1, 5)),
        ((b"\x01\x00", 5), NewRequestNotified(1, 5)),
        ((b"\x00\x01", 5), NewRequestNotified(256, 5)),
        ((999, 5), NewRequestNotified(None, 5)),
        ((-1, 5), NewRequestNotified(None, 5)),
        (("SCALE_ELASTIC_EP", 8), EngineCountChanged(8)),
    ],
)
def test_front_end_messages(message: Any, event: Event) -> None:
    assert front_end_event(pack(message), 300) == event


@pytest.mark.parametrize(
    "message",
    [
        (),
        (1,),
        (1, 2, 3),
        (1, -2),
        (1, 2**60),
        (1.5, 2),
        (None, 2),
        (b"\x01", 2),
        (b"\x01\x00\x00", 2),
        ("SCALE", 2),
        ("SCALE_ELASTIC_EP", -1),
        ("SCALE_ELASTIC_EP", "8"),
        ("SCALE_ELASTIC_EP", 1.0),
        {"a": 1},
        7,
    ],
)
def test_what_is_no_front_end_message_is_a_bad_frame(message: Any) -> None:
    with pytest.raises(BadFrameError):
        front_end_event(pack(message), 2)


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(st.binary(max_size=200) | _values.map(pack))
def test_any_bytes_give_events_or_a_bad_frame(frame: bytes) -> None:
    with contextlib.suppress(BadFrameError):
        front_end_event(frame, 2)
    with contextlib.suppress(BadFrameError):
        try:
            events = engine_events(frame)
        except BadFieldsError as error:
            events = error.events(None)
        for event in events:
            assert not isinstance(event, EngineStatsReported) or 0 <= event.kv_cache_usage <= 1


NOTICE = 'expected (engine, wave) or ("SCALE_ELASTIC_EP", engine_count): '


@pytest.mark.parametrize(
    ("frame", "kind", "says"),
    [
        (bytes(MAX_NOTICE + 1), "oversize", f"{MAX_NOTICE + 1} bytes; front-end messages have at most {MAX_NOTICE}"),
        (bytes(MAX_NOTICE), "undecodable", NOTICE),
        (b"junk", "undecodable", NOTICE),
        (pack((0, 2**53)), "undecodable", f"{2**53} is no wave and no engine count"),
        (pack((0, -1)), "undecodable", "-1 is no wave and no engine count"),
        (pack((b"\x01\x00\x00", 5)), "undecodable", "an engine identity has 2 bytes, not 3"),
    ],
)
def test_what_is_wrong_with_a_front_ends_message(frame: bytes, kind: str, says: str) -> None:
    with pytest.raises(BadFrameError) as caught:
        front_end_event(frame, 4)
    assert caught.value.kind == kind
    assert str(caught.value).startswith(says)
    assert str(caught.value) == says or says == NOTICE


def test_a_batch_of_frames_makes_a_batch_of_reports() -> None:
    reports: list[EngineStatsReported] = []
    for rank in range(3):
        assert read_outputs(pack([rank, [], {"num_running_reqs": 2}]), reports) is None
    assert [report.engine_index for report in reports] == [0, 1, 2]


def test_what_is_wrong_with_an_engines_message() -> None:
    with pytest.raises(BadFrameError, match=f"^{MAX_FRAME + 1} bytes; engine outputs have at most {MAX_FRAME}$"):
        engine_events(bytes(MAX_FRAME + 1))
    with pytest.raises(BadFrameError, match=r"^not an EngineCoreOutputs array: Expected `array`, got `int`$"):
        engine_events(b"junk")


def test_the_largest_that_are_taken() -> None:
    empty = pack([0, [b""]])
    filled = pack([0, [b"x" * 100_000]])
    room = MAX_FRAME - len(filled) + 100_000
    assert list(engine_events(pack([0, [b"x" * room]]))) == []
    assert len(pack([0, [b"x" * room]])) == MAX_FRAME > len(empty)
    assert front_end_event(pack((3, 2**53 - 1)), 4) == NewRequestNotified(3, 2**53 - 1)
    assert front_end_event(pack((4, 0)), 4) == NewRequestNotified(None, 0)
