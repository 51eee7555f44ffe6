"""The keyboard of a terminal: keys one by one, and the terminal as it was afterwards, whatever happens."""

from __future__ import annotations

import codecs
import os
import re
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

ESCAPE = "escape"
ENTER = "enter"
BACKSPACE = "backspace"
_NAMED = {
    "\r": ENTER,
    "\n": ENTER,
    "\x7f": BACKSPACE,
    "\x08": BACKSPACE,
    "\x15": "clear",
    "\x04": "end of input",
    "\x1b": ESCAPE,
}
_FINAL = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end"}
_TILDE = {"1~": "home", "4~": "end", "5~": "page up", "6~": "page down", "7~": "home", "8~": "end"}
_KEY = re.compile(
    r"\x1b[\[O](?P<sequence>[^@-~]{0,13}[@-~])"
    r"|(?P<cut_off>\x1b[\[O][^@-~]{0,13}\Z)"  # what goes on for longer is none
    r"|(?P<character>.)",
    re.DOTALL,
)


@contextmanager
def one_by_one(terminal: int) -> Iterator[None]:
    """Hand over each key at once and unseen (cbreak); Ctrl-C and Ctrl-Z stay signals."""
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


class Keys:
    """Turns what the terminal sends into names of keys; a printable character is its own name."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def read(self) -> list[str] | None:
        """The keys that have arrived; None when the terminal is gone. Call it when the terminal is readable."""
        try:
            raw = os.read(self._terminal, 4096)
        except InterruptedError:
            return []
        except OSError:
            return None
        return self.decode(raw) if raw else None

    def decode(self, raw: bytes) -> list[str]:
        """The keys in these bytes. A sequence that is cut off waits for its rest; a lone Esc is not cut off."""
        text = self._rest + self._text.decode(raw)
        self._rest = ""
        keys = []
        for sequence, self._rest, character in _KEY.findall(text):
            printable = character if character.isprintable() else ""
            keys.append(_TILDE.get(sequence) or _FINAL.get(sequence[-1:]) or _NAMED.get(character, printable))
        return [key for key in keys if key]
