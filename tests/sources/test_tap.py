"""A tap on a coordinator's front_publish: a real one, and a socket that publishes anything."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
import zmq
import zmq.asyncio

from dp_coordinator.client.engine import AsyncEngineClient
from dp_coordinator.handle import DPCoordinator
from dp_coordinator.sources import tap
from dp_coordinator.words import DeploymentState, SourceKind, TargetState
from tests.sources.standin import asking


async def test_waves_and_counts_of_a_coordinator_that_nobody_replaced() -> None:
    coordinator = await asyncio.to_thread(DPCoordinator, 2, http=None)
    try:
        address = coordinator.get_stats_publish_address()
        ends = coordinator.get_engine_socket_addresses()
        async with asking(tap=address) as rig, AsyncEngineClient(0, *ends) as one, AsyncEngineClient(1, *ends) as other:
            await one.wait_ready(30)
            await other.wait_ready(30)
            await rig.until(lambda: rig.seen.state is DeploymentState.PAUSED)
            assert rig.seen.engines.running == (None, None), "zeros are published of ranks that never reported"
            await one.start_wave(0)
            await one.report_stats(waiting=1, running=2, step_counter=1, current_wave=0)
            await rig.until(lambda: rig.seen.engines.running == (2, None))
            assert rig.seen.state is DeploymentState.RUNNING
            assert rig.target(address).kind is SourceKind.TAP
            await one.report_stats(waiting=0, running=0, step_counter=2, current_wave=0)
            await one.wave_complete(0)
            await rig.until(lambda: rig.seen.state is DeploymentState.PAUSED)
            assert [(wave.number, wave.completed) for wave in rig.seen.waves] == [(0, True)]
            assert rig.seen.current_wave == 1
    finally:
        await asyncio.to_thread(coordinator.close)


async def test_what_is_published_there_is_no_coordinators_and_then_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "SILENT_AFTER_S", 0.5)
    with zmq.asyncio.Context() as context, context.socket(zmq.XPUB) as publisher:
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        address = f"tcp://127.0.0.1:{port}"
        async with asking(tap=address) as rig:
            await publisher.recv()  # it has subscribed
            assert (rig.target(address).kind, rig.target(address).state) == (SourceKind.TAP, TargetState.NEW)
            good = msgspec.msgpack.encode((((0, 3),), 5, True))
            told: list[object] = ["READY", (1, 2), ([[0, -1]], 1, True), ([[0, float("inf")]], 1, True)]
            told += [([[0, float("nan")]], 1, True), ([[2**63, 0]], 1, True), (None, -1, True), (None, 2**64 - 1, True)]
            told.append(([[0, 0]] * 16_385, 1, True))
            for bad in (b"", b"\xff" * 100, *map(msgspec.msgpack.encode, told)):
                await publisher.send(good)
                await rig.until(lambda: rig.seen.state is DeploymentState.RUNNING)
                await publisher.send(bad)
                await rig.until(lambda: "is no coordinator's" in str(rig.target(address).problem))
                assert rig.target(address).state is TargetState.UNUSABLE
            await rig.until(lambda: rig.target(address).problem == "nothing was heard for 0.5 s")
