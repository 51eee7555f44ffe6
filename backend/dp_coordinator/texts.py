"""Text that strangers wrote, made fit to be shown: it is cut, and no character of it steers, reorders or hides.

A terminal obeys control characters, any display reorders what follows U+202E, and zero-width characters make two names
look the same. All of them are shown as `\\x1b` or `\\u202e`. What was made fit stays as it is when that is done again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

AT_MOST = 200
"""Characters that are kept of a text which came in a frame."""
A_LINE = 2000
"""Characters of a line in the log, or of a text in the event log: ours have fewer."""
_CUT = " ..."
# Printable to Python, and yet nothing is seen of them: fillers, joiners and variation selectors (Unicode's
# Default_Ignorable_Code_Point), and the empty Braille pattern.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def shown(text: str, at_most: int = AT_MOST) -> str:
    """The text with everything escaped that is not plainly seen, in at most so many characters."""
    if len(text) <= at_most and is_plain(text):
        return text
    plain = "".join(map(_escaped, text[: at_most + 1]))
    return plain if len(plain) <= at_most else plain[: at_most - len(_CUT)] + _CUT


def is_plain(text: str) -> bool:
    """Whether every character is seen, as what it is and where it stands."""
    return text.isprintable() and (text.isascii() or _UNSEEN.search(text) is None)


def _escaped(character: str) -> str:
    return character if is_plain(character) else character.encode("unicode_escape").decode()


def shown_within(value: object, at_most: int = A_LINE) -> tuple[object, int]:
    """The same of every text within lists and mappings, and about how many bytes of memory all of it takes."""
    if value is None or type(value) is int:  # mostly so, and START waits for it
        return value, 32
    if type(value) is str:
        value = shown(value, at_most)
        return value, 56 + len(value) * (1 if value.isascii() else 4)
    if isinstance(value, Mapping):
        told, size = dict[object, object](), 240
        for key, held in value.items():
            known, key_size = shown_within(key, at_most)
            told[known], held_size = shown_within(held, at_most)
            size += key_size + held_size
        return told, size
    if isinstance(value, list | tuple):
        items = [shown_within(item, at_most) for item in value]
        return [item for item, _ in items], 64 + sum(size for _, size in items)
    return value, 32
