from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from dp_coordinator import __version__
from dp_coordinator import messages as m
from dp_coordinator.mailbox import EVENT_LOG_SIZE
from dp_coordinator.web.stream.broadcaster import WRITE_GROUP, WRITTEN_AT_ONCE
from dp_coordinator.web.stream.serving import serve
from tests.web.builders import snapshot
from tests.web.rig import Site, complete, site, start_wave, stats
from tests.web.watching import (
    Socket,
    broadcaster_at_work,
    broadcaster_over,
    decode,
    drained,
    events_in,
    joined,
    received,
    until,
)


def test_hello_then_the_state_as_it_is(fresh: Site) -> None:
    with fresh.stream() as viewer:
        hello, first = decode(viewer.recv(5)), decode(viewer.recv(5))
    assert isinstance(hello, m.Hello)
    assert (hello.protocol, hello.version) == (3, __version__)
    assert hello.last_seq == fresh.mailbox.log.last_seq
    assert hello.replay_from == hello.last_seq + 1
    assert abs(hello.now - time.time()) < 60
    assert hello.started_at <= hello.now
    assert isinstance(first, m.SnapshotMessage)
    assert (first.state, first.engine_count, first.engines.waiting) == ("paused", 4, [None] * 4)
    assert first.last_seq == hello.last_seq


def test_events_and_states_follow_as_they_happen(fresh: Site) -> None:
    with fresh.stream() as viewer:
        hello = decode(viewer.recv(5))
        fresh.loop.feed(start_wave(engine=1), stats(1, running=2))
        seen = until(viewer, lambda x: isinstance(x, m.SnapshotMessage) and x.state == "running")
        assert seen[-1].engines.running == [None, 2, None, None]
        assert seen[-1].wave.joined == [1]
        fresh.loop.feed(complete())
        seen += until(viewer, lambda x: isinstance(x, m.EventMessage) and x.kind == "wave_completed")
    events = events_in(seen)
    assert [e.seq for e in events] == list(range(hello.replay_from, hello.replay_from + len(events)))
    assert [e.kind for e in events] == ["wave_asked", "wave_started", "engine_first_report", "wave_completed"]
    assert events[0].fields["engine"] == 1


def test_a_heartbeat_comes_without_any_change() -> None:
    with site(heartbeat_s=0.05, sample_interval_s=0.01) as running, running.stream() as viewer:
        seen = [decode(viewer.recv(5)) for _ in range(4)]
    assert [type(x) for x in seen] == [m.Hello] + [m.SnapshotMessage] * 3
    assert seen[1].at <= seen[2].at <= seen[3].at


def test_resuming_gives_exactly_what_was_missed(fresh: Site) -> None:
    with fresh.stream("?since=0") as viewer:
        before = events_in(until(viewer, lambda x: isinstance(x, m.EventMessage) and x.kind == "ready_sent"))
    for number in range(20):
        fresh.loop.feed(start_wave(number), complete(number))
    with fresh.stream(f"?since={before[-1].seq}") as viewer:
        last = fresh.mailbox.log.last_seq
        after = events_in(until(viewer, lambda x: isinstance(x, m.EventMessage) and x.seq == last))
    assert [e.first_seq for e in before + after] == [1, *(e.seq + 1 for e in (before + after)[:-1])]
    assert after[-1].seq == last
    listed = fresh.get("/api/v1/events?since=0&limit=1000").json()["events"]
    assert [msgspec.to_builtins(e) for e in before + after] == [{"type": "event", **e} for e in listed]


def test_a_number_from_an_earlier_life_starts_over(fresh: Site) -> None:
    with fresh.stream("?since=999999") as viewer:
        assert decode(viewer.recv(5)).replay_from == 1
        assert events_in(until(viewer, lambda x: isinstance(x, m.EventMessage)))[0].first_seq == 1


def test_what_is_not_held_any_more_is_said_by_hello(fresh: Site) -> None:
    for _ in range(EVENT_LOG_SIZE + 100):
        fresh.mailbox.log.append(time.monotonic(), "ready_sent", {})
    last = fresh.mailbox.log.last_seq
    with fresh.stream("?since=5") as viewer:
        hello = decode(viewer.recv(5))
        assert hello.replay_from == last - EVENT_LOG_SIZE + 1
        events = events_in(until(viewer, lambda x: isinstance(x, m.EventMessage) and x.seq == last))
    assert [e.seq for e in events] == list(range(hello.replay_from, last + 1))


