"""From the recorder's files to the format of tests/wire/golden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

_SUBSCRIPTION = {"01": "subscribe", "00": "unsubscribe"}
_EXCLUDED = {type(None): "nobody", int: "int", bytes: "bytes"}


def sequence(folder: Path, about: str) -> dict[str, Any]:
    """One run: the files of all coordinator processes in the folder, in the order in which those lived.

    From the second on, a process begins with a message of role `proc` and type `proc_killed` in place of its arguments:
    there the one before was killed.
    """
    messages: list[dict[str, Any]] = []
    for number, path in enumerate(sorted(folder.glob("*.jsonl"), key=lambda path: int(path.name.partition("-")[0]))):
        lines = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        if number:
            assert lines[0]["role"] == "proc"
            lines[0] |= {"dir": "killed", "frames": []}
        messages += lines
    began = messages[0]["t"]
    told = [{**m, "t": round(m["t"] - began, 6), "type": _type(m)} for m in messages]
    told = [{key: m[key] for key in ("t", "role", "dir", "type", "frames")} for m in told]
    return {"about": about, "total": len(told), "messages": told}


def _type(message: dict[str, Any]) -> str:
    role, frames = message["role"], [bytes.fromhex(frame) for frame in message["frames"]]
    if role == "proc":
        return f"proc_{message['dir']}"
    if role == "back_pull":
        return _engine_type(frames[0])
    received = message["dir"] == "recv"
    if received and message["frames"][0] in _SUBSCRIPTION:
        who = "engine" if role == "back_xpub" else "front"
        return f"{who}_{_SUBSCRIPTION[message['frames'][0]]}"
    if role == "back_xpub":
        if frames == [b"READY"]:
            return "READY"
        assert not received
        return f"START_DP_WAVE:exclude_{_EXCLUDED[type(msgspec.msgpack.decode(frames[1])[1])]}"
    first = msgspec.msgpack.decode(frames[0])[0]
    if received:
        return f"front_first_req:{_EXCLUDED[type(first)]}"
    return "front_publish_wave_state" if first is None else "front_publish_counts"


def _engine_type(frame: bytes) -> str:
    fields = msgspec.msgpack.decode(frame) + [None] * 9
    if fields[6] is not None:
        return "engine_wave_complete"
    return "engine_stats" if fields[7] is None else "engine_start_wave"
