"""A manual start, from the reason that is typed to what was observed of it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from dp_coordinator.cli import render
from dp_coordinator.cli.rest import Rest, UnreachableError, decode
from dp_coordinator.cli.settings import RefusedError, UsageError
from dp_coordinator.cli.top.live import Link, Live
from dp_coordinator.messages import Action
from dp_coordinator.words import ActionState

LONGEST_REASON = 500
_NO_ANSWER = "no answer, so it is not known whether the wave was asked for; the same reason again asks only once"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A reason that is being typed, for the wave that was current when it was begun."""

    wave: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A start that was asked for: its refusal, or what the coordinator says of it."""

    wave: int
    incarnation: int
    """The coordinator process that was asked, see `Live.incarnation`."""
    action: Action | None = None
    """As it was when it was last heard of; None while the coordinator has not answered."""
    problem: str | None = None


def blocked(live: Live, link: Link) -> str | None:
    """Why no wave can be started now, in words; None when one can."""
    if live.outdated is not None:
        return "this dp-coordinator does not understand that coordinator"
    if link.state != "open":
        return "not connected to the coordinator"
    if live.snapshot is None:
        return "no state has arrived yet"
    return live.snapshot.start_blocked


def followed(asked: Asked, live: Live) -> Asked:
    """The start as the newest state has it."""
    if asked.action is None or live.snapshot is None:
        return asked
    newest = [action for action in live.snapshot.actions if action.id == asked.action.id]
    return replace(asked, action=newest[0]) if newest else asked


def outcome(asked: Asked, live: Live, link: Link) -> list[str]:
    """What is to be said of a start: one sentence, then who was seen and who was not."""
    if asked.problem is not None:
        return [asked.problem]
    if asked.action is None:
        return [f"asking for wave {asked.wave} ..."]
    action = asked.action
    if action.state != ActionState.ASKED:
        summary, *ranks = render.action(action).splitlines()
        return [summary, *sorted(ranks, key=lambda line: "silent" not in line)]  # silent ones are not cut off
    if asked.incarnation != live.incarnation:
        return [f"wave {action.wave}: the coordinator was restarted; what came of the start is not known"]
    if link.state != "open":
        return [f"wave {action.wave}: disconnected, so what happens now is not seen"]
    return [f"wave {action.wave}: {action.summary}"]


class Starter:
    """Asks for waves, each on a thread of its own so that the screen lives on."""

    def __init__(self, url: str, token: str | None, answered: Callable[[], None]) -> None:
        """`answered` is called on that thread when there is an answer to take."""
        self._rest = Rest(url, token)
        self._answered = answered
        self._unanswered: tuple[int, str, str] | None = None
        """Wave, reason and key of a request whose answer was lost: asked again, it must not start twice."""
        self.answer: Asked | None = None
        """The newest answer; whoever takes it sets it to None."""

    def ask(self, prompt: Prompt, incarnation: int) -> Asked:
        """Ask for a wave. Only one at a time."""
        reason = prompt.text.strip()
        before = self._unanswered
        key = before[2] if before is not None and before[:2] == (prompt.wave, reason) else str(uuid.uuid4())
        self._unanswered = prompt.wave, reason, key
        asked = Asked(prompt.wave, incarnation)
        threading.Thread(target=self._ask, args=(asked, reason, key), name="start", daemon=True).start()
        return asked

    def _ask(self, asked: Asked, reason: str, key: str) -> None:
        action = problem = None
        try:
            body = {"reason": reason, "expected_wave": asked.wave, "wave": None}
            answer = self._rest.post("/api/v1/waves", body, {"Idempotency-Key": key})
            action = decode(answer, Action, self._rest.url)
        except UnreachableError:
            problem = _NO_ANSWER
        except (RefusedError, UsageError) as error:
            problem = f"refused: {error}"
        if problem != _NO_ANSWER:
            self._unanswered = None
        self.answer = Asked(asked.wave, asked.incarnation, action, problem)
        self._answered()
