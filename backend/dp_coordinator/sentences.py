"""What the coordinator says in words. The page, `top`, the command line and REST show these; none has its own.

Texts from outside (a reason, a caller, a frame's fault) are in them; they were made fit to be shown where they came in
(texts.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias, cast

from dp_coordinator.core.snapshot import RecoveryState, Snapshot, StartAction
from dp_coordinator.words import (
    ActionState,
    DeploymentState,
    EventGroup,
    RecoveryPhase,
    Severity,
    TargetState,
    Tone,
    WaveCause,
)

Fields: TypeAlias = Mapping[str, object]
_LONGEST_UNKNOWN = 500
UNCONFIRMED = "step not confirmed yet: vLLM reports only when counts change"


def duration(seconds: float) -> str:
    """`120 ms`, `4.12 s`, `34.5 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`."""
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def grouped(count: int) -> str:
    """A count as the page writes it, too: four digits are read without a space among them."""
    return str(count) if count < 10_000 else f"{count:,}".replace(",", " ")


def ranks(indexes: Iterable[int], named: int = 8) -> str:
    """`rank 3`, `ranks 3 and 5`, `ranks 0-3, 7 and 9 more`: runs of three or more are joined."""
    parts: list[tuple[str, int]] = []
    for _, numbered in groupby(enumerate(sorted(indexes)), lambda pair: pair[1] - pair[0]):  # the same along a run
        run = [index for _, index in numbered]
        parts += [(f"{run[0]}-{run[-1]}", len(run))] if len(run) > 2 else [(str(index), 1) for index in run]
    listed = [text for text, _ in parts[:named]]
    if more := sum(size for _, size in parts[named:]):
        listed.append(f"{more} more")
    if not listed:
        return "no rank"
    *first, last = listed
    one = sum(size for _, size in parts) == 1
    return f"rank{'' if one else 's'} {', '.join(first)}{' and ' if first else ''}{last}"


def capital(text: str) -> str:
    """The text as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


# -- how it stands -----------------------------------------------------------------------------------------------------


def state_text(snapshot: Snapshot, now: float) -> str:
    """What the deployment does in a sentence, with what was asked apart from what was seen; not since when."""
    wave = snapshot.wave
    if snapshot.watched and snapshot.state in (DeploymentState.WAITING, DeploymentState.SERVING):
        return _watched_text(snapshot)
    match snapshot.state:
        case DeploymentState.WAITING:
            return f"Waiting for engines: {snapshot.engines_subscribed} of {snapshot.engine_count} are there"
        case DeploymentState.RECOVERING:
            return f"Wave {snapshot.current_wave}; what the engines do is not known yet"
        case DeploymentState.SERVING:
            return "Serving; there are no waves: every engine steps by itself"
        case DeploymentState.PAUSED:
            return f"Paused; the next wave is {snapshot.current_wave}"
        case DeploymentState.RUNNING:
            return f"Wave {wave.number} is running; {_confirmation(snapshot)}"
    asked = "" if wave.asked_at is None else f", asked {duration(now - wave.asked_at)} ago"
    announced = "" if wave.announced_at is None else ", announced"
    return f"Wave {wave.number} is starting{asked}{announced}; {_joined(wave.joined)}"


def _watched_text(snapshot: Snapshot) -> str:
    targets = () if snapshot.sources is None else snapshot.sources.targets
    answer = f"{sum(t.state is TargetState.ANSWERS for t in targets)} of {len(targets)} targets answer"
    if snapshot.state is DeploymentState.WAITING:
        return f"Waiting for answers: {answer}"
    return f"Serving, as {answer}; of waves nothing is known here"


def _joined(joined: Sequence[int]) -> str:
    return f"joined by {ranks(joined)}" if joined else "no rank has joined yet"


def missing_text(snapshot: Snapshot) -> str | None:
    """`rank 3 is gone`, `2 engines are gone`; None while no engine is missing."""
    gone, missing = snapshot.peers.gone, snapshot.peers.missing
    if not missing:
        return None
    who = ranks(gone) if len(gone) == missing else "an engine" if missing == 1 else f"{missing} engines"
    return f"{who} {'is' if missing == 1 else 'are'} gone"


def _confirmation(snapshot: Snapshot) -> str:
    wave = snapshot.wave
    if who := missing_text(snapshot):
        by = _joined(wave.joined) if wave.confirmed_by is None else f"last confirmed by {wave.confirmed_by}"
        return f"{by}; {who}, and a step takes every rank"
    if wave.confirmed_by is not None:
        return f"stepping, confirmed by {wave.confirmed_by}"
    if not wave.joined:
        return "announced, and no rank reports: step not confirmed"
    return f"{_joined(wave.joined)}; {UNCONFIRMED}"


