"""Both clients over real sockets, against sockets driven by hand."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import zmq

from dp_coordinator.client import (
    AsyncEngineClient,
    AsyncFrontendClient,
    EngineClient,
    FrontendClient,
    NotReadyError,
    ProtocolError,
    StartWave,
)

if TYPE_CHECKING:
    from tests.client.conftest import FakeCoordinator

STATS = {"waiting": 1, "running": 2, "kv_cache_usage": 0.5, "step_counter": 7, "current_wave": 3}


def encode(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


def engine(coordinator: FakeCoordinator, **options: Any) -> EngineClient:
    addresses = coordinator.addresses
    return EngineClient(1, addresses["publish"], addresses["output"], clock=lambda: 12.5, **options)


def test_an_engine_s_conversation(coordinator: FakeCoordinator) -> None:
    with engine(coordinator) as client:
        assert coordinator.publish.recv() == b"\x01"
        coordinator.publish.send(b"READY")
        client.wait_ready(timeout=5)
        client.report_stats(**STATS)  # type: ignore[arg-type]
        client.start_wave(3)
        client.wave_complete(3)
        received = [msgspec.msgpack.decode(coordinator.output.recv()) for _ in range(3)]
        assert received[0][2]["num_running_reqs"] == 2
        assert received[1] == [1, [], None, 12.5, None, None, None, 3, None]
        assert received[2] == [1, [], None, 12.5, None, None, 3, None, None]
        coordinator.publish.send(b"READY")
        coordinator.publish.send_multipart([b"\x02", encode((4, None))])
        assert client.receive_start(timeout=5) == StartWave(4, None)
        assert client.poll_start() is None
    assert coordinator.publish.recv() == b"\x00"


def test_older_dialects_have_eight_fields(coordinator: FakeCoordinator) -> None:
    with engine(coordinator, dialect="0.16") as client:
        client.start_wave(0)
        assert len(msgspec.msgpack.decode(coordinator.output.recv())) == 8


def test_an_engine_that_nobody_answers(coordinator: FakeCoordinator) -> None:
    with engine(coordinator) as client:
        with pytest.raises(NotReadyError, match="engine 1: no READY from ipc://"):
            client.wait_ready(timeout=0.01)
        coordinator.publish.recv()
        coordinator.publish.send(b"READY")
        client.wait_ready(timeout=5)
        with pytest.raises(TimeoutError, match="no START_DP_WAVE within"):
            client.receive_start(timeout=0.01)


def test_a_stranger_on_the_other_end(coordinator: FakeCoordinator) -> None:
    with engine(coordinator) as client:
        coordinator.publish.recv()
        coordinator.publish.send(b"HELLO")
        with pytest.raises(ProtocolError, match="expected READY"):
            client.wait_ready(timeout=5)


def test_an_engine_that_came_back_hears_a_start_without_ready(coordinator: FakeCoordinator) -> None:
    with engine(coordinator) as client:
        client.assume_ready()
        coordinator.publish.recv()
        coordinator.publish.send_multipart([b"\x02", encode((4, 0))])
        assert client.receive_start(timeout=5) == StartWave(4, 0)


def test_poller_and_select_see_a_start(coordinator: FakeCoordinator) -> None:
    with engine(coordinator) as client:
        coordinator.publish.recv()
        coordinator.publish.send(b"READY")
        client.wait_ready(timeout=5)
        coordinator.publish.send_multipart([b"\x02", encode((4, 0))])
        poller = zmq.Poller()
        poller.register(client.socket, zmq.POLLIN)
        assert poller.poll(5000)
        assert client.poll_start() == StartWave(4, 0)
        while client.poll_start() is None:  # the descriptor tells changes: ask, then wait
            coordinator.publish.send_multipart([b"\x02", encode((5, 0))])
            select.select([client], [], [], 5)


def test_an_address_that_cannot_be_used_is_named(coordinator: FakeCoordinator) -> None:
    with pytest.raises(ValueError, match="cannot connect to 'ftp://nowhere'"):
        EngineClient(0, coordinator.addresses["publish"], "ftp://nowhere")
    with pytest.raises(ValueError, match="cannot connect to 'nowhere'"):
        FrontendClient("nowhere")


def test_closing_twice_and_without_a_coordinator_is_bounded(tmp_path: object) -> None:
    client = EngineClient(0, f"ipc://{tmp_path}/none", f"ipc://{tmp_path}/neither")
    client.start_wave(0)
    client.close()
    client.close()


def test_a_front_end_s_conversation(coordinator: FakeCoordinator) -> None:
    with FrontendClient(coordinator.addresses["front"], dialect="0.28") as client:
        assert coordinator.front.recv() == b"\x01"
        assert client.load is None
        coordinator.front.send(encode(([[1, 2, 0.0], [0, 1, 0.0]], 6, False)))
        client.wait_update(timeout=5)
        assert client.load is not None
        assert client.engine_count == 2
        assert client.pick_engine() == 1
        assert client.notify_new_request(1)
        assert not client.notify_new_request(1)
        assert msgspec.msgpack.decode(coordinator.front.recv()) == [1, 6]
        client.scale(3)
        assert msgspec.msgpack.decode(coordinator.front.recv()) == ["SCALE_ELASTIC_EP", 3]
    assert coordinator.front.recv() == b"\x00"


def test_only_the_newest_load_and_wave_state_count(coordinator: FakeCoordinator) -> None:
    with FrontendClient(coordinator.addresses["front"]) as client:
        coordinator.front.recv()
        for step in range(50):
            coordinator.front.send(encode(([[step, 0, 0.0]], step, True)))
        coordinator.front.send(encode((None, 50, False)))
        while client.current_wave < 50:
            client.wait_update(timeout=5)
        assert client.load is not None
        assert client.load.engines[0].waiting == 49
        assert not client.engines_running
        assert not client.update()
        with pytest.raises(TimeoutError, match="no publication"):
            client.wait_update(timeout=0.01)


async def receive(socket: zmq.Socket[bytes]) -> bytes:
    return await asyncio.to_thread(socket.recv)


async def test_an_engine_s_conversation_with_asyncio(coordinator: FakeCoordinator) -> None:
    addresses = coordinator.addresses
    async with AsyncEngineClient(1, addresses["publish"], addresses["output"], clock=lambda: 12.5) as client:
        with pytest.raises(NotReadyError, match="engine 1"):
            await client.wait_ready(timeout=0.01)
        assert await receive(coordinator.publish) == b"\x01"
        coordinator.publish.send(b"READY")
        await client.wait_ready(timeout=5)
        assert client.ready
        await client.report_stats(**STATS)  # type: ignore[arg-type]
        await client.start_wave(3)
        await client.wave_complete(3)
        received = [msgspec.msgpack.decode(await receive(coordinator.output)) for _ in range(3)]
        assert received[0][2]["num_waiting_reqs"] == 1
        assert received[1] == [1, [], None, 12.5, None, None, None, 3, None]
        assert received[2] == [1, [], None, 12.5, None, None, 3, None, None]
        with pytest.raises(TimeoutError, match="no START_DP_WAVE"):
            await client.receive_start(timeout=0.01)
        coordinator.publish.send(b"READY")
        coordinator.publish.send_multipart([b"\x02", encode((4, 0))])
        assert await client.receive_start(timeout=5) == StartWave(4, 0)
    assert await receive(coordinator.publish) == b"\x00"


async def test_a_front_end_s_conversation_with_asyncio(coordinator: FakeCoordinator) -> None:
    async with AsyncFrontendClient(coordinator.addresses["front"], dialect="0.28") as client:
        assert await receive(coordinator.front) == b"\x01"
        assert not await client.update()
        with pytest.raises(TimeoutError, match="no publication"):
            await client.wait_update(timeout=0.01)
        coordinator.front.send(encode(([[1, 2, 0.0], [0, 1, 0.0]], 6, False)))
        await client.wait_update(timeout=5)
        assert client.load is not None
        assert client.pick_engine() == 1
        assert client.in_flight(1) == 1
        assert await client.notify_new_request(1)
        assert not await client.notify_new_request(1)
        assert msgspec.msgpack.decode(await receive(coordinator.front)) == [1, 6]
        await client.scale(3)
        assert msgspec.msgpack.decode(await receive(coordinator.front)) == ["SCALE_ELASTIC_EP", 3]


async def test_following_keeps_the_load_fresh(coordinator: FakeCoordinator) -> None:
    async with AsyncFrontendClient(coordinator.addresses["front"]) as client:
        await receive(coordinator.front)
        follower = asyncio.create_task(client.follow())
        coordinator.front.send(encode((None, 9, True)))
        async with asyncio.timeout(5):
            while not client.engines_running:
                await asyncio.to_thread(coordinator.front.poll, 5)  # lets the other task run
        assert client.current_wave == 9
        follower.cancel()
        with pytest.raises(asyncio.CancelledError):
            await follower
