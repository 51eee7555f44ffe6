"""The live display: waits for keys, signals and messages, and draws. The terminal is as it was when it ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from dataclasses import replace

from rich.console import Console
from rich.live import Live as Display
from rich.text import Text

from dp_coordinator.cli.top.controls import press
from dp_coordinator.cli.top.keys import Keys, one_by_one
from dp_coordinator.cli.top.scene import Choices, Scene
from dp_coordinator.cli.top.screen import Screen, compose
from dp_coordinator.cli.top.start import Starter, followed
from dp_coordinator.cli.top.stream import Stream
from dp_coordinator.wakeup import WakeUp

REDRAW = 0.25
"""Seconds between two pictures, unless a key or the connection asks for one sooner: ages grow by themselves.

A picture of 120 by 40 takes some 30 ms of a processor that the coordinator may need.
"""
_ENDINGS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_WATCHED = (*_ENDINGS, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


class App:
    """One run of the display."""

    def __init__(self, url: str, token: str | None) -> None:
        self._wake_up = WakeUp()
        self._stream = Stream(url, token, self._wake_up.wake)
        self._starter = Starter(url, token, self._wake_up.wake)
        self._choices = Choices()
        self._url = url
        self._terminal = sys.stdin.fileno()
        self._keys = Keys(self._terminal)
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._plain = not self._console.encoding.lower().startswith("utf")
        self._screen = Screen(Text(""), 0, 0)
        self._ended: int | None = None

    def run(self) -> int:
        """Show until asked to end. The exit code: 0, or 128 and the signal's number."""
        with contextlib.closing(self._wake_up), self._wake_up.on_signals(*_WATCHED):
            self._stream.start()
            try:
                while self._ended is None:
                    self._show()
            except OSError:
                if os.isatty(self._terminal) and os.isatty(sys.stdout.fileno()):
                    raise
                self._ended = 128 + signal.SIGHUP  # the terminal has gone away under us
            finally:
                self._stream.stop()
        return self._ended

    def _show(self) -> None:
        """Own the terminal until the end, or until Ctrl-Z; after that, and once it is to go on, return."""
        stopped = False
        with one_by_one(self._terminal):
            self._resize()
            display = Display(
                Text(""),
                console=self._console,
                screen=True,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            with display:
                while self._ended is None and not stopped:
                    self._draw(display)
                    stopped = self._wait()
        if stopped:
            os.kill(os.getpid(), signal.SIGSTOP)  # the shell has its terminal back until `fg`

    def _resize(self) -> None:
        """Take the terminal's own word for its size: the variables COLUMNS and LINES do not change with it."""
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        self._console.size = type(self._console.size)(columns or 80, lines or 24)

    def _draw(self, display: Display) -> None:
        self._resize()
        size = self._console.size
        self._screen = compose(self._scene(), time.monotonic(), size.width, size.height)
        self._choices = replace(self._choices, offset=min(self._choices.offset, self._screen.last_offset))
        display.update(self._screen.picture, refresh=True)

    def _scene(self) -> Scene:
        live = self._stream.live
        if self._starter.answer is not None:
            self._choices, self._starter.answer = replace(self._choices, asked=self._starter.answer), None
        if self._choices.asked is not None:
            self._choices = replace(self._choices, asked=followed(self._choices.asked, live))
        return Scene(live, self._stream.link, self._choices, self._url, self._plain)

    def _wait(self) -> bool:
        """Return when there is something to draw; whether it was Ctrl-Z."""
        ready = select.select([self._terminal, self._wake_up], [], [], REDRAW)[0]
        if self._wake_up in ready:
            woken = self._wake_up.drain()
            for number in _ENDINGS & woken:
                self._ended = 128 + number
            if self._ended is None and signal.SIGTSTP in woken:
                return True
        if self._terminal in ready:
            self._take_keys()
        return False

    def _take_keys(self) -> None:
        keys = self._keys.read()
        if keys is None:
            self._ended = 128 + signal.SIGHUP
            return
        for key in keys:
            scene, now = self._scene(), time.monotonic()
            self._choices, wish = press(key, scene, now, self._screen.page, self._screen.last_offset)
            if wish == "quit":
                self._ended = 0
            elif wish == "retry":
                self._stream.retry_now()
            elif wish == "ask" and self._choices.prompt is not None:
                asked = self._starter.ask(self._choices.prompt, scene.live.incarnation)
                self._choices = replace(self._choices, prompt=None, asked=asked)
