"""The states of the small deployment in recovery_world.py, as tuples, and how one follows from another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.core.recovery_cores import Message, Publication, Start


class Engine(NamedTuple):
    wave: int = 0
    running: bool = False
    was_running: bool = False
    """When the last step ended."""
    unfinished: bool = False
    in_step: bool = False
    away: bool = False
    """Not subscribed yet, or not again."""
    ready: bool = False
    """It has had READY."""
    died_of: str | None = None
    """What it was sent, if that killed it."""
    requests: tuple[int, ...] = ()
    """On their way to it: the waves they are stamped with."""
    starts: tuple[Start, ...] = ()
    """On their way to it, READY among them, without those that it would ignore whenever it takes them."""
    outputs: tuple[Message, ...] = ()
    """On their way to the coordinator."""


class FrontEnd(NamedTuple):
    to_send: int
    wave: int = 0
    running: bool = False
    away: bool = False
    heard: tuple[Publication, ...] = ()
    """On their way to it."""


class World(NamedTuple):
    engines: tuple[Engine, ...]
    front_ends: tuple[FrontEnd, ...]
    notices: tuple[tuple[Message, ...], ...]
    """On their way from each front-end."""
    core: int
    deaths: int
    """How many are still to come."""
    losses: int
    """How many messages to the coordinator may still be lost, in all."""
    drops: int
    """How many connections are still to be dropped."""
    down: tuple[str, int] | None = None
    """The connection that is to be made again."""
    ended: tuple[str, int] | None = None
    """The one of whose end the coordinator has not heard."""
    stray: Message | None = None
    """What a peer has sent that belongs to nobody."""


def with_(items: tuple[Any, ...], index: int, item: Any) -> tuple[Any, ...]:
    return (*items[:index], item, *items[index + 1 :])


def with_engine(world: World, rank: int, engine: Engine) -> World:
    return world._replace(engines=with_(world.engines, rank, engine))


def with_front_end(world: World, index: int, front_end: FrontEnd) -> World:
    return world._replace(front_ends=with_(world.front_ends, index, front_end))


def less_one_input(world: World) -> Iterator[World]:
    if not world.losses:
        return
    world = world._replace(losses=world.losses - 1)
    for rank, engine in enumerate(world.engines):
        if engine.outputs:
            yield with_engine(world, rank, engine._replace(outputs=engine.outputs[1:]))
    for index, notices in enumerate(world.notices):
        if notices:
            yield world._replace(notices=with_(world.notices, index, notices[1:]))
