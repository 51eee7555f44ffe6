"""Who is asking: the token in a header, or a cookie that a login with the token set. Never anything in a URL."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from dp_coordinator.web.access.attempts import Attempts
from dp_coordinator.web.access.token import Token
from dp_coordinator.web.problems import ProblemError
from dp_coordinator.web.settings import WebSettings

SESSIONS_HELD = 1000


@dataclass(frozen=True, slots=True)
class Identity:
    """How a request proved that it may be made."""

    how: str
    """`token`, `session`, `open` (no token is asked for here), `wrong` (the token is another) or `nobody`."""
    session: str | None = None
    generation: int = 0
    """Of the token that it presented."""

    @property
    def allowed(self) -> bool:
        """Whether anything but the page and the health checks may be used."""
        return self.how not in ("nobody", "wrong")


NOBODY = Identity("nobody")


@dataclass(frozen=True, slots=True)
class _Login:
    until: float
    path: str
    """Of its cookie."""


class Sessions:
    """Logins, held here under a digest of a random id; the browser holds the id, and never the token."""

    def __init__(self, settings: WebSettings) -> None:
        self._token = Token(settings)
        self._lasts = settings.session_s
        self._logins: OrderedDict[str, _Login] = OrderedDict()
        self._generation = 0
        self.logins, self.bearers = Attempts(settings.login_burst), Attempts(settings.login_burst)
        """Wrong tokens of logins and of requests: a program with an old token does not lock out its neighbours."""
        self.cookie = f"dp_session_{secrets.token_hex(4)}"
        """A name of our own: cookies know no ports, and one proxy may show several deployments under one name."""

    @property
    def token_required(self) -> bool:
        """Whether a token is asked for here."""
        return self._token.required

    def identify(self, headers: Mapping[str, str]) -> Identity:
        """Who sent these headers (names in lower case)."""
        if not self.token_required:
            return Identity("open")
        self._look()
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        guess = credentials.strip() if scheme.lower() == "bearer" else ""
        if guess and self._token.matches(guess):
            return Identity("token", generation=self._generation)
        session = _cookie(headers.get("cookie", ""), self.cookie)
        if session is not None and self.holds(session):
            return Identity("session", session)
        return Identity("wrong") if guess else NOBODY

    def still(self, identity: Identity) -> bool:
        """Whether what somebody proved is still so."""
        if identity.session is not None:
            return self.holds(identity.session)
        self._look()
        return identity.how == "open" or identity.generation == self._generation

    def holds(self, session: str) -> bool:
        """Whether a session is known and not over."""
        self._look()
        login = self._logins.get(_digest(session))
        return login is not None and time.monotonic() < login.until

    def login(self, token: str, client: str, path: str = "/") -> str | None:
        """A new session id, or None where no token is asked for. Raises `ProblemError` for a wrong one.

        `path`: under which the browser sees us.
        """
        if not self.token_required:
            return None
        self._look()
        self.logins.check(client)
        if not self._token.matches(token):
            self.logins.failed(client)
            raise ProblemError("unauthorized", "this is not the token that the coordinator was started with")
        session = secrets.token_urlsafe(32)
        folder = path.partition(";")[0].rpartition("/")[0]  # a cookie's path ends at a semicolon
        self._logins[_digest(session)] = _Login(time.monotonic() + self._lasts, f"{folder}/")
        while len(self._logins) > SESSIONS_HELD:
            self._logins.popitem(last=False)
        return session

    def logout(self, session: str) -> str:
        """End a session; gives the Set-Cookie value that takes it from the browser."""
        login = self._logins.pop(_digest(session), None)
        return self._cookie_value("", 0, "/" if login is None else login.path, secure=False)

    def set_cookie(self, session: str, *, secure: bool) -> str:
        """The Set-Cookie value that hands a session to the browser."""
        return self._cookie_value(session, round(self._lasts), self._logins[_digest(session)].path, secure=secure)

    def _cookie_value(self, value: str, lasts: int, path: str, *, secure: bool) -> str:
        more = "; Secure" if secure else ""
        return f"{self.cookie}={value}; Path={path}; Max-Age={lasts}; HttpOnly; SameSite=Strict{more}"

    def _look(self) -> None:
        self._token.look()
        if self._token.generation != self._generation:
            self._generation = self._token.generation
            self._logins.clear()


def _digest(session: str) -> str:
    return hashlib.sha256(session.encode("utf-8", "surrogateescape")).hexdigest()


def _cookie(header: str, name: str) -> str | None:
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return None
