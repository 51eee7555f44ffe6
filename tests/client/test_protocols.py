"""What the clients decide without I/O."""

from __future__ import annotations

import msgspec
import pytest

from dp_coordinator.client import NoEngineError, ProtocolError, StartWave
from dp_coordinator.client.engine_protocol import EngineProtocol
from dp_coordinator.client.frontend_protocol import FrontendProtocol

READY = [b"READY"]


def start(wave: int, excluded: int | None) -> list[bytes]:
    return [b"\x02", msgspec.msgpack.encode((wave, excluded))]


def publication(counts: list[tuple[float, ...]] | None, wave: int = 0, running: bool = False) -> bytes:
    return msgspec.msgpack.encode((counts, wave, running))


# -- engines ---------------------------------------------------------------------------------------------------


def test_the_first_message_must_be_ready_and_later_ones_are_ignored() -> None:
    protocol = EngineProtocol(1)
    assert protocol.receive(READY) is None
    assert protocol.ready
    assert protocol.receive(READY) is None
    assert protocol.receive(start(4, 0)) == StartWave(4, 0)


@pytest.mark.parametrize("frames", [start(0, None), [b"HELLO"], [b"\x02"], []])
def test_anything_else_first_is_an_error(frames: list[bytes]) -> None:
    protocol = EngineProtocol(1)
    with pytest.raises(ProtocolError, match="expected READY"):
        protocol.receive(frames)
    assert not protocol.ready


def test_an_engine_that_came_back_needs_no_ready() -> None:
    protocol = EngineProtocol(1, "0.16")
    protocol.ready = True
    assert protocol.receive(start(4, 0)) == StartWave(4, 0)
    assert protocol.receive(READY) is None


def test_an_unknown_message_after_ready_is_an_error() -> None:
    protocol = EngineProtocol(1)
    protocol.receive(READY)
    with pytest.raises(ProtocolError, match="READY or START_DP_WAVE"):
        protocol.receive([b"\x07"])


@pytest.mark.parametrize(
    ("wave", "excluded", "wakes"), [(3, None, True), (3, 0, True), (3, 1, False), (2, None, False), (9, 0, True)]
)
def test_who_is_woken_by_a_start(wave: int, excluded: int | None, wakes: bool) -> None:
    assert StartWave(wave, excluded).wakes(engine_index=1, current_wave=3) is wakes


def test_a_negative_index_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0"):
        EngineProtocol(-1)


# -- front-ends ------------------------------------------------------------------------------------------------


def test_nothing_is_known_before_the_first_load() -> None:
    protocol = FrontendProtocol()
    protocol.receive(publication(None, wave=3, running=True), now=1.0)
    assert (protocol.current_wave, protocol.engines_running) == (3, True)
    assert protocol.load(now=2.0) is None
    with pytest.raises(NoEngineError, match="none of 0"):
        protocol.pick_engine()


def test_a_wave_state_leaves_the_load_and_its_age_alone() -> None:
    protocol = FrontendProtocol()
    protocol.receive(publication([(1, 2, 0.5), (0, 0, 0.0)], wave=0), now=10.0)
    protocol.receive(publication(None, wave=1, running=True), now=11.0)
    load = protocol.load(now=12.5)
    assert load is not None
    assert load.age_s == 2.5
    assert [tuple(engine) for engine in load.engines] == [(1, 2, 0.5), (0, 0, 0.0)]
    assert protocol.current_wave == 1


def test_a_frame_that_is_no_publication_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="from the coordinator"):
        FrontendProtocol().receive(b"READY", now=0.0)


@pytest.mark.parametrize(
    ("counts", "picked"),
    [
        ([(0, 3, 0.0), (0, 1, 0.0), (0, 2, 0.0)], 1),  # least waiting + running
        ([(2, 2, 0.0), (0, 5, 0.0), (3, 2, 0.0)], 0),
        ([(0, 0, 0.0), (0, 0, 0.0), (0, 0, 0.0)], 0),  # equal: the first in the scan
        ([(2, 2, 1.0), (0, 8, 1.0), (0, 9, 0.0)], 1),  # a queue at a full cache weighs fourfold: 2 + 2 + 6 = 10
        ([(2, 2, 0.5), (0, 8, 1.0), (0, 9, 0.0)], 0),  # up to half full it weighs nothing extra
        ([(0, 4, 1.0), (0, 5, 0.0), (0, 5, 0.0)], 0),  # and nothing without a queue
    ],
)
def test_the_least_loaded_engine_is_picked(counts: list[tuple[float, ...]], picked: int) -> None:
    protocol = FrontendProtocol()
    protocol.receive(publication(counts), now=0.0)
    assert protocol.pick_engine() == picked


