"""What was told, by whom, and which rank it is about. No clock, no I/O: answers and failures in, a `SourcesView` out.

Which rank. The label `engine` of vLLM's metrics is the rank in its deployment, one API server for all or one for each.
Instances that know nothing of each other all say engine 0: where several targets tell of the same engines and nobody of
others, each is a deployment of its own, and ranks follow the order of targets. Otherwise a rank that two targets tell
of is the one's that had it first, and the other one's answer is of no use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from dp_coordinator.sourced import Heartbeat, Origin, RankView, SourcesView, TappedView, TargetView, Told
from dp_coordinator.sources.telling import Answer, Sample
from dp_coordinator.texts import shown
from dp_coordinator.wire.client import Publication
from dp_coordinator.words import RankCondition, SourceKind, TargetState

SAID_AT_MOST = 300
"""Characters of what is said of a target: parts of it came from there."""
Log = Callable[[str, Mapping[str, object]], None]
"""Is told of every change worth an entry of the event log: its kind, and its fields."""


@dataclass(slots=True)
class _Target:
    name: str
    state: TargetState = TargetState.NEW
    kind: SourceKind | None = None
    problem: str | None = None
    since: float | None = None
    answered_at: float | None = None
    engines: tuple[int, ...] = ()
    """As it calls them."""
    samples: dict[int, Sample] = field(default_factory=dict)
    beats: dict[int, Heartbeat] = field(default_factory=dict)
    told_at: dict[int, float] = field(default_factory=dict)
    ranks: tuple[int, ...] = ()
    rival: str | None = None
    """Who tells of the same ranks, and had them first."""


class Book:
    """Belongs to whoever asks. Times are monotonic seconds."""

    def __init__(self, *, placed: bool, log: Log = lambda kind, fields: None) -> None:
        """`placed`: targets that never answered are given ranks by their order; False beside a coordinator.

        There, who tells of the same engine as another one is no deployment of its own either.
        """
        self._placed = placed
        self._log = log
        self._targets: dict[str, _Target] = {}
        self._troubles: dict[str, tuple[str, float]] = {}
        self._owner: dict[int, tuple[str, int]] = {}
        """Rank -> the target that tells of it, and what it calls that rank."""
        self._independent = False
        self._rivals = False
        self._ranks: dict[int, RankView] = {}
        self._version = 0
        self._tapped: TappedView | None = None
        self._tap_ranks: dict[int, RankView] = {}
        self._tap_name = ""

    # -- who is asked ----------------------------------------------------------------------------------------------

    def ask(self, names: Iterable[str]) -> None:
        """From now on these are the targets, in this order. What others told is forgotten."""
        before, self._targets = self._targets, {}
        for name in names:
            self._targets[name] = before.get(name) or _Target(name)
        if list(before) != list(self._targets):
            self._place()

    def listen(self, name: str) -> None:
        """Somebody's coordinator is listened to there, from now on."""
        self._tap_name = name

    def trouble(self, name: str, problem: str | None, now: float) -> None:
        """A name that gives no address, or a file that cannot be read; None: it does again."""
        had = self._troubles.get(name)
        problem = problem if problem is None else shown(problem, SAID_AT_MOST)
        if problem is None and had is not None:
            del self._troubles[name]
            self._changed("source_answers", {"target": name})
        elif problem is not None and (had is None or had[0] != problem):
            self._troubles[name] = problem, now if had is None else had[1]
            self._changed("source_unusable", {"target": name, "detail": problem})

    # -- what came ---------------------------------------------------------------------------------------------------

    def answered(self, name: str, answer: Answer, now: float) -> None:
        """A target told something."""
        target = self._targets.get(name)
        if target is None:
            return  # it was taken off the list meanwhile
        if target.state is not TargetState.ANSWERS:
            lasted = None if target.since is None else round(now - target.since, 3)
            self._changed("source_answers", {"target": name, "source": answer.kind.value, "lasted_s": lasted})
        target.state, target.problem, target.since = TargetState.ANSWERS, None, None
        target.answered_at, target.kind = now, answer.kind
        origin = Origin(answer.kind, name)
        before = target.samples
        target.samples = {sample.engine: sample for sample in answer.samples}
        target.beats = {
            engine: beat
            for engine, sample in target.samples.items()
            if (beat := _beat(target.beats.get(engine), before.get(engine), sample, now, origin)) is not None
        }
        target.told_at = {sample.engine: now - sample.age_s for sample in answer.samples}
        engines = tuple(target.samples)
        if engines != target.engines or self._disputed():
            target.engines = engines
            self._place()
        self._tell(target)

    def failed(self, name: str, state: TargetState, problem: str, now: float, *, scaling: bool = False) -> None:
        """A target told nothing: silent or unusable, and why. `scaling`: it is there, and says that it scales."""
        target = self._targets.get(name)
        if target is None:
            return
        problem = shown(problem, SAID_AT_MOST)
        if target.state is not state or target.problem != problem:
            about = {"target": name, "detail": problem, "ranks": list(target.ranks)}
            self._changed("source_silent" if state is TargetState.SILENT else "source_unusable", about)
        target.state, target.problem = state, problem
        target.since = now if target.since is None else target.since
        if scaling:
            said = {RankCondition.SCALING: problem}
            target.samples = {e: replace(s, conditions={**s.conditions, **said}) for e, s in target.samples.items()}
        if self._disputed():
            self._place()
        self._tell(target)

    def tapped(self, name: str, published: Publication, now: float) -> None:
        """Somebody's coordinator published. Zeros say nothing until that rank had something else: never is not 0."""
        self.trouble(name, None, now)
        self._tapped = TappedView(published.current_wave, published.engines_running, now)
        if published.counts is None:
            return
        origin = Origin(SourceKind.TAP, name)
        ranks: dict[int, RankView] = {}
        for rank, load in enumerate(published.counts):
            if load.waiting or load.running or self._told_by_tap(rank):
                usage = Told(load.kv_cache_usage, now, origin) if 0 <= load.kv_cache_usage <= 1 else None
                waiting, running = Told(load.waiting, now, origin), Told(load.running, now, origin)
                ranks[rank] = RankView(rank, "", waiting, running, usage)
            else:
                ranks[rank] = RankView(rank, "")
        if len(ranks) != len(self._tap_ranks):
            self._version += 1
        self._tap_ranks = ranks

    def tap_failed(self, name: str, problem: str, now: float) -> None:
        """It cannot be heard, or what it publishes cannot be read: nothing of it is known any more."""
        self._tapped, self._tap_ranks = None, {}
        self.trouble(name, problem, now)

    def _told_by_tap(self, rank: int) -> bool:
        before = self._tap_ranks.get(rank)
        return before is not None and before.running is not None

    # -- what is known -----------------------------------------------------------------------------------------------

    def view(self) -> SourcesView:
        """All of it, frozen."""
        troubles = (
            TargetView(name, None, TargetState.UNUSABLE, problem, since)
            for name, (problem, since) in self._troubles.items()
        )
        ranks = self._tap_ranks | self._ranks
        tap = (self._tap(),) if self._tap_name and self._tap_name not in self._troubles else ()
        return SourcesView(
            ranks=MappingProxyType(dict(sorted(ranks.items()))),
            targets=(*map(_frozen, self._targets.values()), *tap, *troubles),
            independent=self._independent,
            version=self._version,
            tapped=self._tapped,
        )

    def _tap(self) -> TargetView:
        if self._tapped is None:
            return TargetView(self._tap_name, SourceKind.TAP, TargetState.NEW)
        ranks = tuple(rank for rank in self._tap_ranks if rank not in self._ranks)
        return TargetView(self._tap_name, SourceKind.TAP, TargetState.ANSWERS, None, None, self._tapped.at, ranks)

    def _changed(self, kind: str, fields: Mapping[str, object]) -> None:
        self._version += 1
        self._log(kind, fields)

    # -- which rank is whose -------------------------------------------------------------------------------------------

    def _place(self) -> None:
        """Give out the ranks anew."""
        targets = list(self._targets.values())
        told = [target for target in targets if target.engines]
        same = len({target.engines for target in told}) == 1
        self._independent = self._placed and len(told) > 1 and same
        before = {target.name: target.ranks for target in targets}
        rivals = [target.rival for target in targets]
        for target in targets:
            target.rival = None
        if self._independent:
            self._owner = self._by_order(targets, len(told[0].engines))
        else:
            self._owner = self._by_label(told)
        for target in targets:
            target.ranks = tuple(rank for rank, (name, _) in self._owner.items() if name == target.name)
        if self._placed and not self._independent:
            self._place_others([target for target in targets if not target.engines])
        self._rivals = any(target.rival is not None for target in targets)
        self._version += rivals != [target.rival for target in targets]
        self._version += before != {target.name: target.ranks for target in targets}
        self._ranks = {}
        for target in targets:
            self._tell(target)
            if before[target.name] and before[target.name] != target.ranks and target.engines:
                fields = {"target": target.name, "ranks": list(target.ranks), "before": list(before[target.name])}
                self._changed("source_moved", fields)

    def _disputed(self) -> bool:
        """Whether several tell of one rank: then it may change hands whenever one of them answers, or does not."""
        return self._rivals

    def _by_order(self, targets: list[_Target], size: int) -> dict[int, tuple[str, int]]:
        owner: dict[int, tuple[str, int]] = {}
        for place, target in enumerate(targets):
            engines = target.engines or tuple(range(size))
            owner |= {place * size + number: (target.name, engine) for number, engine in enumerate(engines)}
        return owner

    def _by_label(self, told: list[_Target]) -> dict[int, tuple[str, int]]:
        owner: dict[int, tuple[str, int]] = {}
        for target in sorted(told, key=_claim):
            for engine in target.engines:
                name, _ = owner.setdefault(engine, (target.name, engine))
                if name != target.name:
                    target.rival = name
        return dict(sorted(owner.items()))

    def _place_others(self, others: list[_Target]) -> None:
        free = (rank for rank in range(len(self._owner) + len(others)) if rank not in self._owner)
        for target in others:
            target.ranks = (next(free),)

    def _tell(self, target: _Target) -> None:
        """Renew what is known of its ranks."""
        for rank in target.ranks:
            name, engine = self._owner.get(rank, ("", 0))
            sample = target.samples.get(engine)
            if name == target.name and sample is not None:
                self._ranks[rank] = _rank(rank, target, sample)


