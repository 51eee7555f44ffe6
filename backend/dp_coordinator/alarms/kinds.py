"""What an alarm is, and what each kind means and asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dp_coordinator.words import AlarmKind, Severity

NAMED = 3
"""Engines, connections or targets that a title names."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that is wrong now."""

    kind: AlarmKind
    severity: Severity
    since: float
    """Monotonic seconds at which it began, which is earlier than it was raised where it had to last."""
    title: str
    """Who and what, in one line."""
    engines: tuple[int, ...] = ()
    """Ranks it is about, ascending; empty where none can be named."""
    counts: Mapping[str, int] = field(default_factory=dict)


def few(said: Sequence[str]) -> list[str]:
    """The first of them, and how many more there are."""
    return [*said[:NAMED], f"{len(said) - NAMED} more"] if len(said) > NAMED else [*said]


TEXTS: Mapping[AlarmKind, tuple[str, str]] = {
    AlarmKind.ASKED_NOT_STEPPING: (
        "START went out, or the engines said that they run, and no step was seen to be made since. "
        "A step takes every rank: one that hangs holds up all.",
        "Look at the processes of the ranks named. Engines that were paused on purpose discard START and need nothing.",
    ),
    AlarmKind.RANK_SILENT: (
        "These ranks have requests, and none was seen to begin or end for long. "
        "Either the requests are very long, or an engine hangs: one that does, even without requests, holds up all.",
        "See whether tokens still come out. If not, look for the engine process that neither computes nor answers.",
    ),
    AlarmKind.WORK_HELD_UP: (
        "The engines are paused, but these ranks reported requests and went silent. "
        "Their START may be lost, or the engines were paused on purpose.",
        "If nobody paused them, start a wave by hand: the current one, or the next if the rank's own wave is ahead.",
    ),
    AlarmKind.RANK_HUNG: (
        "These ranks have requests running, and were seen to make no step while others made theirs: what only a step "
        "changes in their metrics stands. Their requests hang.",
        "Look at the engine process of the ranks named. From vLLM 0.33 on one that stalls for minutes leaves its stack "
        "in VLLM_STACK_DUMP_for_engine_RANK_PID.log, in the folder that vLLM's watchdog was given.",
    ),
    AlarmKind.DEPLOYMENT_STANDS: (
        "Ranks have requests running, and none was seen to make a step. A step takes every rank: one that hangs holds "
        "up all, and their metrics alone do not tell which.",
        "Look first at the rank named, if any is. Otherwise look for the engine process that is stopped, or neither "
        "computes nor answers; from vLLM 0.33 on one that stalls for minutes leaves its stack in "
        "VLLM_STACK_DUMP_for_engine_RANK_PID.log.",
    ),
    AlarmKind.RANK_FAULT: (
        "vLLM's own health check, or its fault tolerance, says that these ranks are not well.",
        "Look at what it says, and at the engine's log. A dead engine is started anew with its API server.",
    ),
    AlarmKind.ENDPOINT_SILENT: (
        "API servers do not answer: requests sent there hang or fail. What was told of their ranks last is old, and in "
        "no sum.",
        "See whether the process that listened there is alive, and what its log says. "
        "The engine behind it may be well: then its connection to the coordinator lives.",
    ),
    AlarmKind.SOURCE_UNUSABLE: (
        "What a source's target answers tells nothing of any rank. Its ranks are shown as they were last told of.",
        "Look at the reason beside each target: a wrong address or token, a proxy's page, or another program there.",
    ),
    AlarmKind.LOAD_IMBALANCE: (
        "These ranks have far more requests than the others, and it lasts. "
        "Requests wait there while other ranks have room.",
        "See that every front-end hears the load, and that no balancer in front of them prefers a rank.",
    ),
    AlarmKind.PUBLICATION_LATE: (
        "The coordinator does not get to publish load in time, so front-ends route by old numbers. "
        "While its loop stands still it sends no START either.",
        "See what else uses its processors, and whether the process is stopped. Requests under way are not touched.",
    ),
    AlarmKind.BAD_FRAMES: (
        "Frames arrive that are no messages of this vLLM version, or have fields that are none. "
        "What is bad is dropped; everything else counts.",
        "Find who sends them: the event log has channel and reason. All frames of a channel bad: the dialect is wrong.",
    ),
    AlarmKind.ENGINE_GONE: (
        "The connection of an engine ended, and START does not reach it. "
        "A step takes every rank: the others wait for it, and its requests are lost with it.",
        "Look why its process ended; if it lives, look at the network between it and the coordinator.",
    ),
    AlarmKind.ENGINE_SURPLUS: (
        "More engines subscribe than the deployment has. One of them may hide the loss of another.",
        "Look for an engine of another deployment, or of an earlier start, that connects to these addresses.",
    ),
    AlarmKind.SAME_INDEX: (
        "Two processes report as one rank. Its counts are those of either in turn, and another rank has none.",
        "Look at the data-parallel rank that each of them was started with.",
    ),
    AlarmKind.NEVER_HEARD: (
        "These ranks reported nothing since the coordinator started, while all others have requests.",
        "See whether these engines run, and whether they connect to back_output; two may have the same rank.",
    ),
    AlarmKind.FRONT_END_GONE: (
        "Fewer front-ends are subscribed than before. Requests that reach another front-end are served.",
        "See whether it was stopped on purpose: then this clears by itself. Otherwise look why its process ended.",
    ),
    AlarmKind.RECOVERY_UNDER_WAY: (
        "The coordinator was restarted and is not yet where it was. "
        "Until every engine is back, or while none follows its START, new waves cannot be relied on.",
        "Look at the engine that does not come back. If all are back, but paused: this ends with the next wave. If "
        "engines before vLLM 0.18 were started anew as well, they wait for READY in vain: "
        "remove the journal and restart the coordinator.",
    ),
    AlarmKind.JOURNAL_FAILED: (
        "What must outlive the coordinator cannot be written down. Waves go on, but a restart now would come back "
        "with an old wave.",
        "Make room on the disk of the journal, or bring its folder back; the next wave is written again.",
    ),
    AlarmKind.SOCKET_UNREACHABLE: (
        "A socket is not bound, or its file is gone: engines and front-ends that connect now do not reach this "
        "coordinator. Those connected before stay so.",
        "Not bound: end the process that has the address; it is tried again once a second. File removed or replaced: "
        "find who did so (a cleaner of temporary folders?), then restart the coordinator.",
    ),
    AlarmKind.FRESH_START: (
        "This coordinator began afresh at wave 0, and engines from before live on: their waves are ahead of its own, "
        "and before vLLM 0.18 a second READY ends them.",
        "If requests hang, set the wave to the engines' own number (dp-coordinator set-wave), or restart the engines "
        "as well.",
    ),
    AlarmKind.PART_MISSING: (
        "Something that waves do not need could not be had after the restart; all else goes on.",
        "Nothing is needed for the requests. It is tried again by itself; mend what the alarm names.",
    ),
    AlarmKind.WEBHOOK_FAILING: (
        "Messages about alarms do not reach the webhook: whoever relies on them is not told. "
        "The page shows all alarms.",
        "See whether the address of --webhook answers from this machine. Messages are tried again for an hour.",
    ),
}
"""Kind -> what it means, and what to do."""
