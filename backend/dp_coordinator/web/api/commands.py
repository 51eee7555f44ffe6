"""`POST /api/v1/waves`: from a request to a command for the loop, and from its answer to a response.

Every attempt is in the event log. The core records what reaches it; what is refused before is recorded here.
"""

from __future__ import annotations

import asyncio
import time
import unicodedata
from concurrent.futures import Future

import msgspec
from starlette.requests import Request

from dp_coordinator.core.events import ManualStartRequested
from dp_coordinator.core.snapshot import StartAction, StartRefusal
from dp_coordinator.limits import TokenBucket
from dp_coordinator.mailbox import InboxFullError, Mailbox, Reply
from dp_coordinator.requests import StartWave
from dp_coordinator.texts import A_LINE, shown
from dp_coordinator.web.access.refusals import RefusalLog
from dp_coordinator.web.access.security import caller_of
from dp_coordinator.web.api.bodies import decode, read_json
from dp_coordinator.web.problems import ProblemError
from dp_coordinator.web.settings import WebSettings

REASON_AT_MOST = 500
KEY_AT_MOST = 200
_WAVE_AT_MOST = 2**53 - 1  # beyond it a browser cannot hold the number
_EXPECTED = '{"reason": text, "expected_wave": number or null, "wave": number or null}'


class Starter:
    """Takes start requests to the loop."""

    def __init__(self, mailbox: Mailbox, settings: WebSettings, refusals: RefusalLog) -> None:
        self._mailbox = mailbox
        self._settings = settings
        self._refusals = refusals
        self._rate = TokenBucket(settings.starts_per_s, settings.start_burst, time.monotonic())

    async def start(self, request: Request) -> StartAction:
        """Ask for a start. Raises `ProblemError` when it was refused, which the event log then tells too."""
        if self._mailbox.player is not None:
            raise ProblemError("recording", "this is a recording: nothing can be started in it")
        reason: str | None = None
        try:
            body = await read_json(request, self._settings.body_timeout_s)
            reason = _reason_within(body)
            self._check_rate()
            command = _command(body, _idempotency_key(request), caller_of(request.scope))
            reply = self._post(command)
            answer = await self._answer(reply)
        except ProblemError as problem:
            self._refusals.add(problem.kind, problem.detail, reason=reason, caller=caller_of(request.scope))
            raise
        if isinstance(answer, StartRefusal):  # the core has recorded it
            raise ProblemError(answer.kind.value, answer.detail, more={"current_wave": answer.current_wave})
        return answer

    def _check_rate(self) -> None:
        if not self._rate.take(time.monotonic()):
            detail = f"more than {self._settings.starts_per_s:g} start requests a second; look at the state first"
            raise ProblemError("too-many-attempts", detail, headers={"Retry-After": "1"})

    def _post(self, command: ManualStartRequested) -> Future[Reply]:
        try:
            return self._mailbox.inbox.post(command)
        except InboxFullError as error:
            raise ProblemError("inbox-full", str(error), headers={"Retry-After": "1"}) from None

    async def _answer(self, reply: Future[Reply]) -> Reply:
        waited, within = asyncio.wrap_future(reply), self._settings.answer_timeout_s
        done, _ = await asyncio.wait({waited}, timeout=within)
        if not done and reply.cancel():  # the loop passes over a command that was taken back
            detail = f"the coordinator's loop did not answer within {within:g} s; nothing was started, try again"
            raise ProblemError("no-answer", detail, headers={"Retry-After": "2"})
        try:
            return await waited
        except asyncio.CancelledError:
            if not reply.cancelled():
                raise  # this request was cancelled, not the command
            raise ProblemError("no-answer", "the coordinator is stopping; nothing was started") from None


def _reason_within(body: bytes) -> str | None:
    """The reason for the event log, even when the rest of the body cannot be used."""
    try:
        return shown(decode(body, _OnlyReason, "").reason, REASON_AT_MOST)
    except ProblemError:
        return None


class _OnlyReason(msgspec.Struct):
    reason: str


def _command(body: bytes, key: str | None, caller: str) -> ManualStartRequested:
    wanted = decode(body, StartWave, _EXPECTED)
    reason = wanted.reason.strip()
    if not 1 <= len(reason) <= REASON_AT_MOST:
        detail = f"`reason` must be 1 to {REASON_AT_MOST} characters, not {len(reason)}: say why"
        raise ProblemError("invalid-body", detail)
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in reason):
        raise ProblemError("invalid-body", "`reason` must be one line of text without control characters")
    for name in ("expected_wave", "wave"):
        number = getattr(wanted, name)
        if number is not None and not 0 <= number <= _WAVE_AT_MOST:
            raise ProblemError("invalid-body", f"`{name}` must be null or 0 to {_WAVE_AT_MOST}, not {number}")
    return ManualStartRequested(shown(reason, A_LINE), caller, wanted.expected_wave, wanted.wave, key)


def _idempotency_key(request: Request) -> str | None:
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    key = given[0]
    if len(given) > 1 or not 1 <= len(key) <= KEY_AT_MOST or not all(" " <= c <= "~" for c in key):
        detail = f"give one Idempotency-Key of 1 to {KEY_AT_MOST} visible ASCII characters"
        raise ProblemError("invalid-parameter", detail)
    return key
