"""What is posted to a webhook: the message as JSON, or as Slack and others take it; and its signature."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

import msgspec

from dp_coordinator import __version__
from dp_coordinator.alarms.kinds import TEXTS
from dp_coordinator.messages_told import AlarmMessage
from dp_coordinator.sentences import capital, duration, ranks
from dp_coordinator.web.telling.ledger import Due, Incident

SIGNATURE, TIMESTAMP = "X-DP-Coordinator-Signature", "X-DP-Coordinator-Timestamp"


def message(due: Due, name: str, page: str) -> AlarmMessage:
    """The message; `page` is where people open the page."""
    told, over = due.incident, due.what == "cleared"
    meaning, remedy = TEXTS[told.kind]
    return AlarmMessage(
        event=due.what,
        incident=told.id,
        deployment=name,
        alarm=told.kind,
        severity=told.severity,
        title=told.title,
        meaning=meaning,
        remedy=remedy,
        engines=told.engines,
        more_engines=told.more_engines,
        since=told.since,
        at=due.at,
        lasted_s=round(max(0.0, due.at - told.since), 3) if over else None,
        link=link(page, due.at, told),
        text=_text(due, name),
        version=__version__,
    )


def link(page: str, at: float, told: Incident) -> str:
    """The page at a moment, with the first of the ranks chosen."""
    rank = f"rank={told.engines[0]}&" if told.engines else ""
    return f"{page}/#{rank}at={at:.3f}"


def _text(due: Due, name: str) -> str:
    told = due.incident
    who = f"{name}: " if name else ""
    if due.what == "cleared":
        return f"{who}cleared after {duration(max(0.0, due.at - told.since))}: {told.title}"
    more = f" and {told.more_engines} more" if told.more_engines else ""
    about = f" {capital(ranks(told.engines))}{more}." if told.engines else ""
    return f"{who}{told.severity.value}: {told.title}.{about} {TEXTS[told.kind][1]}"


def body(told: AlarmMessage, form: str) -> bytes:
    """The message in one of the two forms."""
    return msgspec.json.encode(told if form == "json" else {"text": _slack(told)})


def _slack(told: AlarmMessage) -> str:
    """Slack's own marks; whatever came from outside cannot make any (its rules: these three are replaced)."""
    when = datetime.fromtimestamp(told.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    mark = ":white_check_mark:" if told.event == "cleared" else ":warning:"
    if told.event == "raised" and told.severity == "critical":
        mark = ":rotating_light:"
    return f"{mark} {_plain(told.text)} <{_plain(told.link)}|{when}>"


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def signature(secret: str, timestamp: str, content: bytes) -> str:
    """What shows that a message is ours, and of when: HMAC-SHA256 over the timestamp, a dot and the body."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + content, hashlib.sha256).hexdigest()