def state_tone(snapshot: Snapshot, worst: Severity | None) -> Tone:
    """How the state should look: as the worst alarm, and green only where something confirms that it goes well."""
    if worst is not None:
        return Tone.BAD if worst is Severity.CRITICAL else Tone.WARN
    confirmed = snapshot.state is DeploymentState.RUNNING and snapshot.wave.confirmed_at is not None
    return Tone.GOOD if confirmed or snapshot.state is DeploymentState.SERVING else Tone.PLAIN


def recovery_text(recovery: RecoveryState, current_wave: int) -> str:
    """How far a coordinator that came back has got; it does not change with time alone."""
    if recovery.finished_at is not None:
        took = duration(recovery.finished_at - recovery.resumed_at)
        return f"Recovered {took} after the restart, which resumed wave {recovery.resumed_wave}"
    if recovery.phase is RecoveryPhase.REJOINING:
        back = f"{recovery.engines_back} of {recovery.engines_expected} engines are back"
        return f"Recovering: {back}; wave {recovery.resumed_wave} was resumed"
    return f"Recovering: START was sent for wave {current_wave}, waiting for its end"


def start_text(made: StartAction, now: float) -> str:
    """What was asked by hand, and what was seen of it."""
    took = duration((now if made.finished_at is None else made.finished_at) - made.asked_at)
    total, joined = made.engine_count, [rank for rank, _ in made.joined]
    match made.state:
        case ActionState.OBSERVED:
            return f"Confirmed after {took}: all {total} ranks step ({made.confirmed_by})"
        case ActionState.TIMED_OUT:
            return f"Timed out after {took}: no rank was seen to join (0 of {total})"
        case ActionState.CANNOT_TELL if not joined:
            return f"Cannot tell after {took}: these engines report nothing, and the wave did not end"
        case ActionState.CANNOT_TELL:
            return f"Cannot tell after {took}: joined by {ranks(joined)} ({len(joined)} of {total}), {UNCONFIRMED}"
    so_far = f"{len(joined)} of {total} ranks joined, no step confirmed yet" if joined else "no rank has joined yet"
    return f"Asked {took} ago, {so_far}"


# -- what has happened -------------------------------------------------------------------------------------------------


class Said(NamedTuple):
    """An entry of the event log in words."""

    text: str
    tone: Tone
    group: EventGroup


def event(kind: str, fields: Fields) -> Said:
    """The entry in words. Another kind, or other fields, than this version logs are shown as they are."""
    known = _Known((key, value) for key, value in fields.items() if value is not None)
    group, tone, template = EVENTS.get(kind, (EventGroup.OTHER, Tone.PLAIN, None))
    try:
        if template is not None:
            return Said(template.format_map(known), tone if isinstance(tone, Tone) else tone(known), group)
    except (KeyError, TypeError, ValueError, OverflowError):
        pass
    return Said(_as_it_is(kind, known), Tone.PLAIN, group)


def _as_it_is(kind: str, fields: Fields) -> str:
    pairs = [f"{key} {json.dumps(value, ensure_ascii=False, default=repr)}" for key, value in fields.items()]
    text = kind.replace("_", " ") + (": " if pairs else "") + ", ".join(pairs)
    return text if len(text) <= _LONGEST_UNKNOWN else f"{text[:_LONGEST_UNKNOWN]} ..."


class _Known(dict[str, object]):
    """The fields that say something, and by names in capitals the parts of sentences that are made of them."""

    def __missing__(self, key: str) -> object:
        return _PARTS[key](self)


def _after(f: Fields, *keys: str) -> str:
    for took in (f[key] for key in keys if key in f):
        if isinstance(took, bool) or not isinstance(took, int | float):
            raise TypeError(keys)
        return f" after {duration(took)}"
    return ""


def _by(f: Fields) -> str:
    """Who caused a wave."""
    cause, rank = f.get("cause", WaveCause.UNKNOWN), f"rank {f['engine']}" if "engine" in f else ""
    match cause:
        case WaveCause.UNKNOWN:
            return f", {rank}" if rank else ""
        case WaveCause.MANUAL:
            return ", by hand"
        case WaveCause.RECOVERY:
            return ", after the restart"
        case WaveCause.RECONNECTION:
            return ", after a connection was made again"
    return f", by {cause}" + (f" ({rank})" if rank else "")


def _why(f: Fields) -> str:
    reason, caller = f.get("reason"), f.get("caller")
    return (f' "{reason}"' if reason else "") + (f", from {caller}" if caller else "")


