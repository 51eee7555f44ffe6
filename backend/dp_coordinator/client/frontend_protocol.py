"""A front-end's side of the protocol without I/O: what is known of load and waves, and where to send a request."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dp_coordinator.client.errors import NoEngineError, ProtocolError
from dp_coordinator.core.dialect import DEFAULT_VERSION, Dialect
from dp_coordinator.wire import client as wire

KV_PRESSURE_FROM = 0.5
"""kv_cache_usage above which waiting requests weigh more than running ones."""
KV_PRESSURE_WEIGHT = 6.0
"""Extra weight of one waiting request per unit of kv_cache_usage above that: threefold at a full cache."""


@dataclass(frozen=True, slots=True)
class Load:
    """The newest load publication."""

    engines: tuple[wire.EngineLoad, ...]
    """In index order. Zeros also mean that an engine never reported: that is what the protocol publishes."""
    age_s: float
    """Seconds since it arrived here."""


class FrontendProtocol:
    """Load, wave state and this front-end's own requests in flight."""

    def __init__(
        self,
        dialect: Dialect | str = DEFAULT_VERSION,
        *,
        engine_count: int = 0,
        client_index: int = 0,
        client_count: int = 1,
    ) -> None:
        """`engine_count` 0 means: learn it from the first load publication."""
        if not 0 <= client_index < client_count:
            raise ValueError(f"client_index must be 0 to client_count - 1 ({client_count - 1}), not {client_index}")
        self.dialect = dialect if isinstance(dialect, Dialect) else Dialect.for_version(dialect)
        self.current_wave = 0
        self.engines_running = False
        self._published: tuple[wire.EngineLoad, ...] | None = None
        self._published_at = 0.0
        self._client_index, self._client_count = client_index, client_count
        self._in_flight: list[int] = []
        self._sent_since: list[int] = []
        self._first = 0
        self._resize(engine_count)

    @property
    def engine_count(self) -> int:
        """How many engines are known; 0 before the first load publication."""
        return len(self._in_flight)

    def _resize(self, engine_count: int) -> None:
        if not self._in_flight and engine_count:
            # Front-ends start their scans apart from each other, so that idle engines fill evenly.
            self._first = engine_count * self._client_index // self._client_count
        self._in_flight = (self._in_flight + [0] * engine_count)[:engine_count]
        self._sent_since = (self._sent_since + [0] * engine_count)[:engine_count]

    def receive(self, frame: bytes, now: float) -> None:
        """Take one publication that arrived at `now`, in seconds. Raises `ProtocolError`."""
        try:
            publication = wire.decode_publication(frame)
        except wire.FrameError as error:
            raise ProtocolError(f"from the coordinator: {error}") from error
        self.current_wave = publication.current_wave
        self.engines_running = publication.engines_running
        if publication.counts is not None:
            self._published, self._published_at = publication.counts, now
            self._resize(len(publication.counts))
            self._sent_since = [0] * len(publication.counts)

    def load(self, now: float) -> Load | None:
        """Give the newest load publication; None when there was none yet."""
        return None if self._published is None else Load(self._published, now - self._published_at)

    def in_flight(self, engine_index: int) -> int:
        """Count this front-end's own unfinished requests at an engine."""
        return self._in_flight[engine_index]

    def pick_engine(self, exclude: Collection[int] = ()) -> int:
        """Choose the least loaded engine for one request, and count the request as in flight there.

        Raises `NoEngineError` when no engine is known or all are excluded.
        """
        count = self.engine_count
        scan = [index % count for index in range(self._first, self._first + count) if index % count not in exclude]
        if not scan:
            raise NoEngineError(f"none of {count} known engines can be chosen")
        chosen = min(scan, key=self._score)  # of equals the first in the scan
        self._sent_since[chosen] += 1
        self._in_flight[chosen] += 1
        self._first = (self._first + 1) % count
        return chosen

    def _score(self, index: int) -> float:
        """How loaded an engine is: what was published and sent since, or what we know to be in flight if that is more.

        All front-ends see the same publication, so each takes what it sent since as what each of the others sent too.
        """
        published = self._published[index] if self._published is not None else wire.EngineLoad(0, 0)
        waiting = published.waiting + self._client_count * self._sent_since[index]
        load = max(self._client_count * self._in_flight[index], waiting + published.running)
        pressure = max(0.0, published.kv_cache_usage - KV_PRESSURE_FROM)
        return load + waiting * KV_PRESSURE_WEIGHT * pressure

    def request_finished(self, engine_index: int) -> None:
        """Take one request back that `pick_engine` had counted as in flight."""
        if engine_index < self.engine_count:  # engines may have been removed in the meantime
            self._in_flight[engine_index] = max(0, self._in_flight[engine_index] - 1)

    def new_request(self, engine_index: int) -> bytes | None:
        """Make the notice that a request was sent to an engine, or None when none is due.

        It is due while the engines are believed paused; from 0.33 on engines start waves alone and it is never due. The
        engines are believed running from then on, so that one notice is sent and not one per request.
        """
        if self.engines_running or not self.dialect.notices_accepted:
            return None
        self.engines_running = True
        return wire.encode_notice(engine_index, self.current_wave)
