"""A Hypothesis stateful model: the rules written a second time in the plainest way, run beside the core."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dp_coordinator.core.effects import Effect, PublishLoad
from dp_coordinator.core.events import (
    EngineCountChanged,
    EngineSubscribed,
    EngineUnsubscribed,
    Event,
    ManualStartRequested,
    NewRequestNotified,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.core.snapshot import Phase
from tests.core.driver import Driver, announced, starts

DIALECTS = ["0.10.2", "0.16", "0.28", "0.29", "0.32", "0.33"]
engines = st.integers(0, 5)
waves = st.integers(-2, 3)  # relative to the current one


class Model(RuleBasedStateMachine):
    """current wave, running flag and counts, as PROTOCOL rules 1 to 6 say them."""

    @initialize(dialect=st.sampled_from(DIALECTS), count=st.integers(1, 4))
    def begin(self, dialect: str, count: int) -> None:
        self.version = tuple(int(part) for part in dialect.split("."))
        self.driver = Driver(count, dialect)
        self.wave, self.running = 0, False
        self.counts = [(0, 0)] * count

    def expect(self, effects: list[Effect], *, start: Any = (), announce: bool = False) -> None:
        assert starts(effects) == list(start)
        assert announced(effects) == ([(self.wave, self.running)] if announce else [])

    @rule(engine=engines, relative=waves)
    def notice(self, engine: int, relative: int) -> None:
        wave = max(0, self.wave + relative)
        effects = self.driver.feed(NewRequestNotified(engine, wave))
        if self.version >= (0, 33) or self.running:
            self.expect(effects)
            return
        exclude = None if wave < self.wave else engine
        self.running = self.version < (0, 29)
        self.expect(effects, start=[(self.wave, exclude)], announce=self.running)

    @rule(engine=engines, relative=waves)
    def wave_complete(self, engine: int, relative: int) -> None:
        wave = max(0, self.wave + relative)
        effects = self.driver.feed(WaveCompleted(engine, wave))
        if self.wave > wave:
            self.expect(effects)
            return
        self.wave, self.running = wave + 1, False
        self.expect(effects, announce=True)

    @rule(engine=engines, relative=waves)
    def start_wave(self, engine: int, relative: int) -> None:
        wave = max(0, self.wave + relative)
        effects = self.driver.feed(StartWaveRequested(engine, wave))
        if not (wave > self.wave or (wave == self.wave and not self.running)):
            self.expect(effects)
            return
        self.wave, self.running = wave, True
        self.expect(effects, start=[(wave, engine)], announce=True)

    @rule(
        engine=engines,
        waiting=st.integers(0, 9),
        running=st.integers(0, 9),
        wave=st.integers(0, 4),
        step=st.integers(0, 40),
    )
    def report(self, engine: int, waiting: int, running: int, wave: int, step: int) -> None:
        self.expect(self.driver.report(engine, waiting, running, wave=wave, step=step))
        if engine < len(self.counts):
            self.counts[engine] = (waiting, running)

    @rule(count=st.integers(1, 6))
    def scale(self, count: int) -> None:
        self.expect(self.driver.feed(EngineCountChanged(count)))
        if count > len(self.counts) and self.version < (0, 18):
            self.running = False
        self.counts = (self.counts + [(0, 0)] * count)[:count]

    @rule(relative=st.sampled_from([None, -1, 0, 1, 2]))
    def manual(self, relative: int | None) -> None:
        blocked = self.driver.core.start_blocked()
        wave = None if relative is None else self.wave + relative
        effects = self.driver.feed(ManualStartRequested("model", "test", wave=wave))
        refused = blocked is not None or relative in (-1, 2)
        self.expect(effects, start=[] if refused else [(self.wave if wave is None else wave, None)])

    @rule(event=st.sampled_from([EngineSubscribed(), EngineUnsubscribed()]))
    def subscription(self, event: Event) -> None:
        self.expect(self.driver.feed(event))

    @rule(seconds=st.floats(0, 12))
    def time_passes(self, seconds: float) -> None:
        self.expect(self.driver.advance(seconds))

    @rule()
    def fall_silent(self) -> None:
        """Whatever happened before: after a pause, what front-ends know is what engines last said."""
        self.driver.advance(6)
        load = self.driver.loads()[-1]
        assert isinstance(load, PublishLoad)
        assert [(w, r) for w, r, _ in load.counts] == self.counts
        assert (load.current_wave, load.engines_running) == (self.wave, self.running)

    @invariant()
    def state_agrees(self) -> None:
        core = self.driver.core
        assert (core.current_wave, core.engines_running) == (self.wave, self.running)
        snapshot = core.snapshot(self.driver.now)
        assert snapshot.engine_count == len(self.counts) == len(snapshot.engines.waiting)
        assert snapshot.waiting in (None, sum(w for w, _ in self.counts))
        assert snapshot.running in (None, sum(r for _, r in self.counts))
        if self.running:
            assert snapshot.phase is not Phase.PAUSED
        deadline = core.next_deadline()
        assert deadline is None or deadline <= self.driver.now + 12


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
