"""`GET /metrics`: read from the mailbox when it is scraped; nothing is counted twice and nothing is global."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, StateSetMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dp_coordinator import __version__
from dp_coordinator.core.snapshot import Phase, RecoveryPhase, Snapshot
from dp_coordinator.mailbox import Histogram, Mailbox
from dp_coordinator.words import AlarmKind

_PREFIX = "dp_coordinator_"


class MailboxCollector(Collector):
    """Turns the newest snapshot and the loop's counters into metrics."""

    def __init__(
        self,
        mailbox: Mailbox,
        viewers: Callable[[], tuple[int, int]],
        alarms: Callable[[], Container[AlarmKind]] = frozenset,
        refused: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """What is not in the mailbox, as functions.

        `viewers` gives (connected now, cut off so far because they took nothing), `alarms` the kinds that stand,
        `refused` how many requests were refused for which reason.
        """
        self._mailbox = mailbox
        self._alarms = alarms
        self._refused = refused
        self._viewers = viewers

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        snapshot, now = self._mailbox.snapshot, self._mailbox.clock()
        yield from _deployment(snapshot)
        yield from _engines(snapshot, now)
        yield from self._traffic()
        yield self._alarm()
        yield from self._process(now)

    def _traffic(self) -> Iterator[Metric]:
        counters = self._mailbox.counters
        frames = dict(counters.frames)  # copied at once: the loop goes on counting
        yield _counter("frames", "Frames in, by kind and by what became of them.", ("kind", "verdict"), frames.items())
        starts = [((cause,), count) for cause, count in dict(counters.starts).items()]
        yield _counter("start_broadcasts", "START_DP_WAVE broadcasts by cause.", ("cause",), starts)
        yield _counter("loads_published", "Load publications to front-ends.", (), [((), counters.loads_published)])
        announced = [((), counters.wave_states_published)]
        yield _counter("wave_states_published", "Wave announcements to front-ends.", (), announced)
        durations = counters.wave_seconds
        yield _histogram("wave_duration_seconds", "From the ask (or the start) of a wave to its end.", durations)
        yield _histogram(
            "publication_lateness_seconds",
            "By how much load publications missed their deadline.",
            counters.publication_lateness_seconds,
        )

    def _alarm(self) -> Metric:
        standing = self._alarms()
        family = GaugeMetricFamily(_PREFIX + "alarm", "Whether an alarm of this kind stands.", labels=("kind",))
        for kind in AlarmKind:
            family.add_metric((kind.value,), float(kind in standing))
        return family

    def _process(self, now: float) -> Iterator[Metric]:
        connected, stalled = self._viewers()
        yield _gauge("viewers", "WebSocket viewers connected.", connected)
        yield _counter("viewers_stalled", "Viewers cut off because they took nothing.", (), [((), stalled)])
        refused = [((reason,), count) for reason, count in self._refused().items()]
        yield _counter("http_refused", "Requests refused, by what was wrong with them.", ("reason",), refused)
        yield _gauge("uptime_seconds", "Seconds since the coordinator started.", now - self._mailbox.started_at)
        yield _gauge("restarts", "How often this coordinator came back on its journal.", self._mailbox.restarts)
        turned = now - self._mailbox.loop_alive_at
        yield _gauge("loop_turn_age_seconds", "Seconds since the loop last turned.", max(0.0, turned))
        build = GaugeMetricFamily(_PREFIX + "build_info", "Which version this is.", labels=("version", "dialect"))
        build.add_metric((__version__, self._mailbox.snapshot.dialect), 1)
        yield build


def _deployment(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauge("current_wave", "The wave that runs, or that the next one will be.", snapshot.current_wave)
    yield _gauge("engines_running", "Whether front-ends are told that the engines run.", snapshot.engines_running)
    phases = {phase.value: snapshot.phase is phase for phase in Phase}
    yield StateSetMetricFamily(_PREFIX + "phase", "What the engines were seen to do.", value=phases)
    recovering = snapshot.recovery is not None and snapshot.recovery.phase is not RecoveryPhase.DONE
    yield _gauge("recovering", "Whether a restart is still being recovered from.", recovering)
    yield _gauge("ready", "Whether every expected engine subscribed.", snapshot.ready)
    yield _gauge("engine_count", "Engines expected.", snapshot.engine_count)
    yield _gauge("engines_subscribed", "Engines subscribed.", snapshot.engines_subscribed)
    yield _gauge("front_ends", "Front-ends subscribed.", snapshot.front_ends)


def _engines(snapshot: Snapshot, now: float) -> Iterator[Metric]:
    columns = snapshot.engines
    yield _per_engine("waiting", "Requests waiting.", columns.waiting)
    yield _per_engine("running", "Requests running.", columns.running)
    yield _per_engine("kv_cache_usage", "Used share of the kv cache, 0 to 1.", columns.kv_cache_usage)
    ages = tuple(None if at is None else max(0.0, now - at) for at in columns.reported_at)
    yield _per_engine("report_age_seconds", "Seconds since the last report.", ages)


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, help_, value=float(value))


def _per_engine(name: str, help_: str, values: tuple[float | None, ...]) -> Metric:
    """One sample for each engine that has reported: a number that was never told is not zero."""
    family = GaugeMetricFamily(f"{_PREFIX}engine_{name}", help_, labels=("engine",))
    for index, value in enumerate(values):
        if value is not None:
            family.add_metric((str(index),), value)
    return family


def _counter(name: str, help_: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], int]]) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, help_, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _histogram(name: str, help_: str, values: Histogram) -> Metric:
    counted, buckets = 0, []
    for bound, count in zip((*values.bounds, float("inf")), list(values.counts), strict=True):
        counted += count
        buckets.append(("+Inf" if bound == float("inf") else str(float(bound)), float(counted)))
    return HistogramMetricFamily(_PREFIX + name, help_, buckets=buckets, sum_value=values.sum)


class Metrics:
    """The metrics page, with a registry of its own."""

    def __init__(
        self,
        mailbox: Mailbox,
        viewers: Callable[[], tuple[int, int]],
        alarms: Callable[[], Container[AlarmKind]] = frozenset,
        refused: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(MailboxCollector(mailbox, viewers, alarms, refused))

    def page(self) -> bytes:
        """Prometheus text."""
        return generate_latest(self._registry)
