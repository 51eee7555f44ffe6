"""Posts messages to the webhook, one after the other, and again after a pause where one is not taken.

All of it happens on the web thread. What is still to be told and what was told is in the journal's notes before it is
sent, so a coordinator that comes back goes on there. Whether a message was taken while its sender died nobody can know;
`Idempotency-Key` tells one that comes twice.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus

import msgspec

from dp_coordinator.alarms.detector import found_within
from dp_coordinator.alarms.presence import rejoining
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.notes import Notes
from dp_coordinator.values import BadValueError, token_in
from dp_coordinator.web.alarms import AlarmBoard
from dp_coordinator.web.outgoing import Outgoing, OutgoingError
from dp_coordinator.web.settings import WebSettings
from dp_coordinator.web.telling.bodies import SIGNATURE, TIMESTAMP, body, message, signature
from dp_coordinator.web.telling.ledger import Due, Kept, Ledger
from dp_coordinator.web.views import WallClock
from dp_coordinator.words import AlarmKind

log = logging.getLogger("dp_coordinator.web")

ANSWER_AT_MOST = 16 * 1024
TIMEOUT_S = 10.0
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""After the first, second, ... try of a message; the last from there on."""
GIVE_UP_AFTER_S = 3600.0
REFUSALS_AT_MOST = 5
"""Answers in a row that say that the message itself is wrong: it would block those behind it for nothing."""
FAILING_AFTER_S = 5.0
GAVE_UP_SHOWN_S = 900.0
FOUND_ANEW_WITHIN_S = 5.0
"""After a restart, an alarm that still stands is raised again so much later than its own time at most."""
_PASSING = frozenset({408, 409, 425, 429})


class NotTakenError(Exception):
    """The webhook did not take a message; the text says why."""

    def __init__(self, why: str, *, is_refusal: bool = False, pause_s: float = 0.0) -> None:
        """`is_refusal`: it said that this message is wrong. `pause_s`: for how long it wants to be left alone."""
        super().__init__(why)
        self.is_refusal, self.pause_s = is_refusal, pause_s


