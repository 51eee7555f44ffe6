"""The stream in few bytes: changes in place of whole snapshots, and frames that are compressed once for all."""

from __future__ import annotations

import random
import zlib
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from dp_coordinator import messages as m
from dp_coordinator.core.snapshot import EngineColumns
from dp_coordinator.web.stream.broadcaster import Broadcaster
from dp_coordinator.web.stream.frames import Frames
from dp_coordinator.web.stream.viewer import Viewer
from tests.web.builders import snapshot
from tests.web.rig import Site, site, stats
from tests.web.test_security import handshake_status
from tests.web.watching import broadcaster_over, decode, drained, joined, received, text_of, until

RANKS = 64


def put_together(before: m.SnapshotMessage, change: m.SnapshotChange) -> m.SnapshotMessage:
    """What a viewer makes of a change, as the message's description says."""
    assert change.of == before.number
    columns = msgspec.to_builtins(before.engines)
    for name, by in change.engines.items():
        columns[name] = by if name in ("status", "provenance") else _sums(columns[name], by)
    whole = msgspec.to_builtins(before) | dict(change.fields) | {"number": change.number, "engines": columns}
    return msgspec.convert(whole, m.SnapshotMessage)


def _sums(column: list[float | None], by: Any) -> list[float | None]:
    pairs = zip(column, by, strict=True)
    return [None if part is None else round((value or 0) + part, 3) for value, part in pairs]


def some_ranks(chance: random.Random, at: float) -> EngineColumns:
    """Ranks that report anything, and some of them nothing."""
    known = [chance.random() < 0.9 for _ in range(RANKS)]

    def column(draw: Any) -> tuple[Any, ...]:
        return tuple(draw() if there else None for there in known)

    return EngineColumns(
        waiting=column(lambda: chance.randrange(1000)),
        running=column(lambda: chance.randrange(256)),
        kv_cache_usage=column(chance.random),
        step_counter=column(lambda: chance.randrange(10**9)),
        current_wave=column(lambda: chance.randrange(5)),
        reported_at=column(lambda: at - chance.random() * 1e6),
        restarts=tuple(chance.randrange(3) for _ in range(RANKS)),
    )


def states(broadcaster: Broadcaster, viewer: Viewer) -> list[Any]:
    """What is new to a viewer, but for the events."""
    return [each for each in drained(broadcaster, viewer) if not isinstance(each, m.EventMessage)]


