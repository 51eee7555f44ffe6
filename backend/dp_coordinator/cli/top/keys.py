"""The keyboard of a terminal: keys one by one, and the terminal as it was afterwards, whatever happens."""

from __future__ import annotations

import codecs
import os
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

ESCAPE = "escape"
ENTER = "enter"
BACKSPACE = "backspace"
_NAMED = {"\r": ENTER, "\n": ENTER, "\x7f": BACKSPACE, "\x08": BACKSPACE, "\x15": "clear", "\x04": "end of input"}
_FINAL = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end"}
_TILDE = {"1": "home", "4": "end", "5": "page up", "6": "page down", "7": "home", "8": "end"}
_LONGEST = 16
"""Characters of an escape sequence; what goes on for longer is none."""


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
        while text:
            if text[0] == "\x1b":
                key, text = self._escaped(text)
            else:
                key, text = _NAMED.get(text[0], text[0] if text[0].isprintable() else None), text[1:]
            if key is not None:
                keys.append(key)
        return keys

    def _escaped(self, text: str) -> tuple[str | None, str]:
        """The key at the start of a text that begins with Esc, and what follows it."""
        if len(text) == 1 or text[1] not in "[O":
            return ESCAPE, text[1:]
        for place, character in enumerate(text[2:_LONGEST], start=2):
            if "@" <= character <= "~":
                name = _TILDE.get(text[2:place]) if character == "~" else _FINAL.get(character)
                return name, text[place + 1 :]
        if len(text) < _LONGEST:
            self._rest = text
            return None, ""
        return ESCAPE, text[1:]
