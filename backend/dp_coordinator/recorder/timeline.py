"""What happens when in a recording, without holding all of it unpacked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from dp_coordinator.recorder.chunks import NotARecordingError
from dp_coordinator.recorder.entries import (
    CheckpointBody,
    RecordedInput,
    RecordedLogEntry,
    RecordsBody,
    UnusableError,
)
from dp_coordinator.recorder.reader import Ended, Place, Source
from dp_coordinator.recorder.replay import Runner
from dp_coordinator.texts import shown, shown_within

CHUNKS_AT_MOST, LOG_BYTES_AT_MOST = 1_000_000, 256 << 20
"""What is kept of all files: where each chunk is (one a second for eleven days), and the event log."""
_NOT_SHOWN = ("alarm_raised", "alarm_cleared")
"""Whoever shows a recording looks for alarms again."""


@dataclass(frozen=True, slots=True)
class _Mark:
    place: Place
    at: float
    """Monotonic seconds of the recording."""
    is_checkpoint: bool


class Timeline:
    """All files of one recorded process as one line of time, in the recording's monotonic seconds."""

    def __init__(self, sources: Sequence[Source]) -> None:
        """Read all of it once. Raises `NotARecordingError` when nothing can be shown, or it is of several processes."""
        if len({source.run for source in sources}) > 1:
            raise NotARecordingError("these files are of several processes; view the files of one at a time")
        self._sources = {source.name: source for source in sources}
        self._marks: list[_Mark] = []
        self._log_bytes = 0
        self.log: list[RecordedLogEntry] = []
        """The event log's entries by time."""
        self.wall_offset = 0.0
        self.last_at = 0.0
        self.endings: list[Ended] = []
        """How each file ended."""
        for source in sources:
            for place, item in source.items():
                try:
                    self._add(place, item)
                except UnusableError as error:
                    source.ended = Ended(source.name, f"the chunk at byte {place.offset} holds {error}", damaged=True)
                    break
                if len(self._marks) > CHUNKS_AT_MOST or self._log_bytes > LOG_BYTES_AT_MOST:
                    raise NotARecordingError(f"{source.name}: too much has happened by then; view fewer files at once")
            self.endings.append(source.ended)
        if not self._marks:
            raise NotARecordingError(f"{sources[0].name}: there is nothing to be seen in it")
        self.log.sort(key=lambda entry: (entry.at, entry.seq))
        self.first_at = self._marks[0].at

    def _add(self, place: Place, item: CheckpointBody | RecordsBody) -> None:
        if isinstance(item, CheckpointBody):
            Runner().take_checkpoint(item)  # for what it refuses
            if not self._marks:
                self.wall_offset = item.wall - item.at
            self.last_at = max(self.last_at, item.at)
            self._marks.append(_Mark(place, item.at, True))
        elif self._marks:
            for entry in item.log:
                self._keep(entry)
            self.last_at = max([self.last_at, *(happened.at for happened in (*item.records[-1:], *item.log))])
            if item.records:
                self._marks.append(_Mark(place, item.records[0].at, False))

    def _keep(self, entry: RecordedLogEntry) -> None:
        if entry.kind in _NOT_SHOWN:
            return
        told, size = shown_within(entry.fields)
        entry.kind, entry.fields = shown(entry.kind), cast(dict[str, object], told)
        self.log.append(entry)
        self._log_bytes += size + 200

    def from_before(self, at: float) -> Iterator[tuple[float, CheckpointBody | RecordedInput]]:
        """States and inputs in order, from the last state at or before `at` (or the first one) to the end."""
        begin = max((n for n, mark in enumerate(self._marks) if mark.is_checkpoint and mark.at <= at), default=0)
        for mark in self._marks[begin:]:
            item = self._sources[mark.place.file].item_at(mark.place.offset)
            if isinstance(item, CheckpointBody):
                yield item.at, item
            else:
                for record in item.records:
                    yield record.at, record