async def test_changes_make_what_whole_snapshots_say() -> None:
    broadcaster, mailbox = broadcaster_over()
    chance = random.Random(9)
    whole, told = joined(broadcaster), joined(broadcaster, wants_changes=True)
    seen: m.SnapshotMessage | None = None
    for tick in range(1, 40):
        at = 100.0 + tick
        mailbox.snapshot = snapshot((None,) * RANKS, at=at, current_wave=tick // 3, engines=some_ranks(chance, at))
        broadcaster.sample(at)
        [message] = states(broadcaster, told)
        if seen is None:
            assert isinstance(message, m.SnapshotMessage)
            seen = message
        else:
            seen = put_together(seen, message)
        assert states(broadcaster, whole) == [seen]


async def test_what_did_not_change_is_not_said() -> None:
    broadcaster, mailbox = broadcaster_over(snapshot((1.0, 2.0), at=100.0))
    viewer = joined(broadcaster, wants_changes=True)
    broadcaster.sample(100.0)
    drained(broadcaster, viewer)
    mailbox.snapshot = snapshot((1.0, 2.0), at=100.1, current_wave=4)
    broadcaster.sample(100.1)
    [change] = drained(broadcaster, viewer)
    assert change.fields["current_wave"] == 4
    assert "endpoints" not in change.fields
    assert change.engines == {"age_s": [0.1, 0.1]}


async def test_who_missed_a_snapshot_and_who_joins_is_sent_a_whole_one() -> None:
    broadcaster, mailbox = broadcaster_over()
    quick, slow = (joined(broadcaster, wants_changes=True) for _ in range(2))
    broadcaster.sample(1.0)
    drained(broadcaster, quick), drained(broadcaster, slow)
    for wave in (4, 5):
        mailbox.snapshot = snapshot(current_wave=wave)
        broadcaster.sample(float(wave))
        assert [type(each) for each in drained(broadcaster, quick)] == [m.SnapshotChange]
    assert [type(each) for each in drained(broadcaster, slow)] == [m.SnapshotMessage]
    late = joined(broadcaster, wants_changes=True)
    assert [type(each) for each in drained(broadcaster, late)] == [m.SnapshotMessage]


async def test_other_ranks_are_told_as_a_whole() -> None:
    broadcaster, mailbox = broadcaster_over()
    viewer = joined(broadcaster, wants_changes=True)
    broadcaster.sample(1.0)
    drained(broadcaster, viewer)
    mailbox.snapshot = snapshot((1.0, 2.0, 3.0))
    broadcaster.sample(2.0)
    [message] = drained(broadcaster, viewer)
    assert message.engines.waiting == [0, 1, 2]


async def test_a_change_is_made_once_for_all_and_compressed_once() -> None:
    broadcaster, mailbox = broadcaster_over(snapshot((1.0,) * RANKS))
    viewers = [joined(broadcaster, wants_changes=True) for _ in range(4)]
    for viewer in viewers[2:]:
        viewer.connection.deflates = True
    broadcaster.sample(1.0)
    for viewer in viewers:
        broadcaster.next(viewer)
    mailbox.snapshot = snapshot((2.0,) * RANKS, running=7, current_wave=8, at=101.0)
    broadcaster.sample(9.0)
    plain, also, packed, too = (broadcaster.next(viewer) for viewer in viewers)
    assert plain is also
    assert packed is too
    assert plain is not None
    assert packed is not None
    assert len(packed) < len(plain)


def test_what_is_short_is_not_compressed() -> None:
    assert Frames(b"{}").of(deflated=True) == Frames(b"{}").of(deflated=False)
    long = b'{"at":1}' * 100
    packed = Frames(long).of(deflated=True)
    assert packed[0] == 0xC1  # one final text frame, compressed (RFC 7692, 6)
    assert zlib.decompress(packed[2:] + b"\x00\x00\xff\xff\x01\x00\x00\xff\xff", wbits=-15) == long
    assert text_of(Frames(long).plain) == long


@pytest.mark.parametrize("compression", ["deflate", None])
def test_a_live_viewer_of_changes_sees_what_is_so(fresh: Site, compression: str | None) -> None:
    with fresh.stream("?changes=1", compression=compression) as viewer:
        _, seen = decode(viewer.recv(5)), decode(viewer.recv(5))
        for running in range(1, 6):
            fresh.loop.feed(stats(1, running=running, waiting=7))
            while seen.engines.running[1] != running:
                *_, change = until(viewer, lambda x: isinstance(x, m.SnapshotChange))
                seen = put_together(seen, change)
    assert seen.engines.waiting == [None, 7, None, None]


def test_compression_is_agreed_on_without_memory(fresh: Site) -> None:
    with fresh.stream() as viewer:
        assert viewer.response is not None
        agreed = viewer.response.headers["Sec-WebSocket-Extensions"]
    assert {"server_no_context_takeover", "client_no_context_takeover"} <= set(agreed.split("; "))


def test_a_viewer_with_a_small_window_can_read_it_all() -> None:
    with site(1024) as running:
        running.loop.subscribe_all()
        running.loop.feed(*(stats(rank, running=rank) for rank in range(1024)))
        small = ClientPerMessageDeflateFactory(server_max_window_bits=9)
        with running.stream(compression=None, extensions=[small]) as viewer:
            until(viewer, lambda x: isinstance(x, m.SnapshotMessage) and x.engines.running[-1] == 1023)


def test_what_a_viewer_compressed_is_bounded_by_what_it_means(fresh: Site) -> None:
    with fresh.stream() as viewer:
        viewer.send("x" * 10_000_000)  # 10 kB on the wire
        with pytest.raises(ConnectionClosed):
            list(received(viewer))
        assert viewer.close_code == 1009
    assert fresh.get("/livez").status_code == 200


@pytest.mark.parametrize("changes", ["", "2", "yes", "%F0"])
def test_changes_are_asked_for_with_1_or_0(shared: Site, changes: str) -> None:
    assert handshake_status(shared, f"?changes={changes}") == 422
    assert handshake_status(shared, "?changes=0") == 101
