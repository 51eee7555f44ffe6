"""Recordings and journals of strangers: whatever is in them, they are bounded, refused with a sentence, and escaped."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dp_coordinator import __version__
from dp_coordinator.core.events import EngineStatsReported, ManualStartRequested, StartWaveRequested
from dp_coordinator.messages import Endpoints
from dp_coordinator.options import Deployment
from dp_coordinator.recorder import chunks
from dp_coordinator.recorder.chunks import NotARecordingError
from dp_coordinator.recorder.reader import Source
from dp_coordinator.recorder.timeline import Timeline
from dp_coordinator.texts import is_plain
from tests.cli import run as command_line
from tests.recorder.recorded_core import CHECKPOINT, RECORDS, RecordedCore, changed, files, replayed

pack, unpack = msgspec.msgpack.encode, msgspec.msgpack.decode
NAN, HOSTILE = float("nan"), "\x1b]0;owned\x07\u202e\u2028\u200b"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    with RecordedCore(folder) as recorded:
        recorded.ready()
        recorded.feed(StartWaveRequested(1, 0))
        recorded.feed(*(EngineStatsReported(rank, 1, 2, 0.5, 1, 0) for rank in range(2)))
        recorded.recording.recorder._requests.checkpoint = True
        recorded.turn(0.2)
        recorded.feed(ManualStartRequested("a try", "test"))
    (file,) = files(folder)
    return file


def run(*words: str) -> tuple[int, str, str]:
    done = command_line.run(*words)
    return done.returncode, done.stdout, done.stderr


def put(way: tuple[Any, ...], value: object, kind: bytes) -> Callable[[chunks.Chunk], list[chunks.Chunk]]:
    """Put a value where the way leads, in every chunk of this kind that it leads anywhere in."""

    def change(chunk: chunks.Chunk) -> list[chunks.Chunk]:
        if chunk.kind != kind:
            return [chunk]
        body = inner = unpack(chunk.body)
        try:
            for step in way[:-1]:
                inner = inner[step]
            inner[way[-1]]
        except (IndexError, KeyError, TypeError):
            return [chunk]
        inner[way[-1]] = value
        return [replace(chunk, body=pack(body))]

    return change


INTO_A_STATE: list[tuple[tuple[Any, ...], object]] = [
    *(((1,), at) for at in (NAN, -1.0, 1e300, float("inf"))),
    *(((2,), at) for at in (NAN, -1.0, 1e300)),
    *(((3, "load", "reported_at", 0), at) for at in (NAN, float("inf"), 1e300)),
    ((3, "log", "state_since"), NAN),
    ((3, "engine_count"), 2**40),
    ((3, "engine_count"), 3),
    ((3, "engine_count"), -1),
    ((3, "waves", "current_wave"), 2**63),
    ((3, "load", "counts"), []),
    ((3, "load", "counts", 0, 0), 2**60),
    ((3, "dialect"), HOSTILE),
    ((3, "dialect"), "0.1"),
    ((3, "manual", "id_prefix"), HOSTILE),
    ((3, "manual", "id_prefix"), "x" * 1_000_000),
]
INTO_RECORDS: list[tuple[tuple[Any, ...], object]] = [
    *(((1, 0, 1), at) for at in (NAN, -1.0, 1e300)),
    *(((2, 0, 1), at) for at in (NAN, -1.0, 1e300)),
    ((1, 0, 3, "peer", "address"), HOSTILE),
    ((1, 0, 3, "peer", "title"), "x" * 1_000_000),
    ((1, 0, 3, "peer", "id"), 2**63),
    ((1, 0, 2), HOSTILE),
]


@pytest.mark.parametrize(
    ("kind", "way", "value"),
    [(CHECKPOINT, *case) for case in INTO_A_STATE] + [(RECORDS, *case) for case in INTO_RECORDS],
    ids=str,
)
def test_what_no_coordinator_wrote_is_refused(
    small: Path, tmp_path: Path, kind: bytes, way: tuple[Any, ...], value: object
) -> None:
    file = changed(small, tmp_path / "foreign.dprec", put(way, value, kind))
    assert file.read_bytes() != small.read_bytes()
    (ending,) = replayed(file).endings
    assert ending.damaged
    assert ending.problem is not None
    assert is_plain(ending.problem)
    assert len(ending.problem) < 500
    source = Source(str(file))
    if kind == CHECKPOINT:
        with pytest.raises(NotARecordingError, match="nothing to be seen"):
            Timeline([source])
    else:
        assert Timeline([source]).last_at < 1e9


def test_texts_of_the_recorded_log_are_escaped(small: Path, tmp_path: Path) -> None:
    way = (2, 0, 3)
    file = changed(small, tmp_path / "log.dprec", put(way, {HOSTILE: HOSTILE, "detail": ["x" * 100_000]}, RECORDS))
    timeline = Timeline([Source(str(file))])
    texts = [text for entry in timeline.log for text in (*entry.fields, *map(str, entry.fields.values()))]
    assert r"\x1b]0;owned\x07\u202e\u2028\u200b" in texts
    assert all(is_plain(text) and len(text) < 3000 for text in texts)


def bomb(path: Path) -> Path:
    """2.4 MB that are right in every respect, and unpack to gigabytes of ticks."""
    tick = pack([2, 1.0, []])
    count = 10_000_000 // len(tick)
    body = b"\x93\x00\xdd" + count.to_bytes(4, "big") + tick * count + b"\x90"
    packed = zlib.compress(body, 9)
    start = chunks._FRAME.pack(RECORDS, len(packed), zlib.crc32(packed), 0)[:9]
    chunk = start + zlib.crc32(start).to_bytes(4, "little") + packed
    header = {"version": __version__, "dialect": "0.28", "run": "1"}
    first = RecordedCore(path.parent / "whole")
    first.__enter__().__exit__()
    state = next(c for c in chunks.read(files(path.parent / "whole")[0].read_bytes()) if c.kind == CHECKPOINT)
    data = chunks.beginning(header) + chunks.pack(CHECKPOINT, state.body) + chunk * (2_400_000 // len(chunk))
    path.write_bytes(data + chunks.end(continues=False))
    return path


def test_a_small_file_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    """Looked at as `view` does before it listens, with memory for a tenth of what is in it."""
    file = bomb(tmp_path / "bomb.dprec")
    assert 1_000_000 < file.stat().st_size < 2_500_000
    look = f"from tests.recorder import test_foreign; test_foreign.look({str(file)!r})"
    limited = lambda: resource.setrlimit(resource.RLIMIT_DATA, (300 << 20, 300 << 20))  # noqa: E731
    words = [sys.executable, "-c", look]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, preexec_fn=limited, check=False)
    assert done.returncode == 0, done.stderr
    assert "more than dp-coordinator ever packs" in done.stdout


def look(path: str) -> None:
    print(Timeline([Source(path)]).endings[0].problem)


@pytest.mark.parametrize("path", ["/dev/zero", "a pipe"])
def test_what_has_no_end_is_not_read(tmp_path: Path, path: str) -> None:
    if path == "a pipe":
        path = str(tmp_path / "pipe")
        os.mkfifo(path)
    assert run("replay", path) == (2, "", f"dp-coordinator replay: {path}: cannot be read: it is no regular file.\n")


@pytest.mark.parametrize("field", ["version", "dialect", "engine_count"])
def test_escapes_in_a_header_do_not_reach_the_terminal(small: Path, tmp_path: Path, field: str) -> None:
    def change(chunk: chunks.Chunk) -> list[chunks.Chunk]:
        if chunk.kind != chunks.HEADER:
            return [chunk]
        return [replace(chunk, body=msgspec.json.encode(msgspec.json.decode(chunk.body) | {field: HOSTILE * 1000}))]

    file = changed(small, tmp_path / "header.dprec", change)
    code, out, err = run("replay", str(file))
    assert (code, r"\x1b]0;owned\x07\u202e\u2028\u200b" in out + err) == (0 if field == "engine_count" else 2, True)
    assert all(is_plain(line) and len(line) < 2500 for line in (out + err).split("\n"))


def journal(path: Path, **changes: Any) -> Path:
    """A journal of another deployment, with right checksums."""
    deployment = msgspec.to_builtins(Deployment(2, front_publish_address="tcp://127.0.0.1:1"))
    state = {"current_wave": 3, "engine_count": 2, "ready": True}
    ends = msgspec.to_builtins(Endpoints("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3"))
    entry = {"format": "dp-coordinator journal 2", "deployment": deployment, "endpoints": ends, "http": None}
    text = msgspec.json.encode(entry | {"incarnations": 1, "pid": 7, "state": state} | changes)
    path.write_bytes(b"%s %08x\n" % (text, zlib.crc32(text)))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"deployment": {"engine_count": 2, "dialect": HOSTILE}}, "belongs to a coordinator with"),
        ({"endpoints": {HOSTILE: HOSTILE}}, "is damaged"),
        ({"format": HOSTILE}, "is damaged"),
        ({"state": {"current_wave": -1, "engine_count": 2, "ready": True}}, "is damaged"),
        ({"state": {"current_wave": 0, "engine_count": 2**40, "ready": True}}, "is damaged"),
        ({"incarnations": 2**64 - 1}, "is damaged"),
        ({"http": [HOSTILE] * 300}, "is damaged"),
    ],
    ids=["dialect", "endpoints", "format", "wave", "engines", "incarnations", "http"],
)
def test_a_journal_of_somebody_else(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    if "deployment" in changes:
        changes = {"deployment": msgspec.to_builtins(Deployment(2)) | changes["deployment"]}
    file = journal(tmp_path / "journal", **changes)
    code, out, err = run("serve", "--engine-count", "2", "--no-http", "--journal", str(file), "--start-timeout", "0.2")
    assert (code, out) == (2, "")
    assert said in err
    assert all(is_plain(line) for line in err.split("\n"))


def test_a_journal_without_end(tmp_path: Path) -> None:
    """Only its first block is ever read."""
    file = tmp_path / "journal"
    with file.open("wb") as written:
        written.truncate(1 << 40)
    file.chmod(0o600)
    code, _, err = run("serve", "--engine-count", "2", "--no-http", "--journal", str(file), "--start-timeout", "0.2")
    assert (code, "is damaged" in err) == (2, True)
