"""What is told to those who do not look at the page: by webhook, and from one coordinator to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from dp_coordinator import words


class AlarmMessage(msgspec.Struct, frozen=True):
    """What is posted to a webhook: an alarm was raised, or has cleared. Times are Unix seconds."""

    event: Literal["raised", "cleared"]
    incident: str
    """The same for the two messages of one alarm; with `event` it tells a message that comes twice."""
    deployment: str
    """Its name; empty where it has none."""
    alarm: words.AlarmKind
    severity: words.Severity
    title: str
    """Who and what, in one line."""
    meaning: str
    remedy: str
    engines: Sequence[int]
    """Ranks that it is about, the first 64; empty where none can be named."""
    more_engines: int
    """How many ranks besides."""
    since: float
    """When it began, which may be earlier than it was raised."""
    at: float
    """When it was raised or cleared."""
    lasted_s: float | None
    """From the beginning to the end; null when it was raised."""
    link: str
    """The page at that moment."""
    text: str
    """All of it in a sentence or two."""
    version: str
    """dp-coordinator's own."""


class AlarmInShort(msgspec.Struct, frozen=True):
    """An alarm, for one row of another page."""

    kind: words.AlarmKind
    severity: words.Severity
    title: str
    age_s: float


class Summary(msgspec.Struct, frozen=True):
    """`GET /api/v1/summary`: a deployment in a row."""

    name: str
    """What it is called; empty where nobody named it."""
    state: words.DeploymentState
    state_text: str
    state_tone: words.Tone
    state_age_s: float
    data_age_s: float
    """Seconds since its loop last vouched for this."""
    current_wave: int
    engine_count: int
    engines_subscribed: int
    waiting: int | None
    running: int | None
    alarms: list[AlarmInShort]
    """All that stand, critical ones first."""
    started_at: float
    version: str
    recording: bool
    """Whether all of this is out of a recording."""


class OtherDeployment(msgspec.Struct, frozen=True):
    """Another coordinator or watch, as it was heard last."""

    url: str
    """Where it was asked."""
    summary: Summary | None
    """What it answered last; null when it never did."""
    heard_age_s: float | None
    """Seconds since then."""
    gone: str | None
    """Why it does not answer; null while it does."""


class DeploymentPage(msgspec.Struct, frozen=True):
    """`GET /api/v1/deployments`: the others that `--peers` names."""

    deployments: list[OtherDeployment]
    problem: str | None
    """Why the file that names them cannot be used as it is now."""
