"""Both coordinator loops in virtual time: scripted sockets hand them the same stimuli, and note all they send.

vLLM's loop runs unmodified: only what its module calls `make_zmq_socket`, `zmq.Poller`, `time` and `set_process_title`
is replaced while it runs. Ours is the real core, wire format and transport loop behind sockets of the same kind.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import zmq

from dp_coordinator.core import Coordinator, Dialect
from dp_coordinator.core.effects import BroadcastStartWave, Effect
from dp_coordinator.core.events import Peer, PeerConnected, PeerDisconnected
from dp_coordinator.mailbox import Mailbox
from dp_coordinator.messages import Endpoints
from dp_coordinator.transport import loop as our_loop
from dp_coordinator.words import Channel, WaveCause

FRONT, OUTPUT, BACK = "front_publish", "back_output", "back_publish"
_BIND_ORDER = (FRONT, OUTPUT, BACK)  # in every vLLM version
WALL_CLOCK_AT_START = 1_700_000_000
QUIET_MS = 6_000
"""A pause in which each loop publishes all that it holds back, and its heartbeat of 5 s."""


@dataclass(frozen=True)
class Stimulus:
    """One frame that arrives, `after` milliseconds since the one before."""

    channel: str
    frame: bytes
    what: str
    after: int = 0
    for_vllm: bytes | None = None
    """What vLLM's loop is given instead, where a named difference makes it do something else with `frame`."""
    only_ours: bool = False
    """vLLM's loop is not given it: a named difference says that it must not change anything."""
    difference: str | None = None
    """The named difference that `for_vllm` or `only_ours` stands for."""


@dataclass
class Transcript:
    """What a loop sent: one list a segment, a segment being what lies between two quiet pauses."""

    segments: list[list[tuple[str, tuple[bytes, ...]]]] = field(default_factory=lambda: [[]])
    ended: str | None = None
    """How the loop ended before the script did, if so."""
    sent_at: list[tuple[int, str, tuple[bytes, ...]]] = field(default_factory=list)
    """All of it, with the virtual time in milliseconds."""
    mending: list[tuple[bytes, ...]] = field(default_factory=list)
    """Ours: each START because a connection was made again, a named difference. They are in no segment."""
    verdicts: dict[tuple[str, str], int] = field(default_factory=dict)
    """Ours: frames counted by (kind, verdict)."""

    def frames(self, channel: str) -> list[tuple[bytes, ...]]:
        return [frames for _, where, frames in self.sent_at if where == channel]


class EndOfScriptError(Exception):
    """Every stimulus was taken, and the pause after the last is over."""


