"""How many connections a socket has: strangers that only connect fill nothing, and engines come and go beside them."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from dp_coordinator.observer import Books, Host
from dp_coordinator.transport import Sockets, crowd
from dp_coordinator.transport import entrance as entrance_module
from dp_coordinator.transport.crowd import MOST, Crowd
from dp_coordinator.transport.entrance import Entrance
from dp_coordinator.words import Channel
from tests.transport.rig import PATIENCE, own_connections, rig
from tests.transport.strangers import is_over
from tests.transport.zmtp import connect, greeting
from tests.waiting import wait_until

HERE, THERE, ELSEWHERE = "10.0.0.1", "10.0.0.2", "10.0.0.3"


@pytest.mark.parametrize(
    ("before", "speak", "comes_from", "ends"),
    [
        ([HERE, HERE, HERE], [], None, None),
        ([HERE, HERE, HERE], [], HERE, 0),
        ([HERE, HERE, HERE], [0], HERE, 1),
        ([HERE, HERE, HERE], [0, 1], HERE, 2),
        ([HERE, HERE, HERE], [0, 1, 2], HERE, 3),  # the one that comes
        ([HERE, HERE, HERE], [0, 1, 2], THERE, 2),  # nobody elsewhere pays for them
        ([HERE, THERE, THERE], [], ELSEWHERE, 1),
        ([HERE, THERE, THERE], [1, 2], ELSEWHERE, 2),
        (["2001:db8::1", "2001:db8::2", HERE], [], HERE, 0),
        (["", "", HERE], [], HERE, 0),  # over ipc
    ],
)
def test_who_ends_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch, before: list[str], speak: list[int], comes_from: str | None, ends: int | None
) -> None:
    monkeypatch.setattr(crowd, "MOST", {Channel.BACK_OUTPUT: 1})
    there = Crowd(Channel.BACK_OUTPUT, engines=1)
    assert [there.comes(descriptor, host) for descriptor, host in enumerate(before)] == [None] * 3
    for descriptor in speak:
        there.speaks(descriptor, before[descriptor])
    if comes_from is not None:
        assert there.comes(3, comes_from) == ends


def test_who_went_makes_room_and_who_was_ended_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "MOST", {Channel.BACK_OUTPUT: 0})
    there = Crowd(Channel.BACK_OUTPUT, engines=1)
    assert [there.comes(descriptor, HERE) for descriptor in (0, 1, 2)] == [None, None, 0]
    there.goes(0, HERE)  # the end that it was brought to
    there.goes(1, HERE)
    there.speaks(1, HERE)
    assert there.comes(3, HERE) is None
    assert there.comes(4, HERE) == 2
    for descriptor in (2, 3, 4, 5):
        there.goes(descriptor, HERE)
    assert [there.comes(descriptor, HERE) for descriptor in (6, 7)] == [None, None]


@pytest.mark.parametrize("channel", ["back_publish", "back_output"])
def test_strangers_that_only_connect_make_room_for_each_other(tmp_path: Path, channel: str) -> None:
    """Whoever has subscribed or reported stays, and whoever comes is let in."""
    with rig(tmp_path, host="127.0.0.1") as r, ExitStack() as stack:
        r.ready_engines()
        endpoint = getattr(r.mailbox.endpoints, channel)
        port, kind = int(endpoint.rpartition(":")[2]), b"PUSH" if channel == "back_output" else b"XSUB"
        most = MOST[Channel(channel)] + 2
        strangers = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(most)]
        wait_until(lambda: "peer_cut_off" in r.kinds() or channel == "back_output", "one too many")
        last = stack.enter_context(connect(("127.0.0.1", port), kind, timeout=PATIENCE))
        wait_until(lambda: "peer_cut_off" in r.kinds(), "another one")
        (first, *_) = [entry.fields for entry in r.mailbox.log.since(0) if entry.kind == "peer_cut_off"]
        assert first["channel"] == channel
        assert str(first["detail"]).startswith(f"{most} connections are the most")
        names = [f"127.0.0.1:{stranger.getsockname()[1]}" for stranger in strangers]
        assert first["peer"] in names[:10], "one of the first"
        wait_until(lambda: is_over(strangers[names.index(str(first["peer"]))]), "its end")
        assert not is_over(last)
        assert not r.mailbox.counters.refused, "they were cut off, and not refused"
        assert r.mailbox.snapshot.engines_subscribed == 2


def test_a_turn_takes_in_those_who_come_for_so_long_and_lets_in_nobody_before_all_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entrance_module, "LONGEST_S", 0.0)
    anywhere, taken = "tcp://127.0.0.1:0", list[object]()
    with Sockets(anywhere, anywhere, anywhere, engines=200) as sockets, ExitStack() as stack:
        host = SimpleNamespace(take=lambda event, now: taken.append(event))
        entrance = Entrance(sockets, cast(Host, host), cast(Books, SimpleNamespace()))
        port = int(sockets.endpoints().back_output.rpartition(":")[2])
        many = 20
        for _ in range(many):
            stranger = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            stranger.sendall(greeting(b"PUSH"))
        # Both ends of each are this process's: libzmq has told of them soon after.
        wait_until(lambda: sum(port in (e[1] for e in ends) for _, ends in own_connections()) >= 2 * many, "them all")
        assert sockets.doorkeeper.socket.poll(int(PATIENCE * 1000))
        door, watch = sockets.doorkeeper, sockets.watches[Channel.BACK_OUTPUT]
        held_up = 0
        while door.given < many:
            before, given = len(taken), door.given
            entrance.work({door.socket}, True, 0.0)
            assert len(taken) - before == (before < many)
            assert door.given - given <= (not watch.behind)
            held_up += watch.behind
        assert len(taken) == many
        assert held_up, "all of them had come before"
