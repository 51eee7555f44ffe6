"""A command in a real terminal (a pty): what stands on its screen, keys to press, and what it leaves behind."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.cli.run import COMMAND, environment

PATIENCE = 20.0
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HOME = "\x1b[H"
LEAVE = "\x1b[?1049l"
SHOW_CURSOR = "\x1b[?25h"


class Terminal:
    """The person's end of the pty."""

    def __init__(self, master: int, slave: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self._slave = slave
        self.process = process
        self.output = ""

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def resize(self, columns: int, lines: int) -> None:
        """As a window manager does: the pty is not the process's controlling terminal, so it is told by hand."""
        set_size(self._slave, columns, lines)
        self.signal(signal.SIGWINCH)

    def mode(self) -> list[object]:
        """How the terminal is set: cbreak or not, echo or not."""
        return termios.tcgetattr(self._slave)

    def screen(self) -> str:
        """The newest whole picture."""
        pictures = self.output.split(HOME)
        return _SEQUENCE.sub("", pictures[-2] if len(pictures) > 1 else self.output).replace("\r", "")

    def shows(self, *texts: str) -> str:
        """Wait until all of this stands on one picture; that picture."""
        return self.wait_for(lambda: all(text in self.screen() for text in texts), f"{texts}")

    def prints(self, text: str) -> None:
        """Wait until this was written at all."""
        self.wait_for(lambda: text in self.output, repr(text))

    def wait_for(self, condition: Any, what: str) -> str:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"did not come: {what}; the screen is\n{self.screen()}"
            self._read(0.05)
        return self.screen()

    def _read(self, patience: float) -> None:
        if select.select([self._master], [], [], patience)[0]:
            self.output += os.read(self._master, 65536).decode(errors="replace")

    def ended(self) -> int:
        """The exit code, once it has ended and all that it wrote was read."""
        code = None
        deadline = time.monotonic() + PATIENCE
        while code is None:
            assert time.monotonic() < deadline, "it does not end"
            self._read(0.02)
            code = self.process.poll()
        while select.select([self._master], [], [], 0)[0]:
            self._read(0)
        return code


def set_size(terminal: int, columns: int, lines: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@contextmanager
def terminal(
    *arguments: str, size: tuple[int, int] = (80, 24), variables: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """`dp-coordinator ARGUMENTS` in a terminal of this size (columns, lines)."""
    master, slave = pty.openpty()
    try:
        set_size(slave, *size)
        with subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment({"TERM": "xterm-256color", "LANG": "C.UTF-8", **(variables or {})}),
            start_new_session=True,
        ) as process:
            try:
                yield Terminal(master, slave, process)
            finally:
                if process.poll() is None:
                    process.kill()
    finally:
        os.close(master)
        os.close(slave)
