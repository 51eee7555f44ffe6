"""Any bytes in a file: a journal or recording of ours, or a refusal that says why. Nothing else ever."""

from __future__ import annotations

import contextlib
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_coordinator import __version__
from dp_coordinator.core.events import EngineStatsReported, ManualStartRequested, StartWaveRequested, WaveCompleted
from dp_coordinator.journal import Journal, JournalError
from dp_coordinator.options import Deployment
from dp_coordinator.recorder import chunks
from dp_coordinator.recorder.chunks import NotARecordingError
from dp_coordinator.recorder.reader import Source
from dp_coordinator.recorder.replay import replay
from dp_coordinator.recorder.timeline import Timeline
from dp_coordinator.texts import is_plain, shown
from dp_coordinator.viewing import RecordingPlayer
from dp_coordinator.web import views
from tests.fuzz.bytes_near import ANYTHING, CHANGES, INTEGERS, NUMBERS, TEXTS, changed, pack
from tests.fuzz.effort import effort
from tests.recorder.recorded_core import RecordedCore, files

STATES = st.fixed_dictionaries(
    {"current_wave": NUMBERS | ANYTHING, "engine_count": INTEGERS | ANYTHING, "ready": st.booleans() | ANYTHING}
)
ENTRIES = st.fixed_dictionaries(
    {"format": st.just("dp-coordinator journal 2") | TEXTS},
    optional={
        "deployment": ANYTHING
        | st.builds(lambda d: msgspec.to_builtins(Deployment(2)) | d, st.dictionaries(TEXTS, ANYTHING)),
        "endpoints": ANYTHING,
        "http": ANYTHING,
        "incarnations": NUMBERS,
        "pid": NUMBERS,
        "state": STATES | ANYTHING,
    },
)


@effort(200)
@given(ENTRIES, CHANGES)
def test_journals(tmp_path_factory: pytest.TempPathFactory, entry: dict[str, Any], changes: Any) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    text = changed(msgspec.json.encode(entry, enc_hook=repr), changes)[:4000]
    path.write_bytes(b"%s %08x\n" % (text, zlib.crc32(text)))
    path.chmod(0o600)
    said = ""
    try:
        Journal(str(path), Deployment(2)).close()
    except JournalError as error:
        said = str(error)
    assert is_plain(said)
    assert len(said) < 1000


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[chunks.Chunk]:
    """The chunks of a recording of ours."""
    folder = tmp_path_factory.mktemp("recorded")
    with RecordedCore(folder) as recorded:
        recorded.ready()
        recorded.feed(StartWaveRequested(1, 0), *(EngineStatsReported(rank, 1, 2, 0.5, 1, 0) for rank in range(2)))
        recorded.recording.recorder._requests.checkpoint = True
        recorded.turn(0.2)
        recorded.feed(WaveCompleted(0, 0), ManualStartRequested("a try", "test"))
    (file,) = files(folder)
    return list(chunks.read(file.read_bytes()))


def walks(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to everything within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(deeper for key, held in inner for deeper in walks(held, (*way, key)))]


def put(value: Any, way: tuple[Any, ...], new: Any) -> Any:
    """The value with something else where the way leads."""
    if not way:
        return new
    inner = value
    for step in way[:-1]:
        inner = inner[step]
    inner[way[-1]] = new
    return value


@st.composite
def foreign(draw: st.DrawFn, whole: list[chunks.Chunk]) -> bytes:
    """A recording with right checksums and wrong contents."""
    made = b"dp-coordinator recording 2\n"
    target = draw(st.integers(0, len(whole) - 1))
    for number, chunk in enumerate(whole):
        body = chunk.body
        if number == target and chunk.kind in (chunks.CHECKPOINT, chunks.RECORDS):
            inside = msgspec.msgpack.decode(body)
            for _ in range(draw(st.integers(1, 3))):
                inside = put(inside, draw(st.sampled_from(walks(inside))), draw(NUMBERS | ANYTHING))
            body = pack(inside)
        elif number == target:
            body = changed(body, draw(CHANGES))
        made += chunks.pack(chunk.kind, changed(body, draw(CHANGES)) if draw(st.integers(0, 9)) == 0 else body)
    return made


@effort(150)
@given(data=st.data())
def test_recordings(
    tmp_path_factory: pytest.TempPathFactory, recorded: list[chunks.Chunk], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("foreign") / "foreign.dprec"
    path.write_bytes(changed(data.draw(foreign(recorded)), data.draw(st.just([]) | CHANGES)))
    told: list[str] = []
    try:
        summary = replay([Source(str(path))])
        told += [ending.problem or "" for ending in summary.endings]
        told += [] if summary.difference is None else [shown(summary.difference.input, 2000)]
        watched(Timeline([Source(str(path))]))
    except NotARecordingError as error:
        told.append(str(error))
    assert all(is_plain(line) and len(line) < 2500 for line in told), told


def watched(timeline: Timeline) -> None:
    """Look at all of it as viewers do."""
    player = RecordingPlayer(timeline, "foreign", {"version": __version__}, speed=1.0)
    clock = views.WallClock(player.mailbox.wall_offset)
    span = min(timeline.last_at - timeline.first_at, 1e6)
    for at in (0.0, span / 2, span):
        player.play(speed=None, paused=True, position_s=at)
        player.step()
        snapshot, now = player.mailbox.snapshot, player.mailbox.clock()
        msgspec.json.encode(views.snapshot_message(player.mailbox, snapshot, [], now, clock), enc_hook=repr)
        msgspec.json.encode(views.engines(snapshot, [], now, clock))
        with contextlib.suppress(IndexError):
            player.mailbox.log.since(0)[-1]