class Webhook:
    """What `--webhook` asks for."""

    def __init__(self, mailbox: Mailbox, board: AlarmBoard, settings: WebSettings, clock: WallClock, page: str) -> None:
        """`page`: where people open the page."""
        assert settings.webhook is not None
        self._mailbox, self._board, self._settings, self._clock = mailbox, board, settings, clock
        self._log = mailbox.log
        self._url, self._page = settings.webhook, page
        self._notes = None if settings.journal is None else Notes(settings.journal)
        self._ledger = Ledger(self._remembered(), self._now())
        self._outgoing = Outgoing(TIMEOUT_S, ANSWER_AT_MOST)
        self._due = asyncio.Event()
        self._settled_since: float | None = None
        self._failing: tuple[float, str] | None = None
        """Since when nothing was taken, and why."""
        self._gave_up_at = -math.inf
        self.delivered = self.failed_tries = self._given_up = 0

    @property
    def counts(self) -> Mapping[str, int]:
        """Messages by what became of them, for the metrics."""
        given_up = self._given_up + self._ledger.given_up
        tried = {"delivered": self.delivered, "given_up": given_up, "failed_tries": self.failed_tries}
        return tried | {"waiting": len(self._ledger.waiting)}

    # -- what is to be told --------------------------------------------------------------------------------------------

    def tick(self, _: float) -> None:
        """See which alarms stand: often, on the web thread."""
        now = self._mailbox.clock()
        if rejoining(self._mailbox.snapshot):
            self._settled_since = None
        elif self._settled_since is None:
            self._settled_since = now
        if self._ledger.look(self._board.standing, now, self._clock.of, lambda kind: self._found_by(kind, now)):
            self._remember()
        if self._ledger.waiting:
            self._due.set()
        self._board.trouble(AlarmKind.WEBHOOK_FAILING, self._trouble(now))

    def _found_by(self, kind: AlarmKind, now: float) -> bool:
        settled = self._settled_since
        return settled is not None and now - settled >= found_within(kind, self._settings) + FOUND_ANEW_WITHIN_S

    def _trouble(self, now: float) -> tuple[float, str] | None:
        if self._failing is not None and now - self._failing[0] >= FAILING_AFTER_S:
            since, why = self._failing
            waiting = len(self._ledger.waiting)
            given_up = f", {self.counts['given_up']} given up" if self.counts["given_up"] else ""
            return since, f"The webhook does not take messages: {why} ({waiting} waiting{given_up})"
        if now - self._gave_up_at < GAVE_UP_SHOWN_S:
            return self._gave_up_at, f"A message to the webhook was given up ({self.counts['given_up']} so far)"
        return None

    # -- what outlives the process -------------------------------------------------------------------------------------

    def _remembered(self) -> Kept | None:
        found = None if self._notes is None else self._notes.read()
        with suppress(msgspec.DecodeError):  # of another version, perhaps
            return None if found is None else msgspec.json.decode(found, type=Kept)
        return None

    def _remember(self) -> None:
        if self._notes is None:
            return
        try:
            self._notes.write(msgspec.json.encode(self._ledger.kept()))
        except OSError as error:
            log.warning("what the webhook was told cannot be written beside the journal: %s", error)

    # -- telling it ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                while self._ledger.waiting:
                    await self._deliver(self._ledger.waiting[0])
        finally:
            await self._outgoing.close()

    async def _deliver(self, due: Due) -> None:
        """Try until it is taken or given up, or has made room for a newer one."""
        tries = refusals = 0
        while self._ledger.waiting and self._ledger.waiting[0] is due:
            self._posted(self._now())
            try:
                await self._post(due)
            except NotTakenError as error:
                self._posted(None)
                self._failed(str(error))
                refusals = refusals + 1 if error.is_refusal else 0
                if refusals == REFUSALS_AT_MOST or self._now() - due.at > GIVE_UP_AFTER_S:
                    self._give_up(due, str(error))
                    return
                await asyncio.sleep(max(PAUSES_S[min(tries, len(PAUSES_S) - 1)], error.pause_s))
                tries += 1
            else:
                self._taken(due)

    async def _post(self, due: Due) -> None:
        """Send it once. Raises `NotTakenError`."""
        content = body(message(due, self._settings.name, self._page), self._settings.webhook_format)
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{due.incident.id}-{due.what}"}
        try:
            headers |= await self._signed(content)
            answer = await self._outgoing.request("POST", self._url, headers=headers, body=content)
        except (OutgoingError, BadValueError) as error:
            raise NotTakenError(str(error)) from None
        status = answer.status
        if not 200 <= status < 300:
            why = f"it answers {status} {_phrase(status)}".rstrip()
            if 300 <= status < 400:
                why += ", a redirection, which is not followed: name the address that it has now"
            refusal = 400 <= status < 500 and status not in _PASSING
            raise NotTakenError(why, is_refusal=refusal, pause_s=min(answer.retry_after_s or 0.0, PAUSES_S[-1]))

    async def _signed(self, content: bytes) -> dict[str, str]:
        """The signature, by the secret as its file has it now. Raises `BadValueError`."""
        file = self._settings.webhook_secret_file
        if file is None:
            return {}
        secret = await asyncio.to_thread(token_in, file)
        timestamp = str(int(time.time()))
        return {TIMESTAMP: timestamp, SIGNATURE: signature(secret, timestamp, content)}

    def _posted(self, at: float | None) -> None:
        self._ledger.posted_at = at
        self._remember()

    def _taken(self, due: Due) -> None:
        self.delivered += 1
        self._ledger.done(due)
        self._posted(None)
        if self._failing is not None:
            self._failing = None
            self._log.append(self._mailbox.clock(), "webhook_works_again", {})

    def _failed(self, why: str) -> None:
        self.failed_tries += 1
        if self._failing is None:
            log.warning("the webhook does not take a message: %s; it is tried again", why)
            self._log.append(self._mailbox.clock(), "webhook_failed", {"detail": why})
        since = self._mailbox.clock() if self._failing is None else self._failing[0]
        self._failing = since, why

    def _give_up(self, due: Due, why: str) -> None:
        self._given_up += 1
        self._gave_up_at = self._mailbox.clock()
        self._ledger.done(due)
        self._remember()
        detail = f"{due.what}: {due.incident.title} ({why})"
        log.warning("a message to the webhook was given up: %s", detail)
        self._log.append(self._gave_up_at, "webhook_gave_up", {"detail": detail})
        if not self._ledger.waiting:
            self._failing = None

    def _now(self) -> float:
        """Unix seconds."""
        return self._clock.of(self._mailbox.clock())


def _phrase(status: int) -> str:
    with suppress(ValueError):
        return HTTPStatus(status).phrase
    return ""
