"""What happens when in a recording, without holding all of it unpacked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dp_coordinator.recorder.chunks import NotARecordingError
from dp_coordinator.recorder.entries import CheckpointBody, RecordedInput, RecordedLogEntry, RecordsBody
from dp_coordinator.recorder.reader import Ended, Place, Source

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
        self.log: list[RecordedLogEntry] = []
        """The event log's entries by time."""
        self.wall_offset = 0.0
        self.last_at = 0.0
        self.endings: list[Ended] = []
        """How each file ended."""
        for source in sources:
            for place, item in source.items():
                self._add(place, item)
            self.endings.append(source.ended)
        if not self._marks:
            raise NotARecordingError(f"{sources[0].name}: there is nothing to be seen in it")
        self.log.sort(key=lambda entry: (entry.at, entry.seq))
        self.first_at = self._marks[0].at

    def _add(self, place: Place, item: CheckpointBody | RecordsBody) -> None:
        if isinstance(item, CheckpointBody):
            if not self._marks:
                self.wall_offset = item.wall - item.at
            self.last_at = max(self.last_at, item.at)
            self._marks.append(_Mark(place, item.at, True))
        elif self._marks:
            self.log += [entry for entry in item.log if entry.kind not in _NOT_SHOWN]
            self.last_at = max([self.last_at, *(happened.at for happened in (*item.records[-1:], *item.log))])
            if item.records:
                self._marks.append(_Mark(place, item.records[0].at, False))

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