async def test_a_viewer_that_fell_behind_is_told_what_it_lost() -> None:
    broadcaster, mailbox = broadcaster_over()
    viewer = joined(broadcaster, 0)
    for count in (10, EVENT_LOG_SIZE):  # the second takes the first ones out of reach
        for _ in range(count):
            mailbox.log.append(1.0, "ready_sent", {})
        broadcaster.sample(float(count))
    first, gap, *events = drained(broadcaster, viewer)
    assert isinstance(first, m.SnapshotMessage)
    assert gap == m.GapMessage(1, 10)
    assert [e.seq for e in events] == list(range(11, mailbox.log.last_seq + 1))


async def test_a_flood_between_two_samples_leaves_one_gap() -> None:
    broadcaster, mailbox = broadcaster_over()
    viewer = joined(broadcaster)
    mailbox.log.append(1.0, "ready_sent", {})
    broadcaster.sample(1.0)
    for _ in range(EVENT_LOG_SIZE + 7):
        mailbox.log.append(1.0, "ready_sent", {})
    broadcaster.sample(2.0)
    _, gap, *events = drained(broadcaster, viewer)
    assert gap == m.GapMessage(1, 8)  # entry 1 was sampled, but what is held must have no hole
    assert [e.seq for e in events] == list(range(9, EVENT_LOG_SIZE + 9))


async def test_a_slow_viewer_skips_states_but_no_events() -> None:
    broadcaster, mailbox = broadcaster_over()
    viewer = joined(broadcaster)
    for tick in range(50):
        mailbox.snapshot = snapshot(current_wave=tick)
        mailbox.log.append(1.0, "wave_completed", {"wave": tick})
        broadcaster.sample(float(tick))
    state, *events = drained(broadcaster, viewer)
    assert state.current_wave == 49
    assert [e.fields["wave"] for e in events] == list(range(50))


async def test_every_viewer_gets_the_same_frame_encoded_once() -> None:
    broadcaster, mailbox = broadcaster_over()
    viewers = [joined(broadcaster) for _ in range(3)]
    mailbox.snapshot = snapshot(current_wave=8)
    mailbox.log.append(1.0, "ready_sent", {})
    broadcaster.sample(1.0)
    frames = [[broadcaster.next(viewer), broadcaster.next(viewer)] for viewer in viewers]
    assert frames[0][0] is frames[1][0] is frames[2][0]
    assert frames[0][1] is frames[1][1] is frames[2][1]


async def test_an_event_taken_up_by_one_that_joins_reaches_the_others_at_the_next_sample() -> None:
    broadcaster, mailbox = broadcaster_over(heartbeat_s=1000)
    early = joined(broadcaster)
    broadcaster.sample(1.0)
    drained(broadcaster, early)
    mailbox.log.append(1.0, "ready_sent", {})
    joined(broadcaster)
    broadcaster.sample(1.1)
    state, event = drained(broadcaster, early)
    assert isinstance(state, m.SnapshotMessage)  # written together with the event
    assert event.kind == "ready_sent"


async def test_nothing_is_sent_while_nothing_changes() -> None:
    broadcaster, mailbox = broadcaster_over()
    viewer = joined(broadcaster)
    broadcaster.sample(1.0)
    drained(broadcaster, viewer)
    for tenth in range(1, 9):
        mailbox.snapshot = snapshot(at=100.0 + tenth)  # made anew, the same but for its time
        broadcaster.sample(1.0 + tenth / 10)
    assert drained(broadcaster, viewer) == []
    broadcaster.sample(2.0)
    assert len(drained(broadcaster, viewer)) == 1


async def test_a_sample_looks_at_no_viewer() -> None:
    """The poll loop waits for the interpreter meanwhile: what it costs may not grow with the crowd."""
    broadcaster, mailbox = broadcaster_over()
    broadcaster.viewers.update(object() for _ in range(3))  # type: ignore[misc]
    mailbox.log.append(1.0, "ready_sent", {})
    broadcaster.sample(1.0)
    broadcaster.sample(1.1)


async def test_whose_turn_comes_late_is_told_the_ages_of_then() -> None:
    broadcaster, mailbox = broadcaster_over(snapshot(at=0.0), heartbeat_s=1000)
    early, late = joined(broadcaster), joined(broadcaster)
    broadcaster.sample(1.0)
    [state] = drained(broadcaster, early)
    for tenth in range(1, 4):
        mailbox.snapshot = snapshot(at=tenth / 10)  # nothing new
        broadcaster.sample(1.0 + tenth / 10)
    [later] = drained(broadcaster, late)
    assert later.at - state.at == pytest.approx(0.3)
    broadcaster.sample(1.4)
    assert drained(broadcaster, late) == []


