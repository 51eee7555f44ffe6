"""The other coordinators that `--peers` names: each is asked for its summary, from here, and never told anything."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from dp_coordinator.messages_told import DeploymentPage, OtherDeployment, Summary
from dp_coordinator.texts import shown
from dp_coordinator.urls import PeerAddress, peer_addresses
from dp_coordinator.values import BadValueError, token_in
from dp_coordinator.web.outgoing import Outgoing, OutgoingError

log = logging.getLogger("dp_coordinator.web")

ASK_EVERY_S = 2.0
TIMEOUT_S = 4.0
ANSWER_AT_MOST = 64 * 1024
AT_A_TIME = 8
_TEXT_AT_MOST = 300
_decode = msgspec.json.Decoder(Summary).decode


class Other:
    """One of them, as it was heard last."""

    def __init__(self, address: PeerAddress) -> None:
        self.address = address
        self._summary: Summary | None = None
        self._heard_at: float | None = None
        self._gone: str | None = "not asked yet"

    async def ask(self, outgoing: Outgoing) -> None:
        """Ask it once, and keep what it says."""
        try:
            self._summary, self._gone = await self._summary_from(outgoing), None
            self._heard_at = time.monotonic()
        except (OutgoingError, BadValueError) as error:
            self._gone = shown(str(error), _TEXT_AT_MOST)

    async def _summary_from(self, outgoing: Outgoing) -> Summary:
        headers = {"Accept": "application/json"}
        if self.address.token_file is not None:
            token = await asyncio.to_thread(token_in, self.address.token_file)
            headers["Authorization"] = f"Bearer {token}"
        answer = await outgoing.request("GET", f"{self.address.url}/api/v1/summary", headers=headers)
        if answer.status == 401:
            raise OutgoingError("it wants a token, or another: name its file behind its address in the file of --peers")
        if answer.status == 404:
            raise OutgoingError("no coordinator of this version answers there (404)")
        if answer.status != 200:
            raise OutgoingError(f"it answers {answer.status}")
        try:
            return shortened(_decode(answer.body))
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise OutgoingError("what it answers is no coordinator's summary") from None

    def told(self, now: float) -> OtherDeployment:
        """As of `now`, in monotonic seconds."""
        age = None if self._heard_at is None else round(max(0.0, now - self._heard_at), 3)
        return OtherDeployment(self.address.url, self._summary, age, self._gone)


def shortened(said: Summary) -> Summary:
    """What another process says, fit to be shown and no longer than it would be if it meant well."""
    alarms = [msgspec.structs.replace(alarm, title=shown(alarm.title, _TEXT_AT_MOST)) for alarm in said.alarms[:32]]
    texts = {name: shown(getattr(said, name), _TEXT_AT_MOST) for name in ("name", "state_text", "version")}
    return msgspec.structs.replace(said, alarms=alarms, **texts)


class Others:
    """All of them."""

    def __init__(self, named: str | None) -> None:
        """`named`: what was given for --peers."""
        self._named = named
        self._others: list[Other] = []
        self._problem: str | None = None
        self._outgoing = None if named is None else Outgoing(TIMEOUT_S, ANSWER_AT_MOST)
        self._seen: object = None
        self._places = asyncio.Semaphore(AT_A_TIME)

    def page(self) -> DeploymentPage:
        """`GET /api/v1/deployments`."""
        now = time.monotonic()
        return DeploymentPage([other.told(now) for other in self._others], self._problem)

    async def run(self) -> None:
        """Ask until cancelled."""
        if self._outgoing is None:
            return
        try:
            while True:
                began = time.monotonic()
                await self._look()
                await asyncio.gather(*(self._ask(other, self._outgoing) for other in self._others))
                await asyncio.sleep(max(0.0, began + ASK_EVERY_S - time.monotonic()))
        finally:
            await self._outgoing.close()

    async def _ask(self, other: Other, outgoing: Outgoing) -> None:
        async with self._places:
            await other.ask(outgoing)

    async def _look(self) -> None:
        """See whether the file that names them has changed, and keep those that stay."""
        assert self._named is not None
        mark = await asyncio.to_thread(_mark, self._named)
        if mark == self._seen:
            return
        self._seen = mark
        try:
            addresses = await asyncio.to_thread(peer_addresses, self._named)
        except BadValueError as error:
            log.warning("--peers: %s; those known before are asked on", error)
            self._problem = shown(str(error), _TEXT_AT_MOST)
            return
        known = {other.address: other for other in self._others}
        self._problem, self._others = None, [known.get(each) or Other(each) for each in addresses]


def _mark(named: str) -> object:
    """By what a change of the file is noticed; for addresses there is none."""
    if "://" in named:
        return named
    with suppress(OSError):
        found = Path(named).stat()
        return found.st_mtime_ns, found.st_ino, found.st_size
    return "not there"
