"""Which connections are ended for what is read of them and never comes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import pytest

from dp_coordinator.transport import backlog as limits
from dp_coordinator.transport.backlog import (
    EMPTIED,
    HEARTBEATS,
    MOST_GREETING,
    MOST_UNHEARD,
    MOST_UNKNOWN,
    MOST_UNSEEN,
    UNKNOWN_S,
    Backlog,
    Heard,
)
from dp_coordinator.words import Channel

OUTPUTS, SUBSCRIBERS = Channel.BACK_OUTPUT, Channel.BACK_PUBLISH


class Connection:
    """One over loopback, of which this end is looked at."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self.ours, self._theirs = ours, theirs

    def read(self, size: int) -> None:
        """Read what the other end sends, as libzmq does."""
        while size:
            sent = self._theirs.send(bytes(min(size, 1 << 15)))
            self.ours.recv(sent, socket.MSG_WAITALL)
            size -= sent


@contextmanager
def connected() -> Iterator[Connection]:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        theirs = stack.enter_context(socket.create_connection(listener.getsockname()))
        ours = stack.enter_context(listener.accept()[0])
        yield Connection(ours, theirs)


def ends(
    connection: Connection, channel: Channel, heard: tuple[int, bool], looks: list[tuple[int, float]], emptied: int = 0
) -> list[bool]:
    """Whether each look would end it: bytes that are read before it, and when it is.

    Between two of them the loop has taken all that there was so often.
    """
    mine = connection.ours.getsockname(), connection.ours.getpeername()

    def channel_of(end: socket.socket) -> Channel | None:
        return channel if (end.getsockname(), end.getpeername()) == mine else None

    found: list[bool] = []
    backlog = Backlog(channel_of, lambda channel, descriptor: Heard(*heard, len(found) * emptied))
    for size, at in looks:
        connection.read(size)
        found.append([each.channel for each in backlog.look(at)] == [channel])
    return found


@pytest.mark.parametrize(
    ("channel", "heard", "looks", "ended"),
    [
        (OUTPUTS, (0, False), [(MOST_UNHEARD, 0.0)], [False]),
        (OUTPUTS, (0, False), [(MOST_UNHEARD + 1, 0.0)], [True]),
        (OUTPUTS, (1, False), [(MOST_UNHEARD + 1, 0.0)], [False]),  # some of it has come
        (OUTPUTS, (0, True), [(MOST_UNHEARD + 1, 0.0)], [False]),
        (SUBSCRIBERS, (0, False), [(MOST_UNHEARD + 1, 0.0)], [False]),
        (OUTPUTS, (0, False), [(MOST_UNKNOWN, 0.0), (0, UNKNOWN_S + 1)], [False, False]),
        (SUBSCRIBERS, (1, False), [(MOST_UNSEEN[SUBSCRIBERS], 0.0), (0, UNKNOWN_S + 1)], [False, False]),
        (OUTPUTS, (0, False), [(MOST_UNKNOWN + 1, 0.0), (0, UNKNOWN_S), (0, UNKNOWN_S + 0.01)], [False, False, True]),
        (OUTPUTS, (0, True), [(MOST_UNKNOWN + 1, 0.0), (0, UNKNOWN_S + 1)], [False, False]),
        (OUTPUTS, (3, True), [(9, 0.0), (MOST_UNSEEN[OUTPUTS], 0.0), (1, 0.0)], [False, False, True]),
        (SUBSCRIBERS, (3, False), [(9, 0.0), (MOST_UNSEEN[SUBSCRIBERS], 0.0), (1, 0.0)], [False, False, True]),
    ],
)
def test_too_much_is_read_and_nothing_of_it_comes(
    channel: Channel, heard: tuple[int, bool], looks: list[tuple[int, float]], ended: list[bool]
) -> None:
    with connected() as connection:
        assert ends(connection, channel, heard, looks) == ended


