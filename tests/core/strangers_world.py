"""The small deployment with a stray peer, and with a coordinator that begins anew beside engines that live.

What is modelled beside recovery_world.py:

- The stray peer sends any one well-formed message at any moment: start_wave or wave_complete of any rank, a report, a
  notice, SCALE. Of waves it may name those that matter: all up to one beyond the window, and one far away.
- An engine that takes a request reports before its step (vllm/v1/engine/core.py, `_maybe_publish_request_counts`, since
  0.21). Before that, and behind external load balancing, it does not.
- The coordinator that begins anew knows nothing of the wave at which the engines live, as when its journal was lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dp_coordinator.core import witnesses
from tests.core.recovery_cores import Message
from tests.core.recovery_states import Engine, FrontEnd, World, with_engine
from tests.core.recovery_world import Rules

FAR = 50


class StrangersRules(Rules):
    """What can happen next."""

    def __init__(
        self, dialect: str, *, stray: bool = False, reports: bool = False, living: int | None = None, **size: Any
    ) -> None:
        """`living`: the wave at which engines and front-ends are that live already."""
        super().__init__(dialect, **size)
        self.stray, self._reports = stray, reports
        self.prompt = False
        """Whatever was sent to an engine has arrived, as after the time that a person takes."""
        self.jump = 0
        """By how many waves the stray peer's message has moved the wave at most."""
        if living is not None:
            self.first = self.first._replace(
                engines=(Engine(living, away=True, ready=True),) * len(self.first.engines),
                front_ends=tuple(FrontEnd(each.to_send, wave=living, away=True) for each in self.first.front_ends),
            )

    def running(self) -> World:
        """The first world, but that the engines run."""
        engines = tuple(engine._replace(running=True, was_running=True) for engine in self.first.engines)
        front_ends = tuple(front_end._replace(running=True) for front_end in self.first.front_ends)
        return self.first._replace(engines=engines, front_ends=front_ends)

    def _engine(self, world: World, rank: int) -> Iterator[World]:
        engine = world.engines[rank]
        if self.prompt and engine.ready and engine.requests and not engine.in_step:
            return iter((with_engine(world, rank, self._take_request(engine, rank)),))
        return super()._engine(world, rank)

    def _take_request(self, engine: Engine, rank: int) -> Engine:
        taken = super()._take_request(engine, rank)
        if not self._reports:
            return taken
        return taken._replace(outputs=(*taken.outputs, ("report", rank, taken.wave)))

    def strays(self, world: World) -> Iterator[World]:
        """The stray peer sends its message."""
        if not self.stray or world.stray is not None:
            return
        for message in self._messages(world):
            after = self._react(world._replace(stray=message), message)
            self.jump = max(self.jump, self.cores.wave(after.core) - self.cores.wave(world.core))
            if after._replace(stray=None) != world:
                yield after

    def _messages(self, world: World) -> Iterator[Message]:
        wave, ranks = self.cores.wave(world.core), range(len(world.engines))
        for what in ("start_wave", "wave_complete", "notice") if self._notices else ("start_wave", "wave_complete"):
            for rank in ranks:
                for named in (*range(max(0, wave - 1), wave + witnesses.WINDOW + 2), FAR):
                    yield what, rank, named
        yield from (("report", rank, FAR) for rank in ranks)
        yield from (("scale", count, 0) for count in range(1, len(ranks) + 2))

    # -- by hand -----------------------------------------------------------------------------------------------

    def corrected(self, world: World) -> World:
        """An operator sets the engine count to what it is, and the wave to the highest at which anybody is."""
        there, count = len(world.engines), self.cores.engine_count(world.core)
        if count != there:
            world = self._react(world, ("set engines", there, count))
        wave = self.cores.wave(world.core)
        return self._react(world, ("set wave", max(wave, *(engine.wave for engine in world.engines)), wave))
