"""Pages of Prometheus text, of whose thousands of lines a few are of use.

These are taken out as they come, so that neither the parser nor memory sees the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from dp_coordinator.sources.telling import ENGINES_AT_MOST, UnusableError

KEPT_AT_MOST = 4 * 1024 * 1024
"""Bytes of lines of use: those of some four thousand engines."""
_PLAIN = re.compile(r"(\w[\w:]*\{[^{}#]{0,500}\}) +([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)", re.ASCII)
"""A line as API servers write nearly all of them: a series, and a number."""
Line: TypeAlias = tuple[str, Mapping[str, str], float]
"""Name, labels, value."""


class UsefulLines:
    """Takes a page bit by bit, and keeps the lines that are of use."""

    def __init__(self, of_use: re.Pattern[bytes]) -> None:
        """`of_use` finds such a line, and the end of the one before it."""
        self._of_use = of_use
        self._rest = b"\n"
        self._kept: list[bytes] = []
        self._size = 0
        self.began = b""
        """How the page begins, to say what it is when it is none."""

    def feed(self, chunk: bytes) -> None:
        """Take what comes next. Raises `UnusableError` for what is too much."""
        if len(self.began) < 64:
            self.began += chunk[:64]
        text = self._rest + chunk
        end = text.rfind(b"\n")
        self._rest = text[end:]
        if len(self._rest) > 65_536:
            raise UnusableError("a line of more than 64 KiB came: that is no Prometheus text")
        for line in self._of_use.findall(text, 0, end):
            self._kept.append(line)
            self._size += len(line)
        if self._size > KEPT_AT_MOST:
            raise UnusableError("it tells of more engines than there can be")

    def read(self) -> Iterator[Line]:
        """The lines of use. A last line without an end was cut off, and is left out. Raises `UnusableError`."""
        try:
            for line in b"".join(self._kept).decode("utf-8", "replace").split("\n")[1:]:
                yield _read(line)
        except (ValueError, IndexError, KeyError) as error:
            said = str(error)[:100] or type(error).__name__
            raise UnusableError(f"what came is no Prometheus text: {said}") from None


def _read(line: str) -> Line:
    """One line. Raises `ValueError`."""
    plain = _PLAIN.fullmatch(line)
    if plain is None:
        return _parsed(line)
    name, labels, _ = _series(plain[1])
    return name, labels, float(plain[2])


@lru_cache(maxsize=8192)
def _series(text: str) -> Line:
    """A line without its value: labels take most of the time, and are the same in every answer."""
    return _parsed(f"{text} 0")


def _parsed(line: str) -> Line:
    (family,) = text_string_to_metric_families(line)
    (sample,) = family.samples
    return sample.name, sample.labels, sample.value


def rank_in(labels: Mapping[str, str], name: str) -> int:
    """The rank that a label says. Raises `UnusableError`."""
    label = labels.get(name, "0")  # one that says none has one engine
    if not label.isascii() or not label.isdecimal() or int(label[:6]) >= ENGINES_AT_MOST or len(label) > 5:
        raise UnusableError(f"it tells of an engine {label[:20]!r}: that is no rank")
    return int(label)
