"""What simulated front-ends, engines and the collective say to each other directly, as msgpack arrays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import msgspec
import zmq

from dp_coordinator.simulation.collective import AllReduceResult, Contribution

log = logging.getLogger(__name__)
Message = TypeVar("Message")


class Request(NamedTuple):
    """Front-end to engine."""

    id: int
    """The front-end's own number for it."""
    wave: int
    """The wave that the front-end knew when it sent this."""
    prompt_tokens: int
    steps: int
    """How many steps it takes."""


class Member(NamedTuple):
    """Who is at the other end: the topic that a rank subscribes to."""

    rank: int
    size: int
    """Of the group that it expects."""


class Contributed(NamedTuple):
    """Rank to collective."""

    member: Member
    number: int
    """1, 2, 3, ...: one that is sent again is the same."""
    contribution: Contribution


class Told(NamedTuple):
    """Collective to rank."""

    answers: int | None
    """The number of the rank's contribution; 0 for news of a step that began without it; None for a welcome."""
    outcome: AllReduceResult | None
    """Of that step; in a welcome of the last one, if there was any."""


encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_answer = msgspec.msgpack.Decoder(int).decode
"""Engine to front-end: the request of that number is finished."""
decode_member = msgspec.msgpack.Decoder(Member).decode
decode_contributed = msgspec.msgpack.Decoder(Contributed).decode
decode_told = msgspec.msgpack.Decoder(Told).decode


def received(
    socket: zmq.Socket[bytes], read: Callable[[bytes], Message], whose: str
) -> Iterator[tuple[bytes, Message]]:
    """What has arrived, each with its first frame, which on a ROUTER is the sender. What cannot be read is dropped."""
    while True:
        try:
            frames = socket.recv_multipart(zmq.NOBLOCK)
            message = read(frames[-1])
        except zmq.Again:
            return
        except (msgspec.MsgspecError, ValueError) as error:
            log.warning("%s: dropped a message: %s", whose, error)
        else:
            yield frames[0], message