def _claim(target: _Target) -> int:
    """The lower, the better its claim to the ranks that it tells of: it still does, and did so before."""
    if target.state is not TargetState.ANSWERS:
        return 2
    return 0 if set(target.engines) <= set(target.ranks) else 1


def _rank(rank: int, target: _Target, sample: Sample) -> RankView:
    assert target.kind is not None
    at, origin = target.told_at[sample.engine], Origin(target.kind, target.name)
    return RankView(
        rank=rank,
        address=target.name,
        waiting=None if sample.waiting is None else Told(sample.waiting, at, origin),
        running=None if sample.running is None else Told(sample.running, at, origin),
        kv_cache_usage=None if sample.kv_cache_usage is None else Told(sample.kv_cache_usage, at, origin),
        heartbeat=target.beats.get(sample.engine),
        conditions={condition: Told(shown(text), at, origin) for condition, text in sample.conditions.items()},
        silent=target.state is not TargetState.ANSWERS,
    )


def _frozen(target: _Target) -> TargetView:
    state, problem, since = target.state, target.problem, target.since
    if target.rival is not None and state is TargetState.ANSWERS:
        state, problem, since = TargetState.UNUSABLE, f"{target.rival} tells of the same ranks", target.answered_at
    return TargetView(target.name, target.kind, state, problem, since, target.answered_at, target.ranks)


def _beat(
    beat: Heartbeat | None, before: Sample | None, sample: Sample, now: float, origin: Origin
) -> Heartbeat | None:
    """What was seen of a number that grows with steps, with one answer more."""
    if sample.beat is None:
        return None
    if beat is None or before is None or beat.unit != sample.unit:
        return Heartbeat(sample.beat, sample.unit, now, now, None, now, origin)
    begun = (sample.running, sample.kv_cache_usage) != (before.running, before.kv_cache_usage)
    moved = sample.beat != beat.value or begun or (sample.waiting or 0) < (before.waiting or 0)  # more only arrived
    grew = sample.beat > beat.value
    return Heartbeat(
        value=sample.beat,
        unit=sample.unit,
        at=now,
        grew_at=now if grew else beat.grew_at,
        grew_after=beat.at if grew else beat.grew_after,
        moved_at=now if moved else beat.moved_at,
        origin=origin,
    )
