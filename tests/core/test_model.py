"""A Hypothesis stateful model: the rules written a second time in the plainest way, run beside the core.

Any rank may say anything at any time, so that a stray peer with any well-formed message is among them.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dp_coordinator.core.effects import Effect, PublishLoad
from dp_coordinator.core.events import (
    EngineCountChanged,
    ManualStartRequested,
    NewRequestNotified,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.core.scaling import AWAITED, LEAVING
from dp_coordinator.core.witnesses import AGAIN_AFTER, WINDOW
from dp_coordinator.words import Channel, DeploymentState
from tests.core.connections import connects, disconnects
from tests.core.driver import Driver, announced, starts

DIALECTS = ["0.10.2", "0.16", "0.28", "0.29", "0.32", "0.33"]
engines = st.integers(0, 5)
waves = st.sampled_from([-2, -1, 0, 0, 0, 1, 1, 2, 3, WINDOW, WINDOW + 1, WINDOW + 2, 40, 45])  # after the current one


class Model(RuleBasedStateMachine):
    """current wave, running flag and counts, as PROTOCOL rules 1 to 6 say them."""

    @initialize(dialect=st.sampled_from(DIALECTS), count=st.integers(1, 4))
    def begin(self, dialect: str, count: int) -> None:
        self.version = tuple(int(part) for part in dialect.split("."))
        self.driver = Driver(count, dialect)
        self.wave, self.running = 0, False
        self.counts = [(0, 0)] * count
        self.began, self.more, self.gaps = count, set[int](), 0
        """Engines that the driver began with, numbers of those that came, and how many places are empty."""
        self.again = False
        """START is owed after the next wave_complete."""
        self.early: dict[int, tuple[int, int, int]] = {}
        self.held: dict[int, tuple[bool, int, float]] = {}
        """Engine -> its message that waits: whether it is wave_complete, its wave, since when it says so."""
        self.seconded = set[int]()
        """Of those, the ones whose own report has said the same since."""
        self.reported: dict[int, tuple[int, float]] = {}
        """Engine -> the wave of its newest report, and when that came."""
        self.awaited: tuple[int, float] | None = None
        """The engine count of a SCALE that waits for its engines, and when it came."""
        self.sent, self.told = list[Any](), list[Any]()
        self.left, self.left_at = 0, 0.0
        """Ranks below this were told to go, and when."""

    def expect(self, effects: list[Effect], *, start: Any = (), announce: bool = False, told: Any = ()) -> None:
        assert starts(effects) == list(start)
        assert announced(effects) == ([(self.wave, self.running)] if announce else list(told))

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

    # -- wave messages of engines ----------------------------------------------------------------------------------

    @property
    def there(self) -> int:
        return self.began + len(self.more)

    def belongs(self, engine: int) -> bool:
        leaves = engine < self.left and self.driver.now < self.left_at + LEAVING
        joins = self.there > len(self.counts) and engine < 2 * self.there
        return engine < len(self.counts) or leaves or joins

    def witnessed(self, engine: int, wave: int, at: float) -> bool:
        if wave <= self.wave + WINDOW or engine in self.seconded:
            return True
        for rank, (reported, when) in self.reported.items():
            if abs(reported - wave) <= WINDOW and (rank != engine or when < at):
                return True
        return any(
            abs(other - wave) <= WINDOW and (rank != engine or at - when >= AGAIN_AFTER)
            for rank, (_, other, when) in self.held.items()
        )

    def said(self, completed: bool, engine: int, wave: int) -> None:
        """A wave message, and what then follows from those that waited."""
        effects = self.driver.feed((WaveCompleted if completed else StartWaveRequested)(engine, wave))
        if not self.belongs(engine):
            self.expect(effects)
            return
        now = self.driver.now
        if not self.witnessed(engine, wave, now):
            before = self.held.pop(engine, None)
            again = before is not None and abs(before[1] - wave) <= WINDOW
            self.held[engine] = completed, wave, before[2] if before is not None and again else now
            if not again:
                self.seconded.discard(engine)
            self.expect(effects)
            return
        self.held.pop(engine, None)
        self.seconded.discard(engine)
        self.sent, self.told = [], []
        self.move(completed, engine, wave)
        self.settle()
        self.expect(effects, start=self.sent, told=self.told)

    def second(self, engine: int, reported: int) -> None:
        if engine in self.held and abs(self.held[engine][1] - reported) <= WINDOW:
            self.seconded.add(engine)

    def settle(self) -> None:
        """Those that waited are taken once somebody confirms them: as they came, then the lowest wave first."""
        waiting = list(self.held)
        while waiting:
            left = []
            for engine in waiting:
                completed, wave, at = self.held[engine]
                if self.witnessed(engine, wave, at):
                    del self.held[engine]
                    self.seconded.discard(engine)
                    self.move(completed, engine, wave)
                else:
                    left.append(engine)
            if len(left) == len(waiting):
                break
            waiting = sorted(left, key=lambda engine: self.held[engine][1])

    def move(self, completed: bool, engine: int, wave: int) -> None:
        if completed and wave >= self.wave:
            self.wave, self.running = wave + 1, False
            self.told.append((self.wave, False))
            if self.again:
                self.sent.append((self.wave, None))
                self.again = False
        elif not completed and (wave > self.wave or (wave == self.wave and not self.running)):
            self.wave, self.running = wave, True
            self.sent.append((wave, engine))
            self.told.append((wave, True))

    @rule(engine=engines, relative=waves)
    def wave_complete(self, engine: int, relative: int) -> None:
        self.said(True, engine, max(0, self.wave + relative))

    @rule(engine=engines, relative=waves)
    def start_wave(self, engine: int, relative: int) -> None:
        self.said(False, engine, max(0, self.wave + relative))

    @rule(
        engine=engines,
        waiting=st.integers(0, 9),
        running=st.integers(0, 9),
        wave=st.sampled_from([0, 0, 1, 1, 2, 3, 4, 30, 45]),
        step=st.integers(0, 40),
    )
    def report(self, engine: int, waiting: int, running: int, wave: int, step: int) -> None:
        effects = self.driver.report(engine, waiting, running, wave=wave, step=step)
        self.sent, self.told = [], []
        leaves = engine < self.left and self.driver.now < self.left_at + LEAVING
        if engine < len(self.counts):
            self.counts[engine] = (waiting, running)
            self.reported[engine] = wave, self.driver.now
            self.second(engine, wave)
            self.settle()
        elif self.there > len(self.counts) and not leaves:
            self.early[engine] = (waiting, running, wave)
        self.expect(effects, start=self.sent, told=self.told)

    # -- how many ----------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 8))
    def scale(self, count: int) -> None:
        effects = self.driver.feed(EngineCountChanged(count))
        self.awaited = None
        self.sent, self.told = [], []
        if count <= max(self.there, len(self.counts)):
            self.resize(count)
        else:
            self.awaited = count, self.driver.now
        self.expect(effects, start=self.sent, told=self.told)

    def resize(self, count: int) -> None:
        before = len(self.counts)
        if count > len(self.counts) and self.version < (0, 18):
            self.running = False
        if count < len(self.counts):
            self.left, self.left_at = len(self.counts), self.driver.now
        elif count > len(self.counts):
            self.left = 0
        self.counts = (self.counts + [(0, 0)] * count)[:count]
        self.reported = {rank: said for rank, said in self.reported.items() if rank < count}
        for engine, (waiting, running, wave) in self.early.items():
            if engine < count:
                self.counts[engine] = waiting, running
                self.reported[engine] = wave, self.driver.now
        early = {e: wave for e, (_, _, wave) in self.early.items() if e < count}
        self.early = {e: said for e, said in self.early.items() if e >= count >= before}  # for their own SCALE
        for engine, wave in early.items():
            self.second(engine, wave)
        if early:
            self.settle()

    @rule(relative=st.sampled_from([None, -1, 0, 1, 2]))
    def manual(self, relative: int | None) -> None:
        blocked = self.driver.core.start_blocked()
        wave = None if relative is None else self.wave + relative
        effects = self.driver.feed(ManualStartRequested("model", "test", wave=wave))
        refused = blocked is not None or relative in (-1, 2)
        self.expect(effects, start=[] if refused else [(self.wave if wave is None else wave, None)])

    @rule(number=st.integers(1, 4))
    def engine_connects_again(self, number: int) -> None:
        """Beyond those that the driver began with; one that is there already is told of no second time."""
        effects = self.driver.feed(connects(Channel.BACK_PUBLISH, number))
        made_good = number not in self.more and self.gaps > 0
        new = number not in self.more
        self.more.add(number)
        self.gaps -= made_good
        self.sent, self.told = [], []
        self.mend(made_good)
        if new and self.awaited is not None and self.there >= self.awaited[0]:
            (count, asked), self.awaited = self.awaited, None
            if self.driver.now <= asked + AWAITED:
                self.resize(count)
        self.expect(effects, start=self.sent, told=self.told)

    @rule(number=st.integers(1, 4))
    def engine_goes(self, number: int) -> None:
        """There are newer ones from its host: its place may be taken. One too many was a probe's."""
        too_many = self.there > len(self.counts)
        effects = self.driver.feed(disconnects(Channel.BACK_PUBLISH, number))
        left = number in self.more
        self.more.discard(number)
        self.gaps += left and not too_many
        self.sent, self.told = [], []
        self.mend(left)
        self.expect(effects, start=self.sent, told=self.told)

    def mend(self, made_good: bool) -> None:
        if made_good and self.there >= len(self.counts) and self.version >= (0, 18):
            self.again = True
            self.sent.append((self.wave, None))

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
            assert snapshot.state is not DeploymentState.PAUSED
        deadline = core.next_deadline()
        assert deadline is None or deadline <= self.driver.now + 12


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