def _engines(f: Fields) -> str:
    """Who joined: one, some by their ranks, or how many."""
    count = f.get("repeats", 1)
    if not isinstance(count, int):
        raise TypeError("repeats")
    named = list(cast(Iterable[int], f.get("engines", [f["engine"]] if "engine" in f else [])))
    if not named:
        return "An engine" if count == 1 else f"{grouped(count)} engines"
    more = f" and {grouped(count - len(named))} more" if count > len(named) else ""
    return capital(ranks(named)) + more


def _from(f: Fields) -> str:
    if "repeats" in f and f.keys() & {"engines", "subscribed", "front_ends"}:
        return ""  # it was another one each time
    told = [str(f[key]) for key in ("peer", "why") if key in f]
    return f" ({': '.join(told)})" if told else ""


def _subscribed(f: Fields) -> str:
    count = f.get("subscribed", f.get("front_ends"))
    of = f" of {f['of']}" if "of" in f else ""
    return "" if count is None else f": {count}{of} now"


def _started(f: Fields) -> str:
    if not f.get("restarts"):
        return "started"
    wave = f" with wave {f['resumed_wave']}" if "resumed_wave" in f else ""
    before = f"; the one before {f['previous']}" if "previous" in f else ""
    return f"came back (restart {f['restarts']}){wave}{before}"


def _urgency(f: Fields) -> Tone:
    return Tone.BAD if f.get("severity") == Severity.CRITICAL else Tone.WARN


