"""What simulated front-ends and engines say to each other directly, as msgpack arrays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec
import zmq

log = logging.getLogger(__name__)
Message = TypeVar("Message")


class Request(msgspec.Struct, frozen=True, array_like=True):
    """Front-end to engine."""

    id: int
    """The front-end's own number for it."""
    wave: int
    """The wave that the front-end knew when it sent this."""
    prompt_tokens: int
    steps: int
    """How many steps it takes."""


class Finished(msgspec.Struct, frozen=True, array_like=True):
    """Engine to front-end."""

    id: int


encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_finished = msgspec.msgpack.Decoder(Finished).decode


def received(
    socket: zmq.Socket[bytes], decode: Callable[[bytes], Message], whose: str
) -> Iterator[tuple[bytes, Message]]:
    """What has arrived, each with its first frame, which on a ROUTER is the sender. What cannot be read is dropped."""
    while True:
        try:
            frames = socket.recv_multipart(zmq.NOBLOCK)
            message = decode(frames[-1])
        except zmq.Again:
            return
        except (msgspec.MsgspecError, ValueError) as error:
            log.warning("%s: dropped a message: %s", whose, error)
        else:
            yield frames[0], message
