"""`GET /metrics`: read from the mailbox when it is scraped; nothing is counted twice and nothing is global."""

from __future__ import annotations

import math
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import HistogramMetricFamily, StateSetMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dp_coordinator import __version__
from dp_coordinator.alarms.kinds import Alarm
from dp_coordinator.core.snapshot import RecoveryPhase, Snapshot
from dp_coordinator.mailbox import Histogram, Mailbox
from dp_coordinator.words import AlarmKind, DeploymentState, Severity

_PREFIX = "dp_coordinator_"


Values: TypeAlias = Iterable[tuple[tuple[str, ...], float]]
"""Of each label, in the order of their names, and the number."""


class Metrics(Collector):
    """Turns the newest snapshot and the loop's counters into metrics, with a registry of its own."""

    def __init__(
        self,
        mailbox: Mailbox,
        viewers: Callable[[], tuple[int, int]],
        alarms: Callable[[], Mapping[AlarmKind, Alarm]] = dict,
        refused: Callable[[], Mapping[str, int]] = dict,
        *,
        webhook: Callable[[], Mapping[str, int]] = dict,
        more: Callable[[], Iterable[Metric]] = tuple,
    ) -> None:
        """What is not in the mailbox, as functions.

        `viewers` gives (connected now, cut off so far because they took nothing), `alarms` those that stand,
        `refused` how many requests were refused for which reason, `webhook` its messages by what became of them, `more`
        what has names of its own.
        """
        self._mailbox = mailbox
        self._alarms = alarms
        self._refused = refused
        self._webhook = webhook
        self._more = more
        self._viewers = viewers
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def page(self) -> bytes:
        """Prometheus text."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        snapshot, now = self._mailbox.seen(), self._mailbox.clock()
        yield from _deployment(snapshot)
        yield from _engines(snapshot, now)
        yield from self._traffic()
        yield from _alarms(self._alarms())
        yield from self._process(now)
        yield from self._more()

    def _traffic(self) -> Iterator[Metric]:
        counters = self._mailbox.counters
        frames = dict(counters.frames)  # copied at once: the loop goes on counting
        what = "Frames in, by kind and by what became of them."
        yield _family(Counter, "frames", what, frames.items(), "kind", "verdict")
        refused = [((channel,), count) for channel, count in dict(counters.refused).items()]
        what = "Connections of peers that were refused, or ended without a message."
        yield _family(Counter, "peers_refused", what, refused, "socket")
        starts = [((cause,), count) for cause, count in dict(counters.starts).items()]
        yield _family(Counter, "start_broadcasts", "START_DP_WAVE broadcasts by cause.", starts, "cause")
        yield _count("loads_published", "Load publications to front-ends.", counters.loads_published)
        yield _count("wave_states_published", "Wave announcements to front-ends.", counters.wave_states_published)
        durations, lateness = counters.wave_seconds, counters.publication_lateness_seconds
        yield _histogram("wave_duration_seconds", "From the ask (or the start) of a wave to its end.", durations)
        missed = "By how much load publications missed their deadline."
        yield _histogram("publication_lateness_seconds", missed, lateness)

    def _process(self, now: float) -> Iterator[Metric]:
        connected, stalled = self._viewers()
        yield _gauge("viewers", "WebSocket viewers connected.", connected)
        yield _count("viewers_stalled", "Viewers cut off because they took nothing.", stalled)
        refused = [((reason,), count) for reason, count in self._refused().items()]
        yield _family(Counter, "http_refused", "Requests refused, by what was wrong with them.", refused, "reason")
        yield from _messages(self._webhook())
        yield _gauge("uptime_seconds", "Seconds since the coordinator started.", now - self._mailbox.started_at)
        yield _gauge("restarts", "How often this coordinator came back on its journal.", self._mailbox.restarts)
        turned = now - self._mailbox.loop_alive_at
        yield _gauge("loop_turn_age_seconds", "Seconds since the loop last turned.", max(0.0, turned))
        build = __version__, self._mailbox.snapshot.dialect
        yield _family(Gauge, "build_info", "Which version this is.", [(build, 1)], "version", "dialect")


def _messages(counts: Mapping[str, int]) -> Iterator[Metric]:
    """Of the webhook, where there is one."""
    if counts:
        done = [((outcome,), counts[outcome]) for outcome in ("delivered", "given_up")]
        yield _family(Counter, "webhook_messages", "Messages to the webhook, by what became of them.", done, "outcome")
        yield _count("webhook_failed_tries", "Times that the webhook did not take a message.", counts["failed_tries"])
        yield _gauge("webhook_waiting", "Messages that the webhook has yet to take.", counts["waiting"])


def _deployment(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauge("current_wave", "The wave that runs, or that the next one will be.", snapshot.current_wave)
    yield _gauge("engines_running", "Whether front-ends are told that the engines run.", snapshot.engines_running)
    states = {state.value: snapshot.state is state for state in DeploymentState}
    yield StateSetMetricFamily(
        _PREFIX + "state", "What the deployment does, as far as anything shows it.", value=states
    )
    recovering = snapshot.recovery is not None and snapshot.recovery.phase is not RecoveryPhase.DONE
    yield _gauge("recovering", "Whether a restart is still being recovered from.", recovering)
    yield _gauge("ready", "Whether every expected engine subscribed.", snapshot.ready)
    yield _gauge("engine_count", "Engines expected.", snapshot.engine_count)
    yield _gauge("engines_subscribed", "Distinct engines subscribed.", snapshot.engines_subscribed)
    yield _gauge("front_ends", "Front-ends subscribed.", snapshot.front_ends)
    there = Counts((c.peer.channel.value, kind.value) for c, kind, _ in snapshot.peers.connections)
    yield _family(Gauge, "peers", "Connections, by socket and by what they are.", there.items(), "socket", "kind")


def _engines(snapshot: Snapshot, now: float) -> Iterator[Metric]:
    columns = snapshot.engines
    up = tuple(rank not in snapshot.peers.gone for rank in range(snapshot.engine_count)) if snapshot.ready else ()
    yield _per_engine("up", "Whether a rank is there: 0 once its connection has ended.", up)
    yield _per_engine("waiting", "Requests waiting.", columns.waiting)
    yield _per_engine("running", "Requests running.", columns.running)
    yield _per_engine("kv_cache_usage", "Used share of the kv cache, 0 to 1.", columns.kv_cache_usage)
    ages = tuple(None if at is None else max(0.0, now - at) for at in columns.reported_at)
    yield _per_engine("report_age_seconds", "Seconds since the last report.", ages)


def _alarms(standing: Mapping[AlarmKind, Alarm]) -> Iterator[Metric]:
    stands = [((kind.value,), kind in standing) for kind in AlarmKind]
    yield _family(Gauge, "alarm", "Whether an alarm of this kind stands.", stands, "kind")
    urgent = {kind for kind, alarm in standing.items() if alarm.severity is Severity.CRITICAL}
    critical = [((kind.value,), kind in urgent) for kind in AlarmKind]
    yield _family(Gauge, "alarm_critical", "Whether it stands and is critical.", critical, "kind")
    named = [((str(rank), kind.value), 1) for kind, alarm in standing.items() for rank in alarm.engines]
    yield _family(Gauge, "engine_alarm", "1 while an alarm of this kind names this rank.", named, "engine", "kind")


def _gauge(name: str, help_: str, value: float) -> Metric:
    return _family(Gauge, name, help_, [((), value)])


def _per_engine(name: str, help_: str, values: tuple[float | None, ...]) -> Metric:
    """One sample for each engine that has reported: a number that was never told is not zero."""
    reported = [((str(index),), value) for index, value in enumerate(values) if value is not None]
    return _family(Gauge, f"engine_{name}", help_, reported, "engine")


def _count(name: str, help_: str, value: int) -> Metric:
    return _family(Counter, name, help_, [((), value)])


def _family(of: type[Counter | Gauge], name: str, help_: str, values: Values, *labels: str) -> Metric:
    family = of(_PREFIX + name, help_, labels=labels)
    for key, value in values:
        family.add_metric(key, float(value))
    return family


def _histogram(name: str, help_: str, values: Histogram) -> Metric:
    counted, buckets = 0, []
    for bound, count in zip((*values.bounds, math.inf), list(values.counts), strict=True):
        counted += count
        buckets.append(("+Inf" if bound == math.inf else str(float(bound)), float(counted)))
    return HistogramMetricFamily(_PREFIX + name, help_, buckets=buckets, sum_value=values.sum)
