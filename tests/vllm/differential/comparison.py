"""What must be equal between two outcomes, and the search for the shortest sequence in which it is not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec

from tests.vllm.differential.generator import Sequence
from tests.vllm.differential.scripted import BACK, FRONT, QUIET_MS, Stimulus, Transcript, run_ours, run_vllm

Sent = list[tuple[str, tuple[bytes, ...]]]
AWAKE_MS, HELD_AT_MOST_MS = 50, 150


def difference(sequence: Sequence, module: ModuleType) -> str | None:
    """How the two outcomes differ in what must be equal; None when they do not."""
    stimuli, count, coordination = sequence.stimuli, sequence.engine_count, sequence.wave_coordination
    theirs = run_vllm(module, stimuli, count, wave_coordination=coordination)
    ours = run_ours(sequence.dialect.version, stimuli, count, wave_coordination=coordination)
    if theirs.ended is not None:
        return f"vLLM's loop ended: {theirs.ended}"
    defects = {key: n for key, n in ours.verdicts.items() if key[1] == "internal_error"}
    if defects:
        return f"our loop met defects: {defects}"
    if len(theirs.segments) != len(ours.segments):
        return f"{len(theirs.segments)} segments against {len(ours.segments)}"
    if (soon := load_too_soon(sequence, ours)) is not None:
        return soon
    whole_steps = _segments_with_comparable_whole_steps(sequence)
    for number, (their, our) in enumerate(zip(theirs.segments, ours.segments, strict=True)):
        found = _segment(their, our, whole_steps=whole_steps[number])
        if found is not None:
            return f"segment {number}: {found}"
    return None


def _segment(theirs: Sent, ours: Sent, *, whole_steps: bool) -> str | None:
    for what, taken in (("READY and START", to_engines), ("wave announcements", announcements)):
        if taken(theirs) != taken(ours):
            return f"{what}: vLLM {_told(taken(theirs))}, ours {_told(taken(ours))}"
    their_loads, our_loads = loads(theirs), loads(ours)
    if their_loads[-1:] != our_loads[-1:]:
        return f"final load: vLLM {_told(their_loads[-1:])}, ours {_told(our_loads[-1:])}"
    if whole_steps:
        last = last_counts(their_loads)
        if last != last_counts(our_loads)[-len(last) :]:
            return f"whole step and final load: vLLM {last}, ours {last_counts(our_loads)}"
    return None


def _segments_with_comparable_whole_steps(sequence: Sequence) -> list[bool]:
    """In which segments the step snapshot before the final load must be the same, too.

    Not where time passes inside a segment (one loop publishes a snapshot that the other replaces), not where nothing is
    in lockstep, and not where a named difference makes the snapshots differ: around SCALE, and for good once an engine
    restarted.
    """
    segments: list[list[Stimulus]] = [[]]
    for stimulus in sequence.stimuli:
        if stimulus.after >= QUIET_MS:
            segments.append([])
        segments[-1].append(stimulus)
    restarted, comparable = False, []
    for segment in segments:
        names = {s.difference for s in segment}
        restarted = restarted or "restart_opens_steps_again" in names
        at_once = all(s.after == 0 or s.after >= QUIET_MS for s in segment)
        usable = at_once and not restarted and "scale_is_published" not in names
        comparable.append(usable and sequence.wave_coordination)
    return comparable


def load_too_soon(sequence: Sequence, ours: Transcript) -> str | None:
    """Whether a load of ours said "not running" to a front-end that had just sent a notice (vLLM's waits 50 ms)."""
    if not (sequence.wave_coordination and sequence.dialect.notices_accepted):
        return None
    arrivals = itertools.accumulate(stimulus.after for stimulus in sequence.stimuli)
    notices = [at for at, each in zip(arrivals, sequence.stimuli, strict=True) if each.what.startswith("notice(")]
    before = -HELD_AT_MOST_MS
    for at, channel, frames in ours.sent_at:
        if channel == FRONT and _is_load(frames):
            noticed = max((notice for notice in notices if notice < at), default=-AWAKE_MS)
            running = msgspec.msgpack.decode(frames[0])[2]
            if not running and at - noticed < AWAKE_MS and at - before < HELD_AT_MOST_MS:
                return f"at {at} ms a load says 'not running', {at - noticed} ms after a notice"
            before = at
    return None


def to_engines(sent: Sent) -> list[tuple[bytes, ...]]:
    return [frames for channel, frames in sent if channel == BACK]


def announcements(sent: Sent) -> list[tuple[bytes, ...]]:
    return [frames for channel, frames in sent if channel == FRONT and not _is_load(frames)]


def loads(sent: Sent) -> list[tuple[bytes, ...]]:
    return [frames for channel, frames in sent if channel == FRONT and _is_load(frames)]


def last_counts(published: list[tuple[bytes, ...]]) -> list[Any]:
    """The counts of the last two loads that say different things."""
    counts = [counts for counts, _ in itertools.groupby(msgspec.msgpack.decode(frame)[0] for (frame,) in published)]
    return counts[-2:]


def all_sent(outcome: Transcript) -> Sent:
    return [item for segment in outcome.segments for item in segment]


def _is_load(frames: tuple[bytes, ...]) -> bool:
    return msgspec.msgpack.decode(frames[0])[0] is not None


def _told(sent: list[tuple[bytes, ...]]) -> list[Any]:
    return ["READY" if frames == (b"READY",) else msgspec.msgpack.decode(frames[-1]) for frames in sent]


def shortest(stimuli: list[Stimulus], fails: Callable[[list[Stimulus]], bool]) -> list[Stimulus]:
    """Leave out what a failure does not need: halves, then smaller pieces, down to single stimuli."""
    piece = len(stimuli) // 2
    while piece:
        at = 0
        while at < len(stimuli):
            without = stimuli[:at] + stimuli[at + piece :]
            if fails(without):
                stimuli = without
            else:
                at += piece
        piece //= 2
    return stimuli
