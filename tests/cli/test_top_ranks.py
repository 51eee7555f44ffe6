"""`top`: which ranks are shown, one of them closely, where they are, and the log further back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dp_coordinator.cli.top.controls import LONGEST_FILTER, press
from dp_coordinator.cli.top.keys import BACKSPACE, ENTER, ESCAPE
from dp_coordinator.cli.top.places import Places
from dp_coordinator.cli.top.scene import Choices, Scene
from dp_coordinator.cli.top.tables import in_order
from dp_coordinator.messages import Alarm, Peer, PeerPage
from dp_coordinator.words import AlarmKind, Channel, PeerKind, Severity
from tests.cli.scenes import event, live, scene, text
from tests.web.rig import Site, site

PLACES = PeerPage(
    1,
    [
        Peer(
            name="pid 7 VLLM::EngineCore_DP0",
            address="ipc",
            host="",
            pid=7,
            title="VLLM::EngineCore_DP0",
            connected_at=900.0,
            ended_at=None,
            why=None,
            socket=Channel.BACK_OUTPUT,
            kind=PeerKind.ENGINE,
            engine=0,
        )
    ],
    [0, None, None],
)


def after(keys: list[str], shown: Scene) -> Choices:
    for key in keys:
        choices, wish = press(key, shown, 10.0, page=5, last_offset=0)
        assert wish is None
        shown = Scene(shown.live, shown.link, choices, shown.url, shown.plain, shown.places)
    return shown.choices


@pytest.mark.parametrize(
    ("words", "ranks"),
    [
        ("", list(range(20))),
        ("3", [3]),
        ("3 8-10", [3, 8, 9, 10]),
        ("8-10,1", [1, 8, 9, 10]),
        ("work", [rank for rank in range(20) if rank % 3 != 1]),
        ("never 0-5", [1, 4]),
        ("99", []),
        ("4 nonsense", []),
    ],
)
def test_a_filter_keeps_ranks_and_statuses_as_on_the_page(words: str, ranks: list[int]) -> None:
    shown = scene(live(count=20), filter=words)
    everything = {row.index for row in in_order(scene(live(count=20)))}
    assert everything == set(range(20))
    assert sorted(row.index for row in in_order(shown)) == ranks


def test_typing_a_filter_is_seen_at_once_and_esc_ends_it() -> None:
    shown = scene(live(count=20))
    typing = after(["/", "1", "7", BACKSPACE, "8"], shown)
    assert (typing.filter, typing.filtering) == ("18", True)
    drawn = text(scene(live(count=20), filter="18", filtering=True))
    assert 'ENGINES, by rank, 1 of 20 match "18"' in drawn
    assert "/18_" in drawn
    assert after(["/", "1", ENTER], shown).filter == "1"
    assert after(["/", "1", ESCAPE], shown).filter == ""
    assert after(["/", "q", "clear", "3", ENTER, ESCAPE], shown).filter == ""
    assert len(after(["/", *("7" * 300)], shown).filter) == LONGEST_FILTER


def test_one_rank_closely_its_neighbours_and_back() -> None:
    shown = scene(live(count=20), filter="7-9")
    assert after([ENTER], shown).rank == 7
    assert after([ENTER, "j", "j", "j"], shown).rank == 9
    assert after([ENTER, "k"], shown).rank == 7
    assert after([ENTER, ESCAPE], shown).rank is None
    assert after([ENTER], scene(live(count=3), filter="99")).rank is None


def test_what_is_known_of_a_rank() -> None:
    alarm = Alarm(AlarmKind.RANK_SILENT, Severity.CRITICAL, 1000.0, 5.0, "Rank 0 is silent", "", "", [0], {})
    events = [event(1, "engine_first_report", engine=0), event(2, "engine_first_report", engine=1)]
    shown = scene(live(*events, alarms=[alarm]), rank=0)
    drawn = text(Scene(shown.live, shown.link, shown.choices, shown.url, places=PLACES), size=(80, 40))
    assert "RANK 0" in drawn
    assert "25.0%" in drawn
    assert "pid 7 VLLM::EngineCore_DP0" in drawn
    assert "Rank 0 is silent" in drawn
    body, _, log = drawn.partition("LOG")
    assert "engine_first_report 1" in body
    assert "engine_first_report 2" not in body
    assert "engine_first_report 2" in log
    assert "there is no such rank any more" in text(scene(live(), rank=99))


def test_the_place_is_a_column_where_there_is_room() -> None:
    shown = scene(live())
    placed = Scene(shown.live, shown.link, shown.choices, shown.url, places=PLACES)
    assert "pid 7 VLLM::EngineCore_DP0" in text(placed, size=(170, 30))
    assert "VLLM::EngineCore_DP0" not in text(placed, size=(100, 30))
    assert "VLLM" not in text(shown, size=(170, 30))


def test_the_log_scrolls_back_and_says_so() -> None:
    known = live(*(event(number) for number in range(1, 101)))
    assert "wave_started 100" in text(scene(known))
    back = after(["K"] * 10, scene(known)).log_offset
    drawn = text(scene(known, log_offset=back))
    assert f"LOG, newest last, {back} newer below (J)" in drawn
    assert "wave_started 50" in drawn
    assert "wave_started 51" not in drawn
    assert after(["K"] * 10 + ["J"] * 20, scene(known)).log_offset == 0
    assert after(["K"] * 1000, scene(known)).log_offset == 99
    assert after(["K", ESCAPE], scene(known)).log_offset == 0


@pytest.fixture
def running() -> Iterator[Site]:
    with site() as made:
        made.loop.subscribe_all()
        yield made


def test_places_are_asked_for_when_they_changed(running: Site) -> None:
    answered = threading.Event()
    places = Places(f"http://127.0.0.1:{running.port}", None, answered.set)
    version = running.mailbox.snapshot.peers_version
    places.want(version)
    assert answered.wait(20)
    assert places.page is not None
    assert (places.page.version, len(places.page.peers)) == (version, 4)
    answered.clear()
    places.want(version)
    assert not answered.is_set()


def test_nobody_who_answers_is_no_harm() -> None:
    places: Any = Places("http://127.0.0.1:9", None, lambda: None)
    places._ask()
    assert places.page is None
