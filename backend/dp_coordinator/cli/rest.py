"""A small REST client on the standard library, whose every failure is one sentence."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from dp_coordinator.cli.render import clean
from dp_coordinator.cli.settings import RefusedError, UsageError
from dp_coordinator.requests import Problem

TIMEOUT = 10.0
"""Seconds until a coordinator that does not answer counts as not reachable."""
_MAX_ANSWER = 64 * 1024 * 1024
T = TypeVar("T")


class UnreachableError(UsageError):
    """Nobody answers there, now."""


def bearer(token: str | None) -> dict[str, str]:
    """The header that carries a token; none without one."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


class Rest:
    """One coordinator's REST interface."""

    def __init__(self, url: str, token: str | None) -> None:
        """`url` is what `values.base_url` accepts."""
        self.url = url
        self._headers = {"Accept": "application/json", **bearer(token)}
        parts = urlsplit(url)
        self._path = parts.path
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)

    def get(self, path: str, **query: object) -> bytes:
        """The body of a GET. Raises `UnreachableError`; `RefusedError` when the answer is no, else `UsageError`."""
        asked = urlencode({key: value for key, value in query.items() if value not in (None, ())}, doseq=True)
        return self._request("GET", f"{path}?{asked}" if asked else path)

    def post(self, path: str, body: dict[str, object], headers: dict[str, str]) -> bytes:
        """The body that answers a POST of JSON. Raises as `get` does."""
        return self._request("POST", path, msgspec.json.encode(body), {"Content-Type": "application/json", **headers})

    def put(self, path: str, body: dict[str, object]) -> bytes:
        """The body that answers a PUT of JSON. Raises as `get` does."""
        return self._request("PUT", path, msgspec.json.encode(body), {"Content-Type": "application/json"})

    def _request(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}) -> bytes:
        try:
            self._connection.request(method, self._path + path, body, {**self._headers, **headers})
            response = self._connection.getresponse()
            answer = response.read(_MAX_ANSWER)
            if response.length:  # it died over its answer
                raise http.client.IncompleteRead(answer, response.length)
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(
                f"no coordinator answers at {self.url} ({_why(error)}); say with --url where one runs"
            ) from None
        finally:
            self._connection.close()  # kept open, the server may end it between two looks
        if response.status >= 300:
            raise self._refusal(response.status, answer)
        return answer

    def _refusal(self, status: int, body: bytes) -> Exception:
        if status == 401:
            given = "the token was not accepted" if "Authorization" in self._headers else "it wants a token"
            return UsageError(f"{self.url} did not let this in: {given}; name the right one with --token-file")
        try:
            problem = msgspec.json.decode(body, type=Problem)
        except msgspec.DecodeError:
            return UsageError(f"{self.url} answered HTTP {status}: is that the address of a coordinator?")
        return RefusedError(clean(problem.detail or problem.title).rstrip("."), body)


def decode(body: bytes, shape: type[T], url: str) -> T:
    """The answer as its message type. Raises `UsageError` when it is something else."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        raise UsageError(f"{url} does not answer as a coordinator of this version does ({error})") from None


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:g} s"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
