"""Scenario files: a conversation a protocol expert can read, and what the core does at each line.

    # comment
    coordinator engines=2 dialect=0.33 [coordination=off]
    at 1.0                         advance the clock to that second; deadlines on the way show what they do
    engine 1 connects | disconnects [why=timed-out]     its connection to back_output
    engine 1 subscribes | unsubscribes                  the one to back_publish; both from host 1, or [host=2]
    connection 1 reports-as 0                           that of engine 1 turns out to be rank 0's
    tap subscribes [host=1]
    front-end subscribes | unsubscribes
    front-end notifies engine=1 wave=0
    front-end scales 4
    engine 0 reports waiting=1 running=0 wave=0 step=0
    engine 0 starts wave=0
    engine 0 completes wave=0
    operator starts [wave=1] [expected=0]
    operator sets wave=58 | engines=4 expected=0
    coordinator dies               and comes back with what it had written down

Lines that begin with `  ->` are what the core did. `pytest --rewrite-scenarios` writes them anew.
"""

from __future__ import annotations

import re

from dp_coordinator.core.effects import (
    Answer,
    BroadcastStartWave,
    Effect,
    LogEvent,
    PublishLoad,
    PublishWaveState,
    Reject,
    SendReady,
    WriteJournal,
)
from dp_coordinator.core.events import (
    CorrectionRequested,
    EngineCountChanged,
    EngineStatsReported,
    Event,
    ManualStartRequested,
    NewRequestNotified,
    PeerIdentified,
    StartWaveRequested,
    WaveCompleted,
)
from dp_coordinator.core.snapshot import Correction, StartAction, StartRefusal
from dp_coordinator.words import Channel, Corrected
from tests.core.connections import connects, disconnects, front_end_subscribes, front_end_unsubscribes
from tests.core.driver import Driver

OUTPUT, TAP, CLOSED = 100, 300, "connection-closed"
"""Numbers of connections to back_output begin here; that of the tap."""


def run(text: str) -> str:
    """The scenario with its outcome lines as the core gives them now."""
    driver: Driver | None = None
    out: list[str] = []
    for line in text.splitlines():
        if line.startswith("  ->"):
            continue
        out.append(line)
        words, options = _parse(line)
        if not words:
            continue
        if words == ["coordinator", "dies"]:
            assert driver is not None
            driver.restart()
            continue
        if words[0] == "coordinator":
            driver = Driver(
                int(options["engines"]),
                options["dialect"],
                ready=False,
                wave_coordination=options.get("coordination") != "off",
            )
            continue
        assert driver is not None, "a scenario begins with a coordinator line"
        if words[0] == "at":
            before = len(driver.effects)
            driver.advance_to(float(words[1]))
            out += [f"  -> {at:.2f} {_effect(e)}" for at, e in driver.effects[before:]]
        else:
            out += [f"  -> {_effect(e)}" for e in driver.feed(_event(words, options))]
    return "\n".join(out) + "\n"


def _parse(line: str) -> tuple[list[str], dict[str, str]]:
    words = line.partition("#")[0].split()
    options = dict(w.split("=", 1) for w in words if "=" in w)
    return [w for w in words if "=" not in w], options


def _connection(words: list[str], options: dict[str, str]) -> Event | None:
    host = f"10.0.0.{options.get('host', words[1] if len(words) > 1 else 0)}"
    match words:
        case ["engine", index, "subscribes"]:
            return connects(Channel.BACK_PUBLISH, int(index), host=host)
        case ["engine", index, "unsubscribes"]:
            return disconnects(Channel.BACK_PUBLISH, int(index))
        case ["engine", index, "connects"]:
            return connects(Channel.BACK_OUTPUT, OUTPUT + int(index), socket_type="PUSH", host=host)
        case ["engine", index, "disconnects"]:
            return disconnects(
                Channel.BACK_OUTPUT, OUTPUT + int(index), options.get("why", "connection-closed").replace("-", " ")
            )
        case ["connection", number, "reports-as", index]:
            return PeerIdentified(OUTPUT + int(number), int(index))
        case ["tap", "subscribes"]:
            return connects(Channel.BACK_PUBLISH, TAP, socket_type="SUB", host=host)
        case ["front-end", "subscribes"]:
            return front_end_subscribes()
        case ["front-end", "unsubscribes"]:
            return front_end_unsubscribes()
    return None


def _event(words: list[str], options: dict[str, str]) -> Event:
    number = {name: int(value) for name, value in options.items() if re.fullmatch(r"-?\d+", value)}
    connection = _connection(words, options)
    if connection is not None:
        return connection
    match words:
        case ["front-end", "notifies"]:
            return NewRequestNotified(number.get("engine"), number["wave"])
        case ["front-end", "scales", count]:
            return EngineCountChanged(int(count))
        case ["engine", index, "reports"]:
            counts = number["waiting"], number["running"]
            return EngineStatsReported(int(index), *counts, 0.0, number.get("step", 0), number.get("wave", 0))
        case ["engine", index, "starts"]:
            return StartWaveRequested(int(index), number["wave"])
        case ["engine", index, "completes"]:
            return WaveCompleted(int(index), number["wave"])
        case ["operator", "starts"]:
            return ManualStartRequested("scenario", "operator", number.get("expected"), number.get("wave"))
        case ["operator", "sets"]:
            what = Corrected.WAVE if "wave" in number else Corrected.ENGINE_COUNT
            value = number["wave" if "wave" in number else "engines"]
            return CorrectionRequested(what, value, number["expected"], "scenario", "operator")
    raise ValueError(f"no such line in a scenario: {words}")


def _effect(effect: Effect) -> str:
    match effect:
        case WriteJournal(state):
            ready = "READY given" if state.ready else "READY not given"
            return f"journal wave={state.current_wave} engines={state.engine_count} {ready}"
        case SendReady():
            return "READY"
        case BroadcastStartWave(wave, excluded, cause):
            return f"START wave={wave} excluded={excluded} cause={cause.value}"
        case PublishWaveState(wave, running):
            return f"announce wave={wave} running={running}"
        case PublishLoad(counts, wave, running):
            return f"load {[list(c[:2]) for c in counts]} wave={wave} running={running}"
        case LogEvent(kind, fields):
            shown = {k: round(v, 3) if isinstance(v, float) else v for k, v in fields.items() if k != "peer"}
            if kind.startswith(("engine_", "front_end_")) and shown.get("engine", 0) is None:
                del shown["engine"]
            return f"log {kind} " + " ".join(f"{k}={v}" for k, v in shown.items())
        case Reject(kind, detail):
            return f"reject {kind}: {detail}"
        case Answer(value):
            return f"answer {_answer(value)}"


def _answer(value: StartAction | StartRefusal | Correction) -> str:
    match value:
        case StartAction():
            return value.state.value
        case StartRefusal():
            return f"refused, {value.kind.value}"
        case Correction(what, before, after):
            return f"{what.value} set from {before} to {after}"
