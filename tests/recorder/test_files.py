"""Recordings as files: read back whole, cut off anywhere, changed anywhere, not ours, and never too many bytes."""

from __future__ import annotations

import random
import stat
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_coordinator import __version__
from dp_coordinator.core.events import EngineStatsReported, ManualStartRequested, StartWaveRequested, WaveCompleted
from dp_coordinator.recorder import chunks, entries
from dp_coordinator.recorder.chunks import NotARecordingError
from dp_coordinator.recorder.folder import Folder, RecordingError
from dp_coordinator.recorder.reader import Source, body_of
from tests.recorder.recorded_core import CHECKPOINT, HEADER, RECORDS, RecordedCore, changed, files, replayed, whole
from tests.waiting import wait_until

pack = msgspec.msgpack.encode
numbers = st.integers(-1, 9) | st.sampled_from([2**53 - 1, 2**53, -(2**63)])
stats = st.dictionaries(
    st.sampled_from(["num_waiting_reqs", "num_running_reqs", "step_counter", "current_wave"]), numbers
) | st.fixed_dictionaries({"kv_cache_usage": st.floats()})
outputs = st.tuples(
    numbers, st.none(), st.none() | stats, st.none(), st.none(), st.none(), st.none() | numbers, numbers
)
engine_frames = st.builds(pack, outputs | st.tuples(numbers)) | st.binary(max_size=40)
front_end_frames = (
    st.builds(pack, st.tuples(numbers | st.binary(max_size=3), numbers))
    | st.builds(pack, st.tuples(st.just("SCALE_ELASTIC_EP"), numbers))
    | st.binary(max_size=20)
)
frames = st.lists(
    st.tuples(st.booleans(), st.booleans() | st.just(False), engine_frames, front_end_frames), max_size=30
)


@settings(deadline=None, max_examples=60)
@given(frames=frames, dialect=st.sampled_from(["0.16", "0.28", "0.33"]), ready=st.booleans())
def test_any_frames_are_replayed_to_the_same_effects(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[bool, bool, bytes, bytes]], dialect: str, ready: bool
) -> None:
    folder = tmp_path_factory.mktemp("recording")
    with RecordedCore(folder, dialect=dialect) as recorded:
        if ready:
            recorded.ready()
        for from_engine, checkpoint, engine_frame, front_end_frame in frames:
            if from_engine:
                recorded.engines_say(engine_frame)
            else:
                recorded.front_end_says(front_end_frame)
            recorded.recording.recorder._requests.checkpoint |= checkpoint
    (file,) = files(folder)
    summary = replayed(file)
    assert whole(summary), summary
    assert (summary.gaps, summary.inputs) == (0, recorded.recording.recorder._index)


@pytest.fixture
def small(tmp_path: Path) -> Any:
    """A recording of one wave, with a checkpoint in it."""
    with RecordedCore(tmp_path / "small") as recorded:
        recorded.ready()
        recorded.feed(StartWaveRequested(1, 0))
        recorded.feed(*(EngineStatsReported(rank, 1, 2, 0.5, 1, 0) for rank in range(2)))
        recorded.recording.recorder._requests.checkpoint = True
        recorded.turn(0.2)
        recorded.feed(WaveCompleted(0, 0))
        recorded.feed(ManualStartRequested("a try", "test"))
    (file,) = files(tmp_path / "small")
    return file


def test_a_recording_tells_what_it_is_and_only_its_owner_may_read_it(small: Any) -> None:
    summary = replayed(small)
    assert whole(summary)
    assert (summary.waves, summary.reports, summary.effects["BroadcastStartWave"]) == (1, 2, 2)
    header = Source(str(small)).header
    assert (header["version"], header["dialect"], header["engine_count"]) == (__version__, "0.28", 2)
    assert stat.S_IMODE(small.stat().st_mode) == 0o600