class Script:
    """Virtual time in milliseconds, and who gets which stimulus when."""

    def __init__(
        self, stimuli: Sequence[Stimulus], *, vllm: bool, together: bool = False, wall_step: tuple[int, int] = (0, 0)
    ) -> None:
        """`together`: what comes at one moment on one channel (vLLM: on any) is handed over at once.

        `wall_step`: at that time the wall clock is set so many milliseconds forward.
        """
        self.now = 0
        self.mending = False
        self.outcome = Transcript()
        self.sockets = {channel: ScriptedSocket(self, channel) for channel in _BIND_ORDER}
        self._vllm = vllm
        self._together = together
        self._wall_step = wall_step
        self._coming: deque[tuple[int, Stimulus | None]] = deque()
        self._arrived: deque[str] = deque()
        at = 0
        for stimulus in stimuli:
            at += stimulus.after
            if stimulus.after >= QUIET_MS:
                self._coming.append((at, None))
            if not (vllm and stimulus.only_ours):
                self._coming.append((at, stimulus))
        self._end = at + 2 * QUIET_MS

    def seconds(self) -> float:
        """The monotonic clock."""
        return self.now / 1000

    def wall_clock(self) -> float:
        """The wall clock, in the middle of a millisecond, so that nothing is lost when it is cut to an int."""
        step_at, step = self._wall_step
        return (WALL_CLOCK_AT_START * 1000 + self.now + (step if self.now >= step_at else 0) + 0.5) / 1000

    def advance(self, until: int, registered: Sequence[ScriptedSocket]) -> list[tuple[ScriptedSocket, int]]:
        """Wait for input on one of those sockets, at most until then."""
        while not (ready := self._ready(registered)):
            if not self._coming or self._coming[0][0] > until:
                if until > self._end:
                    raise EndOfScriptError
                self.now = until
                break
            self.deliver()
        return [(socket, zmq.POLLIN) for socket in ready]

    def deliver(self) -> None:
        """Let the next stimulus (or all of one moment) arrive. Raises when there is none."""
        if not self._coming:
            raise EndOfScriptError
        at, stimulus = self._coming.popleft()
        self.now = max(self.now, at)
        if stimulus is None:
            self.outcome.segments.append([])
            return
        self._arrive(stimulus)
        while self._together and self._coming and self._goes_along(at, stimulus):
            self._arrive(self._coming.popleft()[1])

    def _goes_along(self, at: int, stimulus: Stimulus) -> bool:
        next_at, following = self._coming[0]
        same = following is not None and (self._vllm or following.channel == stimulus.channel)
        return next_at == at and same

    def _arrive(self, stimulus: Stimulus | None) -> None:
        assert stimulus is not None
        frame = stimulus.for_vllm if self._vllm and stimulus.for_vllm is not None else stimulus.frame
        self.sockets[stimulus.channel].queue.append(frame)
        self._arrived.append(stimulus.channel)

    def _ready(self, registered: Sequence[ScriptedSocket]) -> list[ScriptedSocket]:
        waiting = [socket for socket in registered if socket.queue]
        if self._together or len(waiting) < 2:
            return waiting
        return [next(self.sockets[c] for c in self._arrived if self.sockets[c] in waiting)]

    def taken(self, socket: ScriptedSocket) -> None:
        self._arrived.remove(socket.channel)

    def sent(self, channel: str, frames: tuple[bytes, ...]) -> None:
        if self.mending:
            self.outcome.mending.append(frames)
            return
        self.outcome.segments[-1].append((channel, frames))
        self.outcome.sent_at.append((self.now, channel, frames))


