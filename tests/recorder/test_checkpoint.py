"""A core made of a checkpoint does what the one it was taken of does, whenever it was taken."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.core.events import (
    EngineCountChanged,
    EngineStatsReported,
    ManualStartRequested,
    NewRequestNotified,
    PeerDisconnected,
    PeerIdentified,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.core.snapshot import Remembered
from dp_coordinator.core.state import Load, ManualStarts, OpenWave, Recovery, WaveLog, Waves
from dp_coordinator.recorder import entries
from dp_coordinator.words import Channel
from tests.core.connections import connects, engine_subscribes

small, engines = st.integers(0, 4), st.integers(0, 4)
events = st.one_of(
    st.builds(EngineStatsReported, engines, small, small, st.floats(0, 1), small, small),
    st.builds(WaveCompleted, engines, small),
    st.builds(StartWaveRequested, engines, small),
    st.builds(NewRequestNotified, st.none() | engines, small),
    st.builds(EngineCountChanged, st.integers(0, 5)),
    st.builds(
        ManualStartRequested, st.just("why"), st.just("me"), st.none(), st.none() | small, st.none() | st.just("k")
    ),
    st.builds(
        connects, st.sampled_from(Channel), st.integers(1, 5), pid=st.none() | small, engine_index=st.none() | engines
    ),
    st.builds(PeerDisconnected, st.integers(1, 5), st.sampled_from(["connection closed", "timed out"])),
    st.builds(PeerIdentified, st.integers(1, 5), engines),
)
steps = st.lists(st.tuples(events, st.sampled_from([0.0, 0.02, 0.3, 11.0])), max_size=25)
lives = st.none() | st.builds(Remembered, small, st.integers(1, 4), st.booleans())


def parts(state: Any) -> Any:
    """All dataclasses that it is made of."""
    inner = [getattr(state, each.name) for each in fields(state)]
    return [state, *(part for value in inner if is_dataclass(value) for part in parts(value))]


def test_the_state_is_all_that_a_core_keeps() -> None:
    core = Coordinator(2, Dialect.for_version("0.28"), resumed=Remembered(3, 2, True))
    assert {name for name in vars(core) if name != "state"} == {"dialect", "_handlers", "_peers_seen"}
    core.handle(StartWaveRequested(0, 4), 1.0)
    assert vars(core)["dialect"] == Dialect.for_version(core.state.dialect)
    assert {Waves, Load, WaveLog, OpenWave, ManualStarts, Recovery} <= {type(part) for part in parts(core.state)}
    assert all(hasattr(type(part), "__slots__") for part in parts(core.state)), "nothing can be added beside the fields"


def play(core: Any, todo: Any, now: float) -> Any:
    out = []
    for event, later in todo:
        now += later
        out += [
            entries.encode_effects(core.handle(event, now)),
            entries.encode_effects(core.tick(now)),
            core.next_deadline(),
        ]
    return out, now


@settings(deadline=None, max_examples=150)
@given(dialect=st.sampled_from(["0.16", "0.28", "0.33"]), waves=st.booleans(), past=lives, before=steps, after=steps)
def test_it_goes_on_as_if_nothing_had_been(dialect: str, waves: Any, past: Any, before: Any, after: Any) -> None:
    core = Coordinator(2, Dialect.for_version(dialect), now=0.0, wave_coordination=waves, resumed=past)
    core.handle(engine_subscribes(), 0.0)
    core.handle(engine_subscribes(), 0.0)
    _, now = play(core, before, 0.0)
    written = entries.encode(entries.CheckpointBody(7, now, 1e9, core.checkpoint()))
    expected = play(core, after, now)
    read = msgspec.msgpack.decode(written, type=entries.CheckpointBody)
    assert entries.encode(read) == written
    again = Coordinator.from_checkpoint(read.state)
    assert play(again, after, now) == expected
    assert again.snapshot(now) == core.snapshot(now)
    assert msgspec.msgpack.decode(written, type=entries.CheckpointBody).state == read.state, (
        "the core changed its checkpoint"
    )


def test_a_checkpoint_stays_as_it_was_taken() -> None:
    core = Coordinator(1, Dialect.for_version("0.28"))
    core.handle(engine_subscribes(), 0.0)
    core.handle(StartWaveRequested(0, 0), 1.0)
    taken = core.checkpoint()
    before = entries.encode(taken)
    for wave in range(3):
        core.handle(EngineStatsReported(0, 1, 1, 0.5, wave + 1, wave), 2.0)
        core.handle(WaveCompleted(0, wave), 3.0)
        core.handle(ManualStartRequested("why", "me", idempotency_key=str(wave)), 3.0)
    assert entries.encode(taken) == before != entries.encode(core.checkpoint())
