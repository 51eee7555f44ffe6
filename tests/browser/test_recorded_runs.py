"""Real vLLM's recorded runs, played into a live coordinator: the page shows their waves and counts."""

from __future__ import annotations

import pytest
import zmq
from playwright.sync_api import Browser, expect

from dp_coordinator.handle import DPCoordinator
from tests.browser.rig import page, phase, rank, stat
from tests.transport.player import Player
from tests.wire.recordings import Recording, recordings

SHOWN = ["v0.27.0_moe_1api", "v0.28.0_moe_1api", "v0.32.0_moe_1api", "v0.33.0_moe_1api"]
SHOWN += ["v0.32.0_dense_1api"]


def until_busiest(recording: Recording) -> tuple[Recording, list[list[float]]]:
    """The run up to its busiest report, and the counts of every engine as they stand there."""
    counts: list[list[float]] = [[] for _ in range(recording.arguments["engine_count"])]
    busiest: float = -1
    at, then = 0, counts
    for position, message in enumerate(recording.messages):
        for event in message.stats():
            counts = [*counts]
            counts[event.engine_index] = [event.waiting, event.running]
            load = sum(sum(c) for c in counts)
            if load > busiest:
                busiest, at, then = load, position, counts
    return Recording(recording.name, recording.messages[: at + 1]), then


@pytest.mark.parametrize("name", SHOWN)
def test_the_page_shows_a_recorded_run(name: str, browser: Browser) -> None:
    recording = recordings()[name]
    busy, counts = until_busiest(recording)
    coordination = recording.arguments["enable_wave_coordination"]
    options = {"dialect": recording.version, "wave_coordination": coordination}
    with (
        DPCoordinator(recording.arguments["engine_count"], **options) as coordinator,
        zmq.Context() as context,
        page(browser, str(coordinator.http_url)) as tab,
    ):
        player = Player(coordinator, context)
        try:
            player.play(busy)
            for index, count in enumerate(counts):
                waiting, running = count or ("—", "—")
                expect(rank(tab, index).locator(".col-waiting")).to_have_text(str(waiting))
                expect(rank(tab, index).locator(".col-running")).to_have_text(str(running))
            expect(stat(tab, "Waiting")).to_have_text(str(sum(c[0] for c in counts if c)))
            phase(tab, "RUNNING" if coordination else "SERVING")
            player.play(Recording(name, recording.messages[len(busy.messages) :]))
            waves = recording.announcements()
            expect(stat(tab, "Wave")).to_have_text([str(waves[-1][0])] if coordination else [])
            phase(tab, "PAUSED" if coordination else "SERVING")
            expect(tab.locator("#waves tbody tr")).to_have_count(len({wave for wave, running in waves if running}))
        finally:
            player.close()


def test_the_page_shows_a_run_with_restarts(browser: Browser) -> None:
    name = "v0.32.0_moe_ours_killed"
    recording = recordings()[name]
    with (
        DPCoordinator(recording.arguments["engine_count"], dialect=recording.version, supervised=True) as coordinator,
        zmq.Context() as context,
        page(browser, str(coordinator.http_url)) as tab,
    ):
        player = Player(coordinator, context)
        try:
            player.play(recording)
            expect(tab.get_by_test_id("restarts")).to_contain_text(f"{len(recording.incarnations) - 1} restarts")
            expect(stat(tab, "Wave")).to_have_text(str(recording.announcements()[-1][0]))
            phase(tab, "PAUSED")
        finally:
            player.close()