@pytest.mark.parametrize(
    ("heard", "before", "after", "emptied", "ended"),
    [
        ((1, False), MOST_UNKNOWN + 1, 0, EMPTIED, True),  # what was there to be taken did not come of it
        ((1, False), MOST_UNKNOWN + 1, 0, EMPTIED - 1, False),
        ((1, False), MOST_UNKNOWN, 1, EMPTIED, False),  # it may have come since
        ((1, True), MOST_UNKNOWN + 1, 0, EMPTIED, False),
        ((0, False), MOST_GREETING + 1, 0, EMPTIED, True),
        ((0, False), MOST_GREETING + 1, 0, EMPTIED - 1, False),
        ((0, False), MOST_GREETING, 1, EMPTIED, False),
    ],
)
def test_what_is_no_message_once_all_messages_were_taken_is_not_waited_for(
    heard: tuple[int, bool], before: int, after: int, emptied: int, ended: bool
) -> None:
    with connected() as connection:
        assert ends(connection, OUTPUTS, heard, [(before, 0.0), (after, 0.001)], emptied) == [False, ended]


@pytest.mark.parametrize(("channel", "since", "ended"), [(OUTPUTS, 0.0, 0), (OUTPUTS, 55.0, 1), (SUBSCRIBERS, 55.0, 1)])
def test_heartbeats_are_nothing_that_goes_on(channel: Channel, since: float, ended: int) -> None:
    """Of an engine that is idle for hours; those of a minute are 4 KB at most."""
    with connected() as connection:
        mine, looks = connection.ours.getsockname(), count()
        backlog = Backlog(
            lambda end: channel if end.getsockname() == mine else None, lambda *_: Heard(0, False, next(looks), since)
        )
        connection.read(MOST_GREETING + 60 * HEARTBEATS)
        assert [len(list(backlog.look(at))) for at in (60.0, 61.0)] == [0, ended]


@pytest.mark.parametrize("size", [100, MOST_GREETING + 1])
def test_nobody_greets_a_socket_for_ever(size: int) -> None:
    """Subscribers, too: libzmq keeps what a greeting says of its sender."""
    with connected() as connection:
        ended = ends(connection, SUBSCRIBERS, (0, False), [(size, 0.0), (0, 0.001)], EMPTIED)
        assert ended == [False, size > MOST_GREETING]


def test_nor_one_that_had_sent_nothing_when_it_was_first_looked_at() -> None:
    with connected() as connection:
        looks = [(0, 0.0), (MOST_UNKNOWN + 1, 0.001), (0, 0.002)]
        assert ends(connection, OUTPUTS, (0, False), looks, EMPTIED) == [False, False, True]


@pytest.mark.parametrize(
    ("taken", "sizes", "ended"),
    [
        (0, [MOST_UNKNOWN + 1] * 2, 0),
        (0, [MOST_UNKNOWN + 1] * 3, 1),
        (0, [MOST_UNKNOWN + 1] * 5, 3),
        (0, [MOST_UNKNOWN] * 5, 0),  # however many there are
        (1, [MOST_UNKNOWN + 1] * 5, 0),  # something of each has come
    ],
)
def test_of_many_from_whom_nothing_ever_came_less_is_too_much(
    monkeypatch: pytest.MonkeyPatch, taken: int, sizes: list[int], ended: int
) -> None:
    monkeypatch.setattr(limits, "MOST_UNHEARD_TOGETHER", 2 * (MOST_UNKNOWN + 1))
    with ExitStack() as stack:
        connections = [stack.enter_context(connected()) for _ in sizes]
        mine = {connection.ours.getsockname(): OUTPUTS for connection in connections}
        backlog = Backlog(lambda end: mine.get(end.getsockname()), lambda *_: Heard(taken, False, 0))
        for connection, size in zip(connections, sizes, strict=True):
            connection.read(size)
        assert len(list(backlog.look(0.0))) == ended
        assert len(list(backlog.look(0.0))) == ended, "what was seen at one look does not count at the next"
