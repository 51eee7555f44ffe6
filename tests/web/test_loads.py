"""Load for routers: REST, server-sent events, weights, llm-d's file, and metrics under others' names."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.beside import beside
from dp_coordinator.core.events import Peer
from dp_coordinator.core.snapshot import Connection, EndedConnection, Snapshot
from dp_coordinator.messages_loads import LoadPage, RankLoad
from dp_coordinator.sourced import Heartbeat, Origin, RankView, SourcesView, Told
from dp_coordinator.web.routers import gauges, llm_d
from dp_coordinator.web.routers.avoided import avoided
from dp_coordinator.web.routers.loads import loads
from dp_coordinator.web.routers.weights import Advice, advice
from dp_coordinator.words import AlarmKind, Channel, EngineStatus, PeerKind, RankCondition, Severity, SourceKind
from tests.web.builders import snapshot
from tests.web.rig import Site, site, start_wave, stats
from tests.web.test_metrics import scrape

VLLM = Origin(SourceKind.VLLM, "http://10.0.0.1:8000")


def load(rank: int, requests: int | None = 0, state: str = "working", address: str | None = None) -> RankLoad:
    told = requests is not None
    source = SourceKind.REPORTS if told else None
    return RankLoad(
        rank, address, 0 if told else None, requests, 0.5 if told else None, 10, source, EngineStatus(state)
    )


def of(*requests: int | None) -> list[RankLoad]:
    return [load(rank, each) for rank, each in enumerate(requests)]


def weights(*requests: int | None) -> list[int]:
    return [told.weight for told in advice(of(*requests), {})]


def alarm(kind: AlarmKind, *ranks: int) -> Alarm:
    return Alarm(kind, Severity.CRITICAL, 90.0, "a test", ranks)


# -- what is told ----------------------------------------------------------------------------------------------------


def test_a_rank_that_never_reported_has_nulls_and_others_their_numbers(fresh: Site) -> None:
    fresh.loop.feed(start_wave(engine=1), stats(1, waiting=3, running=4))
    told = msgspec.json.decode(fresh.get("/api/v1/loads").content, type=LoadPage).loads
    assert [each.rank for each in told] == [0, 1, 2, 3]
    never, busy = told[0], told[1]
    assert (never.waiting, never.running, never.kv_cache_usage, never.age_ms, never.source) == (None,) * 5
    assert never.state == "never"
    assert (busy.waiting, busy.running, busy.kv_cache_usage, busy.source) == (3, 4, 0.25, "reports")
    assert busy.state == "working"
    assert busy.age_ms is not None
    assert 0 <= busy.age_ms < 10_000
    assert fresh.get("/api/v1/loads?rank=1").status_code == 422


def test_a_rank_over_tcp_has_its_host_and_one_that_is_gone_the_one_it_had() -> None:
    here = Peer(1, Channel.BACK_PUBLISH, "10.0.0.7", "10.0.0.7:51234")
    left = Peer(2, Channel.BACK_OUTPUT, "10.0.0.8", "10.0.0.8:51235")
    over_ipc = Peer(3, Channel.BACK_OUTPUT, "", "ipc", pid=4711)
    seen = snapshot((99.0, 98.0, 97.0))
    peers = replace(
        seen.peers,
        connections=((Connection(here, 1.0), PeerKind.ENGINE, 0), (Connection(over_ipc, 1.0), PeerKind.ENGINE, 2)),
        gone={1: EndedConnection(left, 1.0, 99.0, "connection closed")},
    )
    told = loads(replace(seen, peers=peers), (), 100.0)
    assert [each.address for each in told] == ["10.0.0.7", "10.0.0.8", None]
    assert [each.age_ms for each in told] == [1000, 2000, 3000]
    assert told[1].state == "gone"


# -- what to do with it ----------------------------------------------------------------------------------------------


def test_fewer_requests_more_weight() -> None:
    assert weights(5, 5, 5) == [100, 100, 100]
    least, middle, most = weights(0, 10, 20)
    assert (least, most) == (100, 1)
    assert middle == 50
    assert weights(7) == [100]


def test_one_more_request_than_the_average_is_the_least_that_stops_a_rank() -> None:
    assert weights(0, 1) == [100, 33]
    assert weights(0, 0, 0, 4) == [100, 100, 100, 1]


def test_a_rank_that_never_reported_has_none_and_one_that_cannot_be_asked_counts_as_average() -> None:
    assert weights(None, None) == [100, 100]
    assert weights(10, None) == [1, 100]
    asked = [load(1, None), *(msgspec.structs.replace(load(rank, 4 * rank), source=SourceKind.VLLM) for rank in (2, 3))]
    unknown, least, most = (told.weight for told in advice(asked, {}))
    assert least > unknown > most


def test_who_is_avoided_does_not_weigh() -> None:
    told = advice(of(4, 400, 4), {1: "gone", 2: "stands"})
    assert [each.avoid for each in told] == [None, "gone", "stands"]
    assert [each.gone for each in told] == [False, True, False]
    assert told[0].weight == 100


def gone(*ranks: int) -> Any:
    peer = Peer(9, Channel.BACK_OUTPUT, "10.0.0.8", "10.0.0.8:51235")
    return {rank: EndedConnection(peer, 1.0, 99.0, "connection closed") for rank in ranks}


def test_an_alarm_that_a_rank_does_not_step_avoids_it_and_one_about_load_only_weighs() -> None:
    seen = snapshot((99.0, 99.0, 99.0))
    assert avoided(seen, [alarm(AlarmKind.RANK_SILENT, 1)]) == {1: "rank_silent"}
    assert avoided(seen, [alarm(AlarmKind.LOAD_IMBALANCE, 1)]) == {}


def test_suspicion_never_takes_out_the_last() -> None:
    seen = snapshot((99.0, 99.0, 99.0))
    seen = replace(seen, peers=replace(seen.peers, gone=gone(2)))
    assert avoided(seen, [alarm(AlarmKind.RANK_SILENT, 0)]) == {0: "rank_silent", 2: "gone"}
    assert avoided(seen, [alarm(AlarmKind.RANK_SILENT, 0, 1)]) == {2: "gone"}
    all_gone = replace(seen, peers=replace(seen.peers, gone=gone(0, 1, 2)))
    assert avoided(all_gone, ()) == {0: "gone", 1: "gone", 2: "gone"}


def beat(at: float, grew_at: float) -> Heartbeat:
    """A number that was told at `at` last, and grew at `grew_at` last."""
    return Heartbeat(
        value=7.0, unit="steps", at=at, grew_at=grew_at, grew_after=grew_at - 1, moved_at=grew_at, origin=VLLM
    )


def seen_by(*views: RankView, independent: bool = False) -> Snapshot:
    """What viewers see of ranks that only sources tell of."""
    sources = SourcesView(ranks={view.rank: view for view in views}, independent=independent)
    return beside(snapshot((None,) * len(views), watched=True), sources)


def view(rank: int, running: int = 3, **more: Any) -> RankView:
    told = Told(running, 99.0, VLLM)
    return RankView(rank, f"http://10.0.0.{rank}:8000", Told(0, 99.0, VLLM), told, Told(0.5, 99.0, VLLM), **more)


def test_a_rank_that_stands_while_others_step_is_avoided_unless_it_has_nothing_to_do() -> None:
    steps, stands = beat(99.0, 99.0), beat(99.0, 97.0)
    assert avoided(seen_by(view(0, heartbeat=steps), view(1, heartbeat=stands)), ()) == {1: "stands"}
    assert avoided(seen_by(view(0, heartbeat=steps), view(1, running=0, heartbeat=stands)), ()) == {}
    assert avoided(seen_by(view(0, heartbeat=steps), view(1, heartbeat=beat(99.0, 98.0))), ()) == {}


def test_in_lockstep_all_stand_together_and_instances_of_their_own_each_for_itself() -> None:
    stand = view(0, heartbeat=beat(99.0, 90.0)), view(1, heartbeat=beat(99.0, 90.5))
    assert avoided(seen_by(*stand), ()) == {}
    idle = view(2, running=0, heartbeat=beat(99.0, 80.0))
    assert avoided(seen_by(*stand, idle, independent=True), ()) == {0: "stands", 1: "stands"}
    assert avoided(seen_by(*stand, independent=True), ()) == {}  # nobody else is left


def test_what_sources_tell_of_a_rank_s_condition_avoids_it() -> None:
    conditions = {RankCondition.SLEEPING: Told("level 1", 99.0, VLLM)}
    dead = {RankCondition.DEAD: Told("by its own word", 99.0, VLLM)}
    seen = seen_by(view(0), view(1, conditions=conditions), view(2, conditions=dead), view(3, silent=True))
    assert avoided(seen, ()) == {1: "sleeping", 2: "dead", 3: "API server silent"}
    assert [each.gone for each in advice(of(1, 1, 1, 1), avoided(seen, ()))] == [False, False, True, False]


def test_sourced_numbers_have_their_source_and_the_address_that_takes_requests() -> None:
    told = loads(seen_by(view(0), view(1, running=9)), (), 100.0)
    assert [each.address for each in told] == ["10.0.0.0:8000", "10.0.0.1:8000"]
    assert [(each.running, each.source, each.age_ms) for each in told] == [(3, "vllm", 1000), (9, "vllm", 1000)]


# -- llm-d's file ----------------------------------------------------------------------------------------------------


def listed(ranks: list[RankLoad], avoid: int = -1) -> list[Any]:
    told = [Advice(100, "gone" if rank == avoid else None) for rank in range(len(ranks))]
    endpoints: list[Any] = json.loads(llm_d.endpoints(ranks, told))["endpoints"]
    return endpoints


def test_the_file_lists_who_can_take_requests_where_that_is_known() -> None:
    ranks = [load(0, 1, address="10.0.0.7:8000"), load(1, 1, address="localhost:8001"), load(2, 1, address="10.0.0.9")]
    ranks += [load(3, 1, address="[fd00::1]:8000"), load(4, 1), load(5, 1, address="rank-5.pods:8000")]
    assert listed(ranks) == [
        {"name": "rank-0", "address": "10.0.0.7", "port": "8000", "labels": {"dp-coordinator/rank": "0"}},
        {"name": "rank-1", "address": "127.0.0.1", "port": "8001", "labels": {"dp-coordinator/rank": "1"}},
    ]
    assert [each["name"] for each in listed(ranks, avoid=0)] == ["rank-1"]


def test_the_file_is_replaced_when_somebody_joins_or_leaves_and_not_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.yaml"
    keeper = llm_d.LlmDEndpoints(str(path))
    ranks = [load(0, 1, address="10.0.0.7:8000"), load(1, 1, address="10.0.0.8:8000")]
    fine = [Advice(100), Advice(100)]
    keeper.update(ranks, fine, 1.0)
    first = path.stat()
    keeper.update([load(0, 9, address="10.0.0.7:8000"), ranks[1]], [Advice(1), Advice(100)], 2.0)
    assert path.stat().st_ino == first.st_ino
    keeper.update(ranks, [Advice(100), Advice(100, "gone", gone=True)], 3.0)
    assert path.stat().st_ino != first.st_ino
    assert len(json.loads(path.read_text())["endpoints"]) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["endpoints.yaml"]
    path.unlink()
    keeper.update(ranks, [Advice(100), Advice(100, "gone", gone=True)], 4.0)
    assert len(json.loads(path.read_text())["endpoints"]) == 1, "somebody tidied up"


def test_a_restart_does_not_empty_the_file_before_anything_is_known(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text("what stood there before")
    keeper = llm_d.LlmDEndpoints(str(path))
    keeper.update([load(0, None, "never")], [Advice(100)], 1.0)
    assert path.read_text() == "what stood there before"
    keeper.update([load(0, 1, address="10.0.0.7:8000")], [Advice(100)], 2.0)
    keeper.update([load(0, 1, "gone", "10.0.0.7:8000")], [Advice(100, "gone", gone=True)], 3.0)
    assert json.loads(path.read_text()) == {"endpoints": []}


def test_a_file_that_cannot_be_written_is_said_once_in_a_while_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "away"
    keeper = llm_d.LlmDEndpoints(str(folder / "endpoints.yaml"))
    ranks, fine = [load(0, 1, address="10.0.0.7:8000")], [Advice(100)]
    for second in range(5):
        keeper.update(ranks, fine, float(second))
    assert [record.message.split(" (")[0].split(": ")[0] for record in caplog.records] == ["--llm-d-endpoints"]
    folder.mkdir()
    keeper.update(ranks, fine, 20.0)
    assert (folder / "endpoints.yaml").exists()


def test_a_file_that_llm_d_would_not_read_is_not_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "endpoints.yaml"
    ranks = [load(rank, 1, address=f"10.0.{rank >> 8}.{rank & 255}:8000") for rank in range(16_384)]
    llm_d.LlmDEndpoints(str(path)).update(ranks, [Advice(100)] * len(ranks), 1.0)
    assert not path.exists()
    assert "llm-d reads 1048576" in caplog.text


# -- metrics ---------------------------------------------------------------------------------------------------------


def test_averages_under_the_endpoint_pickers_names(fresh: Site) -> None:
    pool = (("name", gauges.POOL),)
    assert scrape_of(fresh, "llm_d_epp_") == {("llm_d_epp_ready_endpoints", pool): 4}
    fresh.loop.feed(start_wave(engine=0), stats(0, waiting=3, running=8), stats(1, waiting=0, running=2))
    assert scrape_of(fresh, "llm_d_epp_") == {
        ("llm_d_epp_average_queue_size", pool): 1.5,
        ("llm_d_epp_average_running_requests", pool): 5,
        ("llm_d_epp_average_kv_cache_utilization", pool): 0.25,
        ("llm_d_epp_ready_endpoints", pool): 4,
    }
    assert scrape_of(fresh, "vllm:") == {}


def test_vllms_own_names_for_those_who_ask() -> None:
    with site(vllm_gauges="tiny") as running:
        running.loop.subscribe_all()
        running.loop.feed(start_wave(engine=2), stats(2, waiting=3, running=4))
        labels = (("engine", "2"), ("model_name", "tiny"))
        assert scrape_of(running, "vllm:") == {
            ("vllm:num_requests_waiting", labels): 3,
            ("vllm:num_requests_running", labels): 4,
            ("vllm:kv_cache_usage_perc", labels): 0.25,
        }


def scrape_of(running: Site, prefix: str) -> dict[Any, float]:
    return {key: value for key, value in scrape(running).items() if key[0].startswith(prefix)}


def test_a_running_server_keeps_the_file(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.yaml"
    with site(2, llm_d_endpoints=str(path)) as running:
        running.mailbox.sources = SourcesView(ranks={0: view(0), 1: view(1)})
        deadline = time.monotonic() + 20
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert [each["address"] for each in json.loads(path.read_text())["endpoints"]] == ["10.0.0.0", "10.0.0.1"]