def test_cut_off_at_every_byte(small: Any, tmp_path: Path) -> None:
    data, cut = small.read_bytes(), tmp_path / "cut.dprec"
    total, seen, refusals = replayed(small).inputs, [], []
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        try:
            summary = replayed(cut)
        except NotARecordingError as error:
            refusals.append(str(error))
            continue
        (ending,) = summary.endings
        assert (summary.difference, ending.damaged) == (None, False)
        assert ending.problem is not None
        seen.append(summary.inputs)
    assert all("empty" in text or "cut off" in text or "it ends" in text for text in refusals)
    assert len(refusals) + len(seen) == len(data)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, total)


def test_a_changed_byte_is_noticed_wherever_it_is(small: Any, tmp_path: Path) -> None:
    data, bad = small.read_bytes(), tmp_path / "bad.dprec"
    for at in range(len(data)):
        bad.write_bytes(data[:at] + bytes([data[at] ^ 0x21]) + data[at + 1 :])
        try:
            (ending,) = replayed(bad).endings
        except NotARecordingError:
            continue
        assert ending.damaged, at


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\x7fELF and so on", "no recording of dp-coordinator"),
        (b"dp-coord", "cut off"),
        (b"dp-coordinator recording 1\nwhatever", "format '1' and needs dp-coordinator 0.1; this is .*, which reads 2"),
        (b"dp-coordinator recording 3\nwhatever", "format '3' and needs a newer dp-coordinator"),
        (b"dp-coordinator recording 2\n", "without an end mark"),
        (chunks.beginning({"version": "0.0.9", "dialect": "0.33"}), "by dp-coordinator 0.0.9, and this is"),
        (chunks.beginning({"version": __version__, "dialect": "0.1"}), "dialect is unknown"),
        (chunks.beginning([]), "header"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_recording_of_ours(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "other.dprec"
    file.write_bytes(content)
    with pytest.raises(NotARecordingError, match=f"other.dprec: .*{said}"):
        replayed(file)


def test_checksums_that_are_right_around_nonsense(small: Any, tmp_path: Path) -> None:
    """Somebody wrote such a file on purpose: a clear end all the same."""
    for nonsense in (b"", b"\xc1", pack([]), pack([0, [[1, 0.0, "NoSuchEvent", {}, []]], []]), pack({"index": 0})):
        for kind in (RECORDS, CHECKPOINT):
            change = lambda c, n=nonsense, k=kind: [replace(c, body=n)] if c.kind == k else [c]  # noqa: E731
            (ending,) = replayed(changed(small, tmp_path / "odd.dprec", change)).endings
            assert ending.damaged


def test_records_without_those_before_them_are_not_run(small: Any, tmp_path: Path) -> None:
    beheaded = changed(small, tmp_path / "headless.dprec", lambda c: [c] if c.kind != CHECKPOINT else [])
    (ending,) = replayed(beheaded).endings
    assert ending.damaged
    assert ending.problem is not None
    assert "those before it are missing" in ending.problem


def test_the_first_difference_is_named(small: Any, tmp_path: Path) -> None:
    start = pack("BroadcastStartWave") + b"\x83" + pack("wave")

    def other_wave(chunk: chunks.Chunk) -> Any:
        return [replace(chunk, body=chunk.body.replace(start + b"\x00", start + b"\x09"))]

    found = replayed(changed(small, tmp_path / "differs.dprec", other_wave)).difference
    assert found is not None
    assert (found.expected, found.got) == (
        "effect 0, BroadcastStartWave: ['wave'] = 9",
        "effect 0, BroadcastStartWave: ['wave'] = 0",
    )
    assert found.input == "StartWaveRequested(engine_index=1, wave=0)"
    assert found.index == 3


def test_an_effect_too_many_is_named(small: Any, tmp_path: Path) -> None:
    def without_the_last(chunk: chunks.Chunk) -> Any:
        if chunk.kind != RECORDS or b"SendReady" not in chunk.body:
            return [chunk]
        batch = body_of(chunk)
        assert isinstance(batch, entries.RecordsBody)
        second = batch.records[1]
        second.out = msgspec.Raw(pack(msgspec.msgpack.decode(second.out)[:-1]))
        return [replace(chunk, body=pack(batch))]

    found = replayed(changed(small, tmp_path / "more.dprec", without_the_last)).difference
    assert found is not None
    assert found.index == 1
    assert found.expected == "effect 3: nothing"
    assert found.got == "effect 3: ['LogEvent', {'kind': 'ready_sent', 'fields': {'engines': 2}}]"


def test_a_state_that_differs_is_a_difference_too(small: Any, tmp_path: Path) -> None:
    seen = []

    def other_state(chunk: chunks.Chunk) -> Any:
        seen.append(chunk.kind)
        if chunk.kind != CHECKPOINT or seen.count(CHECKPOINT) == 1:
            return [chunk]
        return [replace(chunk, body=chunk.body.replace(pack("front_ends") + b"\x01", pack("front_ends") + b"\x02"))]

    found = replayed(changed(small, tmp_path / "state.dprec", other_state)).difference
    assert found is not None
    assert (found.expected, found.got) == ("['peers']['front_ends'] = 2", "['peers']['front_ends'] = 1")


def test_all_up_to_now_is_at_hand_when_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "asked.dprec"
    with RecordedCore(tmp_path / "r") as recorded:
        for _ in range(3):
            recorded.ready()
            caught_up = recorded.recording.caught_up()
            recorded.turn()
            caught_up.result(10)
            file.write_bytes(recorded.recording.recent())
            summary = replayed(file)
            assert whole(summary)
            assert summary.inputs == recorded.recording.recorder._index


def turned(recorded: RecordedCore, last: Future[None]) -> bool:
    recorded.turn()
    return last.done()


def test_those_who_ask_leave_the_backlog_to_the_records(tmp_path: Path) -> None:
    recorded = RecordedCore(tmp_path / "r")
    for _ in range(100):  # and the writer does nothing meanwhile
        recorded.recording.caught_up()
        recorded.turn()
    assert recorded.recording.recorder._queue.qsize() <= 5
    last = recorded.recording.caught_up()
    with recorded:
        wait_until(partial(turned, recorded, last), "the writer")
    (file,) = files(tmp_path / "r")
    assert replayed(file).gaps == 0


# -- many files ----------------------------------------------------------------------------------------------------

LIMIT, CHUNK = 400_000, 100_000


def bytes_in(folder: Path) -> Any:
    sizes = []
    for file in files(folder):
        with suppress(FileNotFoundError):
            sizes.append(file.stat().st_size)
    return sum(sizes)


def test_old_files_go_and_each_that_is_left_can_be_replayed_alone(tmp_path: Path) -> None:
    folder, chance = tmp_path / "many", random.Random(1)
    with RecordedCore(folder, max_bytes=LIMIT) as recorded:
        recorded.ready()
        for step in range(1000):
            waiting = [chance.getrandbits(40) for _ in range(200)]
            recorded.feed(*(EngineStatsReported(0, number, 1, 0.5, step, 0) for number in waiting))
            # Each batch is a fifth of all that may be kept: of several that wait, one file would be made.
            wait_until(lambda: recorded.recording.recorder._queue.qsize() == 0, "the writer")
            assert bytes_in(folder) <= LIMIT + CHUNK
    left = files(folder)
    assert bytes_in(folder) <= LIMIT
    assert 3 <= len(left) < int(left[-1].stem[-4:])
    together = replayed(*left)
    assert whole(together), together
    assert together.gaps == 0
    assert sum(replayed(file).inputs for file in left) == together.inputs
    assert replayed(left[0], left[2]).gaps == 1


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"--record .*/none/of/it cannot be written: No such file"):
        Folder(str(tmp_path / "none" / "of" / "it"), 1)
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match="cannot be written: File exists"):
        Folder(str(tmp_path / "file"), 1)
    held = Folder(str(tmp_path / "held"), 1)
    with pytest.raises(RecordingError, match="is in use by another coordinator"):
        Folder(str(tmp_path / "held"), 1)
    held.close()
    Folder(str(tmp_path / "held"), 1).close()


def test_kinds_of_chunks_are_one_byte() -> None:
    assert {len(kind) for kind in (HEADER, RECORDS, CHECKPOINT, chunks.END)} == {1}
    assert entries.encode_effects(()) == pack([])
