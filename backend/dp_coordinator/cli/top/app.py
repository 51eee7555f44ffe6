"""The live display: waits for keys, signals and messages, and draws. The terminal is as it was when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from dataclasses import replace

from rich.console import Console, ConsoleDimensions, ScreenContext
from rich.control import Control
from rich.text import Text

from dp_coordinator.cli.top.controls import press
from dp_coordinator.cli.top.keys import Keys, one_by_one
from dp_coordinator.cli.top.places import Places
from dp_coordinator.cli.top.scene import Choices, Scene
from dp_coordinator.cli.top.screen import Screen, compose
from dp_coordinator.cli.top.start import Starter, followed
from dp_coordinator.cli.top.stream import Stream

REDRAW = 0.25
"""Seconds between two pictures, unless a key or the connection asks for one sooner: ages grow by themselves.

A picture of 120 by 40 takes some 30 ms of a processor that the coordinator may need.
"""


class App:
    """One run of the display."""

    def __init__(self, url: str, token: str | None) -> None:
        self._news = asyncio.Event()
        self._stream = Stream(url, token, self._wake)
        self._starter = Starter(url, token, self._wake)
        self._places = Places(url, token, self._wake)
        self._choices = Choices()
        self._url = url
        self._terminal = sys.stdin.fileno()
        self._keys = Keys(self._terminal)
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._plain = not self._console.encoding.lower().startswith("utf")
        self._screen = Screen(Text(""), 0, 0)
        self._suspended = False
        self._ended: int | None = None

    async def run(self) -> int:
        """Show until asked to end. The exit code: 0, or 128 and the signal's number."""
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._loop.add_signal_handler(number, self._end, 128 + number)
        for number in (signal.SIGWINCH, signal.SIGCONT):
            self._loop.add_signal_handler(number, self._news.set)
        self._loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        self._loop.add_reader(self._terminal, self._take_keys)
        self._stream.start()
        try:
            while self._ended is None:
                await self._show()
        except OSError:
            if os.isatty(self._terminal) and os.isatty(sys.stdout.fileno()):
                raise
            self._ended = 128 + signal.SIGHUP  # the terminal has gone away under us
        return self._ended

    def _wake(self) -> None:
        """From another thread."""
        with contextlib.suppress(RuntimeError):  # it is over
            self._loop.call_soon_threadsafe(self._news.set)

    def _end(self, code: int) -> None:
        self._ended = code
        self._news.set()

    def _suspend(self) -> None:
        self._suspended = True
        self._news.set()

    async def _show(self) -> None:
        """Own the terminal until the end, or until Ctrl-Z; after that, and once it is to go on, return."""
        self._suspended = False
        with one_by_one(self._terminal), self._console.screen() as display:
            while self._ended is None and not self._suspended:
                self._draw(display)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), REDRAW)
                self._news.clear()
        if self._ended is None:
            os.kill(os.getpid(), signal.SIGSTOP)  # the shell has its terminal back until `fg`

    def _draw(self, display: ScreenContext) -> None:
        # The terminal's own word for its size: the variables COLUMNS and LINES do not change with it.
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        self._console.size = ConsoleDimensions(columns or 80, lines or 24)
        width, height = self._console.size
        self._screen = compose(self._scene(), time.monotonic(), width, height)
        self._choices = replace(self._choices, offset=min(self._choices.offset, self._screen.last_offset))
        self._console.control(Control.home())
        display.update(self._screen.picture)

    def _scene(self) -> Scene:
        live = self._stream.live
        answer, self._starter.answer = self._starter.answer, None
        self._choices = replace(self._choices, asked=followed(answer or self._choices.asked, live))
        if live.snapshot is not None and self._stream.link.state == "open":
            self._places.want(live.snapshot.peers_version)
        return Scene(live, self._stream.link, self._choices, self._url, self._plain, self._places.page)

    def _take_keys(self) -> None:
        keys = self._keys.read()
        if keys is None:
            self._end(128 + signal.SIGHUP)
            return
        for key in keys:
            self._press(key)
        self._news.set()

    def _press(self, key: str) -> None:
        scene = self._scene()
        self._choices, wish = press(key, scene, time.monotonic(), self._screen.page, self._screen.last_offset)
        if wish == "quit":
            self._end(0)
        elif wish == "retry":
            self._stream.retry_now()
        elif wish == "ask" and self._choices.prompt is not None:
            asked = self._starter.ask(self._choices.prompt, scene.live.incarnation)
            self._choices = replace(self._choices, prompt=None, asked=asked)