async def test_fields_that_json_does_not_know_do_not_stop_the_stream() -> None:
    broadcaster, mailbox = broadcaster_over()
    viewer = joined(broadcaster)
    mailbox.log.append(1.0, "bad_frame", {"detail": object(), "n": float("nan")})
    broadcaster.sample(1.0)
    _, event = drained(broadcaster, viewer)
    assert event.fields["n"] is None
    assert "object" in event.fields["detail"]


def test_all_viewers_of_a_live_server_receive_the_same_frames(fresh: Site) -> None:
    def watch(_: int) -> list[str]:
        with fresh.stream() as viewer:
            viewer.recv(5)
            all_there.wait(10)
            frames: list[str] = []
            deadline = time.monotonic() + 20
            while not (frames and "wave_completed" in frames[-1]) and time.monotonic() < deadline:
                frames.append(str(viewer.recv(10)))
            return [f for f in frames if '"type":"event"' in f]

    all_there = threading.Barrier(6)
    with ThreadPoolExecutor(5) as pool:
        watching = [pool.submit(watch, n) for n in range(5)]
        all_there.wait(10)
        fresh.loop.feed(start_wave(), complete())
        first, *others = [w.result(20) for w in watching]
    assert "".join(first).count('"type":"event"') == 3
    assert all(other == first for other in others)


def test_stopping_says_goodbye() -> None:
    with site() as running, running.stream() as viewer:
        viewer.recv(5)
        running.server.should_exit = True
        with pytest.raises(ConnectionClosed):
            list(received(viewer))
        assert viewer.close_code == 1001
        assert "stopping" in (viewer.close_reason or "")


async def test_the_sampler_survives_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    broadcaster, mailbox = broadcaster_over(sample_interval_s=0.001)
    good = mailbox.snapshot
    again = asyncio.Event()

    def every_tick(_: float) -> None:
        again.set()

    mailbox.snapshot = None  # type: ignore[assignment]
    async with broadcaster_at_work(broadcaster, every_tick) as sampler, asyncio.timeout(10):
        while "sampler met a defect" not in caplog.text:
            await asyncio.wait({sampler}, timeout=0.001)
        mailbox.snapshot = good
        await again.wait()


async def test_a_viewer_that_cannot_be_written_to_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    broadcaster, mailbox = broadcaster_over(sample_interval_s=0.001)
    viewers = [joined(broadcaster) for _ in range(3 * WRITE_GROUP)]
    for broken in viewers[::2]:
        broken.connection = None  # type: ignore[assignment]
    mailbox.log.append(1.0, "ready_sent", {})
    async with broadcaster_at_work(broadcaster), asyncio.timeout(10):
        for viewer in viewers[1::2]:
            await viewer.connection.written.wait()  # type: ignore[attr-defined]
    assert [viewer.seen for viewer in viewers[1::2]] == [1] * len(viewers[1::2])
    assert "writer met a defect" in caplog.text


async def test_one_that_is_far_behind_is_sent_all_of_it_though_nothing_new_happens() -> None:
    broadcaster, mailbox = broadcaster_over(sample_interval_s=0.001, heartbeat_s=1000)
    for _ in range(EVENT_LOG_SIZE):
        mailbox.log.append(1.0, "ready_sent", {"detail": "x" * 100})
    broadcaster.sample(1.0)
    late = Socket()
    serving = asyncio.create_task(serve(late, 0, broadcaster))  # type: ignore[arg-type]
    async with broadcaster_at_work(broadcaster), asyncio.timeout(20):
        while late.wire.size < EVENT_LOG_SIZE * 100:
            late.wire.written.clear()
            await late.wire.written.wait()
    assert late.wire.size > 5 * WRITTEN_AT_ONCE
    late.wire.abort()
    await serving


async def test_a_login_that_has_ended_is_sent_nothing_more() -> None:
    broadcaster, _ = broadcaster_over()
    viewer = joined(broadcaster)
    viewer.still_allowed = lambda: False
    broadcaster.write(viewer, 1.0)
    assert await viewer.ending == (1008, "the login has ended")
    assert not viewer.connection.written.is_set()  # type: ignore[attr-defined]


def test_a_stream_is_plain_json_text(fresh: Site) -> None:
    with fresh.stream() as viewer:
        frame = viewer.recv(5)
    assert isinstance(frame, str)
    assert json.loads(frame)["type"] == "hello"