class ScriptedSocket:
    """As much of a zmq.Socket as the two loops use."""

    def __init__(self, script: Script, channel: str) -> None:
        self.script = script
        self.channel = channel
        self.queue: deque[bytes] = deque()

    def recv(self, flags: int = 0, copy: bool = True) -> Any:
        while not self.queue:
            if flags & zmq.NOBLOCK:
                raise zmq.Again
            self.script.deliver()
        self.script.taken(self)
        frame = self.queue.popleft()
        return frame if copy else SimpleNamespace(bytes=frame)

    def send(self, frame: bytes) -> None:
        self.script.sent(self.channel, (bytes(frame),))

    def send_multipart(self, frames: Sequence[bytes]) -> None:
        self.script.sent(self.channel, tuple(bytes(frame) for frame in frames))

    def __enter__(self) -> ScriptedSocket:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class ScriptedWatch:
    """As much of a PeerWatch as our loop uses: every subscription is another connection."""

    monitor = None

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.emptied = 0
        self._open: list[int] = []
        self._made = 1000 * (1 + list(Channel).index(channel))

    def subscribed(self, frame: Any, socket_type: str = "XSUB") -> PeerConnected:
        self._made += 1
        self._open.append(self._made)
        return PeerConnected(Peer(self._made, self.channel, "", "scripted", socket_type))

    def unsubscribed(self, frame: Any) -> PeerDisconnected | None:
        return PeerDisconnected(self._open.pop(), "unsubscribed") if self._open else None

    def changes(self) -> tuple[()]:
        return ()

    def silent(self) -> tuple[()]:
        return ()

    def ended(self) -> tuple[()]:
        return ()

    def heeds(self, *_: object) -> bool:
        return True

    def wants_names(self, *_: object) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class ScriptedPoller:
    """As much of a zmq.Poller as vLLM's loop uses, and our Polling."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._sockets: list[ScriptedSocket] = []

    def register(self, socket: ScriptedSocket | int | None, flags: int = zmq.POLLIN) -> None:
        if isinstance(socket, ScriptedSocket):
            self._sockets.append(socket)

    def poll(self, timeout: int) -> list[tuple[ScriptedSocket, int]]:
        return self._script.advance(self._script.now + timeout, self._sockets)


class ScriptedPolling:
    """As much of a Polling as our loop uses; nothing that is seldom readable ever is."""

    seldom = None

    def __init__(self, script: Script, sockets: Iterable[Any]) -> None:
        self._poller = ScriptedPoller(script)
        for socket in sockets:
            self._poller.register(socket)

    def wait(self, timeout_ms: int) -> dict[ScriptedSocket, int]:
        return dict(self._poller.poll(timeout_ms))

    def close(self) -> None:
        return None


def _scripted_zmq(script: Script) -> SimpleNamespace:
    names = ("XPUB", "PULL", "POLLIN", "NOBLOCK", "Again", "Context", "Socket", "LAST_ENDPOINT")
    return SimpleNamespace(Poller=lambda: ScriptedPoller(script), **{name: getattr(zmq, name) for name in names})


def run_vllm(
    module: ModuleType, stimuli: Sequence[Stimulus], engine_count: int, *, wave_coordination: bool = True, **how: Any
) -> Transcript:
    """vLLM's own loop. `how`: `together` and `wall_step` of `Script`."""
    script = Script(stimuli, vllm=True, **how)
    unbound = iter(_BIND_ORDER)
    replaced: dict[str, Any] = {
        "make_zmq_socket": lambda **_: script.sockets[next(unbound)],
        "zmq": _scripted_zmq(script),
        "time": SimpleNamespace(time=script.wall_clock),
        "set_process_title": lambda *_, **__: None,
    }
    # 0.10.2 has no such argument: there every deployment coordinates waves.
    options = {} if wave_coordination else {"enable_wave_coordination": False}
    with mock.patch.multiple(module, **replaced):
        coordinator = module.DPCoordinatorProc(engine_count, **options)
        try:
            coordinator.process_input_socket(*_BIND_ORDER)
            script.outcome.ended = "returned"
        except EndOfScriptError:
            pass
        except Exception as error:
            script.outcome.ended = type(error).__name__
        finally:
            coordinator.ctx.term()
    return script.outcome


class _TellingLoop(our_loop.Loop):
    """Ours, which tells the script why it sends a START."""

    script: Script

    def _perform(self, effects: Sequence[Effect], now: float) -> None:
        for effect in effects:
            self.script.mending = isinstance(effect, BroadcastStartWave) and effect.cause is WaveCause.RECONNECTION
            super()._perform((effect,), now)
        self.script.mending = False


def run_ours(
    dialect: str, stimuli: Sequence[Stimulus], engine_count: int, *, wave_coordination: bool = True, **how: Any
) -> Transcript:
    """Our core, wire format and loop. `how`: `together` and `wall_step` of `Script`."""
    script = Script(stimuli, vllm=False, **how)
    core = Coordinator(engine_count, Dialect.for_version(dialect), wave_coordination=wave_coordination)
    mailbox = Mailbox(core.snapshot(0), Endpoints(*_BIND_ORDER), min_stats_update_interval=0.1)
    sockets: Any = SimpleNamespace(
        **script.sockets,
        watches={channel: ScriptedWatch(channel) for channel in Channel},
        doorkeeper=SimpleNamespace(socket=None, due=math.inf),
    )
    wall: Any = SimpleNamespace(time=script.wall_clock, monotonic=time.monotonic)
    with mock.patch.multiple(our_loop, Polling=lambda sockets, _: ScriptedPolling(script, sockets), time=wall):
        loop = _TellingLoop(core, sockets, mailbox, clock=script.seconds)
        loop.script = script
        with contextlib.closing(loop), contextlib.suppress(EndOfScriptError):
            loop.run()
    script.outcome.verdicts = dict(mailbox.counters.frames)
    return script.outcome
