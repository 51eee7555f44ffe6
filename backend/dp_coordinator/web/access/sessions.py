"""Who is asking: the token in a header, or a cookie that a login with the token set. Never anything in a URL."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from dp_coordinator.limits import Throttle
from dp_coordinator.web.problems import ProblemError
from dp_coordinator.web.settings import WebSettings

SESSIONS_HELD = 1000
_LOGIN_RATE = 0.2


@dataclass(frozen=True, slots=True)
class Identity:
    """How a request proved that it may be made."""

    how: str
    """`token`, `session`, `open` (no token is asked for here) or `nobody`."""
    session: str | None = None

    @property
    def allowed(self) -> bool:
        """Whether anything but the page and the health checks may be used."""
        return self.how != "nobody"


NOBODY = Identity("nobody")


class Sessions:
    """Logins, held here under a digest of a random id; the browser holds the id, and never the token."""

    def __init__(self, settings: WebSettings) -> None:
        self._token = None if settings.token is None else settings.token.encode()
        self._lasts = settings.session_s
        self._until: OrderedDict[str, float] = OrderedDict()
        self._wrong = Throttle(_LOGIN_RATE, settings.login_burst)
        self.cookie = f"dp_session_{settings.port}"
        """Cookies know no ports: the name keeps two coordinators on one host apart."""

    @property
    def token_required(self) -> bool:
        """Whether a token is asked for here."""
        return self._token is not None

    def identify(self, headers: Mapping[str, str]) -> Identity:
        """Who sent these headers (names in lower case)."""
        if self._token is None:
            return Identity("open")
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(credentials.strip()):
            return Identity("token")
        session = _cookie(headers.get("cookie", ""), self.cookie)
        if session is not None and self.holds(session):
            return Identity("session", session)
        return NOBODY

    def holds(self, session: str) -> bool:
        """Whether a session is known and not over."""
        until = self._until.get(_digest(session))
        return until is not None and time.monotonic() < until

    def login(self, token: str, address: str) -> str | None:
        """A new session id, or None where no token is asked for. Raises `ProblemError` for a wrong one."""
        if self._token is None:
            return None
        now = time.monotonic()
        wrong = self._wrong.bucket(address, now)
        wait = wrong.wait(now)
        if wait > 0:
            seconds = str(int(wait) + 1)
            raise ProblemError(
                "too-many-attempts",
                f"too many wrong tokens came from this address; try again in {seconds} s",
                headers={"Retry-After": seconds},
            )
        if not self._is_token(token):
            wrong.take(now)
            raise ProblemError("unauthorized", "this is not the token that the coordinator was started with")
        session = secrets.token_urlsafe(32)
        self._until[_digest(session)] = now + self._lasts
        while len(self._until) > SESSIONS_HELD:
            self._until.popitem(last=False)
        return session

    def logout(self, session: str) -> None:
        """End a session."""
        self._until.pop(_digest(session), None)

    def set_cookie(self, session: str, *, secure: bool) -> str:
        """The Set-Cookie value that hands a session to the browser."""
        return self._cookie_value(session, round(self._lasts), secure=secure)

    def clear_cookie(self) -> str:
        """The Set-Cookie value that takes it away."""
        return self._cookie_value("", 0, secure=False)

    def _cookie_value(self, value: str, lasts: int, *, secure: bool) -> str:
        return (
            f"{self.cookie}={value}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"
        )

    def _is_token(self, given: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token)


def _digest(session: str) -> str:
    return hashlib.sha256(session.encode("utf-8", "surrogateescape")).hexdigest()


def _cookie(header: str, name: str) -> str | None:
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return None
