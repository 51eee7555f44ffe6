"""What is known of a coordinator, as one immutable value, and how each message of the stream changes it.

No clock, no terminal, no socket. Times named `*_at` are the reader's own monotonic seconds, but for those of events,
which are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import msgspec

from dp_coordinator.messages import PROTOCOL, EventMessage, GapMessage, Hello, SnapshotMessage, WaveInfo

LOG_SIZE = 500
EARLIER_WAVES = 20
_SAME_START = 0.002
"""Seconds by which one process's start may seem to differ: its clock is read in floats."""
_SAME_UPTIME = 0.5
"""Seconds by which one process's time up may seem to differ from ours, when its wall clock was set."""


class ForeignHello(msgspec.Struct, frozen=True):
    """The greeting of a coordinator that speaks another protocol."""

    protocol: int
    version: str


@dataclass(frozen=True, slots=True)
class Note:
    """A line in the log that is no event of the coordinator: something about the log itself."""

    at: float
    text: str


Message: TypeAlias = Hello | ForeignHello | SnapshotMessage | EventMessage | GapMessage | None
"""None stands for a message that was not understood."""
LogLine: TypeAlias = EventMessage | Note


@dataclass(frozen=True, slots=True)
class Live:
    """All that was heard so far."""

    incarnation: int = 0
    """Coordinator processes met so far, less one: event numbers of one mean nothing in another."""
    hello: Hello | None = None
    hello_at: float = 0.0
    snapshot: SnapshotMessage | None = None
    snapshot_at: float = 0.0
    """When it arrived: its ages grow from there."""
    earlier: tuple[WaveInfo, ...] = ()
    """Waves of the processes before this one, newest first, as they were last heard of."""
    log: tuple[LogLine, ...] = ()
    """Oldest first, at most LOG_SIZE."""
    last_seq: int = 0
    """Number of the last event seen: what `?since=` resumes from."""
    ignored: int = 0
    """Messages that were not understood since the last one that was a state."""
    outdated: str | None = None
    """Version of a coordinator that speaks another protocol: nothing that it says is taken."""
    must_replay: bool = False
    """Event numbers began again and the start of the new list was not sent: ask again with `since=0`."""


@dataclass(frozen=True, slots=True)
class Link:
    """The connection as it stands."""

    state: Literal["connecting", "open", "lost"] = "connecting"
    why: str = ""
    retry_at: float = 0.0


def parse(frame: str | bytes) -> list[Message]:
    """One frame of the stream as its messages; None for each that is malformed or of an unknown type."""
    text = frame.encode() if isinstance(frame, str) else frame
    try:
        parts = msgspec.json.decode(text, type=list[msgspec.Raw]) if text.lstrip().startswith(b"[") else [text]
    except msgspec.DecodeError:
        return [None]
    return [_message(part) for part in parts]


def _message(text: bytes | msgspec.Raw) -> Message:
    with suppress(msgspec.DecodeError):
        message: Message = _decoder.decode(text)
        return message
    with suppress(msgspec.DecodeError):
        foreign = msgspec.json.decode(text, type=ForeignHello)
        return foreign if foreign.protocol != PROTOCOL else None
    return None


_decoder = msgspec.json.Decoder(Hello | SnapshotMessage | EventMessage | GapMessage)


def apply(live: Live, messages: Sequence[Message], at: float) -> Live:
    """What is known after these messages, which arrived at `at`."""
    for message in messages:
        if isinstance(message, Hello | ForeignHello):
            live = _greeted(live, message, at)
        elif live.outdated is not None:
            continue  # what another protocol means by a snapshot is anyone's guess
        elif message is None:
            live = replace(live, ignored=live.ignored + 1)
        elif isinstance(message, SnapshotMessage):
            live = replace(live, snapshot=message, snapshot_at=at, ignored=0)
        else:
            live = _logged(live, message)
    return live


def _logged(live: Live, message: EventMessage | GapMessage) -> Live:
    """Put an event into the log, with what is missing before it. A number seen before is a replayed one."""
    last, new = _log_lines(live, message)
    if last <= live.last_seq:
        return live
    before = live.log
    if isinstance(message, EventMessage) and message.first_seq <= live.last_seq and before:
        newest = before[-1]  # told anew, with one more in it
        before = before[:-1] if isinstance(newest, EventMessage) and newest.first_seq == message.first_seq else before
    return replace(live, log=(*before, *new)[-LOG_SIZE:], last_seq=last)


def _log_lines(live: Live, message: EventMessage | GapMessage) -> tuple[int, list[LogLine]]:
    """The number that it ends with, and what the log says of it."""
    if isinstance(message, GapMessage):
        return message.last, [] if message.thinned else [_gap(message.first, message.last, _last_at(live))]
    if 0 < live.last_seq < message.first_seq - 1:
        return message.seq, [_gap(live.last_seq + 1, message.first_seq - 1, message.at), message]
    return message.seq, [message]


def _gap(first: int, last: int, at: float) -> Note:
    which = f"event {first} is" if first == last else f"events {first} to {last} are"
    return Note(at, f"{which} no longer held")


def _last_at(live: Live) -> float:
    """The newest time that the log knows: a gap carries none."""
    if live.log:
        return live.log[-1].at
    return live.hello.now if live.hello is not None else 0.0


def _greeted(live: Live, hello: Hello | ForeignHello, at: float) -> Live:
    if isinstance(hello, ForeignHello) or hello.protocol != PROTOCOL:
        return replace(live, outdated=hello.version)
    known = replace(live, hello=hello, hello_at=at, outdated=None, must_replay=False)
    if live.hello is None or same_process(live.hello, hello, at - live.hello_at):
        return known
    waves = live.snapshot.waves if live.snapshot is not None else []
    note = Note(hello.started_at, "the coordinator was restarted: older entries are of its earlier incarnation")
    return replace(
        known,
        incarnation=live.incarnation + 1,
        snapshot=None,  # what the old process said of the present means nothing any more
        earlier=(*map(_cut_off, waves), *live.earlier)[:EARLIER_WAVES],
        log=(*live.log, note)[-LOG_SIZE:],
        last_seq=0,
        must_replay=hello.replay_from > 1,
    )


def _cut_off(wave: WaveInfo) -> WaveInfo:
    """A wave whose coordinator has gone: whether and when it ended is not heard any more."""
    return msgspec.structs.replace(wave, open=False, duration_s=None) if wave.open else wave


def same_process(one: Hello, other: Hello, elapsed: float) -> bool:
    """Whether two greetings come from one coordinator process, also when its wall clock was set in between.

    `elapsed`: seconds between them by our own clock.
    """
    if abs(one.started_at - other.started_at) < _SAME_START:
        return True
    grown = (other.now - other.started_at) - (one.now - one.started_at)
    return abs(grown - elapsed) < _SAME_UPTIME
