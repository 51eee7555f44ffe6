"""A small deployment as a graph: the real core between modelled engines and a front-end, and a crash at any moment.

A state is a tuple, and everything that can happen next gives another. What is modelled:

- Engines (vllm/v1/engine/core.py, `DPEngineCoreProc`, 0.16.0 to 0.33.0). Between steps an engine takes any part of what
  was sent to it, for the rest may still be under way. A step is collective: an engine in it blocks until all are. A
  request takes one step. Whether the ranks ask each other "any unfinished?" after a step is left open, so that every
  interval is covered, and requests of any length. Each rank counts its own wave.
- The front-end (vllm/v1/engine/core_client.py, `DPLBAsyncMPClient`). It sends its requests to any engines at any time,
  stamped with the wave it knows, and a notice with the first one that it sends while it believes the engines paused.
- Channels are first in, first out, and of any speed; those of different pairs have no order.
- The start. Engines and front-ends subscribe in any order; READY goes out once all engines have. An engine waits for
  it, and dies of anything else that comes first, before 0.18 also of a second one (core.py, `process_input_sockets`).
  A front-end serves once every engine has had READY (core.py, `_perform_handshakes`). With `early` it does before: of
  several API servers one may know the engines first (core_client.py waits for what they send before READY).
- The crash. It comes between two inputs, or between two effects of one. Of the messages to the coordinator at most one
  is lost in all, of those from it any number of the newest in each channel. It comes back with its journal. Its peers
  subscribe again in any order; what is published before that does not reach them. What they send meanwhile waits with
  them.
- The dropped connection. Any one ends, and is made again by its peer (libzmq does that, and subscribes again). What was
  on its way through it is lost: to a peer, all from some message on; to the coordinator, all up to some message, for
  what waits with the peer goes out through the new one. The coordinator may hear of the end after it has the new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from dp_coordinator.core import Dialect
from tests.core.recovery_cores import READY, Cores, Message, Reaction, Rule
from tests.core.recovery_states import Engine, FrontEnd, World, less_one_input, with_, with_engine, with_front_end


class Rules:
    """What can happen next."""

    def __init__(
        self,
        dialect: str,
        *,
        engines: int = 2,
        front_ends: int = 1,
        requests: int = 2,
        deaths: int = 1,
        lost_inputs: int = 1,
        drops: int = 0,
        lost_together: bool = False,
        rule: Rule = Rule.OURS,
        early: bool = False,
    ) -> None:
        """`lost_together`: a dropped connection may take a wave_complete and a start_wave along at once."""
        speaks = Dialect.for_version(dialect)
        self.cores = Cores(dialect, engines, rule, outputs=drops > 0)
        self._notices = speaks.notices_accepted
        self._first_request_starts = not speaks.notices_accepted
        self._rank_0_reports_start = not speaks.notice_sets_running
        self._all_deaths, self._early = deaths, early
        self._all_drops, self._lost_together = drops, lost_together
        self._ready_kills = not speaks.ready_to_late_subscribers
        self._stale_request_sets_running = speaks.counts_carry_kv_cache_usage  # newer than 0.16 at least
        nothing: tuple[tuple[Message, ...], ...] = ((),) * front_ends
        self.first = World(
            (Engine(away=True),) * engines,
            (FrontEnd(requests, away=True),) * front_ends,
            nothing,
            self.cores.first,
            deaths,
            lost_inputs if deaths else 0,
            drops,
        )

    def successors(self, world: World) -> Iterator[World]:
        """Everything that can happen next but the crash."""
        for taken, message in self._inputs(world):
            yield self._react(taken, message)
        for rank in range(len(world.engines)):
            yield from self._engine(world, rank)
        if all(engine.in_step for engine in world.engines):
            yield self._step(world, ends_wave=False)
            yield self._step(world, ends_wave=True)
        for index in range(len(world.front_ends)):
            yield from self._front_end(world, index)

    # -- connections -------------------------------------------------------------------------------------------

    def drops(self, world: World) -> Iterator[World]:
        """A connection is dropped. The coordinator hears of that at once, or only after it was made again."""
        if not world.drops:
            return
        for dropped, (what, index) in self._drops(world):
            lost = dropped._replace(drops=world.drops - 1, down=(what, index))
            yield lost._replace(ended=(what, index))
            yield self._react(lost, (f"-{what}", index, 0))

    def strays(self, world: World) -> Iterator[World]:
        """A peer that belongs to nobody sends something; strangers_world.py."""
        return iter(())

    def _drops(self, world: World) -> Iterator[tuple[World, tuple[str, int]]]:
        """What the coordinator sent through it is lost, from some message on."""
        for rank, engine in enumerate(world.engines):
            yield world, ("output", rank)
            if not engine.away:
                for kept in range(len(engine.starts) + 1):
                    left = engine._replace(away=True, starts=engine.starts[:kept])
                    yield with_engine(world, rank, left), ("engine", rank)
        for index, front_end in enumerate(world.front_ends):
            if not front_end.away and (front_end.to_send or world.notices[index]):
                for kept in range(len(front_end.heard) + 1):
                    shorter = front_end._replace(away=True, heard=front_end.heard[:kept])
                    yield with_front_end(world, index, shorter), ("front-end", index)

    def _connections(self, world: World) -> Iterator[tuple[World, Message]]:
        """The dropped connection is made again, or its end is noticed after that.

        A peer that has not noticed yet goes on to send through the lost one. So what it sent is lost up to any message,
        when it connects again.
        """
        if world.ended is not None and world.down is None:
            what, index = world.ended
            yield world._replace(ended=None), (f"-{what}", index, 0)
        if world.down is None:
            return
        what, index = world.down
        back = world
        if what == "engine":
            back = with_engine(back, index, back.engines[index]._replace(away=False))
        elif what == "front-end":
            back = with_front_end(back, index, back.front_ends[index]._replace(away=False))
        for up in self._up(back):
            yield up, (what, index, 1)

    def _up(self, world: World) -> Iterator[World]:
        """Nothing is down any more: what was sent through it is lost, up to any message."""
        up = world._replace(down=None)
        match world.down:
            case "output", index:
                engine = up.engines[index]
                for lost in range(len(engine.outputs) + 1):
                    both = {"wave_complete", "start_wave"} <= {output[0] for output in engine.outputs[:lost]}
                    if self._lost_together or not both:
                        yield with_engine(up, index, engine._replace(outputs=engine.outputs[lost:]))
            case "front-end", index:
                for lost in range(len(up.notices[index]) + 1):
                    yield up._replace(notices=with_(up.notices, index, up.notices[index][lost:]))
            case _:
                yield up

    # -- engines -----------------------------------------------------------------------------------------------

    def _engine(self, world: World, rank: int) -> Iterator[World]:
        engine = world.engines[rank]
        if engine.in_step or engine.died_of is not None:
            return
        if engine.starts:
            yield with_engine(world, rank, self._take_start(engine))
        if not engine.ready:
            return
        if engine.unfinished or engine.running:
            yield with_engine(world, rank, engine._replace(in_step=True))
        if engine.requests:
            yield with_engine(world, rank, self._take_request(engine, rank))

    def _take_start(self, engine: Engine) -> Engine:
        start, *rest = engine.starts
        engine = engine._replace(starts=tuple(rest))
        if start == READY:  # a second one that it would ignore is never on its way
            return (
                engine._replace(died_of="a second READY") if engine.ready else self._heeded(engine._replace(ready=True))
            )
        if not engine.ready:
            return engine._replace(died_of="START before READY")
        return self._heeded(engine._replace(wave=start[0], running=True))

    def _take_request(self, engine: Engine, rank: int) -> Engine:
        stamp, *rest = engine.requests
        wave, running, outputs = max(engine.wave, stamp), engine.running, engine.outputs
        if not running and (self._first_request_starts or stamp < engine.wave):
            outputs = (*outputs, ("start_wave", rank, wave))
            running = self._stale_request_sets_running
        return self._heeded(
            engine._replace(wave=wave, running=running, unfinished=True, requests=tuple(rest), outputs=outputs)
        )

    def _step(self, world: World, *, ends_wave: bool) -> World:
        engines = []
        for rank, engine in enumerate(world.engines):
            wave, outputs = engine.wave, engine.outputs
            if ends_wave:
                wave += 1
                if rank == 0:
                    outputs = (*outputs, ("wave_complete", 0, engine.wave))
            elif rank == 0 and self._rank_0_reports_start and not engine.was_running:
                outputs = (*outputs, ("start_wave", 0, wave))
            running = not ends_wave
            engines.append(
                self._heeded(
                    Engine(
                        wave,
                        running,
                        running and self._rank_0_reports_start,
                        False,
                        False,
                        engine.away,
                        engine.ready,
                        None,
                        engine.requests,
                        engine.starts,
                        outputs,
                    )
                )
            )
        return world._replace(engines=tuple(engines))

    # -- front-ends --------------------------------------------------------------------------------------------

    def _front_end(self, world: World, index: int) -> Iterator[World]:
        front_end = world.front_ends[index]
        if not front_end.to_send:
            return  # what it knows and hears has no effect any more
        if not front_end.away:
            load = self.cores.load(world.core)
            if load is not None and load != (
                front_end.heard[-1] if front_end.heard else (front_end.wave, front_end.running)
            ):
                yield with_front_end(world, index, front_end._replace(heard=(*front_end.heard, load)))
        if front_end.heard:
            (wave, running), *later = front_end.heard
            yield with_front_end(world, index, front_end._replace(wave=wave, running=running, heard=tuple(later)))
        if self._early or all(engine.ready for engine in world.engines):
            for rank in range(len(world.engines)):
                yield self._send(world, index, rank)

    def _send(self, world: World, index: int, rank: int) -> World:
        front_end, engine = world.front_ends[index], world.engines[rank]
        world = with_engine(world, rank, engine._replace(requests=(*engine.requests, front_end.wave)))
        if self._notices and not front_end.running:
            sent = (*world.notices[index], ("notice", rank, front_end.wave))
            world = world._replace(notices=with_(world.notices, index, sent))
            front_end = front_end._replace(running=True)
        left = front_end.to_send - 1
        sent_all = FrontEnd(0, away=front_end.away and self._all_drops > 0)
        return with_front_end(world, index, front_end._replace(to_send=left) if left else sent_all)

    # -- the coordinator ---------------------------------------------------------------------------------------

    def _react(self, world: World, message: Message) -> World:
        return self._sent(world, self.cores.react(world.core, message))

    def _sent(self, world: World, reaction: Reaction) -> World:
        world = world._replace(core=reaction.core)
        if reaction.starts:
            engines = [
                engine
                if engine.away
                else self._heeded(
                    engine._replace(
                        starts=engine.starts + tuple(start for start in reaction.starts if start[1] != rank)
                    )
                )
                for rank, engine in enumerate(world.engines)
            ]
            world = world._replace(engines=tuple(engines))
        if reaction.published:
            world = world._replace(
                front_ends=tuple(
                    each if each.away or not each.to_send else each._replace(heard=each.heard + reaction.published)
                    for each in world.front_ends
                )
            )
        return world

    def crashes(self, world: World) -> Iterator[World]:
        """The coordinator dies, and comes back."""
        if not world.deaths:
            return
        yield from self._deaths(world)
        for taken, message in self._inputs(world):
            for reaction in self.cores.react(world.core, message).cut_short:
                yield from self._deaths(self._sent(taken, reaction))

    def _deaths(self, world: World) -> Iterator[World]:
        core = self.cores.resume(world.core)
        ended = world._replace(ended=None)  # with all the others
        for survived in (left for up in self._up(ended) for left in self._inputs_after(up)):
            engines = [
                [engine._replace(away=True, starts=engine.starts[:kept]) for kept in range(len(engine.starts) + 1)]
                for engine in survived.engines
            ]
            front_ends = [
                [each._replace(away=True, heard=each.heard[:kept]) for kept in range(len(each.heard) + 1)]
                if each.to_send
                else [each]
                for each in survived.front_ends
            ]
            for ranks in product(*engines):
                for clients in product(*front_ends):
                    yield survived._replace(engines=ranks, front_ends=clients, core=core, deaths=world.deaths - 1)

    def _inputs(self, world: World) -> Iterator[tuple[World, Message]]:
        """Everything that the coordinator can take next, and what is left then."""
        down = world.down
        for rank, engine in enumerate(world.engines):
            if engine.outputs and down != ("output", rank):
                message, *rest = engine.outputs
                yield with_engine(world, rank, engine._replace(outputs=tuple(rest))), message
            if engine.away and down != ("engine", rank):
                yield with_engine(world, rank, engine._replace(away=False)), ("engine", rank, 0)
        for index, notices in enumerate(world.notices):
            if notices and down != ("front-end", index):
                message, *rest = notices
                yield world._replace(notices=with_(world.notices, index, tuple(rest))), message
        for index, front_end in enumerate(world.front_ends):
            if front_end.away and down != ("front-end", index) and (front_end.to_send or self._all_drops):
                # otherwise what it knows and hears has no effect any more
                yield with_front_end(world, index, front_end._replace(away=False)), ("front-end", index, 0)
        yield from self._connections(world)

    def _inputs_after(self, world: World) -> set[World]:
        """The messages that wait with their senders, with or without those that were inside the dead process."""
        left = {world}
        for _ in range(world.losses):
            left |= {less for each in left for less in less_one_input(each)}
        if world.deaths == 1:
            left = {each._replace(losses=0) for each in left}
        return left

    # -- for people --------------------------------------------------------------------------------------------

    def describe(self, world: World) -> str:
        """One line."""
        engines = (
            f"engine {rank}: " + ", ".join(f"{k}={v}" for k, v in each._asdict().items() if v or k == "wave")
            for rank, each in enumerate(world.engines)
        )
        return " | ".join((self.cores.describe(world.core), *engines, f"{world.front_ends} {world.notices}"))

    # -- by hand -----------------------------------------------------------------------------------------------

    def start_by_hand(self, world: World, *, ahead: int) -> World:
        """An operator starts the current wave, or so many ahead of it."""
        return self._react(world, ("manual", 0, self.cores.wave(world.core) + ahead))

    # -- what must not be ---------------------------------------------------------------------------------------

    def kills(self, world: World) -> bool:
        """Whether an engine died of what it was sent."""
        return any(engine.died_of for engine in world.engines) and not self.lost_ready(world)

    def strands(self, world: World) -> bool:
        """Whether, in a world in which nothing can happen any more, some request or the start is not finished."""
        if not all(engine.ready for engine in world.engines):
            return not self.lost_ready(world)
        return any(engine.unfinished or engine.requests for engine in world.engines)

    def lost_ready(self, world: World) -> bool:
        """Whether the crash took READY along, before 0.18, when it may not be sent again: the start has failed."""
        crashed = world.deaths < self._all_deaths
        waiting = [engine for engine in world.engines if not engine.ready]
        return self._ready_kills and crashed and bool(waiting) and not any(e.died_of and e.ready for e in world.engines)

    def _heeded(self, engine: Engine) -> Engine:
        """Without what it ignores now, and later all the more, since its wave only grows."""
        if not engine.starts or not engine.ready:
            return engine
        wave, running = engine.wave, engine.running
        starts = tuple(
            start
            for start in engine.starts
            if (self._ready_kills if start == READY else start[0] > wave or (start[0] == wave and not running))
        )
        return engine if starts == engine.starts else engine._replace(starts=starts)
