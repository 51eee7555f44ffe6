"""Drives a core through time as a host would: ticks at every deadline on the way to `now`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.core.effects import (
    BroadcastStartWave,
    Effect,
    LogEvent,
    PublishLoad,
    PublishWaveState,
    WriteJournal,
)
from dp_coordinator.core.events import EngineStatsReported, EngineSubscribed, Event
from dp_coordinator.core.snapshot import Remembered
from dp_coordinator.observer import Given, Host


class Driver:
    def __init__(self, engine_count: int = 2, dialect: str = "0.33", *, ready: bool = True, **options: Any) -> None:
        self._options: dict[str, Any] = {
            "engine_count": engine_count,
            "dialect": Dialect.for_version(dialect),
            **options,
        }
        self.now = 0.0
        self.effects: list[tuple[float, Effect]] = []
        self._host = Host(Coordinator(**self._options), [self])
        if ready:
            for _ in range(engine_count):
                self.feed(EngineSubscribed())
            self.advance(0.05)
            self.effects = [(at, e) for at, e in self.effects if isinstance(e, WriteJournal)]

    @property
    def core(self) -> Coordinator:
        return self._host.core

    def feed(self, event: Event, at: float | None = None) -> list[Effect]:
        if at is not None:
            self.advance_to(at)
        return list(self._host.take(event, self.now))

    def took(self, given: Given, effects: Sequence[Effect], now: float) -> None:
        self.effects += [(now, effect) for effect in effects]

    def raised(self, given: Given, error: Exception, now: float) -> None:
        """The test is told by the error itself."""

    def turned(self, now: float) -> float:
        return now

    def restart(self) -> None:
        """The process dies, and another comes back with what it had written down."""
        written = [Remembered(0, self._options["engine_count"], False)]  # what serve writes as it starts
        written += [e.state for _, e in self.effects if isinstance(e, WriteJournal)]
        self._host = Host(Coordinator(**self._options, now=self.now, resumed=written[-1]), [self])

    def advance(self, seconds: float) -> list[Effect]:
        return self.advance_to(self.now + seconds)

    def advance_to(self, at: float) -> list[Effect]:
        done: list[Effect] = []
        while (due := self.core.next_deadline()) is not None and due <= at:
            self.now = max(self.now, due)
            done += self._host.take(None, self.now)
        self.now = max(self.now, at)
        return done

    def report(
        self, engine: int, waiting: int, running: int, *, wave: int = 0, step: int = 0, kv: float = 0.0
    ) -> list[Effect]:
        return self.feed(EngineStatsReported(engine, waiting, running, kv, step, wave))

    def loads(self) -> list[PublishLoad]:
        return [e for _, e in self.effects if isinstance(e, PublishLoad)]


def starts(effects: list[Effect]) -> list[tuple[int, int | None]]:
    return [(e.wave, e.exclude_engine_index) for e in effects if isinstance(e, BroadcastStartWave)]


def announced(effects: list[Effect]) -> list[tuple[int, bool]]:
    return [(e.current_wave, e.engines_running) for e in effects if isinstance(e, PublishWaveState)]


def records(effects: list[Effect]) -> list[str]:
    return [e.kind for e in effects if isinstance(e, LogEvent)]
