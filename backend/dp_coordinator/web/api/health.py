"""`/livez` and `/readyz`: whether the loop turns, and whether the deployment is complete."""

from __future__ import annotations

from dp_coordinator.core.snapshot import RecoveryPhase, RecoveryState
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.requests import Check, Health
from dp_coordinator.sentences import duration
from dp_coordinator.web.problems import ProblemError


def live(mailbox: Mailbox, loop_timeout: float) -> list[Check]:
    """A restart would help when one of these is not ok. `loop_timeout`: seconds that a turn may take."""
    silent_for = mailbox.clock() - mailbox.loop_alive_at
    return [Check("loop", silent_for <= loop_timeout, f"the loop last turned {duration(silent_for)} ago")]


def ready(mailbox: Mailbox, loop_timeout: float) -> list[Check]:
    """Requests can be served when all of these are ok."""
    snapshot = mailbox.snapshot
    if snapshot.watched:
        told = f"{snapshot.engines_subscribed} of {snapshot.engine_count} ranks are told of"
        return [*live(mailbox, loop_timeout), Check("sources", snapshot.ready, told)]
    subscribed = f"{snapshot.engines_subscribed} of {snapshot.engine_count} engines have subscribed"
    said = f"READY was sent; {subscribed}" if snapshot.ready else f"READY was not sent yet: {subscribed}"
    checks = [*live(mailbox, loop_timeout), Check("engines", snapshot.ready, said)]
    return checks if snapshot.recovery is None else [*checks, recovered(snapshot.recovery)]


def recovered(recovery: RecoveryState) -> Check:
    """Whether a coordinator that came back can wake every engine again: not before all have subscribed again.

    It publishes and takes reports meanwhile, so this is no reason to restart it.
    """
    back = f"{recovery.engines_back} of {recovery.engines_expected} engines are back after the restart"
    match recovery.phase:
        case RecoveryPhase.REJOINING:
            return Check("recovery", False, f"{back}; START goes out once all are")
        case RecoveryPhase.SETTLING:
            return Check("recovery", True, f"{back}; START was sent, and the end of a wave is awaited")
        case RecoveryPhase.DONE:
            return Check("recovery", True, "the restart was recovered from")


def answer(checks: list[Check], kind: str, *, verbose: bool) -> Health:
    """The answer for these checks. Raises `ProblemError` of `kind`, with every check, when one is not ok."""
    wrong = [check for check in checks if not check.ok]
    if wrong:
        raise ProblemError(kind, "; ".join(check.detail for check in wrong), more={"checks": checks})
    return Health(ok=True, checks=checks if verbose else [])
