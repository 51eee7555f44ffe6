"""Random sequences of stimuli: what engines and front-ends send, in and out of order, and what nobody should send."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from dp_coordinator.core import Dialect
from tests.vllm.differential import frames
from tests.vllm.differential.scripted import BACK, FRONT, OUTPUT, QUIET_MS, Stimulus

MOST_ENGINES, UNKNOWN = 6, 20_000
SUBSCRIBE, UNSUBSCRIBE = b"\x01", b"\x00"


@dataclass
class Sequence:
    """A seed's sequence, and what may be compared in it."""

    seed: int
    dialect: Dialect
    wave_coordination: bool
    engine_count: int
    stimuli: list[Stimulus] = field(default_factory=list)

    def what(self) -> str:
        """For whoever has to look at a failure."""
        mode = "on" if self.wave_coordination else "off"
        lines = [f"seed {self.seed}, vLLM {self.dialect.version}, {self.engine_count} engines, coordination {mode}:"]
        return "\n".join(lines + [f"  +{s.after} ms {s.channel} {s.what} {s.frame.hex()}" for s in self.stimuli])


class Generator:
    """Keeps enough state to send mostly plausible things; it knows the engine count exactly, the wave roughly."""

    def __init__(self, seed: int, dialect: Dialect, *, wave_coordination: bool, engines: int | None = None) -> None:
        """`engines`: so many at first; None for a random number."""
        self._random = random.Random(seed)
        self.dialect = dialect
        self.coordination = wave_coordination
        self.engines = self._random.randint(1, MOST_ENGINES) if engines is None else engines
        self.wave = 0
        self.there = 0
        """How many engines have subscribed."""
        self.early: set[int] = set()
        """Engines of which a wave message came before READY: of a second one see `held_before_ready`."""
        self.newest = (0, 0)
        self.own: dict[int, tuple[int, int]] = {}
        # After a restart fewer things can be compared: half of the sequences have none. In another half all that lies
        # between two quiet pauses comes at one moment, so that no load is published meanwhile.
        self.flowing = bool(seed % 2)
        self._kinds: list[tuple[int, Callable[[], Stimulus]]] = [
            (40, self._report),
            (3, self._report_with_wave_message),
            (12, self._wave_complete),
            (10, self._start_wave),
            (2, self._both),
            (8, self._notice),
            (8, self._identity),
            (2, self._unknown_engines_notice),
            (5, self._front_subscription),
            (4, self._engine_subscription),
            (3, self._unknown_engines_report),
            (2, self._scale),
            (2, self._bad_scale),
            (3, self._stray),
            (1 if seed % 4 > 1 else 0, self._restart),
        ]

    def sequence(self, seed: int, length: int) -> Sequence:
        """Subscriptions of all engines with some reports between them, then `length` stimuli of all kinds."""
        made = Sequence(seed, self.dialect, self.coordination, self.engines)
        for _ in range(self.engines):
            made.stimuli += [self._early() for _ in range(self._random.randrange(3))]
            made.stimuli.append(Stimulus(BACK, SUBSCRIBE, "engine subscribes"))
            self.there += 1
        weights, kinds = zip(*self._kinds, strict=True)
        while len(made.stimuli) < length:
            stimulus = self._random.choices(kinds, weights)[0]()
            made.stimuli.append(replace(stimulus, after=self._gap()))
        return made

    def _gap(self) -> int:
        if self._random.random() < 0.05:
            return QUIET_MS + self._random.randrange(2000)
        return self._random.choice([0, 0, 1, 7, 40, 60, 120, 300]) if self.flowing else 0

    def _early(self) -> Stimulus:
        kind = self._random.choice([self._report, self._front_subscription, self._wave_complete, self._notice])
        if kind in (self._wave_complete, self._notice):
            left = sorted(set(range(self.engines)) - self.early)
            if not left:
                return self._report()
            self.early.add(left[0])
            return kind(left[0])
        return kind()

    # -- engines ---------------------------------------------------------------------------------------------------

    def _engine(self) -> int:
        return self._random.randrange(self.engines)

    def _counts(self) -> tuple[int, int, float]:
        return self._random.randrange(20), self._random.randrange(300), self._random.choice([0.0, 0.25, 0.123456789])

    def _stamp(self, engine: int) -> tuple[int, int]:
        """An engine's next (wave, step): never behind its own last, often behind or ahead of the others'."""
        if not self.coordination:
            return 0, 0  # dense engines stamp nothing
        own = self.own.get(engine, (0, 0))
        wave, step = self._random.choice([self.newest, own, (own[0], own[1] + self._random.randrange(4))])
        if self._random.random() < 0.1:
            wave, step = max(wave, self.wave) + self._random.randrange(2), self._random.randrange(3)
        stamp = max(own, (wave, step))
        self.own[engine] = stamp
        self.newest = max(self.newest, stamp)
        return stamp

    def _stats(self, engine: int) -> object:
        wave, step = self._stamp(engine)
        return frames.stats(*self._counts(), wave=wave, step=step)

    def _report(self) -> Stimulus:
        engine = self._engine()
        return Stimulus(OUTPUT, frames.outputs(engine, scheduler_stats=self._stats(engine)), f"report of {engine}")

    def _near(self) -> int:
        return max(0, self.wave + self._random.choice([-2, -1, -1, 0, 0, 0, 0, 1, 1, 2]))

    def _completing(self) -> int:
        wave = self._near()
        self.wave = max(self.wave, wave + 1)
        return wave

    def _starting(self) -> int:
        wave = self._near()
        self.wave = max(self.wave, wave)
        return wave

    def _wave_complete(self, of: int | None = None) -> Stimulus:
        engine, wave = self._engine() if of is None else of, self._completing()
        return Stimulus(OUTPUT, frames.outputs(engine, wave_complete=wave), f"wave_complete({wave}) of {engine}")

    def _start_wave(self) -> Stimulus:
        if self._random.random() < 0.1:
            frame = frames.outputs(UNKNOWN, start_wave=self._near())
            what, why = f"start_wave of {UNKNOWN}", "unknown_engine_moves_nothing"
            return Stimulus(OUTPUT, frame, what, only_ours=True, difference=why)
        engine, wave = self._engine(), self._starting()
        return Stimulus(OUTPUT, frames.outputs(engine, start_wave=wave), f"start_wave({wave}) of {engine}")

    def _both(self) -> Stimulus:
        done, begun = self._completing(), self._near()
        frame = frames.outputs(self._engine(), wave_complete=done, start_wave=begun)
        return Stimulus(OUTPUT, frame, f"wave_complete({done}) and start_wave({begun})")

    def _report_with_wave_message(self) -> Stimulus:
        engine = self._engine()
        fields = {"wave_complete": self._completing()} if self._random.random() < 0.5 else {"start_wave": self._near()}
        frame = frames.outputs(engine, scheduler_stats=self._stats(engine), **fields)
        return Stimulus(OUTPUT, frame, f"report of {engine} with {fields}")

    def _restart(self) -> Stimulus:
        engine = self._engine()
        self.own[engine] = (0, 0)
        frame = frames.report(engine, *self._counts())
        return Stimulus(OUTPUT, frame, f"report of {engine}, restarted", difference="restart_opens_steps_again")

    def _unknown_engines_report(self) -> Stimulus:
        # One that no SCALE makes known: what those reported before it is kept (`early_report_is_kept`).
        engine = MOST_ENGINES + self._random.randrange(3)
        frame = frames.report(engine, *self._counts(), wave=self.wave, step=3)
        if self.dialect.counts_carry_kv_cache_usage:
            return Stimulus(OUTPUT, frame, f"report of {engine}, which does not exist")
        what, why = f"report of {engine}, which does not exist", "unknown_engine_is_dropped"
        return Stimulus(OUTPUT, frame, what, only_ours=True, difference=why)

    def _engine_subscription(self) -> Stimulus:
        if self._random.random() < 0.5:
            self.there += 1
            return Stimulus(BACK, SUBSCRIBE, "another engine subscribes")
        self.there = max(0, self.there - 1)
        return Stimulus(BACK, UNSUBSCRIBE, "an engine unsubscribes")

    # -- front-ends ------------------------------------------------------------------------------------------------

    def _front_subscription(self) -> Stimulus:
        if self._random.random() < 0.6:
            return Stimulus(FRONT, SUBSCRIBE, "front-end subscribes")
        return Stimulus(FRONT, UNSUBSCRIBE, "front-end unsubscribes")

    def _notice(self, of: int | None = None) -> Stimulus:
        engine, wave = self._engine() if of is None else of, self._near()
        return Stimulus(FRONT, frames.notice(engine, wave), f"notice({engine}, {wave})")

    def _identity(self) -> Stimulus:
        engine, wave = self._engine(), self._near()
        return Stimulus(
            FRONT,
            frames.notice(frames.identity(engine), wave),
            f"notice(identity of {engine}, {wave})",
            for_vllm=frames.notice(engine, wave),
            difference="identity_is_broadcast_as_index",
        )

    def _unknown_engines_notice(self) -> Stimulus:
        engine, wave = self._random.choice([-1, self.engines, self.engines + 5]), self._near()
        return Stimulus(
            FRONT,
            frames.notice(engine, wave),
            f"notice({engine}, {wave}), an engine that does not exist",
            for_vllm=frames.notice(None, wave),
            difference="unknown_engine_excludes_nobody",
        )

    def _scale(self) -> Stimulus:
        # Of more than have subscribed see `scale_waits_for_its_engines`.
        self.engines = self._random.randint(1, min(MOST_ENGINES, max(self.there, self.engines)))
        self.own = {engine: stamp for engine, stamp in self.own.items() if engine < self.engines}
        return Stimulus(FRONT, frames.scale(self.engines), f"SCALE({self.engines})", difference="scale_is_published")

    def _bad_scale(self) -> Stimulus:
        count = self._random.choice([0, -1, 1 << 20, "two", None])
        what = f"SCALE({count!r})"
        return Stimulus(FRONT, frames.scale(count), what, only_ours=True, difference="scale_out_of_range")

    def _stray(self) -> Stimulus:
        channel, frame, difference = self._random.choice(STRAYS)
        return Stimulus(channel, frame, "stray frame", only_ours=True, difference=difference)


STRAYS = [
    (FRONT, b"", "undecodable"),
    (FRONT, b"\xc1", "undecodable"),
    (FRONT, b"\x93\x01\x02\x03", "undecodable"),
    (FRONT, frames.notice(b"\x01", 0), "undecodable"),
    (FRONT, frames.notice(0, -3), "negative_numbers"),
    (FRONT, b"\x01topic", "topic_subscription"),
    (OUTPUT, b"", "undecodable"),
    (OUTPUT, b"GET / HTTP/1.1\r\n\r\n", "undecodable"),
    (OUTPUT, frames.pack([]), "undecodable"),
    (OUTPUT, frames.pack([-1, [], {"num_waiting_reqs": 1}, 0.0]), "negative_numbers"),
    (OUTPUT, frames.pack([0, [], {"num_waiting_reqs": -4}, 0.0]), "negative_numbers"),
    (OUTPUT, frames.pack(["0", [], None, 0.0]), "undecodable"),
    (BACK, b"hello", "stray_on_back_publish"),
]
"""What nobody should send: (channel, frame, the named difference)."""
