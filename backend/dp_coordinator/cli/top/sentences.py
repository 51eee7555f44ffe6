"""One sentence for each entry of the event log. A kind that is not known here is shown as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from dp_coordinator.cli import render
from dp_coordinator.cli.top.live import LogLine, Note, fields_of

Fields: TypeAlias = Mapping[str, object]


def sentence(entry: LogLine) -> str:
    """The entry in words, without its time; text from outside cannot steer the terminal."""
    if isinstance(entry, Note):
        return entry.text
    fields = fields_of(entry)
    try:
        said = _SENTENCES[entry.kind](fields)
    except (KeyError, TypeError, ValueError):  # another kind, or other fields, than this version knows
        pairs = "".join(f" {key}={value}" for key, value in fields.items())
        said = f"{entry.kind.replace('_', ' ')}{':' if pairs else ''}{pairs}"
    return render.clean(said)


def _number(f: Fields, key: str) -> float:
    value = f[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(key)
    return value


def _took(f: Fields, key: str, word: str = "after") -> str:
    return f" {word} {render.duration(_number(f, key))}" if key in f else ""


def _by(f: Fields) -> str:
    """Who caused a wave."""
    cause, rank = f.get("cause"), f.get("engine")
    if cause in (None, "unknown"):
        return "" if rank is None else f" by rank {rank}"
    if cause == "manual":
        return " by hand"
    if cause == "recovery":
        return " after the restart"
    return f" by {cause}" if rank is None else f" by rank {rank}"


def _why(f: Fields) -> str:
    reason, caller = f.get("reason"), f.get("caller")
    return ("" if not reason else f' "{reason}"') + ("" if not caller else f", from {caller}")


def _more(f: Fields) -> str:
    return f" (and {f['suppressed']} more not logged)" if f.get("suppressed") else ""


def _subscribed(f: Fields) -> str:
    count = f.get("subscribed", f.get("front_ends"))
    of = f" of {f['of']}" if "of" in f else ""
    return "" if count is None else f": {count}{of} now"


def _started(f: Fields) -> str:
    if not f.get("restarts"):
        return "coordinator started"
    wave = f" with wave {f['resumed_wave']}" if "resumed_wave" in f else ""
    before = f"; the one before {f['previous']}" if "previous" in f else ""
    return f"coordinator came back (restart {f['restarts']}){wave}{before}"


def _silent(f: Fields) -> str:
    silent = f["silent"]
    if not isinstance(silent, list):
        raise TypeError("silent")
    return f"manual start of wave {f['wave']} timed out: {render.ranks(silent)} silent"


_SENTENCES: dict[str, Callable[[Fields], str]] = {
    "coordinator_started": _started,
    "engines_rejoined": lambda f: f"all {f['engines']} engines are back after the restart",
    "recovery_finished": lambda f: f"recovered from the restart{_took(f, 'took_s')}; the next wave is {f['wave']}",
    "journal_failed": lambda f: f"the journal cannot be written: {f['detail']}",
    "journal_works_again": lambda f: "the journal can be written again",
    "socket_unreachable": lambda f: f"{f['name']} cannot be reached: {f['detail']}",
    "socket_works_again": lambda f: f"{f['name']} can be reached again",
    "part_missing": lambda f: f"{f['name']} is missing: {f['detail']}",
    "part_works_again": lambda f: f"{f['name']} is there again",
    "fresh_start": lambda f: f"a fresh start beside engines that live: {f['detail']}",
    "recording_gap": lambda f: f"the recording lacks {f['records']} records: the disk was too slow",
    "recording_failed": lambda f: f"the recording cannot be written: {f['detail']}",
    "recording_works_again": lambda f: "the recording can be written again",
    "engine_subscribed": lambda f: f"an engine subscribed{_subscribed(f)}",
    "engine_unsubscribed": lambda f: f"an engine's subscription ended{_subscribed(f)}",
    "front_end_subscribed": lambda f: f"a front-end subscribed{_subscribed(f)}",
    "front_end_unsubscribed": lambda f: f"a front-end's subscription ended{_subscribed(f)}",
    "ready_sent": lambda f: "READY sent to the engines",
    "wave_asked": lambda f: f"START for wave {f['wave']} broadcast{_by(f)}",
    "wave_started": lambda f: f"wave {f['wave']} started{_by(f)}",
    "wave_completed": lambda f: f"wave {f['wave']} completed{_took(f, 'duration_s')}",
    "engine_first_report": lambda f: f"first report of rank {f['engine']}",
    "engine_restarted": lambda f: (
        f"rank {f['engine']} restarted: back from wave {f['from_wave']}, step {f['from_step']} "
        f"to wave {f['wave']}, step {f['step']}"
    ),
    "engine_count_changed": lambda f: f"engine count changed from {f['before']} to {f['after']}",
    "start_unanswered": lambda f: f"START for wave {f['wave']} was not answered: no rank was seen stepping",
    "manual_start_asked": lambda f: f"manual start of wave {f['wave']} asked{_why(f)}",
    "manual_start_refused": lambda f: f"manual start refused: {f.get('detail') or f['refusal']}{_why(f)}{_more(f)}",
    "manual_start_observed": lambda f: f"manual start of wave {f['wave']} observed{_took(f, 'took_s')}",
    "manual_start_timed_out": _silent,
    "bad_frame": lambda f: f"bad frame on {f['channel']}: {f.get('detail') or f['verdict']}{_more(f)}",
    "alarm_raised": lambda f: f"ALARM: {f['title']}",
    "alarm_cleared": lambda f: f"alarm over{_took(f, 'lasted_s')}: {f['title']}",
}