_PARTS: Mapping[str, Callable[[Fields], str]] = {
    "AS": lambda f: f" as {f['source']}" if "source" in f else "",
    "BEFORE": lambda f: ranks(cast(Iterable[int], f["before"])),
    "NOW_OF": lambda f: ranks(cast(Iterable[int], f["ranks"])),
    "AFTER": lambda f: _after(f, "took_s", "duration_s", "lasted_s"),
    "BUT": lambda f: f", all but rank {f['excluded']}" if "excluded" in f else "",
    "BY": _by,
    "ENGINE": lambda f: f"Rank {f['engine']}" if "engine" in f else "An engine",
    "ENGINES": _engines,
    "RANKS": lambda f: _engines(f)[:1].lower() + _engines(f)[1:],
    "FRONT_ENDS": lambda f: f"{grouped(cast(int, f['repeats']))} front-ends" if "repeats" in f else "A front-end",
    "FROM": _from,
    "DETAIL": lambda f: str(f.get("detail") or f.get("refusal") or f["verdict"]),
    "TIMES": lambda f: f" (\u00d7{grouped(cast(int, f['repeats']))})" if "repeats" in f else "",
    "MORE": lambda f: f" (and {f['suppressed']} more not logged)" if f.get("suppressed") else "",
    "NOW": _subscribed,
    "BECAUSE": lambda f: f" ({f['confirmed_by']})" if "confirmed_by" in f else "",
    "SILENT": lambda f: ranks(cast(Iterable[int], f["silent"])),  # a TypeError when it is something else
    "STARTED": _started,
    "WHY": _why,
}
_Tone: TypeAlias = Tone | Callable[[Fields], Tone]
_IN_GROUPS: Mapping[EventGroup, Mapping[str, tuple[_Tone, str]]] = {
    EventGroup.RESTARTS: {
        "coordinator_started": (lambda f: Tone.WARN if f.get("restarts") else Tone.GOOD, "Coordinator {STARTED}"),
        "engines_rejoined": (Tone.GOOD, "All {engines} engines are back after the restart"),
        "recovery_finished": (Tone.GOOD, "Recovered from the restart{AFTER}; the next wave is {wave}"),
        "journal_failed": (Tone.BAD, "The journal cannot be written, and a restart would lose the wave: {detail}"),
        "journal_works_again": (Tone.GOOD, "The journal can be written again"),
        "socket_unreachable": (Tone.BAD, "{name} cannot be reached: {detail}"),
        "socket_works_again": (Tone.GOOD, "{name} can be reached again"),
        "part_missing": (Tone.WARN, "Missing since the restart: {name}: {detail}"),
        "part_works_again": (Tone.GOOD, "Back since the restart: {name}"),
        "fresh_start": (Tone.BAD, "A fresh start beside engines that live: {detail}"),
    },
    EventGroup.RECORDING: {
        "recording_gap": (Tone.WARN, "The recording lacks {records} records: the disk was too slow"),
        "recording_failed": (Tone.BAD, "The recording cannot be written: {detail}"),
        "recording_works_again": (Tone.GOOD, "The recording can be written again"),
    },
    EventGroup.ENGINES: {
        "engine_subscribed": (Tone.GOOD, "{ENGINES} subscribed{FROM}{NOW}"),
        "engine_unsubscribed": (Tone.WARN, "{ENGINE}'s subscription ended{FROM}{NOW}"),
        "engine_disconnected": (Tone.WARN, "{ENGINE}'s reports ended{FROM}"),
        "engine_replaced": (Tone.WARN, "Another process took the place of rank {engine}{FROM}"),
        "tap_connected": (Tone.PLAIN, "A tap listens on {channel}{FROM}"),
        "tap_disconnected": (Tone.PLAIN, "A tap on {channel} is gone{FROM}"),
        "ready_sent": (Tone.GOOD, "READY sent to the engines"),
        "engine_first_report": (Tone.GOOD, "First report of {RANKS}"),
        "engine_counters_reset": (
            Tone.WARN,
            "Rank {engine} counts anew: from wave {from_wave}, step {from_step} back to wave {wave}, step {step}",
        ),
        "engine_count_changed": (Tone.PLAIN, "Engine count changed from {before} to {after}"),
    },
    EventGroup.SOURCES: {
        "watching_started": (Tone.PLAIN, "Watching: no coordinator is replaced, nothing can be started"),
        "source_answers": (Tone.GOOD, "{target} answers{AS}{AFTER}"),
        "source_silent": (Tone.WARN, "{target} does not answer: {detail}"),
        "source_unusable": (Tone.WARN, "{target} tells nothing: {detail}"),
        "source_moved": (Tone.WARN, "{target} tells of {NOW_OF} now, before of {BEFORE}"),
    },
    EventGroup.FRONT_ENDS: {
        "front_end_subscribed": (Tone.GOOD, "{FRONT_ENDS} subscribed{FROM}{NOW}"),
        "front_end_unsubscribed": (Tone.WARN, "A front-end's subscription ended{FROM}{NOW}"),
    },
    EventGroup.WAVES: {
        "wave_started": (Tone.GOOD, "Wave {wave} started{BY}"),
        "wave_completed": (Tone.PLAIN, "Wave {wave} completed{AFTER}"),
        "start_unanswered": (Tone.WARN, "START for wave {wave} was not answered: no rank joined"),
    },
    EventGroup.STARTS: {"wave_asked": (Tone.PLAIN, "START for wave {wave} broadcast{BY}{BUT}")},
    EventGroup.MANUAL_STARTS: {
        "manual_start_asked": (Tone.PLAIN, "Manual start of wave {wave} asked{WHY}"),
        "manual_start_refused": (Tone.WARN, "Manual start refused: {DETAIL}{WHY}{MORE}{TIMES}"),
        "manual_start_observed": (Tone.GOOD, "Manual start of wave {wave}: all ranks step{BECAUSE}{AFTER}"),
        "manual_start_unclear": (
            Tone.PLAIN,
            "Manual start of wave {wave}: {joined} of {of} ranks joined, and no step was confirmed: cannot tell more",
        ),
        "manual_start_timed_out": (Tone.BAD, "Manual start of wave {wave} timed out: {SILENT} silent"),
    },
    EventGroup.CORRECTIONS: {
        "wave_set": (Tone.WARN, "Wave set by hand from {before} to {after}{WHY}"),
        "engine_count_set": (Tone.WARN, "Engine count set by hand from {before} to {after}{WHY}"),
        "correction_refused": (Tone.WARN, "Setting by hand refused: {DETAIL}{WHY}{MORE}"),
    },
    EventGroup.ALARMS: {
        "alarm_raised": (_urgency, "Alarm: {title}"),
        "alarm_cleared": (Tone.GOOD, "Cleared{AFTER}: {title}"),
        "webhook_failed": (Tone.WARN, "The webhook does not take a message: {detail}"),
        "webhook_gave_up": (Tone.WARN, "A message to the webhook was given up: {detail}"),
        "webhook_works_again": (Tone.GOOD, "The webhook takes messages again"),
    },
    EventGroup.FRAMES: {
        "bad_frame": (Tone.BAD, "Bad frame on {channel}{FROM}: {DETAIL}{MORE}{TIMES}"),
        "peer_refused": (
            Tone.WARN,
            "A connection to {channel} was refused ({peer}): {detail}; {count} so far{TIMES}",
        ),
        "peer_cut_off": (Tone.BAD, "A connection to {channel} was cut off{FROM}: {DETAIL}{MORE}{TIMES}"),
    },
}
EVENTS: Mapping[str, tuple[EventGroup, _Tone, str]] = {
    kind: (group, *said) for group, kinds in _IN_GROUPS.items() for kind, said in kinds.items()
}
"""Kind -> what it is about, how it looks, and its sentence: fields by their names, parts by names in capitals."""
