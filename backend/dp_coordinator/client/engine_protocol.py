"""An engine's side of the protocol without I/O: frames in, what they mean out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dp_coordinator.client.errors import ProtocolError
from dp_coordinator.core.dialect import DEFAULT_VERSION, Dialect
from dp_coordinator.wire import client as wire


@dataclass(frozen=True, slots=True)
class StartWave:
    """START_DP_WAVE: the engines are to run `wave` together."""

    wave: int
    excluded: int | None
    """The engine that ignores this, because it runs that wave already; None when all are meant."""

    def wakes(self, engine_index: int, current_wave: int) -> bool:
        """Whether the engine of that index, which stands at that wave, has to join."""
        return engine_index != self.excluded and self.wave >= current_wave


class EngineProtocol:
    """Knows whether READY was seen, and reads what the coordinator sends to this engine.

    The first message from the coordinator must be READY; later READYs mean other engines and are ignored. An engine
    that comes back while the others go on sets `ready` itself: a START may overtake its READY, and before 0.18 it gets
    none.
    """

    def __init__(self, engine_index: int, dialect: Dialect | str = DEFAULT_VERSION) -> None:
        if engine_index < 0:
            raise ValueError(f"engine_index counts from 0, not {engine_index}")
        self.engine_index = engine_index
        self.dialect = dialect if isinstance(dialect, Dialect) else Dialect.for_version(dialect)
        self.ready = False
        """Whether READY was seen or need not be."""

    def receive(self, frames: Sequence[bytes]) -> StartWave | None:
        """Take one message from the coordinator; None for READY. Raises `ProtocolError`."""
        if len(frames) == 1 and frames[0] == wire.READY:
            self.ready = True
            return None
        try:
            start = StartWave(*wire.decode_start(frames))
        except wire.FrameError as error:
            expected = "READY or START_DP_WAVE" if self.ready else "READY"
            raise ProtocolError(f"expected {expected} from the coordinator: {error}") from error
        if not self.ready:
            raise ProtocolError(f"expected READY as the first message from the coordinator, got {start}")
        return start
