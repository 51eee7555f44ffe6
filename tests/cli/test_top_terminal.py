"""`dp-coordinator top` in a real terminal, against a real coordinator with engines."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from dp_coordinator.client import EngineClient
from dp_coordinator.handle import DPCoordinator
from tests.cli.run import run
from tests.cli.terminal import LEAVE, SHOW_CURSOR, Terminal, terminal

TOKEN = "a-token-of-decent-length"
COLOUR = re.compile(r"\x1b\[(\d+;)*[349]\d[;m]")


@dataclass
class Deployment:
    coordinator: DPCoordinator
    engines: list[EngineClient]

    @property
    def url(self) -> str:
        assert self.coordinator.http_url is not None
        return self.coordinator.http_url

    def step(self, wave: int, step: int) -> None:
        for engine in self.engines:
            engine.report_stats(waiting=2, running=5, step_counter=step, current_wave=wave)


@contextmanager
def deployed(**options: Any) -> Iterator[Deployment]:
    with ExitStack() as stack:
        coordinator = stack.enter_context(DPCoordinator(2, **options))
        ends = coordinator.get_engine_socket_addresses()
        engines = [stack.enter_context(EngineClient(index, *ends)) for index in range(2)]
        for engine in engines:
            engine.wait_ready(20)
        yield Deployment(coordinator, engines)


@pytest.fixture(scope="module")
def plain() -> Iterator[Deployment]:
    with deployed() as deployment:
        yield deployment


@pytest.fixture(scope="module")
def guarded() -> Iterator[Deployment]:
    with deployed(supervised=True, token=TOKEN) as deployment:
        yield deployment


def assert_restored(screen: Terminal, before: list[object]) -> None:
    assert screen.mode() == before
    assert LEAVE in screen.output[-40:]
    assert screen.output.rindex(SHOW_CURSOR) > screen.output.rindex("\x1b[?25l")
    assert "Traceback" not in screen.output


def test_a_wrong_token_is_said_before_there_is_a_screen(guarded: Deployment) -> None:
    with terminal("top", "--url", guarded.url, variables={"DP_COORDINATOR_TOKEN": "another"}) as screen:
        assert screen.ended() == 2
        assert "the token was not accepted; name the right one with --token-file" in screen.output
        assert "\x1b" not in screen.output


def test_a_wave_by_hand_and_a_coordinator_that_dies(guarded: Deployment) -> None:
    engines = guarded.engines
    with terminal("top", "--url", guarded.url, variables={"DP_COORDINATOR_TOKEN": TOKEN}) as screen:
        before = screen.mode()
        screen.shows("PAUSED", "engines 2 of 2", "never reported", "no wave has been seen yet", "READY sent")

        engines[1].start_wave(0)
        assert [engine.receive_start(20).wave for engine in engines] == [0, 0]
        guarded.step(0, 1)
        screen.shows("RUNNING", "waiting 4", "running 10", "engine (rank 1)")
        engines[0].wave_complete(0)
        screen.shows("PAUSED", "wave 1", "completed", "Wave 0 completed after")

        screen.press("sé 請求 hangz\x7fs")
        screen.shows("Start wave 1: why?", "> é 請求 hangs_")
        screen.press("\r")
        assert [engine.receive_start(20).wave for engine in engines] == [1, 1]
        guarded.step(1, 1)
        screen.shows("2 of 2 ranks stepping", "seen after", 'Manual start of wave 1 asked "é 請求 hangs"', "RUNNING")
        screen.press("\x1b")
        screen.wait_for(lambda: "seen after" not in screen.screen(), "the outcome taken away")

        os.kill(guarded.coordinator.worker_pid(), signal.SIGKILL)
        lost = screen.shows("*** DISCONNECTED ***", "next try in", "All numbers are", "unknown", "when last heard")
        assert "fresh" not in lost
        screen.shows("restarts 1", "the coordinator was restarted", "live,")
        assert "DISCONNECTED" not in screen.screen()

        assert screen.mode() != before
        screen.press("q")
        assert screen.ended() == 0
        assert_restored(screen, before)


def test_it_follows_the_window_and_the_keys_and_needs_no_colour(plain: Deployment) -> None:
    variables = {"COLUMNS": "33", "NO_COLOR": "1"}
    with terminal("top", "--url", plain.url, size=(120, 40), variables=variables) as screen:
        assert max(map(len, screen.shows("PAUSED", "q quit").splitlines())) == 120
        screen.resize(60, 20)
        screen.wait_for(lambda: max(map(len, screen.screen().splitlines())) == 60, "60 columns")
        assert len(screen.shows("rank", "status", "last report").splitlines()) == 20
        screen.press("oo")
        screen.shows("by last report")
        screen.press("?")
        screen.shows("KEYS", "pause the display")
        screen.press("\x1bp")
        screen.shows("DISPLAY PAUSED: as of")
        screen.press("p")
        screen.wait_for(lambda: "DISPLAY PAUSED" not in screen.screen(), "the display going on")
        screen.press("sno\x1b")
        screen.wait_for(lambda: "why?" not in screen.screen(), "the question gone")
        screen.press("q")
        assert screen.ended() == 0
        assert not COLOUR.search(screen.output)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_the_terminal_is_as_it_was(plain: Deployment, number: signal.Signals) -> None:
    with terminal("top", "--url", plain.url) as screen:
        before = screen.mode()
        screen.shows("PAUSED")
        screen.signal(number)
        assert screen.ended() == 128 + number
        assert_restored(screen, before)


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(plain: Deployment) -> None:
    with terminal("top", "--url", plain.url) as screen:
        before = screen.mode()
        screen.shows("PAUSED")
        screen.signal(signal.SIGTSTP)
        assert os.WIFSTOPPED(os.waitpid(screen.process.pid, os.WUNTRACED)[1])
        screen.prints(LEAVE)
        assert screen.mode() == before
        screen.output = ""
        screen.signal(signal.SIGCONT)
        screen.shows("PAUSED", "q quit")
        assert COLOUR.search(screen.output)
        screen.signal(signal.SIGTERM)
        assert screen.ended() == 128 + signal.SIGTERM
        assert_restored(screen, before)


def test_a_terminal_that_cannot_be_drawn_on_gets_the_state_once(plain: Deployment) -> None:
    with terminal("top", "--url", plain.url, variables={"TERM": "dumb"}) as screen:
        assert screen.ended() == 0
        assert "\x1b" not in screen.output
        assert "engines       2 of 2 subscribed" in screen.output


def test_no_terminal_at_all_gets_the_state_once(plain: Deployment) -> None:
    done, state = run("top", "--url", plain.url), run("state", "--url", plain.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:7] == state.stdout.splitlines()[1:7]
