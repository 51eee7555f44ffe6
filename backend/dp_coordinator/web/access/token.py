"""The token that guards the page, and its file, which is read again when it changes."""

from __future__ import annotations

import hmac
import logging
import stat
import time
from pathlib import Path

from dp_coordinator.values import token_in
from dp_coordinator.web.settings import TOKEN_AT_LEAST, WebSettings, check_token

log = logging.getLogger("dp_coordinator.web")

_LOOK_EVERY_S = 1.0


class Token:
    """The secret of `settings`."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._value = settings.token
        self._file = None if settings.token_file is None else Path(settings.token_file)
        self._seen = None if self._file is None else _mark(self._file)
        self._looked_at = time.monotonic()
        self.generation = 0
        """Counts the changes: what an earlier token opened is closed."""
        self.warn()

    @property
    def required(self) -> bool:
        """Whether a token is asked for here."""
        return self._value is not None

    def matches(self, given: str) -> bool:
        """Whether it is this one; takes as long for a wrong one as for the right one."""
        return self._value is not None and hmac.compare_digest(
            given.encode("utf-8", "surrogateescape"), self._value.encode()
        )

    def look(self) -> None:
        """Take the token from its file again if that has changed; at most once a second."""
        now = time.monotonic()
        if self._file is None or now - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = now
        mark = _mark(self._file)
        if mark in (self._seen, None):  # a file that has gone, or is no file, changes nothing
            return
        self._seen = mark
        try:
            value = token_in(str(self._file))
            check_token(self._settings, value)
        except ValueError as error:
            log.warning("the token file %s changed, and cannot be used: the old token stays (%s)", self._file, error)
            return
        if value != self._value:
            self._value = value
            self.generation += 1
            log.warning("the token file %s has changed: the new token counts, and all logins have ended", self._file)
        self.warn()

    def warn(self) -> None:
        """Say on the log what makes the token a weak one."""
        if self._file is not None and _mode(self._file) & stat.S_IROTH:
            log.warning("the token file %s can be read by everybody on this machine: chmod o-r it", self._file)
        if self._value is not None and len(self._value) < TOKEN_AT_LEAST:
            found = len(self._value)
            log.warning(
                "the token has only %d character%s, which can be guessed: make one with `openssl rand -hex 32`",
                found,
                "" if found == 1 else "s",
            )


def _mark(file: Path) -> tuple[int, int, int] | None:
    """By what a change is noticed; None for what cannot be read twice."""
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino, found.st_size) if stat.S_ISREG(found.st_mode) else None


def _mode(file: Path) -> int:
    try:
        return file.stat().st_mode
    except OSError:
        return 0
