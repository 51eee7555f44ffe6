"""What the coordinator says in words. The page, `top`, the command line and REST show these; none has its own.

Texts from outside (a reason, a caller, a frame's fault) are in them as they came: who writes to a terminal cleans them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import NamedTuple, TypeAlias, cast

from dp_coordinator.core.snapshot import RecoveryState, Snapshot, StartAction
from dp_coordinator.words import (
    ActionState,
    EventGroup,
    Phase,
    PhaseWord,
    RecoveryPhase,
    Severity,
    Tone,
    WaveCause,
)

Fields: TypeAlias = Mapping[str, object]
_LONGEST_UNKNOWN = 500


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


def phase_word(snapshot: Snapshot) -> PhaseWord:
    """The phase as it is shown."""
    recovery = snapshot.recovery
    if snapshot.phase is Phase.PAUSED and recovery is not None and recovery.phase is RecoveryPhase.REJOINING:
        return PhaseWord.RECOVERING
    return PhaseWord(snapshot.phase)


def phase_text(snapshot: Snapshot, now: float) -> str:
    """The phase in a sentence, with what was asked apart from what was seen."""
    lasts, total, seen = duration(now - snapshot.phase_since), snapshot.engine_count, snapshot.stepping
    match phase_word(snapshot):
        case PhaseWord.RECOVERING:
            return f"Wave {snapshot.current_wave}; what the engines do is not known yet"
        case PhaseWord.PAUSED:
            return f"Paused for {lasts}; the next wave is {snapshot.current_wave}"
        case PhaseWord.RUNNING:
            return f"Wave {snapshot.current_wave} is running for {lasts}; {len(seen)} of {total} ranks seen stepping"
    asked = "" if snapshot.asked_at is None else f", asked {duration(now - snapshot.asked_at)} ago"
    silent = set(range(total)) - set(seen)
    missing = f"none of the {total} ranks" if len(silent) == total > 1 else f"{ranks(silent)} not"
    return f"Wave {snapshot.current_wave} is starting{asked}; {missing} seen stepping"


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
    total, silent = made.engine_count, made.silent
    if made.state is ActionState.OBSERVED:
        return f"{total} of {total} ranks stepping after {took}"
    stepping = total - len(silent)
    if made.state is ActionState.ASKED:
        so_far = f"{stepping} of {total} ranks seen stepping" if stepping else "no rank seen stepping yet"
        return f"Asked {took} ago, {so_far}"
    who = f"{ranks(silent)} {'was' if len(silent) == 1 else 'were'} not" if stepping else "no rank was"
    return f"Timed out after {took}: {who} seen stepping ({stepping} of {total})"


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
    return f", by {cause}" + (f" ({rank})" if rank else "")


def _why(f: Fields) -> str:
    reason, caller = f.get("reason"), f.get("caller")
    return (f' "{reason}"' if reason else "") + (f", from {caller}" if caller else "")


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
    "AFTER": lambda f: _after(f, "took_s", "duration_s", "lasted_s"),
    "BUT": lambda f: f", all but rank {f['excluded']}" if "excluded" in f else "",
    "BY": _by,
    "DETAIL": lambda f: str(f.get("detail") or f.get("refusal") or f["verdict"]),
    "MORE": lambda f: f" (and {f['suppressed']} more not logged)" if f.get("suppressed") else "",
    "NOW": _subscribed,
    "SEEN": lambda f: "all" if f.get("collective") else str(f["seen"]),
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
        "engine_subscribed": (Tone.GOOD, "An engine subscribed{NOW}"),
        "engine_unsubscribed": (Tone.WARN, "An engine's subscription ended{NOW}"),
        "ready_sent": (Tone.GOOD, "READY sent to the engines"),
        "engine_first_report": (Tone.GOOD, "First report of rank {engine}"),
        "engine_restarted": (
            Tone.WARN,
            "Rank {engine} restarted: it went back from wave {from_wave}, step {from_step} to wave {wave}, step {step}",
        ),
        "engine_count_changed": (Tone.PLAIN, "Engine count changed from {before} to {after}"),
    },
    EventGroup.FRONT_ENDS: {
        "front_end_subscribed": (Tone.GOOD, "A front-end subscribed{NOW}"),
        "front_end_unsubscribed": (Tone.WARN, "A front-end's subscription ended{NOW}"),
    },
    EventGroup.WAVES: {
        "wave_asked": (Tone.PLAIN, "START for wave {wave} broadcast{BY}{BUT}"),
        "wave_started": (Tone.GOOD, "Wave {wave} started{BY}"),
        "wave_completed": (Tone.PLAIN, "Wave {wave} completed{AFTER}"),
        "start_unanswered": (Tone.WARN, "START for wave {wave} was not answered: no rank was seen stepping"),
    },
    EventGroup.MANUAL_STARTS: {
        "manual_start_asked": (Tone.PLAIN, "Manual start of wave {wave} asked{WHY}"),
        "manual_start_refused": (Tone.WARN, "Manual start refused: {DETAIL}{WHY}{MORE}"),
        "manual_start_observed": (Tone.GOOD, "Manual start of wave {wave} observed: {SEEN} ranks stepping{AFTER}"),
        "manual_start_timed_out": (Tone.BAD, "Manual start of wave {wave} timed out: {SILENT} silent"),
    },
    EventGroup.ALARMS: {
        "alarm_raised": (_urgency, "Alarm: {title}"),
        "alarm_cleared": (Tone.GOOD, "Over{AFTER}: {title}"),
    },
    EventGroup.FRAMES: {"bad_frame": (Tone.BAD, "Bad frame on {channel}: {DETAIL}{MORE}")},
}
EVENTS: Mapping[str, tuple[EventGroup, _Tone, str]] = {
    kind: (group, *said) for group, kinds in _IN_GROUPS.items() for kind, said in kinds.items()
}
"""Kind -> what it is about, how it looks, and its sentence: fields by their names, parts by names in capitals."""