def test_a_burst_between_two_publications_spreads_evenly() -> None:
    protocol = FrontendProtocol()
    protocol.receive(publication([(0, 0)] * 4), now=0.0)
    assert sorted(protocol.pick_engine() for _ in range(8)) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_own_requests_in_flight_outweigh_a_stale_publication() -> None:
    protocol = FrontendProtocol(engine_count=2)
    assert [protocol.pick_engine(exclude=[1]) for _ in range(3)] == [0, 0, 0]
    protocol.receive(publication([(0, 0, 0.0), (0, 2, 0.0)]), now=0.0)  # says that engine 0 is free: not seen yet
    assert protocol.pick_engine() == 1
    for _ in range(3):
        protocol.request_finished(0)
    assert protocol.in_flight(0) == 0
    assert protocol.pick_engine() == 0


def test_each_front_end_counts_for_all_of_them() -> None:
    protocol = FrontendProtocol(client_count=3)
    protocol.receive(publication([(0, 0, 0.0), (0, 2, 0.0)]), now=0.0)
    assert [protocol.pick_engine(), protocol.pick_engine()] == [0, 1]  # after the first pick engine 0 counts as 3


def test_front_ends_start_their_scans_apart() -> None:
    first = [FrontendProtocol(engine_count=4, client_index=i, client_count=2).pick_engine() for i in range(2)]
    assert first == [0, 2]


def test_excluded_engines_are_never_picked() -> None:
    protocol = FrontendProtocol(engine_count=3)
    assert {protocol.pick_engine(exclude={0, 2}) for _ in range(5)} == {1}
    with pytest.raises(NoEngineError, match="none of 3"):
        protocol.pick_engine(exclude={0, 1, 2})


def test_engines_come_and_go() -> None:
    protocol = FrontendProtocol()
    protocol.receive(publication([(0, 0, 0.0)] * 3), now=0.0)
    picked = [protocol.pick_engine() for _ in range(3)]
    protocol.receive(publication([(0, 0, 0.0)] * 2), now=1.0)
    for engine in picked:
        protocol.request_finished(engine)  # that of engine 2, which is gone, counts nowhere
    protocol.receive(publication([(0, 0, 0.0)] * 4), now=2.0)
    assert [protocol.in_flight(engine) for engine in range(4)] == [0, 0, 0, 0]


@pytest.mark.parametrize(("index", "count"), [(1, 1), (-1, 2), (0, 0)])
def test_a_client_index_out_of_range_is_refused(index: int, count: int) -> None:
    with pytest.raises(ValueError, match="client_index"):
        FrontendProtocol(client_index=index, client_count=count)


@pytest.mark.parametrize("version", ["0.10.2", "0.16", "0.28", "0.32"])
def test_a_paused_deployment_is_told_of_a_request_once(version: str) -> None:
    protocol = FrontendProtocol(version)
    protocol.receive(publication([(0, 0, 0.0)] * 2, wave=5), now=0.0)
    notice = protocol.new_request(1)
    assert notice is not None
    assert msgspec.msgpack.decode(notice) == [1, 5]
    assert protocol.new_request(0) is None  # believed running now
    protocol.receive(publication(None, wave=6, running=False), now=1.0)
    assert protocol.new_request(0) is not None


def test_from_0_33_on_no_notices_are_sent() -> None:
    protocol = FrontendProtocol("0.33")
    protocol.receive(publication([(0, 0, 0.0)] * 2, wave=5), now=0.0)
    assert protocol.new_request(1) is None
    assert not protocol.engines_running


def test_a_running_deployment_is_told_nothing() -> None:
    protocol = FrontendProtocol("0.28")
    protocol.receive(publication(None, wave=5, running=True), now=0.0)
    assert protocol.new_request(1) is None
