"""Asks one API server something: with a bound on time and size, without following redirects, and never more than once.

aiohttp, because it takes a third of the time that httpx does, and is in every environment that has vLLM or SGLang.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from functools import lru_cache

import aiohttp
from yarl import URL

from dp_coordinator.sources.targets import Credentials, Target
from dp_coordinator.sources.telling import ScalingError, SilentError, UnusableError

ANSWER_AT_MOST = 8 * 1024 * 1024
"""Bytes. The metrics of 64 engines behind one API server have some three million."""
_SCALING_SAID = b"currently scaling"


class NotThereError(UnusableError):
    """There is no such route."""


class Client:
    """Connections to all targets, kept open between two questions."""

    def __init__(self, timeout: float, credentials: Credentials) -> None:
        """`timeout`: seconds for an answer as a whole."""
        self._credentials = credentials
        self._timeout = timeout
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=None, use_dns_cache=False),
            timeout=aiohttp.ClientTimeout(total=timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "dp-coordinator"},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def get(self, target: Target, path: str, take: Callable[[bytes], None], method: str = "GET") -> None:
        """Have what answers come bit by bit. Raises `SilentError`, `UnusableError`."""
        came = 0

        def count(chunk: bytes) -> None:
            nonlocal came
            came += len(chunk)
            if came > ANSWER_AT_MOST:
                raise UnusableError(f"the answer has more than {ANSWER_AT_MOST >> 20} MiB")
            take(chunk)

        for attempt in (1, 2):
            try:
                await self._once(target, path, count, method)
            except (aiohttp.ServerDisconnectedError, ConnectionResetError) as error:
                # A connection that was kept open may be closed just as we write: nothing has come then.
                if attempt == 1 and not came:
                    continue
                raise _said(error) from None
            except TimeoutError:
                raise SilentError(f"no answer within {self._timeout:g} s") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise _said(error) from None
            return

    async def _once(self, target: Target, path: str, take: Callable[[bytes], None], method: str) -> None:
        headers = {} if target.host is None else {"Host": _authority(target.base, target.host)}
        if self._credentials.token is not None:
            headers["Authorization"] = f"Bearer {self._credentials.token}"
        secure = target.base.startswith("https:")
        async with self._session.request(
            method,
            _url(target.base, path),
            headers=headers,
            allow_redirects=False,
            ssl=self._credentials.context if secure else False,
            server_hostname=target.host if secure else None,
        ) as answer:
            await _check(answer)
            async for chunk in answer.content.iter_any():
                take(chunk)


@lru_cache(maxsize=8192)
def _url(base: str, path: str) -> URL:
    return URL(base + path)


@lru_cache(maxsize=4096)
def _authority(base: str, host: str) -> str:
    """What a browser would send of that name: with the port, unless it is the scheme's own."""
    return URL(base).with_host(host).host_port_subcomponent or host


async def _check(answer: aiohttp.ClientResponse) -> None:
    status = answer.status
    if status == 200:
        encoding = answer.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise UnusableError(f"the answer is compressed ({encoding[:20]}), which was not asked for")
        return
    if status in (404, 405, 501):
        raise NotThereError(f"there is no such route (HTTP {status})")
    if status in (401, 403):
        raise UnusableError(f"it wants a token, or another one (HTTP {status}): see --scrape-token-file")
    if 300 <= status < 400:
        where = answer.headers.get("Location", "nowhere")[:100]
        raise UnusableError(f"it redirects to {where!r} (HTTP {status}), which is not followed")
    if status == 503 and _SCALING_SAID in await answer.content.read(4096):
        raise ScalingError("it is being scaled (HTTP 503)")
    raise UnusableError(f"it answers with HTTP {status}")


def _said(error: Exception) -> Exception:
    """Why nothing came, in words."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        why = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error
        said = getattr(why, "verify_message", "") or str(why)
        return UnusableError(f"its certificate is not believed ({said[:200]}): see --scrape-ca-file")
    if isinstance(error, aiohttp.ClientConnectorSSLError | ssl.SSLError):
        said = str(getattr(error, "os_error", error))
        return UnusableError(f"what it speaks is no TLS, or not as we do ({said[:200]}): is it http://?")
    if isinstance(error, aiohttp.ClientConnectorError):
        code, said = error.os_error.errno, str(error.os_error) or "it was closed at once"
        return SilentError(f"no connection: {os.strerror(code).lower() if code else said}")
    if isinstance(error, aiohttp.ClientPayloadError):
        return SilentError("the answer was cut off")
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return UnusableError(f"what it speaks is no HTTP: {error}"[:300])
    return SilentError("the connection was closed before an answer came")
