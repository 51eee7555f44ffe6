"""Client-side frames, against frames recorded from unmodified vLLM (hexadecimal, with the run they come from)."""

from __future__ import annotations

import math
import re

import msgspec
import pytest

from dp_coordinator.core import Dialect
from dp_coordinator.wire import client as wire

V28, V32 = Dialect.for_version("0.28.0"), Dialect.for_version("0.32.0")


def stamp(frame: bytes) -> float:
    """The timestamp that a recorded frame carries."""
    fields: list[float] = msgspec.msgpack.decode(frame)
    return fields[3]


@pytest.mark.parametrize(
    ("recorded", "engine", "wave", "dialect"),
    [
        ("990090c0cb40acb3310d26c044c0c0c000c0", 0, 0, V32),  # 0.33.0, one API server
        ("990190c0cb40acb4757f26e2d4c0c0c001c0", 1, 1, V32),
        ("990090c0cb40acb84c449f38b7c0c0c002c0", 0, 2, V32),
    ],
)
def test_start_wave_is_byte_equal_to_vllm(recorded: str, engine: int, wave: int, dialect: Dialect) -> None:
    frame = bytes.fromhex(recorded)
    assert wire.encode_start_wave(engine, wave, stamp(frame), dialect) == frame


@pytest.mark.parametrize(
    ("recorded", "wave", "dialect"),
    [
        ("990090c0cb40acb38bb0aa6885c0c000c0c0", 0, V32),  # 0.33.0
        ("980090c0cb40a96a2efbabbb0dc0c000c0", 0, V28),  # 0.28.0: no weight_version
        ("980090c0cb40a9794da40a7205c0c003c0", 3, V28),
    ],
)
def test_wave_complete_is_byte_equal_to_vllm(recorded: str, wave: int, dialect: Dialect) -> None:
    frame = bytes.fromhex(recorded)
    assert wire.encode_wave_complete(0, wave, stamp(frame), dialect) == frame


@pytest.mark.parametrize(("dialect", "width"), [(V28, 8), (V32, 9)])
def test_stats_carry_every_field_and_the_five_keys_that_are_used(dialect: Dialect, width: int) -> None:
    frame = wire.encode_stats(
        3, waiting=2, running=8, kv_cache_usage=0, step_counter=45, current_wave=7, timestamp=12.5, dialect=dialect
    )
    fields = msgspec.msgpack.decode(frame)
    assert len(fields) == width
    assert fields[:2] == [3, []]
    assert fields[2] == {
        "num_waiting_reqs": 2,
        "num_running_reqs": 8,
        "kv_cache_usage": 0.0,
        "step_counter": 45,
        "current_wave": 7,
    }
    assert isinstance(fields[2]["kv_cache_usage"], float)
    assert fields[3:] == [12.5, *[None] * (width - 4)]


def test_front_end_messages() -> None:
    assert wire.encode_notice(0, 1).hex() == "920001"  # as the Rust front-end of 0.32.0 sent it
    assert msgspec.msgpack.decode(wire.encode_scale(6)) == ["SCALE_ELASTIC_EP", 6]


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ("93c000c3", wire.Publication(None, 0, True)),
        ("93c001c2", wire.Publication(None, 1, False)),
        (
            "9392930000cb0000000000000000930001cb3f1000400100000001c3",
            wire.Publication((wire.EngineLoad(0, 0, 0.0), wire.EngineLoad(0, 1, 6.104252819554855e-05)), 1, True),
        ),
        # two columns wide, as coordinators up to 0.26 publish
        ("93929202039200000ac2", wire.Publication((wire.EngineLoad(2, 3), wire.EngineLoad(0, 0)), 10, False)),
    ],
)
def test_publications(recorded: str, expected: wire.Publication) -> None:
    decoded = wire.decode_publication(bytes.fromhex(recorded))
    assert decoded[1:] == expected[1:]
    if expected.counts is None or decoded.counts is None:
        assert decoded.counts == expected.counts
    else:
        assert [c[:2] for c in decoded.counts] == [c[:2] for c in expected.counts]
        assert [c[2] for c in decoded.counts] == pytest.approx([c[2] for c in expected.counts], rel=1e-3)


@pytest.mark.parametrize("frame", [b"", b"READY", b"\x93\xc0\x00", b"\x93\x91\x91\x01\x00\xc2", b"\xff"])
def test_a_malformed_publication_is_one_clear_error(frame: bytes) -> None:
    with pytest.raises(wire.FrameError, match="publication"):
        wire.decode_publication(frame)


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ([[1]], "publication: counts of one engine have 1 value(s), expected 2 or 3"),
        ([[1, 2], [math.inf, 2, 0.5]], "publication: counts of one engine are [inf, 2]"),
    ],
)
def test_counts_that_are_none_are_named(counts: list[list[float]], says: str) -> None:
    with pytest.raises(wire.FrameError, match=f"^{re.escape(says)}$"):
        wire.decode_publication(msgspec.msgpack.encode((counts, 0, False)))


def test_counts_are_taken_beside_a_cache_usage_that_is_no_number() -> None:
    decoded = wire.decode_publication(msgspec.msgpack.encode(([[1, 2, math.nan]], 0, False)))
    assert decoded.counts is not None
    assert decoded.counts[0][:2] == (1, 2)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [("920000", (0, 0)), ("920301", (3, 1)), ("9205c0", (5, None)), ("9201c4020100", (1, 1)), ("9200c4020000", (0, 0))],
)
def test_start(payload: str, expected: tuple[int, int | None]) -> None:
    assert wire.decode_start([b"\x02", bytes.fromhex(payload)]) == expected


@pytest.mark.parametrize("frames", [[b"READY"], [b"\x02"], [b"\x03", b"\x92\x00\xc0"], [b"\x02", b"\x91\x00"]])
def test_a_malformed_start_is_one_clear_error(frames: list[bytes]) -> None:
    with pytest.raises(wire.FrameError, match="START_DP_WAVE"):
        wire.decode_start(frames)
