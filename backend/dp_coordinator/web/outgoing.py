"""Requests that we make: of an address that somebody chose, which may be slow, huge, or somewhere else tomorrow.

No redirection is followed and no proxy of the environment is used: what is told goes where it was meant to go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from dp_coordinator import __version__
from dp_coordinator.texts import shown

if TYPE_CHECKING:
    import aiohttp

AGENT = f"dp-coordinator/{__version__}"
_CONNECTIONS = 16


class OutgoingError(Exception):
    """No answer that could be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    retry_after_s: float | None
    """For how long it wants to be left alone."""


class Outgoing:
    """One client for many requests, used on the web thread."""

    def __init__(self, timeout_s: float, body_at_most: int) -> None:
        """`timeout_s` is for a whole request; of an answer, `body_at_most` bytes are read and more is an error."""
        import aiohttp  # noqa: PLC0415  (only where somebody is to be asked: it takes its time)

        self._aiohttp = aiohttp
        self._timeout_s, self._body_at_most = timeout_s, body_at_most

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        """Made at the first request, when the event loop runs."""
        return self._aiohttp.ClientSession(
            connector=self._aiohttp.TCPConnector(limit=_CONNECTIONS),
            timeout=self._aiohttp.ClientTimeout(total=self._timeout_s),
            cookie_jar=self._aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": AGENT, "Accept-Encoding": "identity"},
        )

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Ask once. Raises `OutgoingError`."""
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.request(method, url, headers=headers, data=body, allow_redirects=False) as response,
            ):
                taken = bytearray()
                async for part in response.content.iter_any():
                    taken += part
                    if len(taken) > self._body_at_most:
                        raise OutgoingError(f"the answer is longer than {self._body_at_most} bytes")
                return Answer(response.status, bytes(taken), _seconds(response.headers.get("Retry-After")))
        except TimeoutError:
            raise OutgoingError(f"no whole answer within {self._timeout_s:g} s") from None
        except (self._aiohttp.ClientError, OSError, ValueError) as error:
            raise OutgoingError(shown(_why(error))) from None

    async def close(self) -> None:
        """Close its connections."""
        if "_session" in self.__dict__:
            await self._session.close()


def _why(error: Exception) -> str:
    """The reason in words."""
    cause = getattr(error, "os_error", error)
    strerror = getattr(cause, "strerror", None)
    if isinstance(strerror, str) and strerror:
        return strerror
    return str(error) or type(error).__name__


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 6 else None
