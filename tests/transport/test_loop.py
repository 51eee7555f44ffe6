"""The loop on real sockets: what goes in and comes out, and that nothing that arrives ends or bloats it."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from dp_coordinator.core.events import ManualStartRequested
from dp_coordinator.core.snapshot import Remembered, StartAction
from dp_coordinator.mailbox import INBOX_SIZE, InboxFullError
from dp_coordinator.transport import BindError, Sockets
from dp_coordinator.wire.coordinator import MAX_FRAME, MAX_NOTICE
from tests.transport.rig import pack, rig, unpack
from tests.waiting import wait_until

STATS = {"num_waiting_reqs": 3, "num_running_reqs": 1, "step_counter": 0, "current_wave": 0, "kv_cache_usage": 0.25}


def test_a_wave_from_notice_to_completion(tmp_path: Path) -> None:
    with rig(tmp_path) as r:
        one, two = r.ready_engines()
        front, output = r.front_end(), r.output()
        assert front.receive_load() == [[[0, 0, 0.0], [0, 0, 0.0]], 0, False]
        front.send(pack((b"\x01\x00", 0)))
        assert one.receive_start() == two.receive_start() == [0, 1]
        output.send(pack([1, [], STATS]))
        output.send(pack([0, [], None, 1.0, None, None, None, 0]))
        assert one.receive_start() == [0, 0]
        assert front.receive_wave_state() == [0, True]
        assert front.receive_load() == [[[0, 0, 0.0], [3, 1, 0.25]], 0, True]
        output.send(pack([0, [], None, 1.0, None, None, 0]))
        assert front.receive_wave_state() == [1, False]
        wait_until(lambda: "wave_completed" in r.kinds(), "the log entry")
        assert r.mailbox.counters.starts == {"front-end": 1, "engine": 1}
        assert sum(r.mailbox.counters.wave_seconds.counts) == 1


def test_nobody_gets_ready_before_all_have_subscribed(tmp_path: Path) -> None:
    with rig(tmp_path) as r:
        first = r.engine()
        wait_until(lambda: r.mailbox.snapshot.engines_subscribed == 1, "the first engine")
        assert first.socket.poll(0) == 0
        r.engine()
        assert first.receive() == [b"READY"]


BAD_FRAMES = [
    ("back_output", [b"junk"], "undecodable"),
    ("back_output", [b""], "undecodable"),
    ("back_output", [pack([0, [], {"num_waiting_reqs": -4}])], "bad_field"),
    ("back_output", [b"\x91" * 5000], "undecodable"),
    ("back_output", [bytes(MAX_FRAME + 1)], "oversize"),
    ("back_output", [pack([2, [], STATS])], "index_out_of_range"),
    ("back_output", [pack([0]), b"another part"], "undecodable"),
    ("front_publish", [b"junk"], "undecodable"),
    ("front_publish", [pack(("SCALE_ELASTIC_EP", 0))], "engine_count_out_of_range"),
    ("front_publish", [pack(("SCALE_ELASTIC_EP", 10**9))], "engine_count_out_of_range"),
    ("front_publish", [bytes([0x92]) * (MAX_NOTICE + 1)], "oversize"),
    ("back_publish", [b"hello"], "unexpected"),
    ("back_publish", [b"\x01topic"], "unexpected"),
]


def more_frames(running: Any, channel: str, verdict: str, than: int) -> bool:
    return bool(running.frames(channel, verdict) > than)


def test_of_a_report_with_bad_fields_the_others_count_and_it_is_said_whose_it_was(tmp_path: Path) -> None:
    with rig(tmp_path) as r:
        r.ready_engines()
        front, output = r.front_end(), r.output()
        output.send(pack([1, [], STATS]))
        while front.receive_load() != [[[0, 0, 0.0], [3, 1, 0.25]], 0, False]:
            pass
        bad = STATS | {"num_waiting_reqs": -1, "num_running_reqs": 5, "kv_cache_usage": float("nan")}
        output.send(pack([1, [], bad, 1.0, None, None, 0]))
        assert front.receive_wave_state() == [1, False]
        assert front.receive_load() == [[[0, 0, 0.0], [3, 5, 0.25]], 1, False]
        assert r.frames("back_output", "bad_field") == 1
        (entry,) = [entry for entry in r.mailbox.log.since(0) if entry.kind == "bad_frame"]
        assert entry.fields["engine"] == 1
        assert str(entry.fields["peer"]).startswith(f"pid {os.getpid()} ")
        assert str(entry.fields["detail"]).startswith("rank 1: num_waiting_reqs: ")
        assert "kv_cache_usage: " in str(entry.fields["detail"])


@pytest.mark.parametrize("ready", [False, True], ids=["starting", "ready"])
def test_bad_frames_are_counted_by_kind_and_change_nothing(tmp_path: Path, ready: Any) -> None:
    with rig(tmp_path) as r:
        engines = r.ready_engines() if ready else []
        peers = {
            "back_output": r.output(),
            "front_publish": r.front_end(),
            "back_publish": engines[0] if ready else r.engine(),
        }
        for channel, frames, verdict in BAD_FRAMES:
            before = r.frames(channel, verdict)
            peers[channel].send(*frames)
            wait_until(partial(more_frames, r, channel, verdict, before), f"{verdict} on {channel}: {frames[0][:20]!r}")
        assert "bad_frame" in r.kinds()
        engines = engines or [peers["back_publish"], r.engine()]
        if not ready:
            assert [engine.receive() for engine in engines] == [[b"READY"]] * 2
        peers["front_publish"].send(pack((0, 0)))
        assert engines[0].receive_start() == [0, 0]


def test_a_flood_of_bad_frames_does_not_flood_the_log(tmp_path: Path) -> None:
    with rig(tmp_path) as r:
        output = r.output()
        for _ in range(5000):
            output.send(b"junk")
        wait_until(lambda: "peer_cut_off" in r.kinds(), "that it is cut off")
        assert r.frames("back_output", "undecodable") >= 1000
        assert r.kinds().count("bad_frame") < 100


def test_a_tap_with_a_topic_is_no_front_end(tmp_path: Path) -> None:
    with rig(tmp_path) as r:
        tap = r.context.socket(zmq.SUB)
        tap.connect(r.mailbox.endpoints.front_publish)
        tap.setsockopt(zmq.SUBSCRIBE, b"\x93")
        wait_until(lambda: r.frames("tap_subscribe", "accepted") == 1, "the tap")
        assert r.mailbox.snapshot.front_ends == 0
        r.ready_engines()
        assert msgspec.msgpack.decode(tap.recv())[1:] == [0, False]


def test_peers_that_go_away_are_missed(tmp_path: Path) -> None:
    with rig(tmp_path) as r:
        engines = r.ready_engines()
        front_ends = [r.front_end(), r.front_end()]
        wait_until(lambda: r.mailbox.snapshot.front_ends == 2, "two front-ends")
        engines[0].close()
        front_ends[0].close()
        wait_until(lambda: r.mailbox.snapshot.engines_subscribed == 1, "one engine less")
        wait_until(lambda: r.mailbox.snapshot.front_ends == 1, "one front-end less")
        again = r.engine()
        assert again.receive() == [b"READY"]
        wait_until(lambda: r.mailbox.snapshot.engines_subscribed == 2, "the engine is back")


def test_load_is_published_while_reports_pour_in(tmp_path: Path) -> None:
    """Upstream publishes only when nothing arrives. Here a flood must not stop it: five loads while it lasts."""
    with rig(tmp_path) as r:
        r.ready_engines()
        front, stop = r.front_end(), threading.Event()
        report = pack([0, [], STATS])

        def flood() -> None:
            output = r.output()
            while not stop.is_set():
                output.send(report)

        sender = threading.Thread(target=flood)
        sender.start()
        try:
            wait_until(lambda: r.frames("stats", "accepted") > 0, "the flood")
            waves = [front.receive_load() for _ in range(5)]
        finally:
            stop.set()
            sender.join()
        assert waves[-1][0][0] == [3, 1, 0.25]


def test_a_command_is_answered_and_found_in_the_state(tmp_path: Path) -> None:
    with rig(tmp_path) as r:
        engine, _ = r.ready_engines()
        answer = r.mailbox.inbox.post(ManualStartRequested("why", "test")).result(timeout=20)
        assert isinstance(answer, StartAction)
        assert r.mailbox.snapshot.actions[-1].id == answer.id
        assert engine.receive_start() == [0, None]


def test_the_inbox_is_bounded(tmp_path: Path) -> None:
    with rig(tmp_path) as r:
        inbox = r.mailbox.inbox
        inbox.connect(None)  # nobody takes anything out
        for _ in range(INBOX_SIZE):
            inbox.post(ManualStartRequested("why", "test"))
        with pytest.raises(InboxFullError):
            inbox.post(ManualStartRequested("why", "test"))


def test_free_ports_are_found_and_taken_ones_named(tmp_path: Path) -> None:
    with Sockets("tcp://127.0.0.1:*", "tcp://127.0.0.1:0", f"ipc://{tmp_path}/x") as sockets:
        ends = sockets.endpoints()
        assert not ends.front_publish.endswith(("*", ":0"))
        assert not ends.back_output.endswith(":0")
        with pytest.raises(BindError, match="cannot bind back_output to tcp"):
            Sockets("tcp://127.0.0.1:*", ends.front_publish, "tcp://127.0.0.1:*")


def test_a_command_that_was_taken_back_is_passed_over(tmp_path: Path) -> None:
    with rig(tmp_path) as r:
        r.ready_engines()
        inbox = r.mailbox.inbox
        inbox.connect(None)  # keeps the loop from hearing of it yet
        given_up = inbox.post(ManualStartRequested("first", "test"))
        assert given_up.cancel()
        inbox.connect(r.wake)
        assert inbox.post(ManualStartRequested("second", "test")).result(timeout=20) == r.mailbox.snapshot.actions[0]
        assert [a.reason for a in r.mailbox.snapshot.actions] == ["second"]


def test_many_that_come_back_have_ready_a_few_times_not_each_time(tmp_path: Path) -> None:
    """READY goes to all: one for each that comes back would be half a million for a thousand engines."""
    count = 50
    with rig(tmp_path, count, resumed=Remembered(7, count, ready=True)) as r:
        engines = [r.engine() for _ in range(count)]
        ready = 0
        while (frames := engines[0].receive()) == [b"READY"]:
            ready += 1
        assert unpack(frames[1]) == [7, None]  # START, when all are back
        assert 1 <= ready < count // 2
        for engine in engines[1:]:
            assert engine.receive() == [b"READY"]  # before any START
            assert engine.receive_start() == [7, None]


def test_one_that_comes_back_alone_has_ready_while_others_are_missing(tmp_path: Path) -> None:
    with rig(tmp_path, 3, resumed=Remembered(7, 3, ready=True)) as r:
        for _ in range(2):
            assert r.engine().receive() == [b"READY"]


def test_before_0_18_none_that_comes_back_has_ready(tmp_path: Path) -> None:
    with rig(tmp_path, 2, "0.16", resumed=Remembered(7, 2, ready=True)) as r:
        engines = [r.engine() for _ in range(2)]
        assert [unpack(engine.receive()[1]) for engine in engines] == [[7, None]] * 2
