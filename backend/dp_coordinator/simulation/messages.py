"""What simulated front-ends and engines say to each other directly, as msgpack arrays."""

from __future__ import annotations

import msgspec


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
